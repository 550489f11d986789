/**
 * Record batches back into records.
 *
 *   forEachRecord / decodeBatch             synchronous: uncompressed batches, and codecs whose library is synchronous
 *   forEachRecordAsync / decodeBatchAsync   every codec; decompression runs off the event loop
 *
 * The bytes may come from anybody: every length is checked before it is used, decompression is bounded (limits.ts), and
 * whatever is wrong is CORRUPT_BATCH, UNSUPPORTED_CODEC or BATCH_TOO_LARGE. The CRC is not checked here unless asked
 * for (`checkCrc`), since stored batches were checked when they came in.
 *
 * Keys and values are views of the bytes given (or of the decompressed bytes): they keep all of these alive, and over a
 * mapped segment they must never be written to. `copy: true` copies the records of a batch once.
 */
import { VarveError } from '../errors.js';
import { shown } from '../shown.js';
import { asBuffer } from './bytes.js';
import { codecFor } from './codecs.js';
import { DEFAULT_DECOMPRESSION_LIMITS, type DecompressionLimits } from './limits.js';
import { BATCH_HEADER_BYTES, codecAt, compressionOf } from './record-batch.js';
import { type RecordVisitor, readHeaders, visitRecords } from './record-visitor.js';
import type { Header, Record } from './types.js';
import { checkExtent, checkFields, hasValidCrc } from './validate-batch.js';

export interface DecodeOptions {
  /** Default false. */
  readonly checkCrc?: boolean;
  /** Records are copies, not views, of what was given. Default false. */
  readonly copy?: boolean;
  readonly limits?: DecompressionLimits;
}

/** No size limit of its own: the bytes are in memory already. */
const ANY_SIZE = Number.MAX_SAFE_INTEGER;
const NO_HEADERS: readonly Header[] = Object.freeze([]);

/** Where the records of a batch lie once they are uncompressed. */
interface Section {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/**
 * Visits the records of the batch at `pos`.
 * @returns the position after the batch
 * @throws VarveError INVALID_ARGUMENT when the batch's codec has no synchronous decompression here
 */
export function forEachRecord(
  bytes: Uint8Array,
  pos: number,
  limit: number,
  visit: RecordVisitor,
  options: DecodeOptions = {},
): number {
  const buf = given(bytes);
  const size = checkBatch(buf, pos, limit, options);
  const section = sectionSync(buf, pos, size, options);
  visitRecords(buf, pos, section.bytes, section.start, section.end, visit);
  return pos + size;
}

/** As `forEachRecord`, for every codec. */
export async function forEachRecordAsync(
  bytes: Uint8Array,
  pos: number,
  limit: number,
  visit: RecordVisitor,
  options: DecodeOptions = {},
): Promise<number> {
  const buf = given(bytes);
  const size = checkBatch(buf, pos, limit, options);
  const section = await sectionAsync(buf, pos, size, options);
  visitRecords(buf, pos, section.bytes, section.start, section.end, visit);
  return pos + size;
}

/**
 * All records of the batch at `pos`.
 * @throws VarveError INVALID_ARGUMENT when the batch's codec has no synchronous decompression here
 */
export function decodeBatch(bytes: Uint8Array, pos = 0, limit = bytes?.length, options: DecodeOptions = {}): Record[] {
  const records: Record[] = [];
  forEachRecord(bytes, pos, limit, collector(records), options);
  return records;
}

/** As `decodeBatch`, for every codec. */
export async function decodeBatchAsync(
  bytes: Uint8Array,
  pos = 0,
  limit = bytes?.length,
  options: DecodeOptions = {},
): Promise<Record[]> {
  const records: Record[] = [];
  await forEachRecordAsync(bytes, pos, limit, collector(records), options);
  return records;
}

/** True when `decodeBatch` can decode the batch at `pos`, where a whole header lies. */
export function isSyncDecodable(buf: Buffer, pos: number): boolean {
  const compression = compressionOf(codecAt(buf, pos));
  return compression === 'none' || (compression !== undefined && codecFor(compression).decompressSync !== undefined);
}

/** @throws VarveError INVALID_ARGUMENT */
function given(bytes: Uint8Array): Buffer {
  if (bytes instanceof Uint8Array) return asBuffer(bytes);
  throw new VarveError('INVALID_ARGUMENT', `bytes ${shown(bytes)}: give a Uint8Array of record batches`);
}

function collector(records: Record[]): RecordVisitor {
  return (
    offset,
    timestamp,
    bytes,
    keyStart,
    keyLength,
    valueStart,
    valueLength,
    headerCount,
    headersStart,
    headersEnd,
  ) => {
    records.push({
      offset,
      timestamp,
      key: keyLength < 0 ? null : bytes.subarray(keyStart, keyStart + keyLength),
      value: valueLength < 0 ? null : bytes.subarray(valueStart, valueStart + valueLength),
      headers: headerCount === 0 ? NO_HEADERS : readHeaders(bytes, headerCount, headersStart, headersEnd),
    });
  };
}

function checkBatch(buf: Buffer, pos: number, limit: number, options: DecodeOptions): number {
  const size = checkExtent(buf, pos, limit, ANY_SIZE);
  // Before anything that it covers is believed, and called by another name than damage.
  if (options.checkCrc && !hasValidCrc(buf, pos, size)) {
    throw new VarveError('CORRUPT_BATCH', `record batch at position ${pos} (${size} bytes): its CRC32C does not match`);
  }
  checkFields(buf, pos);
  return size;
}

function sectionSync(buf: Buffer, pos: number, size: number, options: DecodeOptions): Section {
  const compression = compressionOf(codecAt(buf, pos))!;
  if (compression === 'none') return plainSection(buf, pos, size, options);
  const codec = codecFor(compression);
  if (codec.decompressSync === undefined) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `record batch at position ${pos}: ${compression} cannot be decompressed synchronously on this Node.js; use decodeBatchAsync`,
    );
  }
  const packed = buf.subarray(pos + BATCH_HEADER_BYTES, pos + size);
  const bytes = codec.decompressSync(packed, options.limits ?? DEFAULT_DECOMPRESSION_LIMITS);
  return { bytes, start: 0, end: bytes.length };
}

async function sectionAsync(buf: Buffer, pos: number, size: number, options: DecodeOptions): Promise<Section> {
  const compression = compressionOf(codecAt(buf, pos))!;
  if (compression === 'none') return plainSection(buf, pos, size, options);
  const packed = buf.subarray(pos + BATCH_HEADER_BYTES, pos + size);
  const bytes = await codecFor(compression).decompress(packed, options.limits ?? DEFAULT_DECOMPRESSION_LIMITS);
  return { bytes, start: 0, end: bytes.length };
}

function plainSection(buf: Buffer, pos: number, size: number, options: DecodeOptions): Section {
  if (!options.copy) return { bytes: buf, start: pos + BATCH_HEADER_BYTES, end: pos + size };
  const bytes = Buffer.from(buf.subarray(pos + BATCH_HEADER_BYTES, pos + size));
  return { bytes, start: 0, end: bytes.length };
}
