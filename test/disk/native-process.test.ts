// What can only be seen from outside a process: how it ends, what it still maps, what is on disk after it was killed.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { JournalReader } from '../../src/disk/journal-reader.js';
import { DIRECTORY_ID, openTestDisk, temporaryDirectory } from './temporary-disk.js';

const script = fileURLToPath(new URL('native-child.mjs', import.meta.url));

function start(scene: string, root: string): ChildProcess {
  return spawn(process.execPath, ['--expose-gc', script, scene, root], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Runs a scene to its end. */
async function play(scene: string): Promise<{ code: number | null; signal: string | null; reports: unknown[] }> {
  const child = start(scene, await temporaryDirectory());
  const reports: unknown[] = [];
  const closed = once(child, 'close') as Promise<[number | null, string | null]>;
  for await (const line of createInterface({ input: child.stdout! })) reports.push(JSON.parse(line));
  const [code, signal] = await closed;
  return { code, signal, reports };
}

const fine = { code: 0, signal: null };

test('a view stays valid over close, deletion and collections, and its mapping goes when it goes', async () => {
  expect(await play('view-outlives-close')).toEqual({
    ...fine,
    reports: [{ intact: true, mappedWhileHeld: true, unmapped: true }],
  });
});

test('a segment that nobody closes is unmapped once it and its views are collected', async () => {
  expect(await play('forgotten-segment')).toEqual({ ...fine, reports: [{ unmapped: true }] });
});

test('a process that reads a view of a shortened file lives, and sees that the segment is poisoned', async () => {
  expect(await play('sigbus')).toEqual({ ...fine, reports: [{ sum: 4096 * 7, poisoned: true }] });
});

test('writing to a view kills the process before a byte of the log has changed', async () => {
  for (const scene of ['write-to-view', 'write-to-read-only-view']) {
    expect(await play(scene)).toEqual({ code: null, signal: 'SIGSEGV', reports: [{ first: 7 }] });
  }
});

test('without address space a segment is refused, leaves no file behind, and the next one is made once there is some', async () => {
  expect(await play('address-space')).toEqual({
    ...fine,
    reports: [{ code: 'DISK_FAILED', advises: true, leftBehind: false, several: true }],
  });
});

test('cloning a view, which copies the whole reservation, does not crash', async () => {
  expect(await play('structured-clone')).toEqual({ ...fine, reports: [{ same: true, bytes: 8 * 1024 * 1024 }] });
});

test('a process that never closes its journal ends, after the callbacks that somebody waits for', async () => {
  expect(await play('no-close')).toEqual({ ...fine, reports: [{ durable: 1 }] });
  expect(await play('no-close-idle')).toEqual({ ...fine, reports: [{ idle: true }] });
});

test('a process can exit in the middle of syncs, preparations and appends', async () => {
  expect(await play('exit-under-load')).toEqual({ ...fine, reports: [{ leaving: true }] });
});

test('worker threads have stores of their own, and terminating one joins its threads and frees its lock', async () => {
  expect(await play('workers')).toEqual({ ...fine, reports: [{ durable: 100, threadsLeft: 0 }] });
});

test('everything that was reported durable is in the journal after kill -9', async () => {
  const root = await temporaryDirectory();
  const child = start('append-until-killed', root);
  let durable = 0;
  for await (const line of createInterface({ input: child.stdout! })) {
    durable = (JSON.parse(line) as { durable: number }).durable;
    if (durable >= 2000 && !child.killed) child.kill('SIGKILL');
  }
  const disk = await openTestDisk(root);
  const epochs: number[] = [];
  for await (const record of new JournalReader(disk, 'journal', DIRECTORY_ID).records()) {
    expect(record.payload.equals(Buffer.alloc(record.epoch % 500, record.epoch))).toBe(true);
    epochs.push(record.epoch);
  }
  expect(durable).toBeGreaterThanOrEqual(2000);
  expect(epochs.length).toBeGreaterThanOrEqual(durable);
  expect(epochs).toEqual(Array.from({ length: epochs.length }, (_, i) => i + 1));
});
