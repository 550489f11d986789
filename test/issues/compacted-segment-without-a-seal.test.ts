// A compacted segment got its seal from the next checkpoint. After a crash before that, recovery said that it was sealed, and
// so nobody ever sealed it: another file in its place, whose batches check out, was served, and `verify` sealed that one.
import { copyFileSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { crashImage, temporaryDirectory } from '../log/crash-image.js';

const OPTIONS = { create: true, checkpointIntervalMs: 3_600_000 };

/** A store that was killed after a compaction, which no checkpoint has seen; and its compacted segment. */
async function killedAfterCompaction(value: string): Promise<{ readonly path: string; readonly segment: string }> {
  const directory = join(temporaryDirectory(), 'store');
  const store = await openStore(directory, OPTIONS);
  const log = await store.openLog('t', 0, { cleanup: 'compact' });
  for (let i = 0; i < 6; i++) await log.append([{ key: `key ${i % 2}`, value: `${value} ${i}` }]);
  expect(await log.compact()).toMatchObject({ end: 'complete', recordsRemoved: 4 });
  await log.append([{ key: 'behind', value }]);
  const path = crashImage(directory);
  await store.close();
  const [segment] = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\d{13}\.log$/.test(name),
  );
  return { path, segment: join(path, segment!) };
}

test('a compacted segment has its seal as soon as it counts', async () => {
  const { path, segment } = await killedAfterCompaction('value');
  expect(existsSync(segment.replace('.log', '.seal'))).toBe(true);
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, { cleanup: 'compact' });
  expect(await log.verify()).toMatchObject({ damaged: [], resealed: [] });
  await store.close();
});

test('verify finds that a compacted segment is another one after a crash', async () => {
  const { path, segment } = await killedAfterCompaction('value');
  const other = await killedAfterCompaction('other');
  copyFileSync(other.segment, segment);
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, { cleanup: 'compact' });
  await store.checkpoint();
  expect((await log.verify()).damaged).toHaveLength(1);
  await expect(log.read(0)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  await store.close();
});
