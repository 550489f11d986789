import { describe, expect, test } from 'vitest';
import { EpochIndex } from '../../src/index/epoch-index.js';
import { DurableBatches } from '../../src/log/durable-batches.js';

const epochs = EpochIndex.fromEntries([
  { epoch: 1, startOffset: 0 },
  { epoch: 3, startOffset: 10 },
]);
const durable = (): DurableBatches =>
  new DurableBatches(epochs, [
    { position: 0, offset: 0 },
    { position: 500, offset: 10 },
    { position: 500, offset: 10 },
    { position: 900, offset: 20 },
  ]);

describe('a batch that was durable', () => {
  test('ends where one is known to end, or before', () => {
    const batches = durable();
    expect(batches.contradiction(0, 200, 0, 4, 1)).toBeUndefined();
    expect(batches.contradiction(200, 300, 5, 9, 1)).toBeUndefined();
    expect(batches.contradiction(500, 400, 10, 19, 3)).toBeUndefined();
  });

  test.each([
    ['goes on behind a place where one begins', 200, 301, 5, 9],
    ['has an offset that begins further on', 200, 200, 5, 10],
    ['ends at such a place with another offset', 200, 300, 5, 8],
    ['ends at the durable end with another offset', 500, 400, 10, 20],
  ])('is none that %s', (_, position, size, base, last) => {
    const epoch = base < 10 ? 1 : 3;
    expect(durable().contradiction(position, size, base, last, epoch)).toContain('position');
  });

  test('has the epoch that the log had there', () => {
    expect(durable().contradiction(0, 200, 0, 4, 3)).toContain('epoch');
    expect(durable().contradiction(500, 100, 10, 12, 1)).toContain('epoch');
  });
});
