import { readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bootId, openDisk } from '../../src/disk/native-disk.js';
import { openTestDisk, temporaryDirectory, temporaryDisk } from './temporary-disk.js';

const withCode = (code: string) => expect.objectContaining({ name: 'VarveError', code });

test('a second opener of a data directory is refused, by name and process, until the first has closed it', async () => {
  const { root, disk } = await temporaryDisk();
  await expect(openDisk(root)).rejects.toThrow(withCode('DIRECTORY_LOCKED'));
  await expect(openDisk(root)).rejects.toThrow(root);
  await expect(openDisk(root)).rejects.toThrow(`process ${process.pid}`);
  await disk.close();
  await (await openDisk(root)).close();
});

test('a data directory that is not there, or is a file, is DIRECTORY_MISSING', async () => {
  const root = await temporaryDirectory();
  await expect(openDisk(join(root, 'nowhere'))).rejects.toThrow(withCode('DIRECTORY_MISSING'));
  await writeFile(join(root, 'file'), '');
  await expect(openDisk(join(root, 'file'))).rejects.toThrow(withCode('DIRECTORY_MISSING'));
});

test('no path leads out of the data directory', async () => {
  const { disk } = await temporaryDisk();
  for (const path of ['../x', 'a/../../x', '/etc/passwd', 'a/..', 'a\0b']) {
    await expect(disk.readFile(path)).rejects.toThrow(withCode('INVALID_ARGUMENT'));
    expect(() => disk.createSegment(path, { reserveBytes: 1 })).toThrow(withCode('INVALID_ARGUMENT'));
  }
});

test('directories are made with their parents, and listed in order', async () => {
  const { disk } = await temporaryDisk();
  await disk.makeDirectory('b/c/d');
  await disk.makeDirectory('b/c/d');
  await disk.makeDirectory('a');
  await disk.writeFile('b/file', 0, Buffer.from('x'));
  expect(await disk.readDirectory('')).toEqual([
    { name: 'LOCK', isDirectory: false },
    { name: 'a', isDirectory: true },
    { name: 'b', isDirectory: true },
  ]);
  expect(await disk.readDirectory('b')).toEqual([
    { name: 'c', isDirectory: true },
    { name: 'file', isDirectory: false },
  ]);
  expect(await disk.readDirectory('nowhere')).toEqual([]);
});

test('a file is written at a position, read in parts, cut and extended', async () => {
  const { disk } = await temporaryDisk();
  expect(await disk.readFile('f')).toBeUndefined();
  expect(await disk.fileSize('f')).toBeUndefined();
  await disk.writeFile('f', 3, Buffer.from('abc'));
  await disk.writeFile('f', 1, Buffer.from('X'));
  expect(await disk.readFile('f')).toEqual(Buffer.from('\0X\0abc'));
  expect(await disk.readFile('f', 3, 2)).toEqual(Buffer.from('ab'));
  expect(await disk.readFile('f', 4, 100)).toEqual(Buffer.from('bc'));
  expect(await disk.readFile('f', 100)).toEqual(Buffer.alloc(0));
  await disk.truncateFile('f', 4);
  expect(await disk.fileSize('f')).toBe(4);
  await disk.truncateFile('f', 6);
  expect(await disk.readFile('f')).toEqual(Buffer.from('\0X\0a\0\0'));
  await expect(disk.truncateFile('nowhere', 0)).rejects.toThrow(withCode('DISK_FAILED'));
});

test('a file is read at once as it is read off the event loop', async () => {
  const { disk } = await temporaryDisk();
  expect(disk.readFileSync('f')).toBeUndefined();
  await disk.writeFile('f', 0, Buffer.from('0123456789'));
  for (const part of [[], [3], [3, 4], [8, 100], [10], [100], [0, 0]] as const) {
    expect(disk.readFileSync('f', ...part)).toEqual(await disk.readFile('f', ...part));
  }
  expect(disk.readFileSync('f', 3, 4)!.toString()).toBe('3456');
  expect(() => disk.readFileSync('LOCK/x')).toThrow(withCode('DISK_FAILED'));
  expect(() => disk.readFileSync('../x')).toThrow(withCode('INVALID_ARGUMENT'));
});

test('free space is that of the file system, in whole blocks', async () => {
  const { disk } = await temporaryDisk();
  const before = await disk.freeSpace();
  expect(before.freeBytes).toBeGreaterThan(0);
  expect(before.totalBytes).toBeGreaterThanOrEqual(before.freeBytes);
  expect(before.freeBytes % before.blockBytes).toBe(0);
  await disk.close();
  await expect(disk.freeSpace()).rejects.toThrow(withCode('CLOSED'));
});

test('replacing a file leaves the new one, and the old one beside it when asked to', async () => {
  const { root, disk } = await temporaryDisk();
  await disk.replaceFile('checkpoint', Buffer.from('one'), { keepPrevious: true });
  expect((await readdir(root)).sort()).toEqual(['LOCK', 'checkpoint']);
  await disk.replaceFile('checkpoint', Buffer.from('two'), { keepPrevious: true });
  await disk.replaceFile('checkpoint', Buffer.from('three'), { keepPrevious: true });
  expect(await disk.readFile('checkpoint')).toEqual(Buffer.from('three'));
  expect(await disk.readFile('checkpoint.previous')).toEqual(Buffer.from('two'));
  await disk.replaceFile('checkpoint', Buffer.from('four'));
  expect(await disk.readFile('checkpoint.previous')).toEqual(Buffer.from('two'));
  expect((await readdir(root)).sort()).toEqual(['LOCK', 'checkpoint', 'checkpoint.previous']);
});

test('files are renamed and removed; a missing one is no error when removing', async () => {
  const { disk } = await temporaryDisk();
  await disk.makeDirectory('d');
  await disk.writeFile('a', 0, Buffer.from('a'));
  await disk.rename('a', 'd/b');
  expect(await disk.readFile('d/b')).toEqual(Buffer.from('a'));
  await disk.removeFiles(['d/b', 'd/never']);
  expect(await disk.readDirectory('d')).toEqual([]);
  await expect(disk.rename('nowhere', 'd/c')).rejects.toThrow(withCode('DISK_FAILED'));
});

test('errors of the system name the call and the path', async () => {
  const { root, disk } = await temporaryDisk();
  await expect(disk.readFile('LOCK/x')).rejects.toThrow(/open of .*LOCK\/x failed: ENOTDIR/);
  await symlink('LOCK', join(root, 'link'));
  expect(() => disk.createSegment('link', { reserveBytes: 10 })).toThrow(/creation of .*link failed/);
});

test('after close every call is refused, and closing again is the same close', async () => {
  const { disk } = await temporaryDisk();
  const closing = disk.close();
  expect(disk.close()).toBe(closing);
  await closing;
  await expect(disk.readFile('x')).rejects.toThrow(withCode('CLOSED'));
  expect(() => disk.createSegment('x', { reserveBytes: 1 })).toThrow(withCode('CLOSED'));
});

test('the boot id is a UUID and stays the same', async () => {
  expect(bootId()).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(bootId()).toBe(bootId());
});

test('the lock file holds the process id for people to see', async () => {
  const root = await temporaryDirectory();
  await openTestDisk(root);
  expect(await readFile(join(root, 'LOCK'), 'utf8')).toBe(`${process.pid}\n`);
});
