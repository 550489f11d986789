/**
 * The journal of the native store: tickets, waiters and callbacks over the writer thread in journal.h.
 */
import { VarveError } from '../errors.js';
import { addon, type NativeStoreHandle } from './addon.js';
import type {
  FlushMode,
  Journal,
  JournalOptions,
  JournalSpace,
  JournalStats,
  LogIdentity,
  SegmentFile,
} from './disk.js';
import { JournalStart } from './journal-start.js';
import { NativeSegment } from './native-segment.js';

const MODES: Readonly<Record<FlushMode, number>> = { sync: 0, async: 1, none: 2 };
/** In the order of the native enumeration. */
const SPACES: readonly JournalSpace[] = ['enough', 'lacking', 'waiting'];

interface Waiter {
  readonly ticket: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class NativeJournal implements Journal {
  readonly started: Promise<void>;
  readonly #start = new JournalStart();
  readonly #native = addon();
  readonly #store: NativeStoreHandle;
  readonly #onDurable: JournalOptions['onDurable'];
  readonly #onFailure: (error: Error) => void;
  readonly #onSpace: ((space: JournalSpace) => void) | undefined;
  #lastTicket = 0;
  #durableTicket = 0;
  #failure: Error | undefined;
  #space: JournalSpace = 'enough';
  #flushes: Waiter[] = [];
  #closing: Promise<void> | undefined;
  #stopped: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #finalFileNumber = 0;
  #finalStats: JournalStats | undefined;

  constructor(store: NativeStoreHandle, directory: string, options: JournalOptions) {
    this.#store = store;
    this.started = this.#start.promise;
    this.#onDurable = options.onDurable;
    this.#onFailure = options.onFailure;
    this.#onSpace = options.onSpace;
    this.#native.openJournal(
      store,
      directory,
      options.directoryId,
      options.firstFileNumber,
      options.startLsn,
      options.previousChecksum,
      options.fileBytes,
      options.maxGroupBytes,
      options.asyncMaxMs,
      options.asyncMaxBytes,
      options.directFlushBytes,
      options.directMarkMaxMs,
      options.spareFiles,
      (durable, error, stopped, directBytes, space, started) =>
        this.#progress(durable, error, stopped, directBytes, SPACES[space]!, started),
    );
  }

  registerLog(identity: LogIdentity): number {
    this.#refuseClosed();
    return this.#native.registerLog(this.#store, identity.topicId, identity.partition);
  }

  appendStored(
    log: number,
    segment: SegmentFile,
    segmentBaseOffset: number,
    position: number,
    length: number,
    lastOffset: number,
    epoch: number,
    generation: number,
    hwFloor: number,
    mode: FlushMode,
  ): number {
    if (this.#closing) this.#refuseClosed();
    if (!(segment instanceof NativeSegment)) {
      throw new VarveError('INVALID_ARGUMENT', 'appendStored: the segment belongs to another kind of disk');
    }
    this.#lastTicket = this.#native.journalAppendStored(
      this.#store,
      log,
      segment.handle,
      segmentBaseOffset,
      position,
      length,
      lastOffset,
      epoch,
      generation,
      hwFloor,
      MODES[mode],
    );
    return this.#lastTicket;
  }

  append(log: number, type: number, generation: number, epoch: number, payload: Uint8Array, mode: FlushMode): number {
    if (this.#closing) this.#refuseClosed();
    this.#lastTicket = this.#native.journalAppend(this.#store, log, type, generation, epoch, payload, MODES[mode]);
    return this.#lastTicket;
  }

  async flush(): Promise<void> {
    this.#refuseClosed();
    if (this.#failure) throw this.#failure;
    const ticket = this.#native.journalFlush(this.#store);
    if (ticket <= this.#durableTicket) return;
    await new Promise<void>((resolve, reject) => this.#flushes.push({ ticket, resolve, reject }));
  }

  get lastTicket(): number {
    return this.#lastTicket;
  }

  recycle(fileNumber: number): void {
    this.#refuseClosed();
    this.#native.journalRecycle(this.#store, fileNumber);
  }

  get currentFileNumber(): number {
    return this.#closing ? this.#finalFileNumber : this.#native.journalCurrentFileNumber(this.#store);
  }

  stats(): JournalStats {
    return this.#finalStats ?? this.#native.journalStats(this.#store);
  }

  stopWaiting(): void {
    if (!this.#closing) this.#native.journalStopWaiting(this.#store);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#finalFileNumber = this.#native.journalCurrentFileNumber(this.#store);
    if (this.#failure) {
      this.#finalStats = this.#native.journalStats(this.#store);
      throw this.#failure;
    }
    await new Promise<void>((resolve, reject) => {
      this.#stopped = { resolve, reject };
      this.#native.journalStop(this.#store);
    });
  }

  #refuseClosed(): void {
    if (this.#closing) throw new VarveError('CLOSED', 'the journal is closed');
  }

  /** Called by the native side on the event loop; the waiters are settled before user code runs. */
  #progress(
    durable: number,
    error: Error | undefined,
    stopped: boolean,
    directBytes: number,
    space: JournalSpace,
    started: boolean,
  ): void {
    this.#start.settle(started, error, stopped);
    const moved = durable > this.#durableTicket;
    this.#durableTicket = durable;
    const due = this.#flushes.filter((waiter) => waiter.ticket <= durable);
    if (due.length > 0) this.#flushes = this.#flushes.filter((waiter) => waiter.ticket > durable);
    for (const waiter of due) waiter.resolve();
    const failedNow = error !== undefined && this.#failure === undefined;
    if (failedNow) {
      this.#failure = error;
      for (const waiter of this.#flushes.splice(0)) waiter.reject(error);
    }
    if (stopped) {
      this.#finalFileNumber = this.#native.journalCurrentFileNumber(this.#store);
      this.#finalStats = this.#native.journalStats(this.#store);
      if (this.#failure) this.#stopped?.reject(this.#failure);
      else this.#stopped?.resolve();
    }
    const spaceChanged = space !== this.#space;
    this.#space = space;
    if (moved) this.#onDurable(durable, directBytes);
    if (failedNow) this.#onFailure(error);
    else if (spaceChanged) this.#onSpace?.(space);
  }
}
