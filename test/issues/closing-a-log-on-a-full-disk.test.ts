/**
 * Closing one log found no space for its index file, and the whole store failed, though the reserve is kept for just that:
 * a checkpoint of the same log would have used it.
 */
import { mkdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { powerCutImage, temporaryDirectory } from '../log/crash-image.js';
import { Faults, openFailing } from '../log/failing-disk.js';

test('closing a log on a full disk uses the reserve, and the store goes on', async () => {
  const path = `${temporaryDirectory()}/store`;
  mkdirSync(path);
  const faults = new Faults();
  const store = await openFailing(path, faults, { create: true, checkpointIntervalMs: 3_600_000 });
  const log = await store.openLog('t', 0);
  const other = await store.openLog('other', 0);
  await log.append([{ value: 'a' }]);
  faults.fail('replaceFile', '.index', 'DISK_FULL');
  let given = false;
  faults.onCall = (method, file) => {
    if (method !== 'dropFile' || file !== 'reserve') return;
    given = true;
    faults.heal();
  };
  await log.close();
  expect(given).toBe(true);
  expect(store.failed).toBeUndefined();
  await store.whenSpace();
  await other.append([{ value: 'b' }]);
  await store.checkpoint();

  // What the second attempt called durable is in the segment.
  const image = powerCutImage(path, () => false);
  const recovered = await openStore(image);
  expect((await recovered.openLog('t', 0)).end).toBe(1);
  await recovered.close();
  const again = await store.openLog('t', 0);
  expect((await again.read(0)).records.map(({ value }) => String(value))).toEqual(['a']);
  await store.close();
});
