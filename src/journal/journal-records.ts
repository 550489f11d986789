/**
 * The small records of the journal: what they say and their payloads. The frame around them (log identity, type,
 * generation, epoch, checksum) is the journal's, and so is the record that carries batches.
 *
 *   hard state   0        8        12
 *                | term   | vote   | the term in which the replica forgot, |
 *                | u64    | u32    | u64; missing: it did not              |
 *
 *   truncation   0        8              16        24         32        36
 *                | to     | end segment: | its tag | its new  | new     | count  | then count × (base u64, tag u64):
 *                | u64    | base i64, −1 | u64     | length   | tag u64 | u32    | segments set aside
 *                |        | if none      |         | u64      |         |        |
 *
 *   swap         0        8        16       24          32               40      44
 *                | end    | tag    | length | largest   | tombstones     | count | then count × (base u64, tag u64):
 *                | u64    | u64    | u64    | timestamp | removed to u64 | u32   | segments replaced
 *                |        |        |        | i64       |                |       |
 *
 *   log start    | offset u64 |
 *   relaxed      | 0 or 1 u8  |
 *   reset        UTF-8 JSON, as the type `Reset` has it
 *
 * Integers are little-endian. A truncation at `to` cuts the end segment at its new length and starts a new segment
 * (base = to, new tag); the generation it begins is in the record's frame, as is that of a reset: the log is emptied,
 * and goes on in a new segment. A swap puts one segment (base of the first one
 * replaced, new tag) in the place of those it was compacted from; it holds the same offsets, up to `end`.
 */
import { DURABLE_MARK_RECORD_TYPE, STORED_RECORD_TYPE } from '../disk/journal-format.js';
import { VarveError } from '../errors.js';
import type { HardState } from '../raft/types.js';
import type { SegmentName } from '../segment/file-names.js';
import { type ConfigurationRow, isConfigurationRow } from './configuration-history.js';

/** Types of journal records. Stored batches and durable marks are the journal's own. */
export const RecordType = {
  Batches: STORED_RECORD_TYPE,
  HardState: 2,
  Truncation: 3,
  LogStart: 4,
  Relaxed: 5,
  DurableMark: DURABLE_MARK_RECORD_TYPE,
  Swap: 7,
  Reset: 8,
} as const;

export interface Truncation {
  readonly to: number;
  /** The segment that ends at `endLength` from now on; undefined when `to` is the base of the first one removed. */
  readonly endSegment: SegmentName | undefined;
  readonly endLength: number;
  /** Tag of the segment that starts at `to`. */
  readonly newTag: number;
  readonly removed: readonly SegmentName[];
}

/** Compaction: one segment takes the place of neighbouring ones. */
export interface Swap {
  /** In offset order, at least one. The first one's base is that of the new segment. */
  readonly replaced: readonly SegmentName[];
  readonly tag: number;
  /** Bytes of the new segment. */
  readonly length: number;
  /** Offset after its last batch. */
  readonly end: number;
  /** −1: none of its batches has one. */
  readonly maxTimestamp: number;
  /** Tombstones below this offset may have been removed; 0: none. */
  readonly tombstonesRemovedTo: number;
}

/** A log that is emptied: whatever it held is gone, and what it says of the past begins here. */
export interface Reset {
  /** The first offset that readers see. */
  readonly logStart: number;
  /** Where the new segment begins, and its tag; at or below the log start, for a batch that holds it. */
  readonly segment: SegmentName;
  readonly removed: readonly SegmentName[];
  readonly epochs: readonly (readonly [epoch: number, start: number])[];
  readonly configurations: readonly ConfigurationRow[];
}

const HARD_STATE_BYTES = 12;
const FORGETFUL_STATE_BYTES = 20;
const TRUNCATION_BYTES = 44;
const SWAP_BYTES = 44;
const SEGMENT_BYTES = 16;

export function encodeHardState(state: HardState): Buffer {
  const { term, vote, forgot } = state;
  const payload = Buffer.allocUnsafe(forgot === undefined ? HARD_STATE_BYTES : FORGETFUL_STATE_BYTES);
  writeUint64(payload, 0, term);
  payload.writeUInt32LE(vote, 8);
  if (forgot !== undefined) writeUint64(payload, 12, forgot);
  return payload;
}

export function decodeHardState(payload: Buffer): HardState {
  if (payload.length !== FORGETFUL_STATE_BYTES) checkLength('hard state', payload, HARD_STATE_BYTES);
  const state = { term: readUint64(payload, 0), vote: payload.readUInt32LE(8) };
  return payload.length === HARD_STATE_BYTES ? state : { ...state, forgot: readUint64(payload, 12) };
}

export function encodeTruncation(truncation: Truncation): Buffer {
  const { to, endSegment, endLength, newTag, removed } = truncation;
  const payload = Buffer.allocUnsafe(TRUNCATION_BYTES + removed.length * SEGMENT_BYTES);
  writeUint64(payload, 0, to);
  payload.writeBigInt64LE(BigInt(endSegment?.base ?? -1), 8);
  writeUint64(payload, 16, endSegment?.tag ?? 0);
  writeUint64(payload, 24, endLength);
  writeUint64(payload, 32, newTag);
  payload.writeUInt32LE(removed.length, 40);
  writeSegments(payload, TRUNCATION_BYTES, removed);
  return payload;
}

export function decodeTruncation(payload: Buffer): Truncation {
  if (payload.length < TRUNCATION_BYTES) checkLength('truncation', payload, TRUNCATION_BYTES);
  const count = payload.readUInt32LE(40);
  checkLength('truncation', payload, TRUNCATION_BYTES + count * SEGMENT_BYTES);
  const endBase = Number(payload.readBigInt64LE(8));
  return {
    to: readUint64(payload, 0),
    endSegment: endBase < 0 ? undefined : { base: endBase, tag: readUint64(payload, 16) },
    endLength: readUint64(payload, 24),
    newTag: readUint64(payload, 32),
    removed: readSegments(payload, TRUNCATION_BYTES),
  };
}

export function encodeSwap(swap: Swap): Buffer {
  const payload = Buffer.allocUnsafe(SWAP_BYTES + swap.replaced.length * SEGMENT_BYTES);
  writeUint64(payload, 0, swap.end);
  writeUint64(payload, 8, swap.tag);
  writeUint64(payload, 16, swap.length);
  payload.writeBigInt64LE(BigInt(swap.maxTimestamp), 24);
  writeUint64(payload, 32, swap.tombstonesRemovedTo);
  payload.writeUInt32LE(swap.replaced.length, 40);
  writeSegments(payload, SWAP_BYTES, swap.replaced);
  return payload;
}

export function decodeSwap(payload: Buffer): Swap {
  if (payload.length < SWAP_BYTES + SEGMENT_BYTES) checkLength('swap', payload, SWAP_BYTES + SEGMENT_BYTES);
  checkLength('swap', payload, SWAP_BYTES + payload.readUInt32LE(40) * SEGMENT_BYTES);
  return {
    end: readUint64(payload, 0),
    tag: readUint64(payload, 8),
    length: readUint64(payload, 16),
    maxTimestamp: Number(payload.readBigInt64LE(24)),
    tombstonesRemovedTo: readUint64(payload, 32),
    replaced: readSegments(payload, SWAP_BYTES),
  };
}

export function encodeReset(reset: Reset): Buffer {
  return Buffer.from(JSON.stringify(reset));
}

export function decodeReset(payload: Buffer): Reset {
  try {
    const reset = JSON.parse(payload.toString('utf8')) as Reset;
    const { logStart, segment, removed, epochs, configurations } = reset;
    const numbers = [logStart, segment.base, segment.tag, ...removed.flatMap(({ base, tag }) => [base, tag])];
    const areNumbers = [...numbers, ...epochs.flat()].every((number) => Number.isSafeInteger(number) && number >= 0);
    if (areNumbers && configurations.every(isConfigurationRow)) return reset;
  } catch {
    // Said below.
  }
  throw new VarveError('CORRUPT_JOURNAL', "journal record 'reset': this build cannot read it");
}

export function encodeLogStart(offset: number): Buffer {
  const payload = Buffer.allocUnsafe(8);
  writeUint64(payload, 0, offset);
  return payload;
}

export function decodeLogStart(payload: Buffer): number {
  checkLength('log start', payload, 8);
  return readUint64(payload, 0);
}

export function encodeRelaxed(relaxed: boolean): Buffer {
  return Buffer.of(relaxed ? 1 : 0);
}

export function decodeRelaxed(payload: Buffer): boolean {
  checkLength('relaxed', payload, 1);
  return payload[0] === 1;
}

function writeSegments(payload: Buffer, from: number, names: readonly SegmentName[]): void {
  names.forEach(({ base, tag }, i) => {
    writeUint64(payload, from + i * SEGMENT_BYTES, base);
    writeUint64(payload, from + i * SEGMENT_BYTES + 8, tag);
  });
}

/** To the end of the payload. */
function readSegments(payload: Buffer, from: number): SegmentName[] {
  const names: SegmentName[] = [];
  for (let at = from; at < payload.length; at += SEGMENT_BYTES) {
    names.push({ base: readUint64(payload, at), tag: readUint64(payload, at + 8) });
  }
  return names;
}

function writeUint64(buf: Buffer, at: number, value: number): void {
  buf.writeBigUInt64LE(BigInt(value), at);
}

function readUint64(buf: Buffer, at: number): number {
  const value = buf.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new VarveError('CORRUPT_JOURNAL', `journal record: ${value} is outside the range of offsets (below 2^53)`);
  }
  return Number(value);
}

function checkLength(what: string, payload: Buffer, expected: number): void {
  if (payload.length !== expected) {
    throw new VarveError(
      'CORRUPT_JOURNAL',
      `journal record '${what}' of ${payload.length} bytes, expected ${expected}: this build cannot read it`,
    );
  }
}
