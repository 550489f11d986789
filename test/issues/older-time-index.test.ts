// An older version of a .timeindex is right as far as it goes. The log took its last entry for the largest timestamp, and lookups
// beyond it found nothing.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

const OPTIONS = { create: true, journalFileBytes: 1024 * 1024, journalMaxBytes: 4 * 1024 * 1024 };

test('a time index that lacks its last entries is made anew', async () => {
  const path = temporaryDirectory();
  const append = async (timestamp: number): Promise<void> => {
    const store = await openStore(path, OPTIONS);
    const log = await store.openLog('t', 0);
    await log.append([{ value: 'x', timestamp }]);
    await store.close();
  };
  await append(1000);
  const file = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!, `${'0'.repeat(20)}.timeindex`);
  const older = readFileSync(file);
  await append(2000);
  writeFileSync(file, older);
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0);
  expect(await log.offsetForTimestamp(1500)).toEqual({ offset: 1, timestamp: 2000 });
  await store.close();
  expect(readFileSync(file)).not.toEqual(older);
});
