/**
 * Compaction of one batch: which of its records stay, and the bytes that are left.
 *
 * A record goes when its key has a later one, or when it is a tombstone (null value) whose batch's delete horizon has
 * passed. The first compaction that keeps a tombstone sets the horizon of its batch: attribute bit 6, and the base
 * timestamp becomes the horizon (KIP-534). What stays keeps offset, timestamp, key, value and headers; the batch keeps its
 * offsets, leader epoch, producer fields, timestamp type and codec.
 *
 * Left as they are: control batches, records without a key, records that the offset map does not reach, and batches whose
 * records do not decode (nobody looks into them when they are appended). Records of aborted transactions go.
 *
 * The caller passes batches whose structure and CRC have been checked. Nothing can go wrong then.
 */
import { VarveError } from '../errors.js';
import { completeBatch } from '../record/batch-header.js';
import { codecFor } from '../record/codecs.js';
import { forEachRecordAsync } from '../record/decode.js';
import type { RecordVisitor } from '../record/record-visitor.js';
import { emptied } from '../record/empty-batch.js';
import { MAX_STORED_BATCH_BYTES } from '../record/limits.js';
import {
  ATTRIBUTES_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  DELETE_HORIZON_BIT,
  LOG_APPEND_TIME_BIT,
  MAX_TIMESTAMP_AT,
  RECORD_COUNT_AT,
  attributesAt,
  baseOffsetAt,
  codecAt,
  compressionOf,
  deleteHorizonAt,
  isControlAt,
  isTransactionalAt,
  producerIdAt,
  recordCountAt,
  writeInt64,
} from '../record/record-batch.js';
import { VarintReader, sizeOfVarint, writeVarint } from '../record/varint.js';
import type { OffsetMap } from './offset-map.js';

/** What records may be that nobody looked into. */
const UNDECODABLE: ReadonlySet<string> = new Set(['CORRUPT_BATCH', 'UNSUPPORTED_CODEC', 'BATCH_TOO_LARGE']);
/** A varint takes one to ten bytes. */
const MAX_GROWTH_BYTES = 9;

/** True for a transactional batch whose transaction was aborted; every transaction has ended. */
export type AbortedBatches = (producerId: number, baseOffset: number) => boolean;

export interface CompactionRules {
  readonly map: OffsetMap;
  /** The map knows the records below this offset; the rest is not judged. */
  readonly mapEnd: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly deleteRetentionMs: number;
  /** True for a batch that is needed to tell its producer's duplicates. */
  readonly isProducersLast: (producerId: number, baseOffset: number) => boolean;
  readonly isAborted: AbortedBatches;
}

export interface CompactedBatch {
  /** The whole batch; undefined when nothing of it is left, and its offsets are to be covered by somebody else. */
  readonly bytes: Buffer | undefined;
  readonly kept: number;
  readonly removed: number;
  /** Offset after the last tombstone removed because its horizon had passed; 0: none. */
  readonly tombstonesRemovedTo: number;
}

/** Where a record that stays lies. */
interface Kept {
  readonly start: number;
  readonly end: number;
  readonly timestamp: number;
}

/** True for batches whose records count: their keys go into the map. */
export function isJudged(buf: Buffer, pos: number, isAborted: AbortedBatches): boolean {
  if (isControlAt(buf, pos) || recordCountAt(buf, pos) === 0) return false;
  return !isTransactionalAt(buf, pos) || !isAborted(producerIdAt(buf, pos), baseOffsetAt(buf, pos));
}

export interface KeyedRecord {
  readonly offset: number;
  /** A view. */
  readonly key: Buffer;
}

/** The records with a key of the batch at buf[pos, end); none if they do not decode. */
export async function keysOf(buf: Buffer, pos: number, end: number): Promise<KeyedRecord[]> {
  const found: KeyedRecord[] = [];
  const isWhole = await visitAll(buf, pos, end, (offset, _timestamp, bytes, keyStart, keyLength) => {
    if (keyLength >= 0) found.push({ offset, key: bytes.subarray(keyStart, keyStart + keyLength) });
  });
  return isWhole ? found : [];
}

/** Compacts the batch at buf[pos, end). */
export async function compactBatch(
  buf: Buffer,
  pos: number,
  end: number,
  rules: CompactionRules,
): Promise<CompactedBatch> {
  if (isControlAt(buf, pos)) return unchanged(buf, pos, end);
  const count = recordCountAt(buf, pos);
  if (count === 0) return withoutRecords(buf, pos, rules);
  if (!isJudged(buf, pos, rules.isAborted)) return withoutRecords(buf, pos, rules);
  const judged = await judge(buf, pos, end, rules);
  if (judged === undefined) return unchanged(buf, pos, end);
  const { section, kept, hasTombstones, tombstonesRemovedTo } = judged;
  if (kept.length === 0) return withoutRecords(buf, pos, rules, tombstonesRemovedTo);
  const removed = count - kept.length;
  const setsHorizon = hasTombstones && deleteHorizonAt(buf, pos) === undefined;
  if (removed === 0 && !setsHorizon) return unchanged(buf, pos, end);
  const isLast = isProducersLast(buf, pos, rules);
  const newHorizon = setsHorizon ? rules.now + rules.deleteRetentionMs : undefined;
  let bytes = await rewrite(buf, pos, section, kept, newHorizon, isLast);
  // Times count from the horizon now, which takes more bytes each: a batch must not outgrow what a reader accepts.
  if (bytes.length > MAX_STORED_BATCH_BYTES && setsHorizon) {
    bytes = await rewrite(buf, pos, section, kept, undefined, isLast);
  }
  return { bytes, kept: kept.length, removed, tombstonesRemovedTo };
}

interface Judgement {
  /** The uncompressed records. */
  readonly section: Buffer;
  readonly kept: readonly Kept[];
  /** Among those kept. */
  readonly hasTombstones: boolean;
  readonly tombstonesRemovedTo: number;
}

/** Which records stay; undefined when they do not decode. */
async function judge(buf: Buffer, pos: number, end: number, rules: CompactionRules): Promise<Judgement | undefined> {
  const horizon = deleteHorizonAt(buf, pos);
  const tombstonesStay = horizon === undefined || rules.now < horizon;
  const kept: Kept[] = [];
  let section: Buffer = buf;
  let start = -1;
  let hasTombstones = false;
  let tombstonesRemovedTo = 0;
  const isWhole = await visitAll(
    buf,
    pos,
    end,
    (offset, timestamp, bytes, keyStart, keyLength, _valueStart, valueLength, _count, _headersStart, recordEnd) => {
      // Records follow each other without gaps; the first one begins where the section does.
      if (start < 0) start = bytes === buf ? pos + BATCH_HEADER_BYTES : 0;
      section = bytes;
      const isTombstone = valueLength < 0;
      const isLatest =
        keyLength < 0 ||
        offset >= rules.mapEnd ||
        offset >= rules.map.get(bytes.subarray(keyStart, keyStart + keyLength));
      if (isLatest && isTombstone && keyLength >= 0 && offset < rules.mapEnd && !tombstonesStay) {
        tombstonesRemovedTo = offset + 1;
      } else if (isLatest) {
        kept.push({ start, end: recordEnd, timestamp });
        hasTombstones ||= isTombstone;
      }
      start = recordEnd;
    },
  );
  return isWhole ? { section, kept, hasTombstones, tombstonesRemovedTo } : undefined;
}

/** @returns false when the records do not decode: then some may have been visited */
async function visitAll(buf: Buffer, pos: number, end: number, visit: RecordVisitor): Promise<boolean> {
  try {
    await forEachRecordAsync(buf, pos, end, visit);
    return true;
  } catch (error) {
    if (error instanceof VarveError && UNDECODABLE.has(error.code)) return false;
    throw error;
  }
}

function unchanged(buf: Buffer, pos: number, end: number): CompactedBatch {
  return { bytes: buf.subarray(pos, end), kept: recordCountAt(buf, pos), removed: 0, tombstonesRemovedTo: 0 };
}

function isProducersLast(buf: Buffer, pos: number, rules: CompactionRules): boolean {
  const producerId = producerIdAt(buf, pos);
  return producerId >= 0 && rules.isProducersLast(producerId, baseOffsetAt(buf, pos));
}

/** What is left of a batch that loses all its records. */
function withoutRecords(buf: Buffer, pos: number, rules: CompactionRules, tombstonesRemovedTo = 0): CompactedBatch {
  return {
    bytes: isProducersLast(buf, pos, rules) ? emptied(buf, pos) : undefined,
    kept: 0,
    removed: recordCountAt(buf, pos),
    tombstonesRemovedTo,
  };
}

/**
 * The batch with those records only; with a horizon, which becomes its base timestamp. The state of its producer knows the
 * largest timestamp of each of the last batches, which is why that may have to stay.
 */
async function rewrite(
  buf: Buffer,
  pos: number,
  section: Buffer,
  kept: readonly Kept[],
  horizon: number | undefined,
  keepsMaxTimestamp: boolean,
): Promise<Buffer> {
  const records = horizon === undefined ? copied(section, kept) : rebased(section, kept, horizon);
  const packed = await codecFor(compressionOf(codecAt(buf, pos))!).compress(records);
  const batch = Buffer.allocUnsafe(BATCH_HEADER_BYTES + packed.length);
  buf.copy(batch, 0, pos, pos + BATCH_HEADER_BYTES);
  packed.copy(batch, BATCH_HEADER_BYTES);
  batch.writeInt32BE(kept.length, RECORD_COUNT_AT);
  const attributes = attributesAt(buf, pos);
  if (horizon !== undefined) {
    batch.writeInt16BE(attributes | DELETE_HORIZON_BIT, ATTRIBUTES_AT);
    writeInt64(batch, BASE_TIMESTAMP_AT, horizon);
  }
  if (!keepsMaxTimestamp && (attributes & LOG_APPEND_TIME_BIT) === 0) {
    let latest = kept[0]!.timestamp;
    for (const { timestamp } of kept) latest = Math.max(latest, timestamp);
    writeInt64(batch, MAX_TIMESTAMP_AT, latest);
  }
  return completeBatch(batch);
}

/** Base offset and base timestamp are the same, so the records' bytes are too. */
function copied(section: Buffer, kept: readonly Kept[]): Buffer {
  let size = 0;
  for (const { start, end } of kept) size += end - start;
  const records = Buffer.allocUnsafe(size);
  let at = 0;
  for (const { start, end } of kept) at += section.copy(records, at, start, end);
  return records;
}

/** The records with their times counted from another base. */
function rebased(section: Buffer, kept: readonly Kept[], base: number): Buffer {
  let size = 0;
  for (const { start, end } of kept) size += end - start + 2 * MAX_GROWTH_BYTES;
  const records = Buffer.allocUnsafe(size);
  let at = 0;
  for (const { start, end, timestamp } of kept) {
    const reader = new VarintReader(section, start, end);
    reader.next(); // length
    const attributes = section[reader.pos++]!;
    reader.next(); // timestamp delta
    const delta = timestamp - base;
    at = writeVarint(records, at, 1 + sizeOfVarint(delta) + (end - reader.pos));
    records[at++] = attributes;
    at = writeVarint(records, at, delta);
    at += section.copy(records, at, reader.pos, end);
  }
  return records.subarray(0, at);
}
