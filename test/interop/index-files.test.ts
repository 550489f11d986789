/** Index files written here are checked against their segment by a program that shares no code with us. */
import { describe, expect, test } from 'vitest';
import { EpochIndex } from '../../src/index/epoch-index.js';
import { OffsetIndex } from '../../src/index/offset-index.js';
import { TimeIndex } from '../../src/index/time-index.js';
import { baseOffsetAt, epochAt, lastOffsetAt, maxTimestampAt } from '../../src/record/record-batch.js';
import { runPython, whyNoPython } from './python.js';
import { sampleSegment } from './samples.js';

const INTERVAL_BYTES = 4096;
const reason = whyNoPython(['struct']);

async function indexedSegment() {
  const segment = await sampleSegment(3_000_000_000, 6);
  const offsets = new OffsetIndex(segment.baseOffset);
  const times = new TimeIndex(segment.baseOffset);
  const epochs = new EpochIndex();
  let position = 0;
  for (const batch of segment.parts) {
    if (position - offsets.lastPosition >= INTERVAL_BYTES) offsets.append(baseOffsetAt(batch, 0), position);
    times.append(maxTimestampAt(batch, 0), lastOffsetAt(batch, 0));
    epochs.append(epochAt(batch, 0), baseOffsetAt(batch, 0));
    position += batch.length;
  }
  return { segment, index: offsets.toBytes(), timeindex: times.toBytes(), epochs: epochs.toBytes() };
}

function check(files: Awaited<ReturnType<typeof indexedSegment>>) {
  const answer = runPython(
    'index_check.py',
    JSON.stringify({
      baseOffset: files.segment.baseOffset,
      indexIntervalBytes: INTERVAL_BYTES,
      log: files.segment.bytes.toString('hex'),
      index: files.index.toString('hex'),
      timeindex: files.timeindex.toString('hex'),
      epochs: files.epochs.toString('hex'),
    }),
  );
  return JSON.parse(answer) as { batches: number; offsets: unknown[]; times: unknown[]; faults: string[] };
}

describe.skipIf(reason !== undefined)('an independent check of index files', () => {
  test('finds every entry where the segment says it is', async () => {
    const files = await indexedSegment();
    const { batches, offsets, times, faults } = check(files);
    expect(faults).toEqual([]);
    expect(batches).toBe(files.segment.parts.length);
    expect(offsets.length).toBeGreaterThan(5);
    expect(times.length).toBeGreaterThan(1);
  });

  test('does find faults', async () => {
    const files = await indexedSegment();
    files.index[7]! ^= 1;
    files.timeindex[7]! ^= 1;
    files.epochs[files.epochs.length - 2]! ^= 1;
    expect(check(files).faults.length).toBeGreaterThanOrEqual(3);
  });
});
