// Opening a new log met a full disk after its directory had been made. The store forgot the topic id that is in the
// directory's name: the next attempt made up another one and a second directory, and after a restart the partition existed
// under two ids and could not be opened without saying which was meant.
import { mkdirSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';
import { Faults, openFailing } from '../log/failing-disk.js';

test('a new log that met a full disk is the same log at the next attempt', async () => {
  const directory = `${temporaryDirectory()}/store`;
  mkdirSync(directory);
  const faults = new Faults();
  const store = await openFailing(directory, faults, { create: true });
  faults.fail('createSegment', 'events-0', 'DISK_FULL');
  await expect(store.openLog('events', 0)).rejects.toMatchObject({ code: 'DISK_FULL' });
  faults.heal();
  const log = await store.openLog('events', 0);
  await log.append([{ value: 'a' }]);
  await store.close();
  expect(readdirSync(directory).filter((name) => name.startsWith('events-'))).toHaveLength(1);

  const reopened = await openStore(directory);
  expect((await reopened.openLog('events', 0)).end).toBe(1);
  await reopened.close();
});
