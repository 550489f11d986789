import { expect, test } from 'vitest';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { lastOffsetAt, maxTimestampAt, stampBatch } from '../../src/record/record-batch.js';
import { decodeSeal, encodeSeal, SealBuilder, type SealIdentity, sameSeal } from '../../src/segment/seal.js';

const IDENTITY: SealIdentity = { topicId: 'ab'.repeat(16), partition: 3, base: 100 };

function batches(): Buffer[] {
  return [0, 1, 2].map((i) => {
    const builder = new BatchBuilder();
    builder.append(1000 + i, null, `value ${i}`);
    const batch = Buffer.from(builder.finish());
    stampBatch(batch, 0, 100 + i, 7);
    return batch;
  });
}

function sealOf(all: readonly Buffer[], identity = IDENTITY) {
  const builder = new SealBuilder(identity);
  for (const batch of all) builder.add(batch, 0, batch.length, lastOffsetAt(batch, 0), maxTimestampAt(batch, 0));
  return builder.seal();
}

test('a seal is read back as it was written, and says what the segment held', () => {
  const all = batches();
  const seal = sealOf(all);
  expect(seal).toMatchObject({ length: Buffer.concat(all).length, end: 103, batches: 3, maxTimestamp: 1002 });
  expect(decodeSeal(encodeSeal(seal))).toEqual(seal);
  expect(sameSeal(seal, sealOf(batches()))).toBe(true);
});

test('one wrong bit in the file, or one byte more or less, and it is no seal', () => {
  const bytes = encodeSeal(sealOf(batches()));
  for (let at = 0; at < bytes.length * 8; at++) {
    const wrong = Buffer.from(bytes);
    wrong[at >> 3] = wrong[at >> 3]! ^ (1 << (at & 7));
    expect(decodeSeal(wrong)).toBeUndefined();
  }
  for (const wrong of [bytes.subarray(1), bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.alloc(1)])]) {
    expect(decodeSeal(wrong)).toBeUndefined();
  }
});

test('every bit of a header counts, and so does which log and segment it is', () => {
  const seal = sealOf(batches());
  for (let at = 0; at < 61 * 8; at++) {
    const all = batches();
    const wrong = all[1]!;
    const builder = new SealBuilder(IDENTITY);
    const [end, timestamp] = [lastOffsetAt(wrong, 0), maxTimestampAt(wrong, 0)];
    wrong[at >> 3] = wrong[at >> 3]! ^ (1 << (at & 7));
    builder.add(all[0]!, 0, all[0]!.length, 100, 1000);
    builder.add(wrong, 0, wrong.length, end, timestamp);
    builder.add(all[2]!, 0, all[2]!.length, 102, 1002);
    expect(builder.seal().checksum).not.toBe(seal.checksum);
  }
  for (const other of [{ topicId: 'ac'.repeat(16) }, { partition: 4 }, { base: 101 }]) {
    expect(sameSeal(sealOf(batches(), { ...IDENTITY, ...other }), seal)).toBe(false);
  }
});
