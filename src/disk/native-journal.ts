/**
 * The journal of the native store, over the writer thread in journal.h.
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
import { JournalWaiters } from './journal-waiters.js';
import { NativeSegment } from './native-segment.js';

const MODES: Readonly<Record<FlushMode, number>> = { sync: 0, async: 1, none: 2 };
/** In the order of the native enumeration. */
const SPACES: readonly JournalSpace[] = ['enough', 'lacking', 'waiting'];

export class NativeJournal implements Journal {
  readonly #native = addon();
  readonly #store: NativeStoreHandle;
  readonly #waiters: JournalWaiters;
  #lastTicket = 0;

  constructor(store: NativeStoreHandle, directory: string, options: JournalOptions) {
    const native = this.#native;
    this.#store = store;
    const writer = {
      requestFlush: () => native.journalFlush(store),
      requestStop: () => native.journalStop(store),
      currentFileNumber: () => native.journalCurrentFileNumber(store),
      stats: () => native.journalStats(store),
    };
    this.#waiters = new JournalWaiters(writer, options);
    native.openJournal(
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
      (durableTicket, error, stopped, directBytes, space, started) =>
        this.#waiters.progress({ durableTicket, error, stopped, directBytes, space: SPACES[space]!, started }),
    );
  }

  get started(): Promise<void> {
    return this.#waiters.started;
  }

  registerLog(identity: LogIdentity): number {
    this.#waiters.refuseClosed();
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
    this.#waiters.refuseClosed();
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
    this.#waiters.refuseClosed();
    this.#lastTicket = this.#native.journalAppend(this.#store, log, type, generation, epoch, payload, MODES[mode]);
    return this.#lastTicket;
  }

  flush(): Promise<void> {
    return this.#waiters.flush();
  }

  get lastTicket(): number {
    return this.#lastTicket;
  }

  recycle(fileNumber: number): void {
    this.#waiters.refuseClosed();
    this.#native.journalRecycle(this.#store, fileNumber);
  }

  get currentFileNumber(): number {
    return this.#waiters.currentFileNumber;
  }

  stats(): JournalStats {
    return this.#waiters.stats();
  }

  stopWaiting(): void {
    if (!this.#waiters.isClosing) this.#native.journalStopWaiting(this.#store);
  }

  close(): Promise<void> {
    return this.#waiters.close();
  }
}
