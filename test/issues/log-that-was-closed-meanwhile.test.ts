/**
 * What a log had under way when it was closed went on after its state had been taken over: an old segment was rolled, and
 * segments were deleted, of which that state knew nothing. The log that was opened next could not roll (the name was
 * taken), or missed files, and called that damage.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Disk } from '../../src/disk/disk.js';
import { bootId, openDisk } from '../../src/disk/native-disk.js';
import { Store } from '../../src/log/partition-store.js';
import { wallClock } from '../wall-clock.js';
import { temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, checkpointIntervalMs: 3_600_000 };
const HOUR = 3_600_000;

/** Calls `before` ahead of every replacement of a file. */
function watchedDisk(disk: Disk, before: (path: string) => void): Disk {
  return new Proxy(disk, {
    get(target, name: keyof Disk & string) {
      const method = target[name] as unknown;
      if (typeof method !== 'function') return method;
      if (name !== 'replaceFile') return method.bind(target);
      return (...values: Parameters<Disk['replaceFile']>) => {
        before(values[0]);
        return target.replaceFile(...values);
      };
    },
  });
}

test('a log that is being closed is not rolled any more', async () => {
  const path = temporaryDirectory();
  let now = 1_700_000_000_000;
  let inBetween: (() => void) | undefined;
  const disk = watchedDisk(await openDisk(path), (file) => {
    if (!file.endsWith('.index')) return;
    inBetween?.();
    inBetween = undefined;
  });
  const store = await Store.open({ disk, path, bootId: bootId(), environment: wallClock(() => now) }, OPTIONS);
  const log = await store.openLog('t', 0, { segmentMs: HOUR, segmentJitterMs: 0 });
  await log.append([{ value: 'a' }]);

  let checkpoint: Promise<void> | undefined;
  inBetween = () => {
    now += 2 * HOUR;
    checkpoint = store.checkpoint();
  };
  await log.close();
  expect(checkpoint).toBeDefined();
  await checkpoint;
  expect(logFiles(path)).toHaveLength(1);

  const again = await store.openLog('t', 0, { segmentMs: HOUR, segmentJitterMs: 0 });
  await store.checkpoint();
  await again.append([{ value: 'b' }]);
  expect((await again.read(0)).records.map(({ value }) => String(value))).toEqual(['a', 'b']);
  expect(store.failed).toBeUndefined();
  await store.close();
});

test('a deletion that closing the log overtakes leaves nothing missing', async () => {
  const path = temporaryDirectory();
  const store = await Store.open({ disk: await openDisk(path), path, bootId: bootId() }, OPTIONS);
  const options = { segmentBytes: 2 * MIB };
  const log = await store.openLog('t', 0, options);
  while (log.end < 60) await log.append([{ value: 'x'.repeat(100_000) }]);
  await store.checkpoint();
  const deletion = log.deleteBefore(45).catch((error: unknown) => error);
  await log.close();
  await deletion;

  const again = await store.openLog('t', 0, options);
  expect([again.start, again.end].join()).toMatch(/^(0|45),60$/);
  expect((await again.verify()).damaged).toEqual([]);
  await again.deleteBefore(60);
  expect(logFiles(path)).toHaveLength(1);
  await store.close();
});

function logFiles(path: string): string[] {
  const directory = readdirSync(path).find((name) => name.startsWith('t-0.'))!;
  return readdirSync(join(path, directory)).filter((name) => name.endsWith('.log'));
}
