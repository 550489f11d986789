/**
 * What the twin's disk, segments and journal have in common: one simulated process with a data directory open.
 *
 * Nothing here has a clock, a timer or randomness of its own. Whatever takes time is handed to the scheduler with a
 * description of the call; the simulator decides when it completes, and the effect happens at that moment, all at once.
 * Whatever can fail is shown to `faults` first. Once the process is dead, what is still under way has no effect any more
 * and its promises stay unsettled, as those of a killed process do.
 */
import { VarveError } from '../../src/errors.js';
import type { TwinFile } from './twin-file.js';
import { type TwinDirectory, type TwinFileSystem, TwinSystemError } from './twin-file-system.js';

export type TwinOperation =
  | 'open'
  | 'create'
  | 'read'
  | 'write'
  | 'sync'
  | 'sync-directory'
  | 'make-directory'
  | 'rename'
  | 'unlink'
  | 'truncate'
  /** A segment grows. */
  | 'allocate'
  /** Pages are read ahead of need. */
  | 'touch'
  /** The journal's thread wakes up. */
  | 'wake';

export interface TwinCall {
  readonly operation: TwinOperation;
  readonly path: string;
  /** Bytes read, written or allocated; 0 where there are none. */
  readonly bytes: number;
}

export interface TwinScheduler {
  /** Milliseconds; only differences count. */
  now(): number;
  /** Runs `task` once, later: never inside this call. When, and in which order among other calls, is the scheduler's choice. */
  complete(call: TwinCall, task: () => void): void;
  /** Runs `task` once, when `ms` have passed. */
  after(ms: number, task: () => void): void;
}

/** Asked before each call, in the order of their effects. An error is what the system call fails with. */
export type TwinFaults = (call: TwinCall) => 'EIO' | 'ENOSPC' | undefined;

export class TwinProcess {
  readonly fileSystem: TwinFileSystem;
  readonly scheduler: TwinScheduler;
  /** For messages. */
  readonly root: string;
  readonly #faults: TwinFaults | undefined;
  #isDead = false;
  #underWay = 0;
  #idle: (() => void) | undefined;
  #failure: VarveError | undefined;
  /** Hears of the first failure, in a turn of its own. */
  onFailure: (() => void) | undefined;

  constructor(fileSystem: TwinFileSystem, scheduler: TwinScheduler, root: string, faults: TwinFaults | undefined) {
    this.fileSystem = fileSystem;
    this.scheduler = scheduler;
    this.root = root;
    this.#faults = faults;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  die(): void {
    this.#isDead = true;
  }

  // ---- the first failed write or sync is final ----

  /** Throws what ended all promises, if something has. */
  checkHealth(): void {
    if (this.#failure !== undefined) throw new VarveError(this.#failure.code, this.#failure.message);
  }

  get failure(): VarveError | undefined {
    return this.#failure;
  }

  fail(error: VarveError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    queueMicrotask(() => this.onFailure?.());
  }

  // ---- calls ----

  /** A call that is made at once, on the thread of JavaScript. */
  callNow(operation: TwinOperation, path: string, bytes: number): void {
    if (this.#isDead) throw new VarveError('CLOSED', `${path}: the process is dead`);
    const errno = this.#faults?.({ operation, path, bytes });
    if (errno !== undefined) throw new TwinSystemError(errno, SYSCALLS[operation]);
  }

  /** A call on another thread: its effect happens when the scheduler says so. */
  call<T>(operation: TwinOperation, path: string, bytes: number, effect: () => T): Promise<T> {
    this.#underWay++;
    return new Promise<T>((resolve, reject) => {
      this.scheduler.complete({ operation, path, bytes }, () => {
        if (this.#isDead) return;
        try {
          this.callNow(operation, path, bytes);
          resolve(effect());
        } catch (error) {
          reject(error);
        }
        if (--this.#underWay === 0) this.#idle?.();
      });
    });
  }

  /** Covers what was written before it began. A failure leaves its pages lost. */
  async syncFile(path: string, file: TwinFile): Promise<void> {
    const mark = file.beginSync();
    try {
      await this.call('sync', path, 0, () => file.finishSync(mark));
    } catch (error) {
      file.failSync(mark);
      throw error;
    }
  }

  async syncDirectory(path: string, directory: TwinDirectory): Promise<void> {
    const mark = this.fileSystem.beginDirectorySync();
    await this.call('sync-directory', path, 0, () => this.fileSystem.finishDirectorySync(directory, mark));
  }

  /** Resolves when no call is under way. */
  async whenIdle(): Promise<void> {
    while (this.#underWay > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
  }

  // ---- errors of the native code, which names calls in its own way ----

  /** No space is nothing that happened: DISK_FULL. */
  systemFailure(what: string, path: string, error: unknown): VarveError {
    if (error instanceof VarveError) return error;
    const { code } = error as TwinSystemError;
    const text = `${what} of ${this.root}/${path} failed: ${code}`;
    if (code !== 'ENOSPC') return new VarveError('DISK_FAILED', text, { cause: error });
    return new VarveError('DISK_FULL', `${text}; nothing was changed, free some space`, { cause: error });
  }

  finalFailure(what: string, path: string, error: unknown): VarveError {
    if (error instanceof VarveError) return error;
    const { code } = error as TwinSystemError;
    const text = `${what} of ${this.root}/${path} failed: ${code}; nothing more is accepted until the data directory is reopened`;
    return new VarveError('DISK_FAILED', text, { cause: error });
  }
}

/** Names as node:fs has them, by which disk-errors.ts knows what a full disk means. */
const SYSCALLS: Readonly<Record<TwinOperation, string>> = {
  open: 'open',
  create: 'open',
  read: 'read',
  write: 'write',
  sync: 'fsync',
  'sync-directory': 'fsync',
  'make-directory': 'mkdir',
  rename: 'rename',
  unlink: 'unlink',
  truncate: 'ftruncate',
  allocate: 'fallocate',
  touch: 'madvise',
  wake: 'futex',
};
