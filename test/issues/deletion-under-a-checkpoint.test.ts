/**
 * A deletion is journalled before it is carried out. A checkpoint in between must say what the journal says, because it
 * frees the journal file that said it: else files that were deleted on purpose are missed after a crash.
 */
import { expect, test } from 'vitest';
import type { Disk } from '../../src/disk/disk.js';
import { bootId, openDisk } from '../../src/disk/native-disk.js';
import { CHECKPOINT_FILE } from '../../src/journal/checkpoint.js';
import { Store } from '../../src/log/partition-store.js';
import { openStore } from '../../src/log/store.js';
import { powerCutImage, temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, checkpointIntervalMs: 3_600_000 };
const LOG = { segmentBytes: 2 * MIB };

test('a deletion that a checkpoint overtakes holds after a crash', async () => {
  const path = temporaryDirectory();
  let open: () => void = () => {};
  let gate: Promise<void> | undefined;
  const store = await Store.open(
    { disk: gatedDisk(await openDisk(path), () => gate), path, bootId: bootId() },
    OPTIONS,
  );
  const log = await store.openLog('t', 0, LOG);
  const append = async (): Promise<void> => void (await log.append([{ value: 'x'.repeat(100_000) }]));
  while (log.end < 60) await append();
  await store.checkpoint();

  // One checkpoint is under way and the next one waits for it; the deletion comes, and its journal file is full.
  await append();
  gate = new Promise((resolve) => {
    open = resolve;
  });
  const first = store.checkpoint();
  const deletion = log.deleteBefore(45);
  const second = store.checkpoint();
  for (let i = 0; i < 30; i++) await append();
  gate = undefined;
  open();
  await Promise.all([first, deletion, second]);
  expect(log.start).toBe(45);
  const image = powerCutImage(path, () => false);
  await store.close();

  const again = await openStore(image, OPTIONS);
  const recovered = await again.openLog('t', 0, LOG);
  expect(recovered.recovery.damaged).toEqual([]);
  expect(recovered.start).toBe(45);
  expect(recovered.end).toBe(91);
  await again.close();
});

function gatedDisk(disk: Disk, gate: () => Promise<void> | undefined): Disk {
  return new Proxy(disk, {
    get(target, name: keyof Disk & string) {
      const method = target[name] as unknown;
      if (typeof method !== 'function') return method;
      if (name !== 'replaceFile') return method.bind(target);
      return async (...values: Parameters<Disk['replaceFile']>) => {
        if (values[0] === CHECKPOINT_FILE) await gate();
        return target.replaceFile(...values);
      };
    },
  });
}

test('a deletion that closing the store overtakes leaves nothing missing', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, LOG);
  while (log.end < 60) await log.append([{ value: 'x'.repeat(100_000) }]);
  const deletion = log.deleteBefore(45).catch((error: unknown) => error);
  await store.close();
  await deletion;

  const again = await openStore(path, OPTIONS);
  const reopened = await again.openLog('t', 0, LOG);
  expect(reopened.start).toBe(45);
  expect((await reopened.read(45)).records.length).toBeGreaterThan(0);
  expect(reopened.end).toBe(60);
  await again.close();
});
