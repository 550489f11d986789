/**
 * Appending to one log: a run of batches is checked, stamped, stored once at the log end, indexed, and submitted to the
 * journal. All or nothing, and nothing on this path waits.
 *
 * What can go wrong: DISK_FULL refuses one append and changes nothing; any other failure below fails the whole store.
 */
import { checkKeys } from '../compaction/key-check.js';
import type { FlushMode } from '../disk/disk.js';
import { isMapped } from '../disk/mapped-buffers.js';
import { invariant, VarveError } from '../errors.js';
import { holdsConfiguration } from '../journal/configuration-history.js';
import { encodeLogStart, encodeReset, RecordType } from '../journal/journal-records.js';
import { type ControlKind, encodeControlBatch } from '../record/control-batch.js';
import {
  baseOffsetAt,
  batchSizeAt,
  epochAt,
  hasProducerAt,
  lastOffsetAt,
  lastOffsetDeltaAt,
  maxTimestampAt,
} from '../record/record-batch.js';
import { encodeMarker, type TransactionResult } from '../record/transaction-marker.js';
import { checkStructure } from '../record/validate-batch.js';
import type { Segment } from '../segment/segment.js';
import {
  checkEpoch,
  checkMarkerArguments,
  checkProduced,
  checkReplicated,
  checkRunArguments,
  checkRunSize,
  stampProduced,
} from './batch-run.js';
import type { BatchTail } from './batch-tail.js';
import type { AppendedRange } from './log.js';
import type { LogCursors } from './log-cursors.js';
import type { LogGate } from './log-gate.js';
import { type LogHost, withReserve } from './log-host.js';
import type { LogJournal } from './log-journal.js';
import type { LogParts } from './log-parts.js';
import type { LogSegments } from './log-segments.js';
import type { PartitionProducers } from './partition-producers.js';

export class LogAppender {
  readonly #name: string;
  readonly #host: LogHost;
  readonly #gate: LogGate;
  readonly #cursors: LogCursors;
  readonly #journal: LogJournal;
  readonly #segments: LogSegments;
  readonly #producers: PartitionProducers;
  readonly #tail: BatchTail;
  readonly #flush: FlushMode;
  readonly #compacted: boolean;
  readonly #maxBatchBytes: number;
  readonly #onStored: () => void;
  readonly #onCut: () => void;

  /**
   * @param onStored called whenever the log end has moved
   * @param onCut called when an emptied log is durable as it is
   */
  constructor(parts: LogParts, tail: BatchTail, onStored: () => void, onCut: () => void) {
    this.#name = parts.name;
    this.#host = parts.host;
    this.#gate = parts.gate;
    this.#cursors = parts.cursors;
    this.#journal = parts.journal;
    this.#segments = parts.segments;
    this.#producers = parts.producers;
    this.#tail = tail;
    this.#flush = parts.options.flush;
    this.#compacted = parts.options.cleanup.includes('compact');
    this.#maxBatchBytes = parts.options.maxBatchBytes;
    this.#onStored = onStored;
    this.#onCut = onCut;
  }

  /** @see Log.appendProduced */
  appendProduced(given: Uint8Array, start: number, end: number, epoch = this.#currentEpoch): AppendedRange {
    this.#gate.checkAccepting();
    const bytes = checkRunArguments(given, start, end, this.#name);
    checkEpoch(epoch, this.#cursors.lastEpoch, this.#name);
    const { queue } = this.#host;
    if (queue.overloaded) {
      throw new VarveError(
        'OVERLOADED',
        `${this.#name}: ${queue.pendingBytes} bytes wait for the disk, twice the limit (pendingMaxBytes); wait for whenWritable() before appending`,
      );
    }
    if (!isMapped(bytes)) return this.#produce(bytes, start, end, epoch);
    // A view that a read returned cannot be stamped in place.
    const copy = Buffer.from(bytes.subarray(start, end));
    return this.#produce(copy, 0, copy.length, epoch);
  }

  /**
   * A batch that was built here a moment ago, of records whose keys were checked: its CRC is not computed again. However
   * much waits for the disk, its turn has come.
   */
  appendBuilt(batch: Buffer): AppendedRange {
    this.#gate.checkAccepting();
    this.#gate.checkSpace();
    checkStructure(batch, 0, batch.length, this.#maxBatchBytes);
    return this.#stampAndStore(batch, 0, batch.length, this.#currentEpoch);
  }

  /** @see Log.appendControl */
  appendControl(kind: ControlKind, value: Uint8Array, epoch: number): AppendedRange {
    this.#gate.checkAccepting();
    this.#checkEpochOrder(epoch);
    const baseOffset = this.#cursors.end;
    const batch = encodeControlBatch(kind, value, baseOffset, epoch, this.#host.environment.now());
    withReserve(this.#host, () => this.#storeControl(batch, 0, batch.length, baseOffset + 1));
    return { baseOffset, lastOffset: baseOffset };
  }

  /** @see Log.appendMarker */
  appendMarker(
    producerId: number,
    producerEpoch: number,
    result: TransactionResult,
    coordinatorEpoch: number,
    epoch = this.#currentEpoch,
  ): AppendedRange {
    this.#gate.checkAccepting();
    checkMarkerArguments(producerId, producerEpoch, result, coordinatorEpoch, this.#name);
    checkEpoch(epoch, this.#cursors.lastEpoch, this.#name);
    this.#producers.checkMarker(producerId, producerEpoch, coordinatorEpoch, this.#name);
    const baseOffset = this.#cursors.end;
    const marker = { result, coordinatorEpoch };
    const batch = encodeMarker(producerId, producerEpoch, marker, baseOffset, epoch, this.#host.environment.now());
    this.#store(batch, 0, batch.length, baseOffset + 1, 'sync');
    return { baseOffset, lastOffset: baseOffset };
  }

  /** @see Log.appendReplicated */
  appendReplicated(bytes: Buffer, start: number, end: number, maxEpoch: number): AppendedRange {
    this.#gate.checkAccepting();
    this.#gate.checkSpace();
    checkRunSize(start, end, this.#name);
    const first = baseOffsetAt(bytes, start);
    if (first < this.#cursors.end && this.#mayExtendBack) this.#extendBack(first, lastOffsetAt(bytes, start) + 1);
    const { lastEpoch } = this.#cursors;
    const { active } = this.#segments.list;
    const baseOffset = Math.min(this.#cursors.end, active.length === 0 ? active.base : this.#cursors.end);
    const { endOffset, hasControl } = checkReplicated(bytes, start, end, baseOffset, lastEpoch, maxEpoch, this.#name);
    if (hasControl) this.#storeControl(bytes, start, end, endOffset);
    else this.#store(bytes, start, end, endOffset, this.#flush);
    return { baseOffset, lastOffset: endOffset - 1 };
  }

  /** An empty log that was cut off or reset at its log start: whether a batch begins there is not known. */
  get #mayExtendBack(): boolean {
    const { list } = this.#segments;
    return list.all.length === 1 && list.active.length === 0 && this.#cursors.start === this.#cursors.end;
  }

  /**
   * The log start lies in the batch [base, end): the log goes on in a segment that begins with it.
   * @throws VarveError DISK_FULL
   */
  #extendBack(base: number, end: number): void {
    const cursors = this.#cursors;
    if (end <= cursors.end || base === this.#segments.list.active.base) return;
    const { segment, removed } = withReserve(this.#host, () => this.#segments.reset(base, cursors.generation + 1));
    cursors.extendBack(base);
    const reset = {
      logStart: cursors.start,
      segment,
      removed,
      epochs: cursors.epochs.entries.map(({ epoch, startOffset }) => [epoch, startOffset] as const),
      configurations: cursors.configurations.rows(),
    };
    const { generation, start } = cursors;
    this.#journal.submit(RecordType.Reset, encodeReset(reset), (error) => {
      if (error !== undefined || generation !== cursors.generation) return;
      // A reset just before it carries an older generation: this one speaks for both.
      cursors.truncationDurable(start);
      this.#onCut();
    });
  }

  get #currentEpoch(): number {
    return Math.max(this.#cursors.lastEpoch, 0);
  }

  #checkEpochOrder(epoch: number): void {
    const { lastEpoch } = this.#cursors;
    invariant(epoch >= lastEpoch, `${this.#name}: epoch ${epoch} after epoch ${lastEpoch}`);
  }

  #produce(bytes: Buffer, start: number, end: number, epoch: number): AppendedRange {
    this.#gate.checkSpace();
    checkRunSize(start, end, this.#name);
    this.#checkEpochOrder(epoch);
    if (checkProduced(bytes, start, end, this.#maxBatchBytes)) {
      const duplicate = this.#producers.check(bytes, start, end, this.#name);
      if (duplicate !== undefined) return duplicate;
    }
    if (this.#compacted) checkKeys(bytes, start, end, this.#name);
    return this.#stampAndStore(bytes, start, end, epoch);
  }

  #stampAndStore(bytes: Buffer, start: number, end: number, epoch: number): AppendedRange {
    const baseOffset = this.#cursors.end;
    const endOffset = stampProduced(bytes, start, end, baseOffset, epoch);
    this.#store(bytes, start, end, endOffset, this.#flush);
    return { baseOffset, lastOffset: endOffset - 1 };
  }

  /** Stores a run that has a control batch: synced, whatever the flush mode. */
  #storeControl(bytes: Buffer, start: number, end: number, endOffset: number): void {
    const isConfiguration = holdsConfiguration(bytes, start, end);
    // Replay learns configurations from the journalled copy, since the segment may be deleted before a checkpoint. What
    // follows a record of the log is not flushed directly; saying again where the log starts is such a record.
    const { configurations, startSubmitted } = this.#cursors;
    if (isConfiguration) this.#journal.submit(RecordType.LogStart, encodeLogStart(startSubmitted), () => {});
    this.#store(bytes, start, end, endOffset, 'sync');
    if (isConfiguration) configurations.noteBatches(bytes, start, end);
  }

  /** Stores a run of stamped, checked batches that starts at the log end; all or nothing. */
  #store(bytes: Buffer, start: number, end: number, endOffset: number, mode: FlushMode): void {
    const { segment, position } = this.#storeBytes(bytes, start, end, endOffset);
    invariant(position === segment.length, `${segment.path}: stored at ${position}, expected ${segment.length}`);
    this.#index(segment, bytes, start, end);
    segment.end = endOffset;
    this.#cursors.extend(endOffset);
    this.#journal.submitBatches(segment, position, end - start, mode);
    this.#onStored();
  }

  /** @throws VarveError DISK_FULL (nothing changed) */
  #storeBytes(
    bytes: Buffer,
    start: number,
    end: number,
    endOffset: number,
  ): { readonly segment: Segment; readonly position: number } {
    try {
      const segment = this.#segments.roomFor(end - start, endOffset, this.#cursors.generation);
      return { segment, position: segment.file.append(bytes, start, end) };
    } catch (error) {
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') throw this.#host.fail(error);
      this.#host.noteFull();
      throw error;
    }
  }

  /** Indexes the batches of a run that was stored at the end of the segment. */
  #index(segment: Segment, bytes: Buffer, start: number, end: number): void {
    let position = segment.length;
    for (let pos = start; pos < end; ) {
      const size = batchSizeAt(bytes, pos);
      const baseOffset = baseOffsetAt(bytes, pos);
      this.#cursors.noteEpoch(epochAt(bytes, pos), baseOffset);
      this.#tail.push(baseOffset, segment.place + position);
      if (hasProducerAt(bytes, pos)) this.#producers.apply(bytes, pos);
      segment.indexes.add(position, baseOffset, baseOffset + lastOffsetDeltaAt(bytes, pos), maxTimestampAt(bytes, pos));
      position += size;
      pos += size;
    }
    segment.length = position;
    segment.maxTimestamp = segment.indexes.maxTimestamp;
    segment.dirty = true;
  }
}
