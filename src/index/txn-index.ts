/**
 * Index of aborted transactions: which transactions were aborted by markers in one segment, in the order of the markers.
 *
 *   .txnindex file: entries of 34 bytes, big-endian, Kafka's layout
 *   +---------+-------------+--------------+--------------+--------------------+
 *   | version | producer id | first offset | last offset  | last stable offset |
 *   | i16 = 0 | i64         | i64          | i64: marker  | i64                |
 *   +---------+-------------+--------------+--------------+--------------------+
 *
 * The last stable offset is what it became with that marker: every transaction that ends later begins at or above it, so
 * a reader of offsets below it need not look further.
 *
 * It can be rebuilt from the batches: `decodeTxnIndex` answers undefined for anything that cannot be right.
 */
import { writeInt64 } from '../record/record-batch.js';

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
  /** Offset of the abort marker. */
  readonly lastOffset: number;
  readonly lastStableOffset: number;
}

export const TXN_INDEX_ENTRY_BYTES = 34;
const VERSION = 0;
const TWO_32 = 0x1_0000_0000;

export function encodeTxnIndex(entries: readonly AbortedTransaction[]): Buffer {
  const bytes = Buffer.allocUnsafe(entries.length * TXN_INDEX_ENTRY_BYTES);
  let at = 0;
  for (const { producerId, firstOffset, lastOffset, lastStableOffset } of entries) {
    bytes.writeInt16BE(VERSION, at);
    writeInt64(bytes, at + 2, producerId);
    writeInt64(bytes, at + 10, firstOffset);
    writeInt64(bytes, at + 18, lastOffset);
    writeInt64(bytes, at + 26, lastStableOffset);
    at += TXN_INDEX_ENTRY_BYTES;
  }
  return bytes;
}

export function decodeTxnIndex(bytes: Buffer): AbortedTransaction[] | undefined {
  if (bytes.length % TXN_INDEX_ENTRY_BYTES !== 0) return undefined;
  const entries: AbortedTransaction[] = [];
  for (let at = 0; at < bytes.length; at += TXN_INDEX_ENTRY_BYTES) {
    const entry = {
      producerId: int64At(bytes, at + 2),
      firstOffset: int64At(bytes, at + 10),
      lastOffset: int64At(bytes, at + 18),
      lastStableOffset: int64At(bytes, at + 26),
    };
    const { producerId, firstOffset, lastOffset, lastStableOffset } = entry;
    if (bytes.readInt16BE(at) !== VERSION || producerId < 0 || firstOffset < 0 || firstOffset >= lastOffset) {
      return undefined;
    }
    if (lastStableOffset < 0 || lastStableOffset > lastOffset + 1) return undefined;
    // A number that does not fit would be another one: another producer's.
    if (!Number.isSafeInteger(producerId) || !Number.isSafeInteger(lastOffset)) return undefined;
    if (lastOffset <= (entries.at(-1)?.lastOffset ?? -1)) return undefined;
    entries.push(entry);
  }
  return entries;
}

function int64At(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);
}
