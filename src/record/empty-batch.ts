/**
 * Batches without records. Compaction leaves them in place of what it removed, so that every offset stays covered by a
 * batch; one that a producer wrote keeps its producer id, epoch and sequence, from which duplicates are told.
 *
 * As Kafka writes them (an emptied batch of its own cleaner): record count 0, no codec, base timestamp −1.
 */
import { completeBatch, writeBatchHeader } from './batch-header.js';
import {
  ATTRIBUTES_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  CODEC_MASK,
  DELETE_HORIZON_BIT,
  RECORD_COUNT_AT,
  attributesAt,
  writeInt64,
} from './record-batch.js';

/** The largest last offset delta: it is an i32. */
export const MAX_LAST_OFFSET_DELTA = 0x7fff_ffff;

const NO_TIMESTAMP = -1;

/** A batch that covers the offsets [baseOffset, lastOffset] and says nothing. */
export function encodeEmptyBatch(baseOffset: number, lastOffset: number, epoch: number): Buffer {
  const batch = Buffer.alloc(BATCH_HEADER_BYTES);
  writeBatchHeader(batch, {
    baseOffset,
    epoch,
    attributes: 0,
    lastOffsetDelta: lastOffset - baseOffset,
    baseTimestamp: NO_TIMESTAMP,
    maxTimestamp: NO_TIMESTAMP,
    recordCount: 0,
    producer: undefined,
  });
  return completeBatch(batch);
}

/** The batch at `pos` without its records: offsets, epoch, producer fields and the largest timestamp stay. */
export function emptied(buf: Buffer, pos: number): Buffer {
  const batch = Buffer.from(buf.subarray(pos, pos + BATCH_HEADER_BYTES));
  batch.writeInt16BE(attributesAt(buf, pos) & ~(CODEC_MASK | DELETE_HORIZON_BIT), ATTRIBUTES_AT);
  writeInt64(batch, BASE_TIMESTAMP_AT, NO_TIMESTAMP);
  batch.writeInt32BE(0, RECORD_COUNT_AT);
  return completeBatch(batch);
}
