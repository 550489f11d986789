// A producer id of 2^53 or more in a rotten .txnindex lost digits and was taken for another producer's.
import { expect, test } from 'vitest';
import { decodeTxnIndex, encodeTxnIndex } from '../../src/index/txn-index.js';

test('an entry with a producer id that does not fit a number makes the file unusable', () => {
  const bytes = encodeTxnIndex([{ producerId: 7, firstOffset: 3, lastOffset: 9, lastStableOffset: 10 }]);
  expect(decodeTxnIndex(bytes)).toHaveLength(1);
  bytes.writeBigInt64BE(2n ** 53n + 1n, 2);
  expect(decodeTxnIndex(bytes)).toBe(undefined);
});
