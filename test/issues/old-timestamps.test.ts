/**
 * Records dated before what is kept: each append found the segment being written expired and began a new one, so that a
 * backfill made a file per batch. What is expired is rolled by the clock's turn, when retention can delete it.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

const OPTIONS = { create: true, journalFileBytes: 1024 * 1024, checkpointIntervalMs: 3_600_000 };

test('a backfill of records that are older than retentionMs shares segments', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, { retentionMs: 3_600_000 });
  for (let i = 0; i < 20; i++) await log.append([{ timestamp: 1000 + i, value: 'old' }]);
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  const files = readdirSync(directory).filter((name) => name.endsWith('.log'));
  expect(files).toHaveLength(1);
  await store.checkpoint();
  expect([log.start, log.end]).toEqual([20, 20]);
  await store.close();
});
