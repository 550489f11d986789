/**
 * The twin of the journal: tickets and waiters as src/disk/native-journal.ts has them, over a writer that follows
 * native/src/journal.cc step by step, so that the same submissions make the same groups in the same files.
 *
 * The writer is a chain of events of the scheduler (wake, write, sync …) instead of a thread. What is submitted before it
 * wakes up goes into the group, what is submitted while it writes or syncs goes into the next one.
 */
import type {
  FlushMode,
  Journal,
  JournalOptions,
  JournalSpace,
  JournalStats,
  LogIdentity,
  SegmentFile,
} from '../../src/disk/disk.js';
import { JournalStart } from '../../src/disk/journal-start.js';
import { STORED_RECORD_TYPE } from '../../src/disk/journal-format.js';
import { VarveError } from '../../src/errors.js';
import { TwinJournalWriter } from './twin-journal-writer.js';
import type { TwinProcess } from './twin-process.js';
import { isNatural, TwinSegment } from './twin-segment.js';

const MAX_RECORD_BYTES = 2 ** 31;
const MODES: ReadonlySet<string> = new Set(['sync', 'async', 'none']);

interface Waiter {
  readonly ticket: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class TwinJournal implements Journal {
  readonly started: Promise<void>;
  readonly #start = new JournalStart();
  readonly #writer: TwinJournalWriter;
  readonly #options: JournalOptions;
  #lastTicket = 0;
  #durableTicket = 0;
  #failure: VarveError | undefined;
  #flushes: Waiter[] = [];
  #closing: Promise<void> | undefined;
  #stopped: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #space: JournalSpace = 'enough';
  #finalFileNumber = 0;
  #finalStats: JournalStats | undefined;

  constructor(process: TwinProcess, path: string, options: JournalOptions) {
    this.#options = options;
    this.started = this.#start.promise;
    this.#writer = new TwinJournalWriter(process, path, options, (durable, failure, stopped, directBytes) =>
      this.#progress(durable, failure, stopped, directBytes),
    );
    process.onFailure = () => this.#writer.report();
  }

  registerLog(identity: LogIdentity): number {
    this.#refuseClosed();
    checkArgument(identity.topicId.length === 16, 'topicId must be 16 bytes long');
    checkArgument(isNatural(identity.partition) && identity.partition < 2 ** 32, 'partition must be a 32-bit number');
    return this.#writer.registerLog({ topicId: Buffer.from(identity.topicId), partition: identity.partition });
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
    if (!(segment instanceof TwinSegment)) {
      throw new VarveError('INVALID_ARGUMENT', 'appendStored: the segment belongs to another kind of disk');
    }
    this.#checkRecord(log, generation, epoch, mode);
    checkArgument(
      isNatural(segmentBaseOffset) &&
        isNatural(position) &&
        isNatural(length) &&
        Number.isSafeInteger(lastOffset) &&
        Number.isSafeInteger(hwFloor),
      'appendStored: numbers must be whole and below 2^53',
    );
    if (segment.isClosed) throw new VarveError('CLOSED', `${segment.path} is closed`);
    checkArgument(
      length > 0 && length <= MAX_RECORD_BYTES && position + length <= segment.size,
      'appendStored: the bytes are not stored in the segment',
    );
    this.#lastTicket = this.#writer.submit({
      log,
      type: STORED_RECORD_TYPE,
      mode,
      ticket: 0,
      epoch,
      generation,
      segment,
      payload: undefined,
      segmentBaseOffset,
      position,
      length,
      lastOffset,
      hwFloor,
    });
    return this.#lastTicket;
  }

  append(log: number, type: number, generation: number, epoch: number, payload: Uint8Array, mode: FlushMode): number {
    if (this.#closing) this.#refuseClosed();
    this.#checkRecord(log, generation, epoch, mode);
    checkArgument(isNatural(type) && type > 1 && type <= 0xffff, 'type must be from 2 to 65535');
    checkArgument(payload.length <= MAX_RECORD_BYTES, 'payload must be at most 2 GiB long');
    this.#lastTicket = this.#writer.submit({
      log,
      type,
      mode,
      ticket: 0,
      epoch,
      generation,
      segment: undefined,
      payload: new Uint8Array(payload),
      segmentBaseOffset: 0,
      position: 0,
      length: payload.length,
      lastOffset: 0,
      hwFloor: 0,
    });
    return this.#lastTicket;
  }

  async flush(): Promise<void> {
    this.#refuseClosed();
    if (this.#failure) throw this.#failure;
    const ticket = this.#writer.requestFlush();
    if (ticket <= this.#durableTicket) return;
    await new Promise<void>((resolve, reject) => this.#flushes.push({ ticket, resolve, reject }));
  }

  get lastTicket(): number {
    return this.#lastTicket;
  }

  recycle(fileNumber: number): void {
    this.#refuseClosed();
    checkArgument(isNatural(fileNumber), 'fileNumber must be a whole number');
    checkArgument(
      fileNumber < this.#writer.currentFileNumber,
      'recycle: the file is in use or ahead of the one that is',
    );
    this.#writer.files.recycle(fileNumber);
  }

  get currentFileNumber(): number {
    return this.#closing ? this.#finalFileNumber : this.#writer.currentFileNumber;
  }

  stats(): JournalStats {
    return this.#finalStats ?? this.#writer.stats();
  }

  stopWaiting(): void {
    if (!this.#closing) this.#writer.files.stopWaiting();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Ends what goes on in the background, whether or not `close` could. For the disk. */
  stop(): Promise<void> {
    return this.#writer.abandon();
  }

  async #close(): Promise<void> {
    this.#finalFileNumber = this.#writer.currentFileNumber;
    if (this.#failure) {
      this.#finalStats = this.#writer.stats();
      throw this.#failure;
    }
    await new Promise<void>((resolve, reject) => {
      this.#stopped = { resolve, reject };
      this.#writer.requestStop();
    });
  }

  #checkRecord(log: number, generation: number, epoch: number, mode: FlushMode): void {
    checkArgument(isNatural(log) && log < this.#writer.logCount, 'log must be a number that registerLog returned');
    checkArgument(isNatural(generation), 'generation must be a whole number from 0 to 2^53 - 1');
    checkArgument(Number.isInteger(epoch) && epoch === (epoch | 0), 'epoch must be a 32-bit number');
    checkArgument(MODES.has(mode), "mode must be 'sync', 'async' or 'none'");
  }

  #refuseClosed(): void {
    if (this.#closing) throw new VarveError('CLOSED', 'the journal is closed');
  }

  /** The waiters are settled before user code runs. */
  #progress(durable: number, failure: VarveError | undefined, stopped: boolean, directBytes: number): void {
    this.#start.settle(this.#writer.started, failure, stopped);
    const moved = durable > this.#durableTicket;
    this.#durableTicket = durable;
    const due = this.#flushes.filter((waiter) => waiter.ticket <= durable);
    if (due.length > 0) this.#flushes = this.#flushes.filter((waiter) => waiter.ticket > durable);
    for (const waiter of due) waiter.resolve();
    const failedNow = failure !== undefined && this.#failure === undefined;
    if (failedNow) {
      this.#failure = failure;
      for (const waiter of this.#flushes.splice(0)) waiter.reject(failure);
    }
    if (stopped) {
      this.#finalFileNumber = this.#writer.currentFileNumber;
      this.#finalStats = this.#writer.stats();
      if (this.#failure) this.#stopped?.reject(this.#failure);
      else this.#stopped?.resolve();
    }
    if (moved) this.#options.onDurable(durable, directBytes);
    const space = this.#writer.files.space;
    const spaceChanged = space !== this.#space;
    this.#space = space;
    if (failedNow) this.#options.onFailure(failure);
    else if (spaceChanged) this.#options.onSpace?.(space);
  }
}

function checkArgument(condition: boolean, message: string): void {
  if (!condition) throw new VarveError('INVALID_ARGUMENT', message);
}
