// The recorder and fault hook: one order of events, files with an identity, and calls that fail on demand.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDisk } from '../../src/disk/native-disk.js';
import { Trace, type TraceEvent, type TraceFault } from '../../src/disk/trace.js';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from './temporary-disk.js';

const RESERVE = { reserveBytes: 1024 * 1024 };

async function tracedDisk() {
  const root = await temporaryDirectory();
  const trace = new Trace();
  const disk = await openDisk(root, { trace });
  return { root, trace, disk };
}

const kinds = (events: readonly TraceEvent[]): string[] => events.map((event) => `${event.kind} ${event.path}`);

test('a file that is replaced is seen as: created, written, synced, renamed, directory synced', async () => {
  const { trace, disk } = await tracedDisk();
  await disk.replaceFile('meta.json', Buffer.from('{}'));
  const events = trace.take();
  expect(kinds(events)).toEqual([
    'create meta.json.tmp',
    'write meta.json.tmp',
    'sync-begin meta.json.tmp',
    'sync-end meta.json.tmp',
    'rename meta.json.tmp',
    'sync-begin ',
    'sync-end ',
  ]);
  expect(events[1]).toMatchObject({ position: 0, length: 2, bytes: Buffer.from('{}') });
  expect(events[4]!.text).toBe('meta.json');
  expect(new Set(events.slice(0, 5).map((event) => event.file)).size).toBe(1);
  expect(events.map((event) => event.sync)).toEqual([0, 0, 1, 1, 0, 2, 2]);
  expect(events[5]).toMatchObject({ directory: true, file: 0 });
  await disk.close();
});

test('stores into a mapping and the syncs of a segment are seen, and a note stands where it was made', async () => {
  const { trace, disk } = await tracedDisk();
  const segment = disk.createSegment('0.log', RESERVE);
  segment.append(Buffer.from('hello'), 1, 4);
  trace.note('before');
  await segment.sync();
  segment.append(Buffer.alloc(8), 0, 8);
  const events = trace.take();
  expect(kinds(events)).toEqual([
    'create 0.log',
    'allocate 0.log',
    'store 0.log',
    'note ',
    'sync-begin 0.log',
    'sync-end 0.log',
    'store 0.log',
  ]);
  expect(events[2]).toMatchObject({ position: 0, bytes: Buffer.from('ell') });
  expect(events[3]!.text).toBe('before');
  expect(events[6]).toMatchObject({ position: 3, length: 8, bytes: undefined });
  expect(trace.take()).toEqual([]);
  segment.close();
  await disk.close();
});

test('what was recorded of a whole store, played back, is what the files hold', async () => {
  const root = await temporaryDirectory();
  const trace = new Trace();
  const store = await openStore(root, { create: true, trace, journalFileBytes: 65_536, journalMaxBytes: 1 << 20 });
  const log = await store.openLog('t', 0, { segmentBytes: 1 << 20 });
  for (let i = 0; i < 40; i++) await log.append([{ value: `record ${i} `.repeat(i * 30) }]);
  await store.checkpoint();
  await store.close();
  const files = new Map<string, Buffer>();
  const resized = (path: string, size: number): Buffer => {
    const before = files.get(path)!;
    const after = Buffer.alloc(size);
    before.copy(after);
    files.set(path, after);
    return after;
  };
  for (const { kind, path, text, position, length, bytes } of trace.take()) {
    const size = files.get(path)?.length ?? 0;
    if (kind === 'create') files.set(path, Buffer.alloc(0));
    if (kind === 'unlink') files.delete(path);
    if (kind === 'truncate') resized(path, position);
    if (kind === 'allocate') resized(path, Math.max(size, position + length));
    if (kind === 'write' || kind === 'store') {
      (bytes ?? Buffer.alloc(length)).copy(resized(path, Math.max(size, position + length)), position);
    }
    if (kind !== 'rename') continue;
    files.set(text, files.get(path)!);
    files.delete(path);
  }
  expect(files.size).toBeGreaterThan(6);
  for (const [path, bytes] of files) expect(readFileSync(join(root, path)).equals(bytes), path).toBe(true);
});

test('the Nth call fails as the system would have failed it, once, and is recorded', async () => {
  const { trace, disk } = await tracedDisk();
  trace.fail({ error: 'ENOSPC', call: 2, kinds: ['create'] });
  await disk.replaceFile('a', Buffer.from('a'));
  await expect(disk.replaceFile('b', Buffer.from('b'))).rejects.toMatchObject({ code: 'DISK_FULL' });
  await disk.replaceFile('b', Buffer.from('b'));
  expect(trace.injected).toBe(1);
  expect(trace.take().filter((event) => event.kind === 'fault')).toMatchObject([
    { path: 'b.tmp', text: 'create', error: 'ENOSPC' },
  ]);
  trace.fail({ error: 'ENOSPC', call: 1, path: '.log', repeat: true });
  for (let i = 0; i < 2; i++) expect(() => disk.createSegment('0.log', RESERVE)).toThrow('No space left');
  await disk.replaceFile('c', Buffer.from('c'));
  trace.heal();
  disk.createSegment('0.log', RESERVE).close();
  await disk.close();
});

test('a sync that is made to fail is not made, and the trace says how it ended', async () => {
  const { trace, disk } = await tracedDisk();
  const segment = disk.createSegment('0.log', RESERVE);
  segment.append(Buffer.from('x'), 0, 1);
  trace.fail({ error: 'EIO', call: 1, kinds: ['sync-begin'] });
  await expect(segment.sync()).rejects.toMatchObject({ code: 'DISK_FAILED' });
  await expect(segment.sync()).rejects.toMatchObject({ code: 'DISK_FAILED' });
  const events = trace.take().filter((event) => event.kind.startsWith('sync'));
  expect(events.map(({ kind, error }) => [kind, error])).toEqual([
    ['sync-begin', undefined],
    ['sync-end', 'EIO'],
  ]);
  segment.close();
  await disk.close().catch(() => undefined);
});

const HARMLESS: readonly TraceFault[] = [
  { error: 'EINTR', call: 1, repeat: true, kinds: ['write', 'allocate', 'truncate', 'sync-begin', 'open', 'create'] },
  { error: 'short write', call: 1, repeat: true },
];

test.each(HARMLESS)('$error for ever does no harm', async (fault) => {
  const root = await temporaryDirectory();
  const trace = new Trace();
  trace.fail(fault);
  const store = await openStore(root, { create: true, trace, journalFileBytes: 65_536, journalMaxBytes: 1 << 20 });
  const log = await store.openLog('t', 0);
  for (let i = 0; i < 5; i++) await log.append([{ value: `record ${i}` }]);
  await store.close();
  expect(trace.injected).toBeGreaterThan(5);
  const again = await openStore(root);
  const { records } = await (await again.openLog('t', 0)).read(0);
  expect(records.map((record) => String(record.value))).toEqual([0, 1, 2, 3, 4].map((i) => `record ${i}`));
  await again.close();
});

test('a trace is of one opening, and nothing else is taken for one', async () => {
  const root = await temporaryDirectory();
  const trace = new Trace();
  await (await openStore(root, { create: true, trace })).close();
  await expect(openStore(root, { trace })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await (await openStore(root)).close();
  await expect(openStore(root, { trace: {} as never })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  const refuse = (fault: object): void => expect(() => trace.fail(fault as never)).toThrow('trace: ');
  refuse({ error: 'EPERM', call: 1 });
  refuse({ error: 'EIO', call: 0 });
  refuse({ error: 'EIO', call: 1, kinds: ['store'] });
  refuse({ error: 'short write', call: 1, kinds: ['sync-begin'] });
});
