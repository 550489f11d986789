// The page model by itself: what a power cut may leave of files and directories, and what it may not.
import { expect, test } from 'vitest';
import { Prng } from '../raft/prng.js';
import { type Choose, PAGE_BYTES, TwinFile } from './twin-file.js';
import { TwinFileSystem } from './twin-file-system.js';

const nothing: Choose = () => 0;
const everything: Choose = (count) => count - 1;
const content = (file: TwinFile) => Buffer.from(file.bytes.subarray(0, file.size));

/** All that a power cut can leave, by trying every choice. */
function outcomes(cut: (choose: Choose) => string): Set<string> {
  const found = new Set<string>();
  const prefixes: number[][] = [[]];
  for (let prefix = prefixes.pop(); prefix !== undefined; prefix = prefixes.pop()) {
    const counts: number[] = [];
    const taken = [...prefix];
    const result = cut((count) => {
      const at = counts.push(count) - 1;
      taken[at] ??= 0;
      return taken[at]!;
    });
    found.add(result);
    for (let at = prefix.length; at < counts.length; at++) {
      for (let choice = 1; choice < counts[at]!; choice++) prefixes.push([...taken.slice(0, at), choice]);
    }
  }
  return found;
}

test('a page that was written twice may be at each of its three versions, whatever the others are', () => {
  const file = new TwinFile();
  file.write(0, Buffer.from('a'));
  file.write(PAGE_BYTES, Buffer.from('x'));
  file.finishSync(file.beginSync());
  file.write(0, Buffer.from('b'));
  file.write(PAGE_BYTES, Buffer.from('y'));
  file.write(0, Buffer.from('c'));
  const left = outcomes((choose) => {
    const after = content(file.afterPowerCut('f', choose, false));
    return `${String.fromCharCode(after[0]!)}${String.fromCharCode(after[PAGE_BYTES]!)}`;
  });
  expect([...left].sort()).toEqual(['ax', 'ay', 'bx', 'by', 'cx', 'cy']);
});

test('torn: each sector of a page is at a version of its own', () => {
  const file = new TwinFile();
  file.write(0, Buffer.alloc(PAGE_BYTES, 'a'));
  file.finishSync(file.beginSync());
  file.write(0, Buffer.alloc(PAGE_BYTES, 'b'));
  const random = new Prng(7);
  let mixed = 0;
  for (let i = 0; i < 200; i++) {
    const after = content(file.afterPowerCut('f', (count) => random.below(count), true));
    for (let at = 0; at < PAGE_BYTES; at += 512) {
      expect(after.subarray(at, at + 512).every((byte) => byte === after[at])).toBe(true);
    }
    if (after.includes('a') && after.includes('b')) mixed++;
  }
  expect(mixed).toBeGreaterThan(20);
});

test('the size is lost or kept by itself: what was appended may be zeros, or not there', () => {
  const file = new TwinFile();
  file.write(0, Buffer.from('ab'));
  file.finishSync(file.beginSync());
  file.write(2, Buffer.from('cd'));
  file.allocate(6);
  const left = outcomes((choose) => content(file.afterPowerCut('f', choose, false)).toString());
  expect([...left].sort()).toEqual(['ab', 'ab\0\0', 'ab\0\0\0\0', 'abcd', 'abcd\0\0']);
});

test('what was cut off may come back until a sync has returned', () => {
  const file = new TwinFile();
  file.write(0, Buffer.from('abcd'));
  file.finishSync(file.beginSync());
  file.truncate(2);
  file.write(2, Buffer.from('xy'));
  expect(content(file).toString()).toBe('abxy');
  expect(content(file.afterPowerCut('f', nothing, false)).toString()).toBe('abcd');
  expect(content(file.afterPowerCut('f', everything, false)).toString()).toBe('abxy');
  file.finishSync(file.beginSync());
  expect(content(file.afterPowerCut('f', nothing, false)).toString()).toBe('abxy');
});

test('a sync covers what was written before it began, and nothing that came later', () => {
  const file = new TwinFile();
  file.write(0, Buffer.from('a'));
  const mark = file.beginSync();
  file.write(1, Buffer.from('b'));
  expect(file.afterPowerCut('f', nothing, false).size).toBe(0);
  file.finishSync(mark);
  expect(content(file.afterPowerCut('f', nothing, false)).toString()).toBe('a');
});

test('after a failed sync no later one makes its pages durable, unless they are written again', () => {
  const file = new TwinFile();
  file.write(0, Buffer.from('a'));
  file.write(PAGE_BYTES, Buffer.from('x'));
  file.failSync(file.beginSync());
  file.finishSync(file.beginSync());
  expect(content(file.afterPowerCut('f', nothing, false))[0]).toBe(0);
  file.write(1, Buffer.from('b'));
  file.finishSync(file.beginSync());
  const left = content(file.afterPowerCut('f', nothing, false));
  // The page that was written again is on disk as a whole; the other one is still lost.
  expect(left.subarray(0, 2).toString()).toBe('ab');
  expect(left[PAGE_BYTES]).toBe(0);
  expect(file.isDirty).toBe(true);
});

test('names are kept or lost one by one until their directory is synced, and a rename is never half done', () => {
  const fileSystem = new TwinFileSystem();
  fileSystem.createFile('kept').write(0, Buffer.from('k'));
  fileSystem.finishDirectorySync(fileSystem.directory('', ''), fileSystem.beginDirectorySync());
  fileSystem.createFile('new');
  fileSystem.rename('kept', 'moved');
  const left = outcomes((choose) => [...fileSystem.afterPowerCut(choose).files().keys()].join());
  expect([...left].sort()).toEqual(['kept', 'kept,new', 'moved', 'moved,new'].sort());
  fileSystem.finishDirectorySync(fileSystem.directory('', ''), fileSystem.beginDirectorySync());
  expect([...fileSystem.afterPowerCut(nothing).files().keys()]).toEqual(['moved', 'new']);
});

test('a directory that was lost takes what is in it along', () => {
  const fileSystem = new TwinFileSystem();
  fileSystem.createDirectory('d');
  fileSystem.createFile('d/f');
  fileSystem.finishDirectorySync(fileSystem.directory('d', ''), fileSystem.beginDirectorySync());
  expect([...fileSystem.afterPowerCut(nothing).files().keys()]).toEqual([]);
  fileSystem.finishDirectorySync(fileSystem.directory('', ''), fileSystem.beginDirectorySync());
  expect([...fileSystem.afterPowerCut(nothing).files().keys()]).toEqual(['d/', 'd/f']);
});

test('the end of a power cut is durable, and the file system it came from goes on', () => {
  const before = new TwinFileSystem();
  before.createFile('f').write(0, Buffer.from('abc'));
  const after = before.afterPowerCut(everything);
  expect(after.afterPowerCut(nothing).files()).toEqual(after.files());
  before.file('f', '').write(0, Buffer.from('X'));
  expect(after.files().get('f')!.toString()).toBe('abc');
});
