/**
 * Judges whole batches before they are stored. Two doors:
 *
 *   validateProducedBatch   what producers send: also refuses control batches, delete horizons, a record count that does
 *                           not match the offsets the batch would take, and half a producer (INVALID_BATCH)
 *   validateStoredBatch     what the leader of the partition sends, or what lies on disk: control batches are fine, and
 *                           so are batches that compaction thinned out or emptied
 *
 * Neither looks into the records: the CRC vouches for the bytes, and the consumer's decoder trusts nobody anyway.
 * Every message says what is wrong and at which position of the buffer.
 */
import { crc32c } from '../disk/addon.js';
import { VarveError } from '../errors.js';
import {
  BATCH_HEADER_BYTES,
  baseOffsetAt,
  baseSequenceAt,
  baseTimestampAt,
  batchSizeAt,
  CRC_START,
  codecAt,
  compressionOf,
  crcAt,
  deleteHorizonAt,
  epochAt,
  hasProducerAt,
  isControlAt,
  isTransactionalAt,
  lastOffsetDeltaAt,
  MAGIC,
  magicAt,
  maxTimestampAt,
  PRODUCER_ID_AT,
  producerEpochAt,
  producerIdAt,
  recordCountAt,
} from './record-batch.js';

/**
 * Checks the batch at `pos` of the bytes up to `limit`.
 * @returns its size in bytes
 * @throws VarveError CORRUPT_BATCH, BATCH_TOO_LARGE, UNSUPPORTED_CODEC, INVALID_BATCH
 */
export function validateProducedBatch(buf: Buffer, pos: number, limit: number, maxBatchBytes: number): number {
  const size = checkStructure(buf, pos, limit, maxBatchBytes);
  if (isControlAt(buf, pos)) {
    throw new VarveError(
      'INVALID_BATCH',
      `record batch at position ${pos}: the control bit is set; only the partition itself writes control batches`,
    );
  }
  if (deleteHorizonAt(buf, pos) !== undefined) {
    throw new VarveError(
      'INVALID_BATCH',
      `record batch at position ${pos}: it has a delete horizon (attribute bit 6); only compaction sets one`,
    );
  }
  const count = recordCountAt(buf, pos);
  const delta = lastOffsetDeltaAt(buf, pos);
  if (count < 1 || count !== delta + 1) {
    throw new VarveError(
      'INVALID_BATCH',
      `record batch at position ${pos}: it holds ${count} records and a last offset delta of ${delta}; a producer's batch holds at least one record and its last offset delta is one less than their number`,
    );
  }
  checkCrc(buf, pos, size);
  checkProducer(buf, pos);
  return size;
}

/**
 * Checks a batch that a leader has already stamped.
 * @returns its size in bytes
 * @throws VarveError CORRUPT_BATCH, BATCH_TOO_LARGE, UNSUPPORTED_CODEC
 */
export function validateStoredBatch(buf: Buffer, pos: number, limit: number, maxBatchBytes: number): number {
  const size = checkStructure(buf, pos, limit, maxBatchBytes);
  const baseOffset = baseOffsetAt(buf, pos);
  const delta = lastOffsetDeltaAt(buf, pos);
  const count = recordCountAt(buf, pos);
  if (delta < 0 || !Number.isSafeInteger(baseOffset + delta + 1)) {
    throw new VarveError(
      'CORRUPT_BATCH',
      `record batch at position ${pos}: base offset ${baseOffset} with last offset delta ${delta}`,
    );
  }
  if (count < 0 || count > delta + 1) {
    throw new VarveError(
      'CORRUPT_BATCH',
      `record batch at position ${pos}: ${count} records do not fit a last offset delta of ${delta}`,
    );
  }
  if (epochAt(buf, pos) < 0) {
    throw new VarveError('CORRUPT_BATCH', `record batch at position ${pos}: leader epoch ${epochAt(buf, pos)}`);
  }
  checkCrc(buf, pos, size);
  return size;
}

/** Who names itself gives an epoch and a sequence; who does not can't be in a transaction. */
function checkProducer(buf: Buffer, pos: number): void {
  if (hasProducerAt(buf, pos)) {
    const epoch = producerEpochAt(buf, pos);
    const sequence = baseSequenceAt(buf, pos);
    if (epoch >= 0 && sequence >= 0) return;
    throw new VarveError(
      'INVALID_BATCH',
      `record batch at position ${pos}: producer ${producerIdAt(buf, pos)} with epoch ${epoch} and sequence ${sequence}; both start at 0`,
    );
  }
  const isNone = buf.readInt32BE(pos + PRODUCER_ID_AT) === -1 && buf.readInt32BE(pos + PRODUCER_ID_AT + 4) === -1;
  if (!isNone || isTransactionalAt(buf, pos)) {
    const what = isNone ? 'transactional, but without a producer id' : `producer ${producerIdAt(buf, pos)}`;
    throw new VarveError('INVALID_BATCH', `record batch at position ${pos}: ${what}; producer ids start at 0`);
  }
}

/** True when the CRC32C in the header matches the bytes. The size must have been checked. */
export function hasValidCrc(buf: Buffer, pos: number, size: number): boolean {
  return crc32c(buf, pos + CRC_START, pos + size) === crcAt(buf, pos);
}

/** Checks that a whole batch of the right kind lies at `pos`; returns its size. */
export function checkStructure(buf: Buffer, pos: number, limit: number, maxBatchBytes: number): number {
  const size = checkExtent(buf, pos, limit, maxBatchBytes);
  checkFields(buf, pos);
  return size;
}

/** What must be right before its CRC can be computed: that it is a batch, and where it ends. Returns its size. */
export function checkExtent(buf: Buffer, pos: number, limit: number, maxBatchBytes: number): number {
  if (limit > buf.length) {
    throw new VarveError(
      'CORRUPT_BATCH',
      `record batch at position ${pos}: it is said to end at ${limit}, the bytes end at ${buf.length}`,
    );
  }
  if (pos < 0 || pos + BATCH_HEADER_BYTES > limit) {
    throw new VarveError(
      'CORRUPT_BATCH',
      `record batch at position ${pos}: a header takes ${BATCH_HEADER_BYTES} bytes, ${Math.max(0, limit - pos)} are there`,
    );
  }
  // The magic comes first: the layout of everything else depends on it.
  if (magicAt(buf, pos) !== MAGIC) {
    throw new VarveError(
      'CORRUPT_BATCH',
      `record batch at position ${pos}: magic ${magicAt(buf, pos)}; only magic 2 is stored (Kafka 0.11 and later write it)`,
    );
  }
  const size = batchSizeAt(buf, pos);
  if (size < BATCH_HEADER_BYTES) {
    throw new VarveError('CORRUPT_BATCH', `record batch at position ${pos}: it says it is ${size} bytes long`);
  }
  if (size > maxBatchBytes) {
    throw new VarveError(
      'BATCH_TOO_LARGE',
      `record batch at position ${pos}: ${size} bytes, the limit is ${maxBatchBytes} (maxBatchBytes)`,
    );
  }
  if (pos + size > limit) {
    throw new VarveError(
      'CORRUPT_BATCH',
      `record batch at position ${pos}: it says it is ${size} bytes long, ${limit - pos} are there`,
    );
  }
  return size;
}

/** Header fields that the CRC covers, and that not every value is right for. */
export function checkFields(buf: Buffer, pos: number): void {
  const codec = codecAt(buf, pos);
  if (compressionOf(codec) === undefined) {
    throw new VarveError('UNSUPPORTED_CODEC', `record batch at position ${pos}: compression codec ${codec} is unknown`);
  }
  // Read for their range checks.
  baseTimestampAt(buf, pos);
  maxTimestampAt(buf, pos);
  if (hasProducerAt(buf, pos)) producerIdAt(buf, pos);
}

function checkCrc(buf: Buffer, pos: number, size: number): void {
  const actual = crc32c(buf, pos + CRC_START, pos + size);
  const stored = crcAt(buf, pos);
  if (actual !== stored) {
    throw new VarveError(
      'CORRUPT_BATCH',
      `record batch at position ${pos} (${size} bytes): CRC32C is ${hex(actual)}, the header says ${hex(stored)}`,
    );
  }
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
