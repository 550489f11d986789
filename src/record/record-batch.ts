/**
 * The header of a record batch: Kafka's RecordBatch, magic 2, byte for byte (KIP-98). All integers are big-endian.
 *
 *   position  0              8        12       16    17     21      23           27
 *             +--------------+--------+--------+-----+------+-------+------------+
 *             | base offset  | length | leader |magic| crc  | attri-| last off-  |
 *             | i64          | i32    | epoch  | i8  | u32  | butes | set delta  |
 *             |              |        | i32    | = 2 |      | i16   | i32        |
 *             +--------------+--------+--------+-----+------+-------+------------+
 *             27             35              43            51         53         57        61
 *             +--------------+---------------+-------------+----------+----------+---------+------------
 *             | base         | max           | producer    | producer | base     | record  | records …
 *             | timestamp    | timestamp     | id          | epoch    | sequence | count   |
 *             | i64 (ms)     | i64 (ms)      | i64         | i16      | i32      | i32     |
 *             +--------------+---------------+-------------+----------+----------+---------+------------
 *
 *   length      counts the bytes after itself: the whole batch is 12 + length.
 *   crc         CRC32C of everything from `attributes` to the end. Base offset and leader epoch lie outside it, so the
 *               leader stamps them without touching it (`stampBatch`).
 *   attributes  bits 0–2 codec (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd), 3 timestamps are log-append time,
 *               4 transactional, 5 control batch, 6 base timestamp is a delete horizon; the rest unused.
 *   records     drawn in record-visitor.ts; with a codec, the whole section is compressed as one piece.
 *
 * Offsets and timestamps are JavaScript numbers, put together from two 32-bit halves. Whatever does not fit exactly
 * (and an offset below 0) is CORRUPT_BATCH.
 *
 * The field readers (`…At`) trust their caller to have checked that a whole header lies at `pos`.
 */
import { VarveError } from '../errors.js';
import { COMPRESSIONS, type Compression } from './types.js';

export const BASE_OFFSET_AT = 0;
export const LENGTH_AT = 8;
export const EPOCH_AT = 12;
export const MAGIC_AT = 16;
export const CRC_AT = 17;
export const ATTRIBUTES_AT = 21;
export const LAST_OFFSET_DELTA_AT = 23;
export const BASE_TIMESTAMP_AT = 27;
export const MAX_TIMESTAMP_AT = 35;
export const PRODUCER_ID_AT = 43;
export const PRODUCER_EPOCH_AT = 51;
export const BASE_SEQUENCE_AT = 53;
export const RECORD_COUNT_AT = 57;

export const BATCH_HEADER_BYTES = 61;
/** Bytes that `length` does not count: base offset and length itself. */
export const LENGTH_OVERHEAD = 12;
/** What the CRC covers begins here. */
export const CRC_START = ATTRIBUTES_AT;

export const MAGIC = 2;

export const CODEC_MASK = 0x07;
export const LOG_APPEND_TIME_BIT = 0x08;
export const TRANSACTIONAL_BIT = 0x10;
export const CONTROL_BIT = 0x20;
/**
 * The base timestamp says from when on the batch's tombstones may be removed (KIP-534); deltas count from it all the
 * same.
 */
export const DELETE_HORIZON_BIT = 0x40;

const TWO_32 = 0x1_0000_0000;
/** High halves of ±2^53. */
const HIGH_LIMIT = 0x20_0000;

export interface BatchHeader {
  readonly baseOffset: number;
  readonly lastOffset: number;
  /** Bytes of the whole batch, header included. */
  readonly size: number;
  readonly epoch: number;
  readonly crc: number;
  readonly attributes: number;
  readonly codec: number;
  readonly isControl: boolean;
  readonly isTransactional: boolean;
  readonly isLogAppendTime: boolean;
  readonly lastOffsetDelta: number;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  /** −1: none. */
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
}

/**
 * Decodes a header without judging it, except that numbers must be representable: validate-batch.ts judges.
 * @throws VarveError CORRUPT_BATCH when fewer than 61 bytes are there, or an offset or timestamp is not representable
 */
export function readBatchHeader(buf: Buffer, pos: number): BatchHeader {
  if (pos < 0 || pos + BATCH_HEADER_BYTES > buf.length) {
    throw new VarveError(
      'CORRUPT_BATCH',
      `record batch at position ${pos}: a header takes ${BATCH_HEADER_BYTES} bytes, ${Math.max(0, buf.length - pos)} are there`,
    );
  }
  const attributes = attributesAt(buf, pos);
  const baseOffset = baseOffsetAt(buf, pos);
  const lastOffsetDelta = buf.readInt32BE(pos + LAST_OFFSET_DELTA_AT);
  return {
    baseOffset,
    lastOffset: baseOffset + lastOffsetDelta,
    size: batchSizeAt(buf, pos),
    epoch: epochAt(buf, pos),
    crc: crcAt(buf, pos),
    attributes,
    codec: attributes & CODEC_MASK,
    isControl: (attributes & CONTROL_BIT) !== 0,
    isTransactional: (attributes & TRANSACTIONAL_BIT) !== 0,
    isLogAppendTime: (attributes & LOG_APPEND_TIME_BIT) !== 0,
    lastOffsetDelta,
    baseTimestamp: baseTimestampAt(buf, pos),
    maxTimestamp: maxTimestampAt(buf, pos),
    producerId: producerIdAt(buf, pos),
    producerEpoch: producerEpochAt(buf, pos),
    baseSequence: baseSequenceAt(buf, pos),
    recordCount: recordCountAt(buf, pos),
  };
}

export function baseOffsetAt(buf: Buffer, pos: number): number {
  const high = buf.readInt32BE(pos + BASE_OFFSET_AT);
  if (high < 0 || high >= HIGH_LIMIT) throw unrepresentable(buf, pos + BASE_OFFSET_AT, 'base offset');
  return high * TWO_32 + buf.readUInt32BE(pos + BASE_OFFSET_AT + 4);
}

/** Bytes of the whole batch as its length field says; nothing is checked (it may be negative or huge). */
export function batchSizeAt(buf: Buffer, pos: number): number {
  return LENGTH_OVERHEAD + buf.readInt32BE(pos + LENGTH_AT);
}

export function epochAt(buf: Buffer, pos: number): number {
  return buf.readInt32BE(pos + EPOCH_AT);
}

export function magicAt(buf: Buffer, pos: number): number {
  return buf.readInt8(pos + MAGIC_AT);
}

export function crcAt(buf: Buffer, pos: number): number {
  return buf.readUInt32BE(pos + CRC_AT);
}

export function attributesAt(buf: Buffer, pos: number): number {
  return buf.readInt16BE(pos + ATTRIBUTES_AT);
}

/** Number of the codec: 0–7, of which 5–7 are unknown. */
export function codecAt(buf: Buffer, pos: number): number {
  return attributesAt(buf, pos) & CODEC_MASK;
}

export function isControlAt(buf: Buffer, pos: number): boolean {
  return (attributesAt(buf, pos) & CONTROL_BIT) !== 0;
}

export function isTransactionalAt(buf: Buffer, pos: number): boolean {
  return (attributesAt(buf, pos) & TRANSACTIONAL_BIT) !== 0;
}

/** From when on tombstones of the batch may be removed; undefined before their first compaction. */
export function deleteHorizonAt(buf: Buffer, pos: number): number | undefined {
  return (attributesAt(buf, pos) & DELETE_HORIZON_BIT) === 0 ? undefined : baseTimestampAt(buf, pos);
}

export function lastOffsetDeltaAt(buf: Buffer, pos: number): number {
  return buf.readInt32BE(pos + LAST_OFFSET_DELTA_AT);
}

export function lastOffsetAt(buf: Buffer, pos: number): number {
  return baseOffsetAt(buf, pos) + lastOffsetDeltaAt(buf, pos);
}

export function baseTimestampAt(buf: Buffer, pos: number): number {
  return readSafeInt64(buf, pos + BASE_TIMESTAMP_AT, 'base timestamp');
}

export function maxTimestampAt(buf: Buffer, pos: number): number {
  return readSafeInt64(buf, pos + MAX_TIMESTAMP_AT, 'max timestamp');
}

/** True for batches of an idempotent producer, and for transaction markers: ids below 0 are none. Looks at the sign only. */
export function hasProducerAt(buf: Buffer, pos: number): boolean {
  return buf[pos + PRODUCER_ID_AT]! < 0x80;
}

/** −1: none. */
export function producerIdAt(buf: Buffer, pos: number): number {
  return readSafeInt64(buf, pos + PRODUCER_ID_AT, 'producer id');
}

export function producerEpochAt(buf: Buffer, pos: number): number {
  return buf.readInt16BE(pos + PRODUCER_EPOCH_AT);
}

export function baseSequenceAt(buf: Buffer, pos: number): number {
  return buf.readInt32BE(pos + BASE_SEQUENCE_AT);
}

export function recordCountAt(buf: Buffer, pos: number): number {
  return buf.readInt32BE(pos + RECORD_COUNT_AT);
}

/** Name of a codec number; undefined for numbers this build does not know. */
export function compressionOf(codec: number): Compression | undefined {
  return COMPRESSIONS[codec];
}

/** The leader's stamp, in place: base offset and leader epoch. Neither is covered by the CRC. */
export function stampBatch(buf: Buffer, pos: number, baseOffset: number, epoch: number): void {
  writeInt64(buf, pos + BASE_OFFSET_AT, baseOffset);
  buf.writeInt32BE(epoch, pos + EPOCH_AT);
}

/** Writes an integer of magnitude ≤ 2^53 as i64. */
export function writeInt64(buf: Buffer, at: number, value: number): void {
  // Flooring makes this two's complement for negative values as well: value = high × 2^32 + low with 0 ≤ low < 2^32.
  const high = Math.floor(value / TWO_32);
  buf.writeInt32BE(high, at);
  buf.writeUInt32BE(value - high * TWO_32, at + 4);
}

/**
 * Reads an i64 that must be a safe integer.
 * @throws VarveError CORRUPT_BATCH
 */
function readSafeInt64(buf: Buffer, at: number, what: string): number {
  const high = buf.readInt32BE(at);
  if (high < -HIGH_LIMIT || high >= HIGH_LIMIT) throw unrepresentable(buf, at, what);
  const value = high * TWO_32 + buf.readUInt32BE(at + 4);
  if (value < Number.MIN_SAFE_INTEGER) throw unrepresentable(buf, at, what);
  return value;
}

function unrepresentable(buf: Buffer, at: number, what: string): VarveError {
  return new VarveError(
    'CORRUPT_BATCH',
    `record batch: ${what} ${buf.readBigInt64BE(at)} at position ${at} is outside the range of offsets and times (below 2^53)`,
  );
}
