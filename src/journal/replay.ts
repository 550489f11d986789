/**
 * Replay: folds the journal's records after a checkpoint into the state of each log, in memory. Truncations cut what
 * came before them, so that of all journalled bytes only those that survive every later truncation are written.
 *
 * A record is already in the checkpoint if its generation is older than the checkpoint's, or the same with offsets below
 * the durable mark: the first journal file that a checkpoint needs usually begins with such records. From the first record
 * on that is not, all of them have to join on to each other.
 *
 * A durable mark (direct flush) moves the durable end without bytes: those are in the segment, synced. So what was
 * journalled may have gaps, each of which ends at a mark. Marks never hold the start of a leader epoch, or a
 * configuration: those are journalled.
 *
 * What can go wrong: records of one log that do not join up are CORRUPT_JOURNAL, since the stream has one order and a
 * sync covers all that precedes it.
 */
import type { JournalRecord } from '../disk/journal-format.js';
import { VarveError } from '../errors.js';
import { EpochIndex } from '../index/epoch-index.js';
import { BATCH_HEADER_BYTES, baseOffsetAt, batchSizeAt, epochAt } from '../record/record-batch.js';
import type { SegmentName } from '../segment/file-names.js';
import { ConfigurationHistory } from './configuration-history.js';
import {
  decodeHardState,
  decodeLogStart,
  decodeRelaxed,
  decodeReset,
  decodeSwap,
  decodeTruncation,
  RecordType,
} from './journal-records.js';
import type { LogState } from './log-state.js';

/** Journalled bytes that survive: where they belong, and which record of the log holds them. */
export interface Piece {
  readonly segmentBase: number;
  readonly position: number;
  readonly length: number;
  /** Bytes at the front of the record's payload that belong to what the checkpoint covers already. */
  readonly skip: number;
  readonly startOffset: number;
  readonly endOffset: number;
  /** Counts the log's records in journal order, from 0. */
  readonly record: number;
}

/** A segment after replay. `tag` −1: rolled after the checkpoint; its file is the one in the directory, if there is one. */
export interface FoldedSegment {
  readonly base: number;
  readonly tag: number;
  /** Where it ends; −1: as far as its whole batches go. */
  readonly length: number;
  /** Of one that compaction made, whose files are complete. */
  readonly compacted?: { readonly maxTimestamp: number };
}

export interface DurablePoint {
  readonly segmentBase: number;
  readonly position: number;
  readonly offset: number;
}

export class LogFold {
  readonly state: LogState;
  term: number;
  vote: number;
  forgot: number | undefined;
  logStart: number;
  hwFloor: number;
  generation: number;
  relaxed: boolean;
  tombstonesRemovedTo: number;
  segments: FoldedSegment[];
  pieces: Piece[] = [];
  /** Of everything up to `durable`, also where the log start has passed it and nobody will read it from a segment again. */
  readonly epochs: EpochIndex;
  /** Likewise. */
  readonly configurations: ConfigurationHistory;
  /** Segments that truncations removed, or compaction replaced. */
  readonly removed: SegmentName[] = [];
  /** The checkpoint's durable mark, lowered by truncations: nothing below it is in the journal. */
  mark: DurablePoint | undefined;
  /** Ends of what direct flushes made durable and no truncation cut, in order. */
  directEnds: DurablePoint[] = [];
  /** Records seen, and of those the ones that changed something. */
  recordCount = 0;
  appliedCount = 0;
  #tail: DurablePoint | undefined;
  /** Nothing was applied yet that moved the end: what lies below it is in the checkpoint. */
  #maybeCovered = true;

  constructor(state: LogState) {
    this.state = state;
    this.term = state.term;
    this.vote = state.vote;
    this.forgot = state.forgot;
    this.logStart = state.logStart;
    this.hwFloor = state.hwFloor;
    this.generation = state.generation;
    this.relaxed = state.relaxed;
    this.tombstonesRemovedTo = state.tombstonesRemovedTo ?? 0;
    this.epochs = EpochIndex.fromEntries(state.epochs.map(([epoch, startOffset]) => ({ epoch, startOffset })));
    this.configurations = ConfigurationHistory.fromRows(state.configurations);
    const last = state.segments.at(-1);
    this.segments = state.segments.map((segment) => ({ ...segment }));
    if (last !== undefined) {
      this.segments[this.segments.length - 1] = { base: last.base, tag: last.tag, length: -1 };
      this.mark = { segmentBase: last.base, position: last.length, offset: state.end };
      this.#tail = this.mark;
    }
  }

  /** Everything below this was durable when the journal ended. */
  get durable(): DurablePoint | undefined {
    return this.#tail;
  }

  apply(record: JournalRecord): void {
    const ordinal = this.recordCount++;
    switch (record.type) {
      case RecordType.Batches:
        this.#applyBatches(record, ordinal);
        break;
      case RecordType.DurableMark:
        this.#applyMark(record);
        break;
      case RecordType.HardState: {
        const { term, vote, forgot } = decodeHardState(record.payload);
        // Those that the checkpoint covers already come in their order, the last of them included.
        if (term < this.term) break;
        if (term > this.term || vote !== 0) this.vote = vote;
        this.term = term;
        this.forgot = forgot;
        this.appliedCount++;
        break;
      }
      case RecordType.Truncation:
        this.#applyTruncation(record);
        break;
      case RecordType.LogStart:
        this.logStart = Math.max(this.logStart, decodeLogStart(record.payload));
        this.appliedCount++;
        break;
      case RecordType.Relaxed:
        this.relaxed = decodeRelaxed(record.payload);
        this.appliedCount++;
        break;
      case RecordType.Swap:
        this.#applySwap(record);
        break;
      case RecordType.Reset:
        this.#applyReset(record);
        break;
      default:
        throw this.#corrupt(`a record of type ${record.type}, which this build does not know`);
    }
  }

  #applyBatches(record: JournalRecord, ordinal: number): void {
    if (!this.#moves(record)) return;
    const tail = this.#tail;
    const { segmentBaseOffset: segmentBase, lastOffset } = record;
    // The journal joins neighbouring appends into one record, so a record may begin below the mark of a checkpoint that
    // was captured between two of them. Both the mark and the record's end are batch boundaries.
    const isFirst = this.#maybeCovered && tail !== undefined && segmentBase === tail.segmentBase;
    const skip = isFirst ? Math.max(0, tail.position - record.position) : 0;
    const position = record.position + skip;
    const length = record.payload.length - skip;
    const startOffset = tail?.offset ?? segmentBase;
    const joins =
      tail !== undefined && segmentBase === tail.segmentBase
        ? position === tail.position
        : segmentBase === startOffset && position === 0;
    if (!joins || length <= 0 || lastOffset < startOffset) throw this.#apart('batches', segmentBase, position);
    this.#extendTo({ segmentBase, position: position + length, offset: lastOffset + 1 }, startOffset);
    this.pieces.push({ segmentBase, position, length, skip, startOffset, endOffset: lastOffset + 1, record: ordinal });
    this.#noteEpochs(record, skip);
    this.configurations.noteBatches(record.payload, skip, record.payload.length);
  }

  #applyMark(record: JournalRecord): void {
    if (!this.#moves(record)) return;
    const tail = this.#tail;
    const { segmentBaseOffset: segmentBase, position, lastOffset, epoch } = record;
    const startOffset = tail?.offset ?? segmentBase;
    const joins =
      tail !== undefined && segmentBase === tail.segmentBase
        ? position > tail.position
        : segmentBase === startOffset && position > 0;
    if (!joins || lastOffset < startOffset) throw this.#apart('durable bytes that end', segmentBase, position);
    if (epoch !== this.epochs.lastEpoch) {
      throw this.#corrupt(`a durable mark has epoch ${epoch}, but the last one known is ${this.epochs.lastEpoch}`);
    }
    const end = { segmentBase, position, offset: lastOffset + 1 };
    this.#extendTo(end, startOffset);
    this.directEnds.push(end);
  }

  /** False for a record that the checkpoint covers. */
  #moves({ generation, hwFloor, lastOffset }: JournalRecord): boolean {
    if (generation < this.generation) return false;
    if (generation > this.generation) {
      throw this.#corrupt(`batches of generation ${generation} follow generation ${this.generation}`);
    }
    this.hwFloor = Math.max(this.hwFloor, hwFloor);
    return !this.#maybeCovered || this.#tail === undefined || lastOffset >= this.#tail.offset;
  }

  #extendTo(end: DurablePoint, startOffset: number): void {
    const { segmentBase } = end;
    if (this.#tail === undefined || segmentBase !== this.#tail.segmentBase) {
      this.#endLastSegment(this.#tail?.position ?? 0);
      this.segments.push({ base: segmentBase, tag: -1, length: -1 });
    }
    this.mark ??= { segmentBase, position: 0, offset: startOffset };
    this.#tail = end;
    this.#maybeCovered = false;
    this.appliedCount++;
  }

  /** A record names the epoch of its last batch; the batches before it may be older. */
  #noteEpochs({ epoch, payload }: JournalRecord, skip: number): void {
    if (epoch <= this.epochs.lastEpoch) return;
    for (let at = skip; at + BATCH_HEADER_BYTES <= payload.length; at += batchSizeAt(payload, at)) {
      if (epochAt(payload, at) > this.epochs.lastEpoch)
        this.epochs.append(epochAt(payload, at), baseOffsetAt(payload, at));
    }
  }

  #applyTruncation(record: JournalRecord): void {
    if (record.generation <= this.generation) return;
    const { to, endSegment, endLength, newTag, removed } = decodeTruncation(record.payload);
    this.generation = record.generation;
    this.appliedCount++;
    this.removed.push(...removed);
    this.segments = this.segments.filter((segment) => segment.base < to);
    if (endSegment !== undefined) {
      const last = this.segments.at(-1);
      if (last?.base !== endSegment.base)
        throw this.#corrupt(`a truncation ends segment ${endSegment.base}, which is not there`);
      this.segments[this.segments.length - 1] = { ...last, tag: endSegment.tag, length: endLength };
    }
    this.segments.push({ base: to, tag: newTag, length: -1 });
    const kept: Piece[] = [];
    for (const piece of this.pieces) {
      if (piece.endOffset <= to) kept.push(piece);
      else if (piece.startOffset < to) {
        // One record may carry several batches, of which the first ones stay.
        kept.push({ ...piece, length: endLength - piece.position, endOffset: to });
      }
    }
    this.pieces = kept;
    this.directEnds = this.directEnds.filter((end) => end.offset <= to);
    this.#maybeCovered = false;
    this.epochs.truncateTo(to);
    this.configurations.truncateTo(to);
    const start: DurablePoint = { segmentBase: to, position: 0, offset: to };
    if (this.mark === undefined || this.mark.offset >= to) this.mark = start;
    if (this.#tail === undefined || this.#tail.offset >= to) this.#tail = start;
  }

  /** What the log held is gone, and so is what the journal holds for it. */
  #applyReset(record: JournalRecord): void {
    if (record.generation <= this.generation) return;
    const { logStart, segment, removed, epochs, configurations } = decodeReset(record.payload);
    this.generation = record.generation;
    this.appliedCount++;
    this.removed.push(...removed);
    this.segments = [{ ...segment, length: -1 }];
    this.pieces = [];
    this.directEnds = [];
    this.logStart = Math.max(this.logStart, logStart);
    this.hwFloor = Math.max(this.hwFloor, logStart);
    this.epochs.reset(epochs.map(([epoch, startOffset]) => ({ epoch, startOffset })));
    this.configurations.reset(configurations);
    this.#maybeCovered = false;
    this.mark = { segmentBase: segment.base, position: 0, offset: segment.base };
    this.#tail = this.mark;
  }

  /**
   * The new segment was synced before the record was written, so nothing of those it replaces is needed any more: neither
   * their files nor what the journal holds for them. A swap that the checkpoint covers, or whose segments were deleted
   * since, finds none of them.
   */
  #applySwap(record: JournalRecord): void {
    const { replaced, tag, length, end, maxTimestamp, tombstonesRemovedTo } = decodeSwap(record.payload);
    const isReplaced = (segment: FoldedSegment): boolean =>
      replaced.some((name) => name.base === segment.base && (segment.tag === -1 || name.tag === segment.tag));
    const first = this.segments.findIndex(isReplaced);
    if (first < 0) return;
    const base = replaced[0]!.base;
    const following = this.segments[first + replaced.length];
    const allThere = replaced.every((name, i) => {
      const segment = this.segments[first + i];
      return segment?.base === name.base && isReplaced(segment);
    });
    // The segment that follows is not known here while nothing was stored in it.
    if (!allThere || (following?.base ?? this.#tail?.offset) !== end) {
      throw this.#corrupt(
        `a compaction replaces segments from ${base} up to offset ${end}, which are not there like that`,
      );
    }
    this.segments.splice(first, replaced.length, { base, tag, length, compacted: { maxTimestamp } });
    this.removed.push(...replaced);
    this.pieces = this.pieces.filter((piece) => !replaced.some((name) => name.base === piece.segmentBase));
    this.directEnds = this.directEnds.filter((point) => !replaced.some((name) => name.base === point.segmentBase));
    const start: DurablePoint = { segmentBase: base, position: length, offset: end };
    if (this.mark !== undefined && this.mark.segmentBase >= base && this.mark.segmentBase < end) this.mark = start;
    if (this.#tail !== undefined && this.#tail.segmentBase >= base && this.#tail.segmentBase < end) this.#tail = start;
    this.tombstonesRemovedTo = Math.max(this.tombstonesRemovedTo, tombstonesRemovedTo);
    this.appliedCount++;
  }

  /** A segment that was rolled ends where its durable bytes end. */
  #endLastSegment(length: number): void {
    const last = this.segments.at(-1);
    if (last !== undefined) this.segments[this.segments.length - 1] = { ...last, length };
  }

  #apart(what: string, segmentBase: number, position: number): VarveError {
    const tail = this.#tail;
    return this.#corrupt(
      `${what} at segment ${segmentBase}, position ${position}, do not join on to segment ${tail?.segmentBase}, position ${tail?.position}`,
    );
  }

  #corrupt(what: string): VarveError {
    const { topic, partition, topicId } = this.state;
    return new VarveError('CORRUPT_JOURNAL', `journal of ${topic}-${partition} (topic id ${topicId}): ${what}`);
  }
}
