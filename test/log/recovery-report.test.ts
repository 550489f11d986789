// The report says everything that recovery did to the files, byte for byte.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { batchSizeAt, stampBatch } from '../../src/record/record-batch.js';
import { parsePartitionDirectory } from '../../src/segment/file-names.js';
import { crashImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, journalMaxBytes: 4 * MIB, checkpointIntervalMs: 3_600_000 };

function partitionOf(directory: string): string {
  const name = readdirSync(directory).find((entry) => parsePartitionDirectory(entry) !== undefined);
  return join(directory, name!);
}

function batchAt(offset: number, value: string): Buffer {
  const builder = new BatchBuilder();
  builder.append(1, null, value);
  const batch = builder.finish();
  stampBatch(batch, 0, offset, 0);
  return batch;
}

function lengthOf(segment: Buffer): number {
  let end = 0;
  while (end + 12 <= segment.length && segment.readInt32BE(end + 8) > 0) end += batchSizeAt(segment, end);
  return end;
}

test('after a clean stop: nothing was done, and the mark is the end of the log', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  await log.append([{ value: 'a' }]);
  await store.close();
  const bytes = lengthOf(readFileSync(join(partitionOf(path), '00000000000000000000.log')));

  const again = await openStore(path, OPTIONS);
  const { recovery } = await again.openLog('t', 0);
  expect(recovery).toEqual({
    clean: true,
    pageCacheSurvived: true,
    checkpoint: expect.any(Number),
    journalGroups: 0,
    replayedRecords: 0,
    replayedBytes: 0,
    durableMark: { segmentBaseOffset: 0, position: bytes, offset: 1 },
    truncatedBytes: 0,
    cuts: [],
    rewrittenBytes: 0,
    setAside: [],
    rebuiltIndexes: 0,
    damaged: [],
    mayHaveForgotten: false,
  });
  expect(recovery.checkpoint).toBeGreaterThan(0);
  await again.close();
});

test('after a crash: what came from the journal, what was kept, what was cut, and where', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  for (let i = 0; i < 5; i++) await log.append([{ value: `value ${i}` }]);
  const image = crashImage(path);
  await store.close();
  // Behind what the journal holds: a whole batch that only the page cache had, and the beginning of the next one.
  const file = join(partitionOf(image), '00000000000000000000.log');
  const bytes = readFileSync(file);
  const durable = lengthOf(bytes);
  const kept = batchAt(5, 'in the page cache');
  const torn = batchAt(6, 'torn'.repeat(10)).subarray(0, 80);
  Buffer.concat([kept, torn]).copy(bytes, durable);
  writeFileSync(file, bytes);
  // No truncation that ever became durable made this one.
  writeFileSync(join(partitionOf(image), '00000000000000000003.9.log'), kept);

  const again = await openStore(image, OPTIONS);
  const found = await again.openLog('t', 0);
  expect(found.end).toBe(6);
  expect(found.recovery).toMatchObject({
    clean: false,
    replayedRecords: 5,
    replayedBytes: durable,
    durableMark: { segmentBaseOffset: 0, position: durable, offset: 5 },
    truncatedBytes: torn.length,
    cuts: [
      {
        segmentBaseOffset: 0,
        position: durable + kept.length,
        bytes: torn.length,
        reason: expect.stringMatching(/CRC32C does not match, beyond the durable mark/),
      },
    ],
    rewrittenBytes: kept.length,
    setAside: ['00000000000000000003.9.log'],
    rebuiltIndexes: 1,
    damaged: [],
  });
  expect(found.recovery.journalGroups).toBeGreaterThan(0);
  expect(readdirSync(partitionOf(image)).some((name) => name.startsWith('00000000000000000003'))).toBe(false);
  await again.close();
  expect(statSync(file).size).toBeGreaterThanOrEqual(durable + kept.length);
});

test('a damaged range is reported from where to where', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  for (let i = 0; i < 3; i++) await log.append([{ value: `value ${i}` }]);
  await store.checkpoint();
  const image = crashImage(path);
  await store.close();
  const file = join(partitionOf(image), '00000000000000000000.log');
  const bytes = readFileSync(file);
  const second = batchSizeAt(bytes, 0);
  bytes[second + 70]! ^= 0xff;
  writeFileSync(file, bytes);

  const again = await openStore(image, OPTIONS);
  const { recovery } = await again.openLog('t', 0);
  expect(recovery.damaged).toEqual([
    {
      segmentBaseOffset: 0,
      position: second,
      endPosition: lengthOf(bytes),
      baseOffset: 1,
      lastOffset: recovery.durableMark!.offset - 1,
      reason: expect.stringContaining('CRC32C'),
    },
  ]);
  await again.close();
});
