/**
 * Reading one log: views of whole batches, decoded records, lookup by timestamp, and long polls.
 *
 * Consumers see what lies below the high watermark; such bytes never change. Only replication reads above it.
 * A long poll waits for the high watermark to move, never by polling.
 */

import { crc32c } from '../disk/addon.js';
import type { SegmentFile } from '../disk/disk.js';
import type { Environment, Timer } from '../environment.js';
import { VarveError } from '../errors.js';
import { decodeBatchAsync } from '../record/decode.js';
import {
  BATCH_HEADER_BYTES,
  baseOffsetAt,
  batchSizeAt,
  CRC_START,
  crcAt,
  isControlAt,
  lastOffsetAt,
} from '../record/record-batch.js';
import type { Record } from '../record/types.js';
import { headerFault } from '../segment/header-fault.js';
import { checkReadable, type Segment } from '../segment/segment.js';
import type { SegmentList } from '../segment/segment-list.js';
import { AbortedRecords } from './aborted-records.js';
import type { BatchLocator } from './batch-locator.js';
import type { AbortedRange, ReadLimit, ReadOptions, ReadResult, ReadViewsResult } from './log.js';
import { checkOffset, checkReadOptions, checkTimestamp } from './read-arguments.js';

const NO_OPTIONS: ReadOptions = Object.freeze({});
const DEFAULT_MAX_BYTES = 1024 * 1024;
/** Of a segment that is walked over. */
const WARM_BYTES = 1024 * 1024;
/** Node.js takes a longer time for none at all. */
const MAX_TIMER_MS = 0x7fff_ffff;

/** The log's cursors, as a reader needs them. */
export interface ReadableLog {
  /** For messages: topic and partition. */
  readonly name: string;
  readonly start: number;
  /** @see Log.physicalStart */
  readonly physicalStart: number;
  readonly end: number;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  /** Aborted transactions with records in [from, to), by first offset. */
  abortedBetween(from: number, to: number): Promise<readonly AbortedRange[]>;
  /** @throws VarveError CLOSED */
  checkOpen(): void;
}

interface Waiter {
  readonly offset: number;
  readonly maxBytes: number;
  readonly minBytes: number;
  readonly limit: ReadLimit;
  readonly resolve: (found: FoundViews) => void;
  readonly reject: (error: unknown) => void;
  timer: Timer | undefined;
}

interface FoundViews {
  readonly result: ReadViewsResult;
  /** What the views are of: to be asked about lost pages after the views were looked at. */
  readonly files: readonly SegmentFile[];
}

export class LogReader {
  readonly #log: ReadableLog;
  readonly #segments: SegmentList;
  readonly #locator: BatchLocator;
  readonly #environment: Environment;
  #waiters: Waiter[] = [];

  constructor(log: ReadableLog, segments: SegmentList, locator: BatchLocator, environment: Environment) {
    this.#log = log;
    this.#segments = segments;
    this.#locator = locator;
    this.#environment = environment;
  }

  viewsFrom(offset: number, maxBytes: number, limit: ReadLimit): ReadViewsResult {
    this.#checkRange(offset, this.#startOf(limit));
    const log = this.#log;
    this.#locator.extend(offset, maxBytes, this.#limitOf(limit));
    return {
      views: this.#locator.to > this.#locator.from ? this.#locator.views() : [],
      nextOffset: this.#locator.next,
      highWatermark: log.highWatermark,
    };
  }

  /** Undefined: what `viewsFrom` would look at is in memory. */
  warm(offset: number, maxBytes: number, limit: ReadLimit): Promise<void> | undefined {
    if (!(offset >= this.#startOf(limit) && offset <= this.#log.end)) return undefined;
    return this.#locator.warm(offset, maxBytes, this.#limitOf(limit));
  }

  async readViews(offset: number, options?: ReadOptions): Promise<ReadViewsResult> {
    return (await this.#find(offset, options)).result;
  }

  async read(offset: number, options?: ReadOptions): Promise<ReadResult> {
    const { result, files } = await this.#find(offset, options);
    const { views, nextOffset, highWatermark, abortedTransactions } = result;
    const aborted = abortedTransactions === undefined ? undefined : new AbortedRecords(abortedTransactions);
    const records: Record[] = [];
    let expected = -1;
    for (const view of views) {
      for (let position = 0; position < view.length; ) {
        const fault = headerFault(view, position, view.length, expected);
        if (fault !== undefined) throw this.#corrupt(expected < 0 ? offset : expected, fault, files);
        const end = position + batchSizeAt(view, position);
        // Of a batch that is left out, too, every byte must be right: it says itself that it is.
        const isJudged = aborted !== undefined || isControlAt(view, position);
        if (isJudged) this.#checkCrc(view, position, end, files);
        if (!aborted?.skips(view, position) && !isControlAt(view, position)) {
          for (const record of await this.#decode(view, position, end, files, !isJudged)) {
            if (record.offset >= offset) records.push(record);
          }
        }
        expected = lastOffsetAt(view, position) + 1;
        position = end;
      }
    }
    return { records, nextOffset, highWatermark };
  }

  async offsetForTimestamp(timestamp: number): Promise<{ offset: number; timestamp: number } | undefined> {
    const log = this.#log;
    checkTimestamp(timestamp, log.name);
    // The log may go on, be cut, lose its oldest segments and be compacted meanwhile: the next segment is the one that holds
    // the next offset then.
    for (let next = log.start; next < log.highWatermark; ) {
      next = Math.max(next, log.start);
      const segment: Segment = this.#segments.all[this.#segments.indexOf(next)]!;
      if (segment.end <= next) return undefined;
      if (segment.maxTimestamp < timestamp) {
        next = segment.end;
        continue;
      }
      await segment.prepareLookup();
      if (segment.isClosed) {
        log.checkOpen();
        continue;
      }
      const from = Math.max(segment.lookupTimestamp(timestamp), next);
      next = segment.end;
      if (from >= segment.end) continue;
      const { bytes, file } = segment;
      const length = () => Math.min(bytes.length, segment.length);
      let warmed = 0;
      for (let position = segment.positionOf(from), expected = -1; position < length(); ) {
        if (position + BATCH_HEADER_BYTES > warmed && !segment.isClosed) {
          await segment.warm(position, WARM_BYTES);
          warmed = position + WARM_BYTES;
          if (position >= length()) break;
        }
        const end = segment.checkedEnd(bytes, position, expected);
        if (baseOffsetAt(bytes, position) >= log.highWatermark) return undefined;
        const isYoung = segment.maxTimestampIn(bytes, position) >= timestamp && !isControlAt(bytes, position);
        // A batch that is passed over says itself that it may be.
        if (!isYoung) this.#checkCrc(bytes, position, end, [file]);
        if (isYoung) {
          for (const record of await this.#decode(bytes, position, end, [file], true)) {
            if (record.timestamp >= timestamp && record.offset >= log.start) {
              return record.offset < log.highWatermark
                ? { offset: record.offset, timestamp: record.timestamp }
                : undefined;
            }
          }
        }
        expected = lastOffsetAt(bytes, position) + 1;
        position = end;
      }
    }
    return undefined;
  }

  /** The high watermark moved, and perhaps the last stable offset with it. */
  wake(): void {
    if (this.#waiters.length === 0) return;
    const waiting: Waiter[] = [];
    const due: Waiter[] = [];
    for (const waiter of this.#waiters) {
      if (this.#limitOf(waiter.limit) > waiter.offset && this.#isDue(waiter)) due.push(waiter);
      else waiting.push(waiter);
    }
    this.#waiters = waiting;
    for (const waiter of due) this.#answer(waiter);
  }

  /** The log start or end moved, or the log is closed: every waiter is answered by what holds now. */
  wakeAll(error?: Error): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (error === undefined) {
        this.#answer(waiter);
      } else {
        this.#environment.cancel(waiter.timer);
        waiter.reject(error);
      }
    }
  }

  #isDue(waiter: Waiter): boolean {
    if (waiter.minBytes <= 1) return true;
    try {
      const limit = this.#limitOf(waiter.limit);
      this.#locator.extend(waiter.offset, waiter.maxBytes, limit);
      // A whole batch that does not fit any more ends the wait as well.
      return this.#locator.to - this.#locator.from >= waiter.minBytes || this.#locator.next < limit;
    } catch {
      return true;
    }
  }

  #enough(result: ReadViewsResult, minBytes: number, limit: ReadLimit): boolean {
    if (result.views.length === 0) return minBytes <= 0;
    if (result.nextOffset < this.#limitOf(limit)) return true;
    let bytes = 0;
    for (const view of result.views) bytes += view.length;
    return bytes >= minBytes;
  }

  #answer(waiter: Waiter): void {
    this.#environment.cancel(waiter.timer);
    const at = this.#waiters.indexOf(waiter);
    if (at >= 0) this.#waiters.splice(at, 1);
    try {
      waiter.resolve(this.#found(this.viewsFrom(waiter.offset, waiter.maxBytes, waiter.limit)));
    } catch (error) {
      waiter.reject(error);
    }
  }

  /** Directly after `viewsFrom`. */
  #found(result: ReadViewsResult): FoundViews {
    return { result, files: result.views.length > 0 ? this.#locator.files() : [] };
  }

  async #find(offset: number, options: ReadOptions | undefined): Promise<FoundViews> {
    checkOffset(offset, this.#log.name);
    if (options === undefined) return this.#poll(offset, NO_OPTIONS, 'committed');
    checkReadOptions(options);
    if (options.isolation !== 'read_committed') return this.#poll(offset, options, 'committed');
    const { result, files } = await this.#poll(offset, options, 'stable');
    const [first] = result.views;
    const aborted =
      first === undefined ? [] : await this.#log.abortedBetween(baseOffsetAt(first, 0), result.nextOffset);
    const abortedTransactions = aborted.map(({ producerId, firstOffset }) => ({ producerId, firstOffset }));
    return { result: { ...result, abortedTransactions }, files };
  }

  async #poll(offset: number, options: ReadOptions, limit: ReadLimit): Promise<FoundViews> {
    const maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
    const maxWaitMs = options.maxWaitMs ?? 0;
    const minBytes = Math.min(options.minBytes ?? (maxWaitMs > 0 ? 1 : 0), maxBytes);
    const cold = this.warm(offset, maxBytes, limit);
    if (cold !== undefined) {
      await cold;
      this.#log.checkOpen();
    }
    const result = this.viewsFrom(offset, maxBytes, limit);
    if (maxWaitMs <= 0 || this.#enough(result, minBytes, limit)) return this.#found(result);
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { offset, maxBytes, minBytes, limit, resolve, reject, timer: undefined };
      waiter.timer = this.#environment.after(Math.min(maxWaitMs, MAX_TIMER_MS), () => this.#answer(waiter));
      this.#waiters.push(waiter);
    });
  }

  /** The records are copies; `files`: those that the bytes come from. */
  async #decode(
    bytes: Buffer,
    position: number,
    end: number,
    files: readonly SegmentFile[],
    checkCrc: boolean,
  ): Promise<Record[]> {
    try {
      const records = await decodeBatchAsync(bytes, position, end, { checkCrc, copy: true });
      // A page may have been lost between the check of the CRC and the copy.
      for (const file of files) checkReadable(file);
      return records;
    } catch (error) {
      for (const file of files) checkReadable(file);
      if (!(error instanceof VarveError) || error.code !== 'CORRUPT_BATCH') throw error;
      throw this.#corrupt(baseOffsetAt(bytes, position), error.message, files, error);
    }
  }

  #checkCrc(bytes: Buffer, position: number, end: number, files: readonly SegmentFile[]): void {
    if (crc32c(bytes, position + CRC_START, end) === crcAt(bytes, position)) return;
    throw this.#corrupt(baseOffsetAt(bytes, position), 'its CRC32C does not match', files);
  }

  /** A page that was lost explains anything: then it is that which is thrown. */
  #corrupt(offset: number, what: string, files: readonly SegmentFile[], cause?: unknown): VarveError {
    for (const file of files) checkReadable(file);
    return new VarveError(
      'CORRUPT_LOG',
      `${this.#log.name}, batch at offset ${offset}: ${what}. Nothing was deleted; restore this replica from a peer or a backup`,
      { cause },
    );
  }

  #limitOf(limit: ReadLimit): number {
    const log = this.#log;
    return limit === 'committed' ? log.highWatermark : limit === 'end' ? log.end : log.lastStableOffset;
  }

  /** Replication also sends what readers do not see any more. */
  #startOf(limit: ReadLimit): number {
    return limit === 'end' ? this.#log.physicalStart : this.#log.start;
  }

  #checkRange(offset: number, start: number): void {
    const { name, end } = this.#log;
    if (offset >= start && offset <= end && Number.isInteger(offset)) return;
    checkOffset(offset, name);
    throw new VarveError(
      'OFFSET_OUT_OF_RANGE',
      `${name}: offset ${offset} is outside the log, which holds [${start}, ${end}); read on from one of its ends`,
    );
  }
}
