// A transaction that is never ended keeps nothing from being deleted, as in Kafka: retention looks at the high watermark. The
// log start passes its first records; what is left of it is judged as before.
import { expect, test } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { openStore } from '../../src/log/store.js';
import { producedBatch } from '../log/producer-model.js';
import { crashImage, temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, checkpointIntervalMs: 3_600_000 };
const LOG = { segmentBytes: MIB, retentionBytes: MIB };
/** Two of them fill a segment. */
const transactional = (sequence: number): Buffer =>
  producedBatch({ producerId: 1, epoch: 0, sequence, count: 1, transactional: true, bytes: 400_000 });

function begin(log: Log, from: number): void {
  for (let sequence = from; sequence < from + 8; sequence++) {
    const batch = transactional(sequence);
    log.appendProduced(batch, 0, batch.length);
  }
}

async function committed(log: Log): Promise<number[]> {
  const offsets: number[] = [];
  for (let offset = log.start; offset < log.lastStableOffset; ) {
    const { records, nextOffset } = await log.read(offset, { isolation: 'read_committed', maxBytes: 16 * MIB });
    offsets.push(...records.map((record) => record.offset));
    offset = nextOffset;
  }
  return offsets;
}

test.each(['commit', 'abort'] as const)(
  'retention passes an open transaction; its later %s is kept',
  async (result) => {
    const path = temporaryDirectory();
    let store = await openStore(path, OPTIONS);
    let log = await store.openLog('t', 0, LOG);
    begin(log, 0);
    await log.flush();
    expect(log.lastStableOffset).toBe(0);
    await store.checkpoint();
    expect(log.start).toBeGreaterThan(0);
    expect(log.start).toBeLessThan(8);
    const { start } = log;
    // Nothing of it is shown while it is open, also after a crash.
    expect(log.lastStableOffset).toBe(start);
    const image = crashImage(path);
    await store.close();
    for (const directory of [path, image]) {
      store = await openStore(directory, OPTIONS);
      log = await store.openLog('t', 0, LOG);
      expect([log.start, log.lastStableOffset]).toEqual([start, start]);
      log.appendMarker(1, 0, result, 0);
      await log.append([{ value: 'after' }]);
      expect(log.lastStableOffset).toBe(10);
      const kept = Array.from({ length: 8 - start }, (_, i) => start + i);
      expect(await committed(log)).toEqual(result === 'commit' ? [...kept, 9] : [9]);
      await store.close();
      store = await openStore(directory, OPTIONS);
      log = await store.openLog('t', 0, LOG);
      expect(await committed(log)).toEqual(result === 'commit' ? [...kept, 9] : [9]);
      await store.close();
    }
  },
);
