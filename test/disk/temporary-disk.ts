// A data directory, a disk and a journal for one test; everything is closed and removed when the test ends.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Disk, Journal, JournalOptions } from '../../src/disk/disk.js';
import { type DiskOptions, openDisk } from '../../src/disk/native-disk.js';

export const DIRECTORY_ID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

export async function temporaryDirectory(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'varve-disk-'));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  return root;
}

export async function temporaryDisk(options: DiskOptions = {}): Promise<{ root: string; disk: Disk }> {
  const root = await temporaryDirectory();
  return { root, disk: await openTestDisk(root, options) };
}

export async function openTestDisk(root: string, options: DiskOptions = {}): Promise<Disk> {
  const disk = await openDisk(root, options);
  // A journal that failed on purpose makes closing fail too.
  onTestFinished(() => disk.close().catch(() => {}));
  return disk;
}

/** For hooks, in which nothing can be registered for the end of a test. */
export async function withDisk<T>(use: (disk: Disk) => Promise<T>): Promise<T> {
  const root = await mkdtemp(join(tmpdir(), 'varve-disk-'));
  try {
    const disk = await openDisk(root);
    try {
      return await use(disk);
    } finally {
      await disk.close();
    }
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

export interface TestJournal {
  readonly journal: Journal;
  /** Every ticket that onDurable was called with, in order. */
  readonly reported: number[];
  readonly failures: Error[];
  /** Resolves at the call of onDurable that covers the ticket. */
  durable(ticket: number): Promise<void>;
  /** Resolves at the call of onFailure. */
  failed(): Promise<Error>;
}

export async function openTestJournal(disk: Disk, options: Partial<JournalOptions> = {}): Promise<TestJournal> {
  await disk.makeDirectory('journal');
  const reported: number[] = [];
  const failures: Error[] = [];
  const waiters = new Set<() => void>();
  const changed = () => new Promise<void>((resolve) => waiters.add(resolve));
  const wake = () => {
    for (const waiter of waiters) waiter();
    waiters.clear();
  };
  const journal = disk.openJournal({
    path: 'journal',
    directoryId: DIRECTORY_ID,
    firstFileNumber: 1,
    startLsn: 0,
    previousChecksum: 0,
    fileBytes: 1024 * 1024,
    maxGroupBytes: 1024 * 1024,
    asyncMaxMs: 60_000,
    asyncMaxBytes: 1024 * 1024 * 1024,
    directFlushBytes: 0,
    directMarkMaxMs: 50,
    spareFiles: [],
    onDurable: (ticket) => {
      reported.push(ticket);
      wake();
    },
    onFailure: (error) => {
      failures.push(error);
      wake();
    },
    ...options,
  });
  return {
    journal,
    reported,
    failures,
    async durable(ticket) {
      while ((reported.at(-1) ?? 0) < ticket) {
        if (failures[0]) throw failures[0];
        await changed();
      }
    },
    async failed() {
      while (failures[0] === undefined) await changed();
      return failures[0];
    },
  };
}
