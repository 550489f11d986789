/**
 * Transaction markers: the control batches that end a transaction of one producer in one partition. Kafka's bytes
 * (KIP-98): control and transactional bits, the producer's id and epoch, no sequence, and one record:
 *
 *   key                                        value
 *   +-------------+------------------------+   +-------------+-------------------+
 *   | version     | type                   |   | version     | coordinator epoch |
 *   | i16 = 0     | i16: 0 abort, 1 commit |   | i16 = 0     | i32               |
 *   +-------------+------------------------+   +-------------+-------------------+
 */
import { withNewCrc } from './batch-header.js';
import { decodeControlBatch, encodeControlBatch } from './control-batch.js';
import {
  ATTRIBUTES_AT,
  CONTROL_BIT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  recordCountAt,
  TRANSACTIONAL_BIT,
  writeInt64,
} from './record-batch.js';

export type TransactionResult = 'abort' | 'commit';

const TYPES = { abort: 0, commit: 1 } as const satisfies Record<TransactionResult, number>;
const VERSION = 0;
const VALUE_BYTES = 6;

export interface TransactionMarker {
  readonly result: TransactionResult;
  readonly coordinatorEpoch: number;
}

/** A whole marker batch, stamped. */
export function encodeMarker(
  producerId: number,
  producerEpoch: number,
  { result, coordinatorEpoch }: TransactionMarker,
  baseOffset: number,
  epoch: number,
  timestamp: number,
): Buffer {
  const value = Buffer.alloc(VALUE_BYTES);
  value.writeInt16BE(VERSION, 0);
  value.writeInt32BE(coordinatorEpoch, 2);
  const batch = encodeControlBatch(TYPES[result], value, baseOffset, epoch, timestamp);
  batch.writeInt16BE(CONTROL_BIT | TRANSACTIONAL_BIT, ATTRIBUTES_AT);
  writeInt64(batch, PRODUCER_ID_AT, producerId);
  batch.writeInt16BE(producerEpoch, PRODUCER_EPOCH_AT);
  return withNewCrc(batch);
}

/**
 * What the control batch at `pos` says about its producer's transaction; undefined for any other control batch, and for
 * one that compaction has emptied. It lies in the log, so nothing about it is refused any more.
 */
export function decodeMarker(buf: Buffer, pos: number): TransactionMarker | undefined {
  if (recordCountAt(buf, pos) !== 1) return undefined;
  let type: number;
  let value: Buffer;
  try {
    ({ type, value } = decodeControlBatch(buf, pos));
  } catch {
    return undefined;
  }
  if ((type !== TYPES.abort && type !== TYPES.commit) || value.length < VALUE_BYTES) return undefined;
  return { result: type === TYPES.commit ? 'commit' : 'abort', coordinatorEpoch: value.readInt32BE(2) };
}
