/** Random records for property tests, and the naive view of them that decoded ones are compared with. */
import fc from 'fast-check';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import type { Compression, Record, RecordInput } from '../../src/record/types.js';

/** Large enough for many varint sizes, small enough for thousands of runs. */
const bytes = fc.oneof(
  fc.constant(null),
  fc.constant(Buffer.alloc(0)),
  fc.uint8Array({ maxLength: 80 }).map((array) => Buffer.from(array)),
  fc
    .uint8Array({ minLength: 1, maxLength: 4 })
    .chain((unit) =>
      fc.integer({ min: 1, max: 3000 }).map((times) => Buffer.concat(Array<Uint8Array>(times).fill(unit))),
    ),
);

const text = fc.oneof(fc.string({ maxLength: 90 }), fc.string({ unit: 'binary', maxLength: 90 }));

const timestamp = fc.oneof(
  fc.constant(-1),
  fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
  fc.integer({ min: 0, max: 8.64e15 }),
);

export const recordInput: fc.Arbitrary<Required<RecordInput>> = fc.record({
  timestamp,
  key: fc.oneof(bytes, text),
  value: fc.oneof(bytes, text),
  headers: fc.array(fc.record({ key: text, value: bytes }), { maxLength: 3 }),
});

export const recordInputs = fc.array(recordInput, { minLength: 1, maxLength: 40 });

export function fill(builder: BatchBuilder, inputs: readonly RecordInput[]): BatchBuilder {
  for (const { timestamp, key, value, headers } of inputs) builder.append(timestamp ?? 0, key, value, headers);
  return builder;
}

export function buildBatch(inputs: readonly RecordInput[], compression: Compression = 'none'): Promise<Buffer> {
  return fill(new BatchBuilder(), inputs).finishCompressed(compression);
}

/** What is to come out for these inputs, as plain data. */
export function expected(inputs: readonly RecordInput[], baseOffset = 0): unknown[] {
  return inputs.map(({ timestamp, key, value, headers }, i) => ({
    offset: baseOffset + i,
    timestamp,
    key: hex(key),
    value: hex(value),
    headers: (headers ?? []).map((header) => [hex(header.key), hex(header.value)]),
  }));
}

export function plain(records: readonly Record[]): unknown[] {
  return records.map(({ offset, timestamp, key, value, headers }) => ({
    offset,
    timestamp,
    key: hex(key),
    value: hex(value),
    headers: headers.map((header) => [hex(header.key), hex(header.value)]),
  }));
}

function hex(bytes: Uint8Array | string | null | undefined): string | null {
  if (bytes == null) return null;
  return Buffer.from(bytes as Uint8Array).toString('hex');
}
