/**
 * What the journal was given and has not made durable yet, for all logs of a store, in ticket order. Tickets are
 * consecutive, so the queue is a ring indexed by ticket: nothing is allocated per append.
 *
 * Each entry is either an append (log, end offset, generation, bytes) or a callback of a small record. One durable
 * ticket completes everything up to it; each log that moved is told once, at the end.
 *
 * It also holds producers back: too many bytes waiting for a sync, async bytes beyond their bound in size or age (then
 * the disk is slower than the promise, and appends wait), or a journal that is full.
 */
import type { FlushMode } from '../disk/disk.js';
import { invariant } from '../errors.js';

/** A log, as the queue knows it. */
export interface CommitTarget {
  /** Everything below `end` is durable; counts only if `generation` is the log's. Returns true if that moved anything. */
  durableUpTo(end: number, generation: number): boolean;
  /** Called once after a group commit in which `durableUpTo` returned true. */
  committed(): void;
  /** Set while the queue has the log on its list of logs to tell. */
  listedForCommit: boolean;
}

export interface CommitLimits {
  readonly pendingMaxBytes: number;
  readonly asyncMaxBytes: number;
  readonly asyncMaxMs: number;
}

const INITIAL_CAPACITY = 1024;
/** What the journal adds to a record, and (with its padding) to a group. */
const RECORD_OVERHEAD_BYTES = 80;
const GROUP_OVERHEAD_BYTES = 4096;
const FLUSH_MODES = ['sync', 'async', 'none'] as const;
const MODES = { sync: 0, async: 1, none: 2 } as const;

interface Waiter {
  readonly run: () => void;
  readonly reject: (error: Error) => void;
}

export class CommitQueue {
  readonly #limits: CommitLimits;
  readonly #now: () => number;
  #mask = INITIAL_CAPACITY - 1;
  #targets: (CommitTarget | undefined)[] = new Array(INITIAL_CAPACITY).fill(undefined);
  #calls: (((error?: Error) => void) | undefined)[] = new Array(INITIAL_CAPACITY).fill(undefined);
  #ends = new Float64Array(INITIAL_CAPACITY);
  #generations = new Float64Array(INITIAL_CAPACITY);
  #bytes = new Float64Array(INITIAL_CAPACITY);
  #modes = new Uint8Array(INITIAL_CAPACITY);
  #times = new Float64Array(INITIAL_CAPACITY);
  /** Tickets [#head, #tail) are waiting. */
  #head = 1;
  #tail = 1;
  #syncBytes = 0;
  #asyncBytes = 0;
  #oldestAsync = 0;
  #journalFull = false;
  #admitting = false;
  #failed: Error | undefined;
  /** Appends that are held back, in turn. */
  readonly #waiting: Readonly<Record<FlushMode, Waiter[]>> = { sync: [], async: [], none: [] };
  readonly #touched: CommitTarget[] = [];
  /** Bytes accepted since the store was opened, with an estimate of what the journal adds to them. */
  #acceptedBytes = 0;
  /** Of those, what direct flushes made durable in the segments. */
  #directBytes = 0;
  /** `onAlarm` is called when `journalledBytes` has reached this; it sets the next one. */
  alarmAtBytes = Number.POSITIVE_INFINITY;
  onAlarm: () => void = () => {};

  /** @param now milliseconds of a monotonic clock */
  constructor(limits: CommitLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  get failed(): Error | undefined {
    return this.#failed;
  }

  /**
   * Bytes in the journal, or on the way to it, since the store was opened. Bytes of direct flushes count until they are
   * durable, and then no more: the number goes down.
   */
  get journalledBytes(): number {
    return this.#acceptedBytes - this.#directBytes;
  }

  /** What `journalledBytes` would be if nothing were flushed directly. */
  get acceptedBytes(): number {
    return this.#acceptedBytes;
  }

  /** Bytes that direct flushes kept out of the journal. */
  get directBytes(): number {
    return this.#directBytes;
  }

  /** Bytes accepted under 'sync' that are not durable. */
  get pendingBytes(): number {
    return this.#syncBytes;
  }

  get pendingTickets(): number {
    return this.#tail - this.#head;
  }

  addAppend(
    ticket: number,
    target: CommitTarget,
    end: number,
    generation: number,
    bytes: number,
    mode: FlushMode,
  ): void {
    const at = this.#add(ticket);
    this.#targets[at] = target;
    this.#ends[at] = end;
    this.#generations[at] = generation;
    this.#bytes[at] = bytes;
    this.#modes[at] = MODES[mode];
    this.#acceptedBytes += bytes + RECORD_OVERHEAD_BYTES;
    if (mode === 'sync') {
      this.#syncBytes += bytes;
    } else if (mode === 'async') {
      const now = this.#now();
      this.#times[at] = now;
      if (this.#asyncBytes === 0) this.#oldestAsync = now;
      this.#asyncBytes += bytes;
    }
    if (this.journalledBytes >= this.alarmAtBytes) this.onAlarm();
  }

  /** `done` runs once: without an error when durable, with one when the store failed before that. */
  addRecord(ticket: number, done: (error?: Error) => void): void {
    const at = this.#add(ticket);
    this.#calls[at] = done;
    this.#modes[at] = MODES.none;
    this.#bytes[at] = 0;
    this.#acceptedBytes += RECORD_OVERHEAD_BYTES;
  }

  #add(ticket: number): number {
    invariant(ticket === this.#tail, `journal ticket ${ticket} follows ${this.#tail - 1}`);
    if (this.#tail - this.#head > this.#mask) this.#grow();
    this.#tail++;
    return ticket & this.#mask;
  }

  /** @param directBytes of all bytes so far, those that direct flushes made durable */
  onDurable(ticket: number, directBytes = 0): void {
    if (this.#failed !== undefined) return;
    this.#directBytes = directBytes;
    invariant(ticket < this.#tail, `ticket ${ticket} is durable, but only ${this.#tail - 1} were submitted`);
    this.#acceptedBytes += GROUP_OVERHEAD_BYTES;
    const touched = this.#touched;
    while (this.#head <= ticket) {
      const at = this.#head++ & this.#mask;
      const mode = this.#modes[at]!;
      if (mode === MODES.sync) this.#syncBytes -= this.#bytes[at]!;
      else if (mode === MODES.async) this.#asyncBytes -= this.#bytes[at]!;
      const target = this.#targets[at];
      if (target !== undefined) {
        this.#targets[at] = undefined;
        if (target.durableUpTo(this.#ends[at]!, this.#generations[at]!) && !target.listedForCommit) {
          target.listedForCommit = true;
          touched.push(target);
        }
      } else {
        const call = this.#calls[at]!;
        this.#calls[at] = undefined;
        call();
      }
    }
    if (this.#asyncBytes > 0) this.#oldestAsync = this.#oldestAsyncTime();
    for (const target of touched) {
      target.listedForCommit = false;
      target.committed();
    }
    touched.length = 0;
    this.#admit();
  }

  /** Nothing becomes durable any more: every waiting callback and waiter gets the error. */
  fail(error: Error): void {
    if (this.#failed !== undefined) return;
    this.#failed = error;
    while (this.#head < this.#tail) {
      const at = this.#head++ & this.#mask;
      const call = this.#calls[at];
      this.#calls[at] = undefined;
      this.#targets[at] = undefined;
      call?.(error);
    }
    for (const waiters of Object.values(this.#waiting)) for (const { reject } of waiters.splice(0)) reject(error);
  }

  set journalFull(full: boolean) {
    const released = this.#journalFull && !full;
    this.#journalFull = full;
    if (released) this.#admit();
  }

  throttledFor(mode: FlushMode): boolean {
    if (this.#journalFull) return true;
    if (mode === 'sync') return this.#syncBytes >= this.#limits.pendingMaxBytes;
    if (mode === 'none' || this.#asyncBytes === 0) return false;
    if (this.#asyncBytes >= this.#limits.asyncMaxBytes) return true;
    return this.#now() - this.#oldestAsync > this.#limits.asyncMaxMs;
  }

  /** True beyond twice the limit of pending bytes: whoever ignores `throttled` is refused. */
  get overloaded(): boolean {
    return this.#syncBytes >= 2 * this.#limits.pendingMaxBytes;
  }

  /** Runs when the mode is not throttled and everybody who came before has had a turn; at once if that is now. */
  runWhenWritable(mode: FlushMode, run: () => void, reject: (error: Error) => void): void {
    if (this.#failed !== undefined) reject(this.#failed);
    else if (this.#waiting[mode].length === 0 && !this.throttledFor(mode)) run();
    else this.#waiting[mode].push({ run, reject });
  }

  whenWritable(mode: FlushMode): Promise<void> {
    return new Promise((resolve, reject) => this.runWhenWritable(mode, resolve, reject));
  }

  /** Each one that is let in may fill the limit again: then the rest waits on. What they do may come back here. */
  #admit(): void {
    if (this.#admitting) return;
    this.#admitting = true;
    try {
      for (const mode of FLUSH_MODES) {
        const waiters = this.#waiting[mode];
        let count = 0;
        while (count < waiters.length && !this.throttledFor(mode)) waiters[count++]!.run();
        if (count > 0) waiters.splice(0, count);
      }
    } finally {
      this.#admitting = false;
    }
  }

  #oldestAsyncTime(): number {
    for (let ticket = this.#head; ticket < this.#tail; ticket++) {
      const at = ticket & this.#mask;
      if (this.#modes[at] === MODES.async) return this.#times[at]!;
    }
    return this.#now();
  }

  #grow(): void {
    const oldMask = this.#mask;
    const size = 2 * (oldMask + 1);
    const mask = size - 1;
    const targets: (CommitTarget | undefined)[] = new Array(size).fill(undefined);
    const calls: (((error?: Error) => void) | undefined)[] = new Array(size).fill(undefined);
    const ends = new Float64Array(size);
    const generations = new Float64Array(size);
    const bytes = new Float64Array(size);
    const modes = new Uint8Array(size);
    const times = new Float64Array(size);
    for (let ticket = this.#head; ticket < this.#tail; ticket++) {
      const from = ticket & oldMask;
      const to = ticket & mask;
      targets[to] = this.#targets[from];
      calls[to] = this.#calls[from];
      ends[to] = this.#ends[from]!;
      generations[to] = this.#generations[from]!;
      bytes[to] = this.#bytes[from]!;
      modes[to] = this.#modes[from]!;
      times[to] = this.#times[from]!;
    }
    this.#mask = mask;
    this.#targets = targets;
    this.#calls = calls;
    this.#ends = ends;
    this.#generations = generations;
    this.#bytes = bytes;
    this.#modes = modes;
    this.#times = times;
  }
}
