/**
 * A sealed segment whose index was missing got a new one in memory, and was to be sealed again by the next checkpoint. But
 * nothing of what that checkpoint compares had changed: the log was passed over, and the timer began another one for ever.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, checkpointIntervalMs: 3_600_000 };

test('an index that was made anew is written by the next checkpoint, which is the last one of an idle store', async () => {
  const path = temporaryDirectory();
  const first = await openStore(path, OPTIONS);
  const filled = await first.openLog('t', 0, { segmentBytes: MIB });
  while (filled.end < 40) await filled.append([{ value: 'x'.repeat(100_000) }]);
  await first.close();

  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, { segmentBytes: MIB });
  await store.checkpoint();
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  const index = join(directory, '00000000000000000000.index');
  expect(existsSync(index)).toBe(true);
  rmSync(index);
  expect((await log.read(3)).records[0]?.offset).toBe(3);
  expect(log.recovery.rebuiltIndexes).toBe(1);
  await store.checkpoint();
  expect(existsSync(index)).toBe(true);
  const { checkpointedLogs } = store.stats();
  await store.checkpoint();
  expect(store.stats().checkpointedLogs).toBe(checkpointedLogs);
  await store.close();
});
