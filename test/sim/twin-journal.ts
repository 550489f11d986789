/**
 * The twin of the journal, over a writer that follows native/src/journal.cc step by step, so that the same submissions
 * make the same groups in the same files. Waiters and callbacks are the shared ones (src/disk/journal-waiters.ts).
 *
 * The writer is a chain of events of the scheduler (wake, write, sync …) instead of a thread. What is submitted before it
 * wakes up goes into the group, what is submitted while it writes or syncs goes into the next one.
 */
import type {
  FlushMode,
  Journal,
  JournalOptions,
  JournalStats,
  LogIdentity,
  SegmentFile,
} from '../../src/disk/disk.js';
import { STORED_RECORD_TYPE } from '../../src/disk/journal-format.js';
import { JournalWaiters } from '../../src/disk/journal-waiters.js';
import { VarveError } from '../../src/errors.js';
import { TwinJournalWriter } from './twin-journal-writer.js';
import type { TwinProcess } from './twin-process.js';
import { isNatural, TwinSegment } from './twin-segment.js';

const MAX_RECORD_BYTES = 2 ** 31;
const MODES: ReadonlySet<string> = new Set(['sync', 'async', 'none']);

export class TwinJournal implements Journal {
  readonly #writer: TwinJournalWriter;
  readonly #waiters: JournalWaiters;
  #lastTicket = 0;

  constructor(process: TwinProcess, path: string, options: JournalOptions) {
    const writer = new TwinJournalWriter(process, path, options, (durableTicket, error, stopped, directBytes) => {
      const { started, files } = writer;
      this.#waiters.progress({ durableTicket, error, stopped, directBytes, space: files.space, started });
    });
    this.#writer = writer;
    this.#waiters = new JournalWaiters(
      {
        requestFlush: () => writer.requestFlush(),
        requestStop: () => writer.requestStop(),
        currentFileNumber: () => writer.currentFileNumber,
        stats: () => writer.stats(),
      },
      options,
    );
    process.onFailure = () => writer.report();
  }

  get started(): Promise<void> {
    return this.#waiters.started;
  }

  registerLog(identity: LogIdentity): number {
    this.#waiters.refuseClosed();
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
    this.#waiters.refuseClosed();
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
    this.#waiters.refuseClosed();
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

  flush(): Promise<void> {
    return this.#waiters.flush();
  }

  get lastTicket(): number {
    return this.#lastTicket;
  }

  recycle(fileNumber: number): void {
    this.#waiters.refuseClosed();
    checkArgument(isNatural(fileNumber), 'fileNumber must be a whole number');
    checkArgument(
      fileNumber < this.#writer.currentFileNumber,
      'recycle: the file is in use or ahead of the one that is',
    );
    this.#writer.files.recycle(fileNumber);
  }

  get currentFileNumber(): number {
    return this.#waiters.currentFileNumber;
  }

  stats(): JournalStats {
    return this.#waiters.stats();
  }

  stopWaiting(): void {
    if (!this.#waiters.isClosing) this.#writer.files.stopWaiting();
  }

  close(): Promise<void> {
    return this.#waiters.close();
  }

  /** Ends what goes on in the background, whether or not `close` could. For the disk. */
  stop(): Promise<void> {
    return this.#writer.abandon();
  }

  #checkRecord(log: number, generation: number, epoch: number, mode: FlushMode): void {
    checkArgument(isNatural(log) && log < this.#writer.logCount, 'log must be a number that registerLog returned');
    checkArgument(isNatural(generation), 'generation must be a whole number from 0 to 2^53 - 1');
    checkArgument(Number.isInteger(epoch) && epoch === (epoch | 0), 'epoch must be a 32-bit number');
    checkArgument(MODES.has(mode), "mode must be 'sync', 'async' or 'none'");
  }
}

function checkArgument(condition: boolean, message: string): void {
  if (!condition) throw new VarveError('INVALID_ARGUMENT', message);
}
