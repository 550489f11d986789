/**
 * What a run leaves behind if nobody takes it away: processes and folders. Everything that is started or made is
 * registered here, and is ended or removed when the run is over, when it fails, and when it is interrupted.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** 128 + the signal's number, as shells have it. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

export class Cleanup {
  readonly #processes = new Set<ChildProcess>();
  readonly #folders = new Set<string>();
  readonly #onExit = () => this.now();
  readonly #onSignal = (signal: (typeof SIGNALS)[number]) => {
    this.now();
    process.exit(EXIT_CODES[signal]);
  };
  /** Leaves folders where they are. */
  keepFolders = false;

  constructor() {
    process.on('exit', this.#onExit);
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
  }

  /** A new folder, under `parent` (default: the system's folder for temporary files). */
  folder(parent: string = tmpdir()): string {
    const folder = mkdtempSync(join(parent, 'varve-bench-'));
    this.#folders.add(folder);
    return folder;
  }

  spawn(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
    return this.track(spawn(command, args, options));
  }

  track(child: ChildProcess): ChildProcess {
    this.#processes.add(child);
    child.once('exit', () => this.#processes.delete(child));
    return child;
  }

  /** Ends what still runs, removes what is left, and takes no more interest in signals. */
  async finish(): Promise<void> {
    const ended = [...this.#processes].map((child) => new Promise((resolve) => child.once('exit', resolve)));
    for (const child of this.#processes) child.kill('SIGKILL');
    await Promise.all(ended);
    this.#removeFolders();
    process.off('exit', this.#onExit);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }

  /** The same without waiting, for a process that is about to end. */
  now(): void {
    for (const child of this.#processes) child.kill('SIGKILL');
    this.#removeFolders();
  }

  #removeFolders(): void {
    if (this.keepFolders) return;
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    this.#folders.clear();
  }
}
