import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OffsetMap, SALT_BYTES, SLOT_BYTES } from '../../src/compaction/offset-map.js';

const SALT = Buffer.alloc(SALT_BYTES);
const key = fc.oneof(fc.uint8Array({ maxLength: 2 }), fc.uint8Array({ minLength: 60, maxLength: 70 }));

test('holds the latest offset of each key, as a Map does, until it is full', () => {
  fc.assert(
    fc.property(fc.array(key, { maxLength: 200 }), fc.integer({ min: 0, max: 100 * SLOT_BYTES }), (keys, maxBytes) => {
      const map = new OffsetMap(maxBytes, keys.length, SALT);
      const model = new Map<string, number>();
      keys.forEach((bytes, offset) => {
        const name = Buffer.from(bytes).toString('hex');
        const taken = map.put(bytes, offset);
        expect(taken).toBe(model.has(name) || model.size < map.capacity);
        if (taken) model.set(name, offset);
      });
      expect(map.size).toBe(model.size);
      for (const bytes of keys) expect(map.get(bytes)).toBe(model.get(Buffer.from(bytes).toString('hex')) ?? -1);
    }),
  );
});

test('takes no more memory than allowed, and no more than the keys expected need', () => {
  expect(new OffsetMap(1024 * SLOT_BYTES, 1e9, SALT).memoryBytes).toBe(1024 * SLOT_BYTES);
  expect(new OffsetMap(1e9, 600, SALT)).toMatchObject({ capacity: expect.any(Number), memoryBytes: 801 * SLOT_BYTES });
  expect(new OffsetMap(1e9, 600, SALT).capacity).toBeGreaterThanOrEqual(600);
});
