/** One `varve node` process of a benchmark's cluster: started, watched, killed, paused, ended; always by its own id. */
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VarveError } from '../src/errors.js';
import type { Cleanup } from './cleanup.js';

export interface NodeProcessOptions {
  readonly id: number;
  /** The program: a compiled `src/cli/main.js`. */
  readonly program: string;
  readonly args: readonly string[];
  /** Where its output goes. */
  readonly folder: string;
}

const LOG_TAIL_LINES = 15;

export class NodeProcess {
  readonly id: number;
  readonly logFile: string;
  readonly #options: NodeProcessOptions;
  readonly #cleanup: Cleanup;
  #child: ChildProcess | undefined;
  /** It is meant to end. */
  #ending = false;
  /** Told when the process ends and nobody asked it to. */
  onUnexpectedEnd: ((error: VarveError) => void) | undefined;

  constructor(options: NodeProcessOptions, cleanup: Cleanup) {
    this.id = options.id;
    this.#options = options;
    this.#cleanup = cleanup;
    this.logFile = join(options.folder, `node-${options.id}.log`);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  start(): void {
    const log = openSync(this.logFile, 'a');
    this.#ending = false;
    const child = this.#cleanup.spawn(process.execPath, [this.#options.program, ...this.#options.args], {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#child = child;
    child.once('exit', (code, signal) => {
      if (this.#ending || this.#child !== child) return;
      this.onUnexpectedEnd?.(
        new VarveError(
          'CLOSED',
          `node ${this.id} ended by itself (${signal ?? `code ${code}`}). Its last words:\n${this.lastWords()}`,
        ),
      );
    });
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** A clean shutdown, made sure of by a kill if it takes longer than `ms`. Returns false if that was needed. */
  async stop(ms: number): Promise<boolean> {
    let clean = true;
    const timer = setTimeout(() => {
      clean = false;
      this.#child?.kill('SIGKILL');
    }, ms);
    await this.#end('SIGTERM');
    clearTimeout(timer);
    return clean;
  }

  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  lastWords(): string {
    try {
      return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
    } catch {
      return '(it wrote nothing)';
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    this.#ending = true;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }
}
