/** Payloads of the store benchmark: random bytes, so that no store or disk can make less of them. */
import { randomFillSync } from 'node:crypto';
import { BatchBuilder } from '../../src/record/batch-builder.js';

const POOL = 4096;

/** Hands out values of one size from a pool, in turn. */
export class Values {
  readonly #bytes: number;
  readonly #pool: Buffer;
  #next = 0;

  constructor(bytes: number) {
    this.#bytes = bytes;
    this.#pool = randomFillSync(Buffer.alloc(bytes * POOL));
  }

  next(): Buffer {
    const at = (this.#next++ % POOL) * this.#bytes;
    return this.#pool.subarray(at, at + this.#bytes);
  }

  take(count: number): Buffer[] {
    return Array.from({ length: count }, () => this.next());
  }
}

/** An encoded batch of exactly `bytes` bytes: one record whose value fills it. */
export function encodedBatch(bytes: number): Buffer {
  const builder = new BatchBuilder({ initialBytes: bytes });
  for (let value = bytes - 64; ; value--) {
    builder.append(0, null, randomFillSync(Buffer.alloc(value)));
    const batch = builder.finish();
    if (batch.length <= bytes) {
      if (batch.length < bytes) throw new RangeError(`no batch of one record has ${bytes} bytes`);
      return Buffer.from(batch);
    }
  }
}

/** An encoded batch of `count` records of `bytes` bytes each (key of 8 bytes, the rest value). */
export function batchOfRecords(count: number, bytes: number, values: Values, timestamp = 0): Buffer {
  const builder = new BatchBuilder({ initialBytes: count * (bytes + 16) });
  for (let i = 0; i < count; i++) {
    const value = values.next();
    builder.append(timestamp + i, value.subarray(0, 8), value.subarray(8, bytes));
  }
  return Buffer.from(builder.finish());
}
