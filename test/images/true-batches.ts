/** Batches with their bytes and records, read without any code of the store (see stored-batches.ts). */
import type { BatchMark } from './history.js';
import { readBatches } from './stored-batches.js';

export interface BatchOnDisk extends BatchMark {
  readonly raw: Buffer;
}

export interface TrueRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

const CONTROL = 0x20;

/** A run of whole batches; each with a copy of its bytes. Throws at the first that is none. */
export function splitBatches(bytes: Buffer): BatchOnDisk[] {
  let at = 0;
  return readBatches(bytes).map((mark) => {
    const raw = Buffer.from(bytes.subarray(at, at + mark.bytes));
    at += mark.bytes;
    return { ...mark, raw };
  });
}

export function isControl({ raw }: BatchOnDisk): boolean {
  return (raw.readInt16BE(21) & CONTROL) !== 0;
}

/** Records of an uncompressed batch; none of a control batch, which no consumer sees. */
export function recordsOf(batch: BatchOnDisk): TrueRecord[] {
  if (isControl(batch)) return [];
  const { raw } = batch;
  const base = Number(raw.readBigInt64BE(27));
  let at = 61;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      if (at >= raw.length) throw new Error(`batch ${batch.base}: its records go beyond its end`);
      const byte = raw[at++]!;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
  };
  const field = (): Buffer | null => {
    const length = varint();
    if (length < 0) return null;
    at += length;
    return raw.subarray(at - length, at);
  };
  const records: TrueRecord[] = [];
  for (let left = raw.readInt32BE(57); left > 0; left--) {
    const length = varint();
    const end = at + length;
    at++;
    const timestamp = base + varint();
    const offset = batch.base + varint();
    records.push({ offset, timestamp, key: field(), value: field() });
    at = end;
  }
  return records;
}
