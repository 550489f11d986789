/**
 * Headers of stored batches, as far as they can be judged without reading the whole batch. Everybody who goes from batch to
 * batch asks here first: what a header says is used only after it, so no accessor of a header throws.
 */
import {
  BATCH_HEADER_BYTES,
  BASE_OFFSET_AT,
  batchSizeAt,
  lastOffsetDeltaAt,
  MAGIC,
  MAX_TIMESTAMP_AT,
  magicAt,
} from '../record/record-batch.js';

const TWO_32 = 2 ** 32;
/** Of the upper half of a safe integer. */
const HIGH_LIMIT = 2 ** 21;

/**
 * What is wrong with the header at `position` of bytes that end at `limit`; undefined when nothing is.
 * @param expected offset that the batch must start at; −1: any
 */
export function headerFault(bytes: Buffer, position: number, limit: number, expected: number): string | undefined {
  if (position + BATCH_HEADER_BYTES > limit) return 'a batch header is cut short';
  const size = batchSizeAt(bytes, position);
  if (size < BATCH_HEADER_BYTES || position + size > limit) return `a batch says that it is ${size} bytes long`;
  if (magicAt(bytes, position) !== MAGIC) return `a batch has magic ${magicAt(bytes, position)}`;
  const high = bytes.readUInt32BE(position + BASE_OFFSET_AT);
  const base = high * TWO_32 + bytes.readUInt32BE(position + BASE_OFFSET_AT + 4);
  if (expected >= 0 && base !== expected) return `a batch starts at offset ${base} instead of ${expected}`;
  const delta = lastOffsetDeltaAt(bytes, position);
  if (high >= HIGH_LIMIT || delta < 0 || !Number.isSafeInteger(base + delta + 1)) {
    return `a batch says that it holds the offsets ${base} to ${base + delta}`;
  }
  return undefined;
}

/** False when the largest timestamp cannot be one. */
export function hasMaxTimestampAt(bytes: Buffer, position: number): boolean {
  const high = bytes.readInt32BE(position + MAX_TIMESTAMP_AT);
  return high > -HIGH_LIMIT && high < HIGH_LIMIT;
}
