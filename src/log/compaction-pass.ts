/**
 * One compaction of one log (docs/STORE.md, "Compaction").
 *
 *   1. Sealed segments below the last stable offset and the durable end are chosen.
 *   2. Their headers are read for the last batches of producers; from the offset where the last pass ended, the keys of
 *      records go into the offset map, until it is full.
 *   3. From the log start on, neighbouring segments that fit into one are rewritten into a new file, with indexes, all
 *      durable. Nobody refers to it yet. A segment in which nothing changes is not written: the file begins, with a copy
 *      of what came before, once there is a difference.
 *   4. The log swaps it in (`CompactibleLog.swap`).
 *
 * Groups are swapped in the order of offsets, and the pass ends at the first one that cannot be: so whatever a tombstone
 * hides is gone before the tombstone's horizon is set, and long before the tombstone goes.
 *
 * Nothing here holds the store's turn but the swap. Files are read and written in pieces, off the event loop, and rationed.
 */
import { type CompactionRules, compactBatch, isJudged, keysOf } from '../compaction/batch-compaction.js';
import { ChainWriter } from '../compaction/chain-writer.js';
import { OffsetMap, SALT_BYTES } from '../compaction/offset-map.js';
import { ProducerBatches } from '../compaction/producer-batches.js';
import { crc32c } from '../disk/addon.js';
import type { Disk } from '../disk/disk.js';
import { type Environment, turn } from '../environment.js';
import { VarveError } from '../errors.js';
import type { AbortedTransaction } from '../index/txn-index.js';
import { isControlAt, producerIdAt } from '../record/record-batch.js';
import { compactedName } from '../segment/file-names.js';
import type { Segment } from '../segment/segment.js';
import type { ByteRation } from './byte-ration.js';
import type { CompactionEnd, CompactionReport } from './compaction-report.js';
import { CompactedFile } from './compacted-file.js';
import { type CompactedSegment, type LogSegments, MAX_SEGMENT_OFFSETS } from './log-segments.js';
import type { LogOptions } from './options.js';
import { readPiece, segmentBatches, type StoredBatch } from './segment-batches.js';

/** The compacted segment is written, and synced, in steps of this size. */
const WRITE_BYTES = 4 * 1024 * 1024;
/** The event loop is given back after this long. */
const SLICE_MS = 2;

export interface SegmentSwap {
  readonly replaced: readonly Segment[];
  readonly compacted: CompactedSegment;
  readonly tombstonesRemovedTo: number;
}

/** What a pass asks of a log. */
export interface CompactibleLog {
  readonly options: LogOptions;
  readonly segments: LogSegments;
  readonly isClosed: boolean;
  readonly start: number;
  /** What lies below it is durable, and will neither be cut nor be part of a transaction that has not ended. */
  readonly compactableTo: number;
  readonly compactedTo: number;
  /** Aborted transactions with records in [from, to), which lies below `compactableTo`. */
  abortedBetween(from: number, to: number): Promise<readonly AbortedTransaction[]>;
  /** False for one that was forgotten because it wrote nothing for long. */
  knowsProducer(producerId: number): boolean;
  /** Makes the swap count. @returns false when the segments are no longer there. @throws VarveError DISK_FAILED */
  swap(swap: SegmentSwap): Promise<boolean>;
  /** All records below the offset have been judged. */
  noteCompacted(to: number): void;
}

export interface PassGround {
  readonly disk: Disk;
  readonly bufferBytes: number;
  readonly ration: ByteRation;
  readonly signal: AbortSignal;
  readonly environment: Environment;
}

/** The sealed segments that may be compacted now, from the log start on. */
function compactableSegments(log: CompactibleLog, now: number): Segment[] {
  const { minCompactionLagMs } = log.options;
  const found: Segment[] = [];
  for (const segment of log.segments.list.all) {
    if (segment === log.segments.list.active || segment.end > log.compactableTo) break;
    const isDirty = segment.end > log.compactedTo;
    if (isDirty && minCompactionLagMs > 0 && segment.maxTimestamp > now - minCompactionLagMs) break;
    found.push(segment);
  }
  return found;
}

/** Of the bytes that may be compacted, the share that no pass has judged: 0 to 1. */
export function dirtyRatio(log: CompactibleLog, now: number): number {
  let dirty = 0;
  let all = 0;
  for (const { end, length } of compactableSegments(log, now)) {
    all += length;
    if (end > log.compactedTo) dirty += length;
  }
  return all === 0 ? 0 : dirty / all;
}

export class CompactionPass {
  readonly #log: CompactibleLog;
  readonly #ground: PassGround;
  /** Wall clock when the pass was made. */
  readonly #now: number;
  readonly #producers = new ProducerBatches();
  #from = 0;
  #to = 0;
  #recordsKept = 0;
  #recordsRemoved = 0;
  #segmentsBefore = 0;
  #segmentsAfter = 0;
  #bytesBefore = 0;
  #bytesAfter = 0;
  #bytesRead = 0;
  #bytesWritten = 0;
  #sliceEnd = 0;
  #reading: Segment | undefined;
  /** With records in it. */
  #aborted: readonly AbortedTransaction[] = [];

  constructor(log: CompactibleLog, ground: PassGround) {
    this.#log = log;
    this.#ground = ground;
    this.#now = ground.environment.now();
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** @throws VarveError DISK_FAILED */
  async run(): Promise<CompactionReport> {
    try {
      return this.#report(await this.#run());
    } catch (error) {
      const end = this.#endOf(error);
      if (end === undefined) throw error;
      return this.#report(end, (error as Error).message);
    }
  }

  async #run(): Promise<CompactionEnd> {
    const log = this.#log;
    const segments = compactableSegments(log, this.#now);
    const last = segments.at(-1);
    if (last === undefined) return 'nothing-to-do';
    const damaged = segments.find((segment) => segment.damaged.length > 0);
    if (damaged !== undefined) throw damaged.corrupt(damaged.damaged[0]!.from, damaged.damaged[0]!.reason);
    const map = await this.#readKeys(segments, last.end);
    const rules: CompactionRules = {
      map,
      mapEnd: this.#to,
      now: this.#now,
      deleteRetentionMs: log.options.deleteRetentionMs,
      isProducersLast: (producerId, baseOffset) =>
        log.knowsProducer(producerId) && this.#producers.isLast(producerId, baseOffset),
      isAborted: this.#isAborted,
    };
    for (const group of groupsOf(segments, this.#to, log.options.segmentBytes)) await this.#compactGroup(group, rules);
    log.noteCompacted(this.#to);
    return this.#to < last.end ? 'buffer-full' : 'complete';
  }

  /** Fills the map from the offset where the last pass ended; `#to` is how far it got. */
  async #readKeys(segments: readonly Segment[], end: number): Promise<OffsetMap> {
    const log = this.#log;
    this.#from = Math.min(end, Math.max(log.start, log.compactedTo));
    this.#to = end;
    const map = new OffsetMap(
      this.#ground.bufferBytes,
      end - this.#from,
      this.#ground.environment.randomBytes(SALT_BYTES),
    );
    for (const segment of segments) {
      for await (const batch of this.#batches(segment)) {
        const { bytes, position, baseOffset, lastOffset } = batch;
        const producerId = producerIdAt(bytes, position);
        if (producerId >= 0 && !isControlAt(bytes, position)) this.#producers.add(producerId, baseOffset);
        const isNew = lastOffset >= this.#from && baseOffset < this.#to;
        if (isNew && isJudged(bytes, position, this.#isAborted)) await this.#noteKeys(batch, map);
      }
    }
    return map;
  }

  async #noteKeys({ bytes, position, end }: StoredBatch, map: OffsetMap): Promise<void> {
    for (const { offset, key } of await keysOf(bytes, position, end)) {
      if (offset < this.#from) continue;
      if (!map.put(key, offset)) {
        this.#to = offset;
        return;
      }
    }
  }

  async #compactGroup(group: readonly Segment[], rules: CompactionRules): Promise<void> {
    const name = compactedName(group[0]!);
    const { segments, options } = this.#log;
    const output = new CompactedFile(this.#ground.disk, segments.path(name), segments.identityOf(name), options);
    // What an earlier attempt may have left must not lie behind what is written now.
    await output.remove();
    let result: GroupResult;
    try {
      result = await this.#rewrite(group, rules, output);
      this.#checkGoingOn();
    } catch (error) {
      await output.remove().catch(() => {});
      throw error;
    }
    this.#recordsKept += result.kept;
    this.#recordsRemoved += result.removed;
    if (!result.isChanged) return output.remove();
    const { length } = output;
    const compacted = { name, length, maxTimestamp: output.indexes.maxTimestamp };
    // From here on the journal may name the file, whatever happens.
    const counts = await this.#log.swap({
      replaced: group,
      compacted,
      tombstonesRemovedTo: result.tombstonesRemovedTo,
    });
    if (!counts) {
      await output.remove();
      throw interrupted();
    }
    this.#segmentsBefore += group.length;
    this.#segmentsAfter++;
    for (const segment of group) this.#bytesBefore += segment.length;
    this.#bytesAfter += length;
  }

  /** Writes what is left of the group, durably. */
  async #rewrite(group: readonly Segment[], rules: CompactionRules, output: CompactedFile): Promise<GroupResult> {
    const chain = new ChainWriter(group[0]!.base, (bytes, baseOffset, lastOffset) =>
      output.add(bytes, baseOffset, lastOffset),
    );
    let kept = 0;
    let removed = 0;
    let tombstonesRemovedTo = 0;
    let inputBytes = 0;
    let inputCrc = 0;
    let skippedBytes = 0;
    let skippedCrc = 0;
    /** Several segments become one, so that is a difference in itself. */
    let isChanged = group.length > 1;
    const write = async (): Promise<void> => {
      isChanged ||= output.length !== inputBytes || output.crc !== inputCrc;
      if (!isChanged) {
        output.skip();
        skippedBytes = inputBytes;
        skippedCrc = inputCrc;
        return;
      }
      await this.#copy(group[0]!, output, skippedBytes, skippedCrc);
      skippedBytes = 0;
      await this.#write(output);
    };
    for (const segment of group) {
      for await (const { bytes, position, end, baseOffset, lastOffset, epoch } of this.#batches(segment)) {
        inputCrc = crc32c(bytes, position, end, inputCrc);
        inputBytes += end - position;
        const batch = await compactBatch(bytes, position, end, rules);
        chain.add(batch.bytes, baseOffset, lastOffset, epoch);
        kept += batch.kept;
        removed += batch.removed;
        tombstonesRemovedTo = Math.max(tombstonesRemovedTo, batch.tombstonesRemovedTo);
        if (output.pendingBytes >= WRITE_BYTES) await write();
      }
    }
    chain.finish();
    await write();
    if (isChanged) await output.finish();
    return { kept, removed, tombstonesRemovedTo, isChanged };
  }

  async #write(output: CompactedFile): Promise<void> {
    this.#bytesWritten += output.pendingBytes;
    await this.#ground.ration.take(output.pendingBytes);
    this.#checkGoingOn();
    await output.write();
  }

  /** The first bytes of a segment, which had this CRC when they were read before. */
  async #copy(segment: Segment, output: CompactedFile, length: number, crc: number): Promise<void> {
    let copiedCrc = 0;
    for (let at = 0; at < length; at += WRITE_BYTES) {
      const wanted = Math.min(WRITE_BYTES, length - at);
      await this.#ground.ration.take(2 * wanted);
      this.#checkGoingOn();
      const bytes = await readPiece(this.#ground.disk, segment, at, wanted);
      this.#bytesRead += bytes.length;
      this.#bytesWritten += bytes.length;
      copiedCrc = crc32c(bytes, 0, bytes.length, copiedCrc);
      await output.writeAt(at, bytes);
    }
    if (copiedCrc !== crc) throw segment.corrupt(0, `its first ${length} bytes do not read back as they did before`);
  }

  /** The batches of a segment, rationed, with breaks for whatever else is to be done. */
  async *#batches(segment: Segment): AsyncGenerator<StoredBatch> {
    this.#reading = segment;
    this.#aborted = await this.#log.abortedBetween(segment.base, segment.end);
    for await (const batch of segmentBatches(this.#ground.disk, segment)) {
      if (this.#ground.environment.monotonic() > this.#sliceEnd) {
        await turn(this.#ground.environment);
        this.#sliceEnd = this.#ground.environment.monotonic() + SLICE_MS;
      }
      const size = batch.end - batch.position;
      this.#bytesRead += size;
      await this.#ground.ration.take(size);
      this.#checkGoingOn();
      yield batch;
    }
  }

  readonly #isAborted = (producerId: number, baseOffset: number): boolean =>
    this.#aborted.some(
      (transaction) =>
        transaction.producerId === producerId &&
        baseOffset >= transaction.firstOffset &&
        baseOffset <= transaction.lastOffset,
    );

  /** @throws VarveError CLOSED */
  #checkGoingOn(): void {
    if (this.#ground.signal.aborted || this.#log.isClosed || this.#reading?.isClosed) throw interrupted();
  }

  /** Undefined: the disk failed, or something that must not happen has. */
  #endOf(error: unknown): CompactionEnd | undefined {
    if (!(error instanceof VarveError)) return undefined;
    switch (error.code) {
      case 'CLOSED':
        return 'interrupted';
      case 'DISK_FULL':
        return 'disk-full';
      case 'CORRUPT_LOG':
        return this.#reading?.isClosed ? 'interrupted' : 'damaged';
      default:
        return undefined;
    }
  }

  #report(end: CompactionEnd, reason?: string): CompactionReport {
    return {
      end,
      from: this.#from,
      to: this.#to,
      recordsKept: this.#recordsKept,
      recordsRemoved: this.#recordsRemoved,
      segmentsBefore: this.#segmentsBefore,
      segmentsAfter: this.#segmentsAfter,
      bytesBefore: this.#bytesBefore,
      bytesAfter: this.#bytesAfter,
      ...(reason !== undefined && end !== 'interrupted' && { reason }),
    };
  }
}

interface GroupResult {
  readonly kept: number;
  readonly removed: number;
  readonly tombstonesRemovedTo: number;
  readonly isChanged: boolean;
}

/** Neighbouring segments that fit into one, up to the one that holds the last offset below `to`. */
export function* groupsOf(segments: readonly Segment[], to: number, segmentBytes: number): Generator<Segment[]> {
  let group: Segment[] = [];
  let bytes = 0;
  for (const segment of segments) {
    if (segment.base >= to) break;
    const fits = bytes + segment.length <= segmentBytes && segment.end - (group[0]?.base ?? 0) <= MAX_SEGMENT_OFFSETS;
    if (group.length > 0 && !fits) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(segment);
    bytes += segment.length;
  }
  if (group.length > 0) yield group;
}

function interrupted(): VarveError {
  return new VarveError('CLOSED', 'compaction was interrupted: the log was closed, or its segments were deleted');
}
