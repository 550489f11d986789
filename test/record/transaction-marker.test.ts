import { describe, expect, test } from 'vitest';
import { crc32c } from '../../src/disk/addon.js';
import { encodeControlBatch } from '../../src/record/control-batch.js';
import { readBatchHeader } from '../../src/record/record-batch.js';
import { decodeMarker, encodeMarker } from '../../src/record/transaction-marker.js';
import { validateProducedBatch, validateStoredBatch } from '../../src/record/validate-batch.js';
import { producedBatch } from '../log/producer-model.js';

const LIMIT = 1024 * 1024;

describe('a transaction marker', () => {
  test.each(['commit', 'abort'] as const)('says %s in the bytes that Kafka writes', (result) => {
    const bytes = encodeMarker(2 ** 40, 5, { result, coordinatorEpoch: 7 }, 99, 3, 1_700_000_000_000);
    expect(readBatchHeader(bytes, 0)).toMatchObject({
      baseOffset: 99,
      lastOffset: 99,
      epoch: 3,
      isControl: true,
      isTransactional: true,
      producerId: 2 ** 40,
      producerEpoch: 5,
      baseSequence: -1,
      recordCount: 1,
    });
    expect(validateStoredBatch(bytes, 0, bytes.length, LIMIT)).toBe(bytes.length);
    // Record: length, attributes, two deltas, key length 4, version, type, value length 6, version, epoch, no headers.
    const type = result === 'commit' ? '01' : '00';
    expect(bytes.subarray(61).toString('hex')).toBe(
      `200000000800 00 00${type} 0c 0000 00000007 00`.replaceAll(' ', ''),
    );
    expect(decodeMarker(bytes, 0)).toEqual({ result, coordinatorEpoch: 7 });
  });

  test('is no other control batch, and none that compaction emptied or somebody damaged', () => {
    expect(decodeMarker(encodeControlBatch(1000, Buffer.alloc(6), 0, 0, 1), 0)).toBeUndefined();
    expect(decodeMarker(encodeControlBatch(1, Buffer.alloc(5), 0, 0, 1), 0)).toBeUndefined();
    const marker = encodeMarker(1, 0, { result: 'abort', coordinatorEpoch: 0 }, 0, 0, 1);
    const emptied = Buffer.from(marker.subarray(0, 61));
    emptied.writeInt32BE(0, 57);
    expect(decodeMarker(emptied, 0)).toBeUndefined();
    const garbled = Buffer.from(marker);
    garbled[61] = 0x7f;
    expect(decodeMarker(garbled, 0)).toBeUndefined();
  });

  test('is not taken from a producer', () => {
    const marker = encodeMarker(1, 0, { result: 'abort', coordinatorEpoch: 0 }, 0, 0, 1);
    expect(() => validateProducedBatch(marker, 0, marker.length, LIMIT)).toThrow(
      expect.objectContaining({ code: 'INVALID_BATCH' }),
    );
  });
});

describe('a batch of a producer', () => {
  const good = { producerId: 1, epoch: 0, sequence: 0, count: 1 };
  const refusal = (bytes: Buffer): string => {
    try {
      validateProducedBatch(bytes, 0, bytes.length, LIMIT);
      return 'taken';
    } catch (error) {
      return (error as { code: string }).code;
    }
  };

  test.each([
    ['whole', good, 'taken'],
    ['of nobody', { ...good, producerId: -1, epoch: -1, sequence: -1 }, 'taken'],
    ['without an epoch', { ...good, epoch: -1 }, 'INVALID_BATCH'],
    ['without a sequence', { ...good, sequence: -1 }, 'INVALID_BATCH'],
    ['of a producer below −1', { ...good, producerId: -2 }, 'INVALID_BATCH'],
    ['transactional, of nobody', { ...good, producerId: -1, transactional: true }, 'INVALID_BATCH'],
  ] as const)('%s is judged by its header', (_, batch, expected) => {
    expect(refusal(producedBatch(batch))).toBe(expected);
  });

  test('whose id is beyond 2^53 is corrupt, from whomever it comes', () => {
    const bytes = producedBatch(good);
    bytes.writeBigInt64BE(2n ** 60n, 43);
    bytes.writeUInt32BE(crc32c(bytes, 21, bytes.length), 17);
    expect(refusal(bytes)).toBe('CORRUPT_BATCH');
    expect(() => validateStoredBatch(bytes, 0, bytes.length, LIMIT)).toThrow(
      expect.objectContaining({ code: 'CORRUPT_BATCH' }),
    );
  });
});
