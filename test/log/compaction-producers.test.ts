// Producers and transactions of a log that is compacted: duplicates are told, and aborted records left out, as if it had
// not been; also by a store that has nothing but the batches.
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { openStore } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { asProducer } from '../compaction/batches.js';
import { crashImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const STORE = { create: true, journalFileBytes: MIB, journalMaxBytes: 8 * MIB, checkpointIntervalMs: 3_600_000 };
const COMPACT = { cleanup: 'compact', segmentBytes: MIB } as const;

function batchOf(producer: number, sequence: number, keys: readonly string[], transactional = false): Buffer {
  const builder = new BatchBuilder();
  for (const key of keys) builder.append(1_700_000_000_000 + sequence, key, `${producer}: ${sequence}`);
  return asProducer(builder.finish(), producer, 3, sequence, transactional);
}

function append(log: Log, batch: Buffer) {
  return log.appendProduced(batch, 0, batch.length, 1);
}

/** What the log answers to batches that producers send again: where it has them, or why it refuses them. */
function answers(log: Log, batches: readonly Buffer[]): string[] {
  return batches.map((batch) => {
    try {
      const { baseOffset, lastOffset, duplicate } = append(log, Buffer.from(batch));
      return `${baseOffset} to ${lastOffset}, ${duplicate ? 'duplicate' : 'new'}`;
    } catch (error) {
      return (error as { code: string }).code;
    }
  });
}

/** As after a crash that took every producer snapshot: all there is are the batches. */
function withoutSnapshots(path: string): string {
  const image = crashImage(path);
  for (const name of readdirSync(image, { recursive: true, encoding: 'utf8' })) {
    if (/\.(snapshot|txnindex)$/.test(name)) rmSync(join(image, name));
  }
  return image;
}

test('duplicates among the last five batches of each producer are told as before, also from the batches alone', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, STORE);
  const log = await store.openLog('t', 0, COMPACT);
  const sent: Buffer[] = [];
  for (let round = 0; round < 8; round++) {
    for (const producer of [1, 2, 3]) {
      // Producer 3 stops early: its records are all replaced by others.
      if (producer === 3 && round > 5) continue;
      const batch = batchOf(producer, 2 * round, ['a', round % 2 === 0 ? 'b' : 'c']);
      sent.push(Buffer.from(batch));
      append(log, batch);
    }
  }
  await log.flush();
  const before = answers(log, sent);
  expect(before.filter((answer) => answer.includes('duplicate'))).toHaveLength(15);
  expect(before.filter((answer) => answer === 'OUT_OF_ORDER_SEQUENCE')).toHaveLength(sent.length - 15);

  expect(await log.compact()).toMatchObject({ end: 'complete', recordsKept: 3 });
  expect(answers(log, sent)).toEqual(before);
  await store.checkpoint();
  const image = withoutSnapshots(path);
  await store.close();
  for (const directory of [path, image]) {
    const again = await openStore(directory, STORE);
    const found = await again.openLog('t', 0, COMPACT);
    expect(answers(found, sent)).toEqual(before);
    // A second pass has only what the first one left.
    await found.compact();
    expect(answers(found, sent)).toEqual(before);
    expect(append(found, batchOf(3, 12, ['d']))).toEqual({ baseOffset: found.end - 1, lastOffset: found.end - 1 });
    await again.close();
  }
});

test('records of aborted transactions go and hide nothing, those of committed ones count, open ones wait', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, STORE);
  const log = await store.openLog('t', 0, COMPACT);
  await log.append([
    { key: 'k', value: 'plain' },
    { key: 'l', value: 'plain' },
  ]);
  append(log, batchOf(1, 0, ['k'], true));
  append(log, batchOf(2, 0, ['l'], true));
  log.appendMarker(1, 3, 'abort', 1);
  log.appendMarker(2, 3, 'commit', 1);
  await log.flush();
  const values = async (of: Log) => (await of.read(0)).records.map(({ key, value }) => `${key} = ${value}`);
  expect(await log.compact()).toMatchObject({ end: 'complete', recordsRemoved: 2 });
  expect(await values(log)).toEqual(['k = plain', 'l = 2: 0']);

  append(log, batchOf(1, 1, ['k'], true));
  await log.append([{ key: 'l', value: 'later' }]);
  expect(log.lastStableOffset).toBeLessThan(log.highWatermark);
  expect(await log.compact()).toMatchObject({ recordsRemoved: 0 });
  log.appendMarker(1, 3, 'commit', 1);
  await log.flush();
  expect(await log.compact()).toMatchObject({ end: 'complete', recordsRemoved: 2 });
  expect(await values(log)).toEqual(['k = 1: 1', 'l = later']);
  const image = withoutSnapshots(path);
  await store.close();
  for (const directory of [path, image]) {
    const again = await openStore(directory, STORE);
    const found = await again.openLog('t', 0, COMPACT);
    expect(await values(found)).toEqual(['k = 1: 1', 'l = later']);
    expect(found.lastStableOffset).toBe(found.end);
    await again.close();
  }
});

test('aborted transactions are left out by read_committed where compaction joined segments', async () => {
  const store = await openStore(temporaryDirectory(), STORE);
  const log = await store.openLog('t', 0, COMPACT);
  for (let i = 0; i < 4; i++) {
    append(log, batchOf(1, i, [`aborted ${i}`], true));
    await log.append([{ key: `kept ${i}`, value: 'x' }]);
    log.appendMarker(1, 3, 'abort', 1);
    await log.flush();
    // Of the last transaction no file knows yet.
    if (i < 3) await store.checkpoint();
    await log.compact();
  }
  append(log, batchOf(1, 4, ['aborted 4'], true));
  log.appendMarker(1, 3, 'abort', 1);
  await log.flush();
  await store.checkpoint();
  const { records } = await log.read(0, { isolation: 'read_committed' });
  expect(records.map(({ key }) => String(key))).toEqual(['kept 0', 'kept 1', 'kept 2', 'kept 3']);
  await store.close();
});
