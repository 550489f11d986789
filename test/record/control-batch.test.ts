import { expect, test } from 'vitest';
import { ControlKind } from '../../src/log/log.js';
import { decodeControlBatch, encodeControlBatch } from '../../src/record/control-batch.js';
import { readBatchHeader } from '../../src/record/record-batch.js';
import { validateProducedBatch, validateStoredBatch } from '../../src/record/validate-batch.js';
import { buildBatch } from './records.js';

const ANY = 1 << 20;
const batch = () => encodeControlBatch(ControlKind.LeaderChange, Buffer.from('opaque'), 41, 7, 1_700_000_000_000);

test('a control batch gives back its type and value, stamped with offset and epoch', () => {
  expect(decodeControlBatch(batch())).toEqual({
    offset: 41,
    timestamp: 1_700_000_000_000,
    type: ControlKind.LeaderChange,
    value: Buffer.from('opaque'),
  });
  expect(readBatchHeader(batch(), 0)).toMatchObject({
    isControl: true,
    baseOffset: 41,
    epoch: 7,
    recordCount: 1,
    codec: 0,
  });
});

test('a control batch passes as stored and is refused from a producer', () => {
  const bytes = batch();
  expect(validateStoredBatch(bytes, 0, bytes.length, ANY)).toBe(bytes.length);
  expect(() => validateProducedBatch(bytes, 0, bytes.length, ANY)).toThrow(
    expect.objectContaining({ code: 'INVALID_BATCH' }),
  );
});

test('what is no control batch is CORRUPT_BATCH', async () => {
  const key = Buffer.from([0, 0, 3, 0xe8]);
  const refused = expect.objectContaining({ code: 'CORRUPT_BATCH' });
  const ordinary = await buildBatch([{ timestamp: 1, key, value: 'v' }]);
  expect(() => decodeControlBatch(ordinary)).toThrow(refused);
  for (const inputs of [
    [{ timestamp: 1, key: 'k' }],
    [
      { timestamp: 1, key },
      { timestamp: 1, key },
    ],
  ]) {
    const bytes = await buildBatch(inputs);
    bytes.writeInt16BE(0x20, 21);
    expect(() => decodeControlBatch(bytes)).toThrow(refused);
  }
});

test('a batch that Kafka wrote to commit a transaction decodes', async () => {
  // Type 1 = commit; value: version 0, coordinator epoch 9.
  const bytes = await buildBatch([
    { timestamp: 1, key: Buffer.from([0, 0, 0, 1]), value: Buffer.from([0, 0, 0, 0, 0, 9]) },
  ]);
  bytes.writeInt16BE(0x30, 21);
  expect(decodeControlBatch(bytes)).toMatchObject({ type: 1, value: Buffer.from([0, 0, 0, 0, 0, 9]) });
});
