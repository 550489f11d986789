/** A compacted segment, with everything that compaction leaves, for programs that know nothing of this project. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { COMPRESSIONS, type Record } from '../../src/record/types.js';
import { asProducer } from '../compaction/batches.js';
import { temporaryDirectory } from '../log/crash-image.js';
import { sampleRecords } from './samples.js';

/** Every codec, tombstones, producers whose records are all replaced, two epochs of control batches. */
export async function compactedSegment(): Promise<{ bytes: Buffer; records: readonly Record[] }> {
  const path = temporaryDirectory();
  const store = await openStore(path, { create: true });
  // Records without a key are from before it was to be compacted.
  let log = await store.openLog('t', 0);
  for (let round = 0; round < 3; round++) {
    log.appendControl(1000, Buffer.from('leader'), round);
    for (const compression of COMPRESSIONS) {
      await log.append(sampleRecords(round * 10 + COMPRESSIONS.indexOf(compression), 60), { compression });
    }
    const builder = new BatchBuilder();
    for (let n = 0; n < 5; n++) builder.append(1_700_000_000_000, 'replaced', `${round} ${n}`);
    const batch = asProducer(builder.finish(), 9, 1, 5 * round);
    log.appendProduced(batch, 0, batch.length, log.lastEpoch);
  }
  await log.append([{ key: 'replaced', value: 'by this' }]);
  await log.close();
  log = await store.openLog('t', 0, { cleanup: 'compact' });
  expect(await log.compact()).toMatchObject({ end: 'complete', segmentsAfter: 1 });
  const { records } = await log.read(0, { maxBytes: 8 * 1024 * 1024 });
  await store.close();
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0'))!);
  const file = readdirSync(directory).find((name) => name.includes('.1000000000001.') && name.endsWith('.log'))!;
  return { bytes: readFileSync(join(directory, file)), records };
}
