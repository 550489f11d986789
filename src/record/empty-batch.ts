/**
 * Batches without records. Compaction leaves them in place of what it removed, so that every offset stays covered by a
 * batch; one that a producer wrote keeps its producer id, epoch and sequence, from which duplicates are told.
 *
 * As Kafka writes them (an emptied batch of its own cleaner): record count 0, no codec, base timestamp −1.
 */
import { crc32c } from '../disk/addon.js';
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  CODEC_MASK,
  CRC_AT,
  CRC_START,
  DELETE_HORIZON_BIT,
  LAST_OFFSET_DELTA_AT,
  LENGTH_AT,
  LENGTH_OVERHEAD,
  MAGIC,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
  attributesAt,
  stampBatch,
  writeInt64,
} from './record-batch.js';

/** The largest last offset delta: it is an i32. */
export const MAX_LAST_OFFSET_DELTA = 0x7fff_ffff;

const NO_TIMESTAMP = -1;

/** A batch that covers the offsets [baseOffset, lastOffset] and says nothing. */
export function encodeEmptyBatch(baseOffset: number, lastOffset: number, epoch: number): Buffer {
  const batch = Buffer.alloc(BATCH_HEADER_BYTES);
  batch.writeInt32BE(BATCH_HEADER_BYTES - LENGTH_OVERHEAD, LENGTH_AT);
  batch[MAGIC_AT] = MAGIC;
  batch.writeInt32BE(lastOffset - baseOffset, LAST_OFFSET_DELTA_AT);
  writeInt64(batch, BASE_TIMESTAMP_AT, NO_TIMESTAMP);
  writeInt64(batch, MAX_TIMESTAMP_AT, NO_TIMESTAMP);
  writeInt64(batch, PRODUCER_ID_AT, -1);
  batch.writeInt16BE(-1, PRODUCER_EPOCH_AT);
  batch.writeInt32BE(-1, BASE_SEQUENCE_AT);
  batch.writeUInt32BE(crc32c(batch, CRC_START, batch.length), CRC_AT);
  stampBatch(batch, 0, baseOffset, epoch);
  return batch;
}

/** The batch at `pos` without its records: offsets, epoch, producer fields and the largest timestamp stay. */
export function emptied(buf: Buffer, pos: number): Buffer {
  const batch = Buffer.from(buf.subarray(pos + BASE_OFFSET_AT, pos + BATCH_HEADER_BYTES));
  batch.writeInt32BE(BATCH_HEADER_BYTES - LENGTH_OVERHEAD, LENGTH_AT);
  batch.writeInt16BE(attributesAt(buf, pos) & ~(CODEC_MASK | DELETE_HORIZON_BIT), ATTRIBUTES_AT);
  writeInt64(batch, BASE_TIMESTAMP_AT, NO_TIMESTAMP);
  batch.writeInt32BE(0, RECORD_COUNT_AT);
  batch.writeUInt32BE(crc32c(batch, CRC_START, batch.length), CRC_AT);
  return batch;
}
