/**
 * Writing the header of a record batch, which record-batch.ts draws. Length and CRC come last: the CRC covers all that is
 * behind it, so whoever changes anything from the attributes on writes it anew.
 */
import { crc32c } from '../disk/addon.js';
import {
  ATTRIBUTES_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  CRC_AT,
  CRC_START,
  LAST_OFFSET_DELTA_AT,
  LENGTH_AT,
  LENGTH_OVERHEAD,
  MAGIC,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
  stampBatch,
  writeInt64,
} from './record-batch.js';

const NONE = -1;

export interface BatchHeaderFields {
  readonly baseOffset: number;
  readonly epoch: number;
  readonly attributes: number;
  readonly lastOffsetDelta: number;
  /** −1: none. */
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  readonly recordCount: number;
  /** Default: none. */
  readonly producer:
    | { readonly producerId: number; readonly producerEpoch: number; readonly baseSequence: number }
    | undefined;
}

/** Writes a header to the front of a buffer, but for its length and CRC. */
export function writeBatchHeader(buf: Buffer, fields: BatchHeaderFields): void {
  const { producer } = fields;
  stampBatch(buf, 0, fields.baseOffset, fields.epoch);
  buf[MAGIC_AT] = MAGIC;
  buf.writeInt16BE(fields.attributes, ATTRIBUTES_AT);
  buf.writeInt32BE(fields.lastOffsetDelta, LAST_OFFSET_DELTA_AT);
  writeInt64(buf, BASE_TIMESTAMP_AT, fields.baseTimestamp);
  writeInt64(buf, MAX_TIMESTAMP_AT, fields.maxTimestamp);
  writeInt64(buf, PRODUCER_ID_AT, producer?.producerId ?? NONE);
  buf.writeInt16BE(producer?.producerEpoch ?? NONE, PRODUCER_EPOCH_AT);
  buf.writeInt32BE(producer?.baseSequence ?? NONE, BASE_SEQUENCE_AT);
  buf.writeInt32BE(fields.recordCount, RECORD_COUNT_AT);
}

/** Fills in length and CRC. @returns the batch, which is the whole buffer */
export function completeBatch(batch: Buffer): Buffer {
  batch.writeInt32BE(batch.length - LENGTH_OVERHEAD, LENGTH_AT);
  return withNewCrc(batch);
}

/** The batch, which is the whole buffer, after a change that its CRC covers. */
export function withNewCrc(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch, CRC_START, batch.length), CRC_AT);
  return batch;
}
