/**
 * An upper bound of the bytes a record takes in a batch, found without encoding it: it decides whether the record still
 * fits into the open batch. Close to exact; only short strings are counted as if every character took three bytes.
 */
import { VarveError } from '../errors.js';
import type { RecordInput } from '../record/types.js';

/** Length, attributes, two deltas, key length, value length and header count, each at its longest. */
const RECORD_OVERHEAD_MAX = 5 + 1 + 10 + 5 + 5 + 5 + 5;
/** Two varints. */
const HEADER_OVERHEAD_MAX = 10;
/** Strings up to this length are not measured. */
const SHORT_STRING = 64;

export function recordBytesMax(record: RecordInput): number {
  let bytes = RECORD_OVERHEAD_MAX + bytesMax(record.key) + bytesMax(record.value);
  const { headers } = record;
  if (headers !== undefined) {
    if (!Array.isArray(headers))
      throw new VarveError('INVALID_ARGUMENT', 'record headers: give an array of { key, value }');
    for (const { key, value } of headers) bytes += HEADER_OVERHEAD_MAX + bytesMax(key) + bytesMax(value);
  }
  return bytes;
}

function bytesMax(value: Uint8Array | string | null | undefined): number {
  if (value === null || value === undefined) return 0;
  if (typeof value === 'string') return value.length <= SHORT_STRING ? 3 * value.length : Buffer.byteLength(value);
  if (value instanceof Uint8Array) return value.length;
  throw new VarveError(
    'INVALID_ARGUMENT',
    `record: give keys and values as Uint8Array, string or null, not ${typeof value}; header keys as strings`,
  );
}
