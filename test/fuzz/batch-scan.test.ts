// The native scan against one that was written from the format's description alone, over changed batches.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { scanBatches } from '../../src/disk/addon.js';
import { SCAN_STRIDE } from '../../src/disk/batch-scan.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { batchSizeAt, stampBatch } from '../../src/record/record-batch.js';
import { mutate, mutations, RUNS } from './mutations.js';
import { referenceCrc, referenceScan } from './reference-scan.js';

const ALL = 0x7fff_ffff;

/** A run of batches as a log stores them: offsets join, epochs rise. */
function run(sizes: readonly number[]): Buffer {
  const builder = new BatchBuilder();
  const batches: Buffer[] = [];
  let offset = 0;
  for (const [i, size] of sizes.entries()) {
    for (let record = 0; record <= i % 3; record++) builder.append(1000 + i, `k${record}`, 'v'.repeat(size));
    const batch = builder.finish();
    stampBatch(batch, 0, offset, Math.floor(i / 2));
    offset += (i % 3) + 1;
    batches.push(batch);
  }
  return Buffer.concat(batches);
}

/** Makes the CRC of the batch at a boundary right again, so that what lies behind that check is reached. */
function repair(bytes: Buffer): void {
  for (let at = 0; at + 61 <= bytes.length; ) {
    const size = batchSizeAt(bytes, at);
    if (size < 61 || at + size > bytes.length) return;
    bytes.writeUInt32BE(referenceCrc(bytes.subarray(at + 21, at + size)), at + 17);
    at += size;
  }
}

test('the native scan and the reference agree about every changed run of batches', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 8 }),
      mutations,
      fc.boolean(),
      fc.constantFrom(-1, 0, 5),
      fc.constantFrom(-1, 0, 1),
      (sizes, changes, repairs, expectedOffset, minEpoch) => {
        const bytes = mutate(run(sizes), changes);
        if (repairs) repair(bytes);
        const native = scanBatches(bytes, 0, bytes.length, expectedOffset, minEpoch, ALL);
        const rows = Array.from({ length: native.batches.length / SCAN_STRIDE }, (_, i) =>
          Array.from(native.batches.subarray(i * SCAN_STRIDE, (i + 1) * SCAN_STRIDE)),
        );
        const reference = referenceScan(bytes, 0, bytes.length, expectedOffset, minEpoch);
        expect({ end: native.end, validEnd: native.validEnd, batches: rows }).toEqual(reference);
        seen.add(reference.end);
      },
    ),
    // A changed byte of the records with nothing else wrong is rare enough to be missed by chance.
    { numRuns: Math.max(RUNS, 300), examples: [[[10], [{ kind: 'flip', at: 0.99, mask: 1 }], false, -1, -1]] },
  );
  // The changes are of use only while they lead to every verdict.
  expect([...seen].sort()).toEqual(['bad-crc', 'complete', 'malformed', 'out-of-order', 'short']);
});
