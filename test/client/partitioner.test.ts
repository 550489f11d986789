import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { murmur2, partitionOfKey } from '../../src/client/partitioner.js';

/** An independent implementation. */
const kafkaJsMurmur2 = createRequire(import.meta.url)('kafkajs/src/producer/partitioners/default/murmur2') as (
  key: Buffer,
) => number;

describe('murmur2', () => {
  // From Kafka's own UtilsTest.
  it.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])('of %s is what Kafka computes', (text, hash) => {
    expect(murmur2(Buffer.from(text))).toBe(hash);
  });

  it('agrees with another implementation on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(murmur2(bytes)).toBe(kafkaJsMurmur2(Buffer.from(bytes)) | 0);
      }),
    );
  });
});

describe('partitionOfKey', () => {
  it('puts a string where its UTF-8 bytes belong, whatever its length and script', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 2000 }),
        fc.integer({ min: 1, max: 1000 }),
        (key, partitions) => {
          const partition = partitionOfKey(key, partitions);
          expect(partition).toBe(partitionOfKey(Buffer.from(key), partitions));
          expect(partition).toBeGreaterThanOrEqual(0);
          expect(partition).toBeLessThan(partitions);
        },
      ),
    );
  });

  it('clears the sign bit instead of negating', () => {
    expect(partitionOfKey('21', 7)).toBe((-973932308 & 0x7fffffff) % 7);
  });
});
