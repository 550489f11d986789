/**
 * Control batches: batches that the partition itself writes into its log. They take one offset, have attribute bit 5
 * set, are never compressed, and consumers skip them.
 *
 *   key of the one record    value of the one record
 *   +-------------+--------+  +-----------------------------------+
 *   | version     | type   |  | opaque here: whoever defines the  |
 *   | i16 = 0     | i16    |  | type defines its bytes            |
 *   +-------------+--------+  +-----------------------------------+
 *
 * Kafka's types are 0 (abort) to 6; ours start at 1000, so that tools never mistake one for the other.
 */
import { VarveError } from '../errors.js';
import { BatchBuilder } from './batch-builder.js';
import { withNewCrc } from './batch-header.js';
import { forEachRecord } from './decode.js';
import { ATTRIBUTES_AT, CONTROL_BIT, isControlAt, stampBatch } from './record-batch.js';

/** Control batch types of ours. */
export const ControlKind = {
  /** The first batch of every leader epoch. */
  LeaderChange: 1000,
  LogStart: 1001,
  /** Who the replicas are, from here on; the log keeps the history of it (src/journal/configuration-history.ts). */
  Configuration: 1002,
} as const;
export type ControlKind = (typeof ControlKind)[keyof typeof ControlKind];

const KEY_BYTES = 4;
const VERSION = 0;

export interface ControlRecord {
  readonly offset: number;
  readonly timestamp: number;
  /** ControlKind for ours; anything for batches that other programs wrote. */
  readonly type: number;
  readonly value: Buffer;
}

/** A whole control batch, stamped. */
export function encodeControlBatch(
  type: number,
  value: Uint8Array,
  baseOffset: number,
  epoch: number,
  timestamp: number,
): Buffer {
  const key = Buffer.alloc(KEY_BYTES);
  key.writeInt16BE(VERSION, 0);
  key.writeInt16BE(type, 2);
  const builder = new BatchBuilder({ initialBytes: 128 + value.length });
  builder.append(timestamp, key, value);
  const batch = builder.finish();
  batch.writeInt16BE(CONTROL_BIT, ATTRIBUTES_AT);
  stampBatch(batch, 0, baseOffset, epoch);
  return withNewCrc(batch);
}

/**
 * Decodes the control batch at `pos`. The value is a view.
 * @throws VarveError CORRUPT_BATCH when it is not a control batch of one record with a control key
 */
export function decodeControlBatch(buf: Buffer, pos = 0, limit = buf.length): ControlRecord {
  const found: ControlRecord[] = [];
  forEachRecord(buf, pos, limit, (offset, timestamp, bytes, keyStart, keyLength, valueStart, valueLength) => {
    if (keyLength < KEY_BYTES || bytes.readInt16BE(keyStart) !== VERSION) {
      throw corrupt(pos, 'its key is not two 16-bit numbers, the first of them 0');
    }
    const value = bytes.subarray(valueStart, valueStart + Math.max(0, valueLength));
    found.push({ offset, timestamp, type: bytes.readInt16BE(keyStart + 2), value });
  });
  if (!isControlAt(buf, pos)) throw corrupt(pos, 'the control bit is not set');
  const [record] = found;
  if (record === undefined || found.length !== 1) throw corrupt(pos, `it holds ${found.length} records instead of one`);
  return record;
}

function corrupt(pos: number, what: string): VarveError {
  return new VarveError('CORRUPT_BATCH', `control batch at position ${pos}: ${what}`);
}
