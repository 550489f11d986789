/**
 * One call fails, on the native disk through its trace and on the twin through `faults`: what every later call answers,
 * whether the failure latches, and what is in the files afterwards must be the same.
 */
import { onTestFinished, test } from 'vitest';
import type { Disk, Journal, SegmentFile } from '../../src/disk/disk.js';
import { openDisk } from '../../src/disk/native-disk.js';
import { type FailingKind, Trace } from '../../src/disk/trace.js';
import { fastDirectory, removeDirectory } from '../temporary-directory.js';
import { TwinDisk } from './twin-disk.js';
import { TwinFileSystem } from './twin-file-system.js';
import { difference, filesOf, JournalWatch, outcome, settle, sizesOf } from './twin-pair.js';
import type { TwinOperation } from './twin-process.js';
import { PromptScheduler } from './twin-schedulers.js';

interface Fault {
  readonly kind: FailingKind;
  readonly path: string;
  readonly error: 'EIO' | 'ENOSPC';
}

interface Side {
  readonly disk: Disk;
  readonly segments: SegmentFile[];
  journal: Journal | undefined;
  said: string;
}

const FIRST = '00000000000000000001.wal';
const SECOND = '00000000000000000002.wal';
const OPERATIONS: Readonly<Partial<Record<FailingKind, readonly TwinOperation[]>>> = {
  create: ['create'],
  write: ['write'],
  'sync-begin': ['sync', 'sync-directory'],
  rename: ['rename'],
  unlink: ['unlink'],
  truncate: ['truncate'],
  allocate: ['allocate'],
  mkdir: ['make-directory'],
};

const PLACES: readonly (readonly [FailingKind, ...string[]])[] = [
  ['create', 'dir/a', 'dir/b.tmp', 'seg/0.log', FIRST, SECOND],
  ['write', 'dir/a', 'dir/b.tmp', 'dir/d', FIRST, SECOND],
  ['sync-begin', 'dir/a', 'dir/b.tmp', 'dir/d', 'dir', 'seg/0.log', FIRST, SECOND],
  ['rename', 'dir/b.tmp', 'dir/b'],
  ['unlink', 'dir/a'],
  ['truncate', 'dir/a'],
  ['allocate', 'seg/0.log', 'seg/1.log'],
  ['mkdir', 'dir', 'seg'],
];

const faults = PLACES.flatMap(([kind, ...paths]) =>
  paths.flatMap((path) => (['EIO', 'ENOSPC'] as const).map((error): Fault => ({ kind, path, error }))),
);

const bytes = (length: number): Buffer => Buffer.alloc(length, 'bytes ');
const append = (side: Side, payload: number): unknown => side.journal?.append(0, 2, 0, 0, bytes(payload), 'sync');

/** The same on both sides, whatever has failed before. */
const STEPS: readonly (readonly [string, (side: Side) => unknown])[] = [
  ['makeDirectory dir', ({ disk }) => disk.makeDirectory('dir')],
  ['makeDirectory seg', ({ disk }) => disk.makeDirectory('seg')],
  ['writeFile', ({ disk }) => disk.writeFile('dir/a', 10, bytes(5000))],
  ['writeFile unreferenced', ({ disk }) => disk.writeFile('dir/d', 0, bytes(5000), { unreferenced: true })],
  ['writeFile unreferenced again', ({ disk }) => disk.writeFile('dir/d', 0, bytes(6000), { unreferenced: true })],
  ['openJournal', (side) => openJournal(side)],
  ['append', (side) => append(side, 100)],
  ['replaceFile', ({ disk }) => disk.replaceFile('dir/b', bytes(300))],
  ['replaceFile again', ({ disk }) => disk.replaceFile('dir/b', bytes(30), { keepPrevious: true })],
  ['truncateFile', ({ disk }) => disk.truncateFile('dir/a', 100)],
  ['createSegment', (side) => createSegment(side, 'seg/0.log')],
  ['append to it', ({ segments: [first] }) => first?.append(bytes(3000), 0, 3000)],
  [
    'appendStored',
    ({ journal, segments: [first] }) => first && journal?.appendStored(0, first, 0, 0, 3000, 9, 0, 0, 0, 'sync'),
  ],
  ['append until the file is full', (side) => append(side, 5000)],
  ['append beyond it', (side) => append(side, 5000)],
  ['sync of the segment', ({ segments: [first] }) => first?.sync()],
  ['createSegment again', (side) => createSegment(side, 'seg/1.log')],
  ['append to that', ({ segments: [, second] }) => second?.append(bytes(90_000), 0, 90_000)],
  ['rename', ({ disk }) => disk.rename('dir/b', 'dir/c')],
  ['removeFiles', ({ disk }) => disk.removeFiles(['dir/a'])],
  ['readDirectory', ({ disk }) => disk.readDirectory('dir')],
  ['flush', ({ journal }) => journal?.flush()],
  ['append at the end', (side) => append(side, 10)],
  ['journal.close', ({ journal }) => journal?.close()],
  ['close', ({ disk }) => disk.close()],
];

function openJournal(side: Side): void {
  side.journal = side.disk.openJournal({
    path: 'journal',
    directoryId: Buffer.alloc(16, 7),
    firstFileNumber: 1,
    startLsn: 0,
    previousChecksum: 0,
    fileBytes: 20_480,
    maxGroupBytes: 1024 * 1024,
    asyncMaxMs: 600_000,
    asyncMaxBytes: 1024 * 1024,
    directFlushBytes: 0,
    directMarkMaxMs: 600_000,
    spareFiles: [],
    onDurable: (ticket) => {
      side.said = `durable ${ticket}`;
    },
    onFailure: (error) => {
      side.said = `failed ${(error as { code?: string }).code}`;
    },
  });
  side.journal.registerLog({ topicId: Buffer.alloc(16, 1), partition: 0 });
}

function createSegment(side: Side, path: string): void {
  side.segments.push(side.disk.createSegment(path, { reserveBytes: 1024 * 1024 }));
}

test.each(faults)('$kind of $path fails once with $error', async ({ kind, path, error }) => {
  const root = fastDirectory();
  onTestFinished(() => removeDirectory(root));
  const trace = new Trace();
  const fileSystem = new TwinFileSystem();
  const scheduler = new PromptScheduler();
  let isArmed = false;
  const twinFaults = (call: { operation: TwinOperation; path: string }): 'EIO' | 'ENOSPC' | undefined => {
    if (!isArmed || !OPERATIONS[kind]!.includes(call.operation) || !call.path.includes(path)) return undefined;
    isArmed = false;
    return error;
  };
  const side = (disk: Disk): Side => ({ disk, segments: [], journal: undefined, said: '' });
  const native = side(await openDisk(root, { trace }));
  onTestFinished(() => native.disk.close().catch(() => {}));
  const twin = side(new TwinDisk(fileSystem, { scheduler, root, processId: process.pid, faults: twinFaults }));
  for (const { disk } of [native, twin]) await disk.makeDirectory('journal');
  trace.fail({ error, call: 1, kinds: [kind], path });
  isArmed = true;

  const answers: string[] = [];
  const watch = new JournalWatch(trace);
  for (const [name, step] of STEPS) {
    const [a, b] = [await outcome(() => step(native)), await outcome(() => step(twin))].map((each) =>
      JSON.stringify(each),
    );
    answers.push(`${name} → ${b}`);
    if (a !== b) throw new Error(`${answers.join('\n')}\nthe native disk answered ${a}`);
    await settle(() => {
      // A full disk is asked again every 100 ms.
      scheduler.advance(100);
      if (native.said !== twin.said) return `${answers.join('\n')}\n'${native.said}' (native), '${twin.said}' (twin)`;
      // A file that is not there may be one that failed to be made, or one whose turn is still to come.
      if (trace.injected !== (isArmed ? 0 : 1)) return `the fault was met ${trace.injected} times on the native disk`;
      return (isArmed ? watch.making() : undefined) ?? difference(sizesOf(root), fileSystem.sizes());
    });
  }
  if (isArmed || trace.injected !== 1) throw new Error(`the fault was met ${trace.injected} times; twin: ${!isArmed}`);
  const found = difference(filesOf(root), fileSystem.files());
  if (found !== undefined) throw new Error(`${answers.join('\n')}\n${found}`);
});
