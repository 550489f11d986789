// Opening waits for the journal's first file. On a disk that has no space for it, the journal waits for space: opening must
// not wait with it, and what the disk holds must open once there is some.
import { expect, test } from 'vitest';
import { Store } from '../../src/log/partition-store.js';
import { TwinDisk } from '../sim/twin-disk.js';
import { TwinFileSystem } from '../sim/twin-file-system.js';
import { PromptScheduler } from '../sim/twin-schedulers.js';

test.each([
  ['ENOSPC', 'DISK_FULL'],
  ['EIO', 'DISK_FAILED'],
] as const)('a first journal file that meets %s fails the opening with %s', async (errno, code) => {
  const fileSystem = new TwinFileSystem();
  let fails = true;
  const open = (): Promise<Store> => {
    const disk = new TwinDisk(fileSystem, {
      scheduler: new PromptScheduler(),
      faults: ({ operation, path }) => (fails && operation === 'create' && path.endsWith('.wal') ? errno : undefined),
    });
    return Store.open({ disk, path: '/store', bootId: '' }, { create: true, journalFileBytes: 64 * 1024 });
  };
  await expect(open()).rejects.toMatchObject({ code });
  await expect(open()).rejects.toMatchObject({ code });
  fails = false;
  const store = await open();
  const log = await store.openLog('t', 0);
  await log.append([{ value: 'x' }]);
  expect(log.end).toBe(1);
  await store.close();
});
