// What `openStore` and `formatStore` refuse, and that a refusal changes nothing.
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { StoreOptions } from '../../src/log/options.js';
import { formatStore, openStore, readOwner } from '../../src/log/store.js';
import { temporaryDirectory } from './crash-image.js';

/** What a caller without types can write. */
const openAnyhow = openStore as (path?: unknown, options?: unknown) => Promise<unknown>;
const formatAnyhow = formatStore as (path?: unknown, owner?: unknown) => Promise<unknown>;

const invalid = (message: RegExp) => ({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) });

describe('arguments', () => {
  test.each([[undefined], [''], [7], [null]])('the path %j is refused', async (path) => {
    await expect(openAnyhow(path)).rejects.toMatchObject(invalid(/path of the data directory/));
    await expect(formatAnyhow(path, { clusterId: 'c', nodeId: 1 })).rejects.toMatchObject(
      invalid(/path of the data directory/),
    );
  });

  test.each<[unknown, RegExp]>([
    [{ asyncMaxMS: 5 }, /no option "asyncMaxMS"; did you mean "asyncMaxMs"/],
    [{ zzzzzzzzzzz: 5 }, /no option "zzzzzzzzzzz"; known are create, /],
    [null, /give an object/],
    [[], /give an object/],
    [{ clusterId: '' }, /clusterId ""/],
    [{ clusterId: 5 }, /clusterId 5/],
    [{ clusterId: 'a node would refuse it!' }, /clusterId .*: use 1 to 64 characters/],
    [{ nodeId: 0 }, /nodeId 0/],
    [{ asyncMaxMs: 0 }, /asyncMaxMs 0: give a whole number from 1 to 60000/],
    [{ asyncMaxMs: '50' }, /asyncMaxMs '50': give a whole number/],
    [
      { journalFileBytes: 2 ** 30 },
      /journalMaxBytes 1073741824 \(the default\): .* from 2147483648 .*two files of journalFileBytes/,
    ],
    [{ journalFileBytes: 2 ** 20, journalMaxBytes: 2 ** 20 }, /journalMaxBytes 1048576: .* from 2097152/],
  ])('the options %j are refused, and no directory is made', async (options, message) => {
    const path = join(temporaryDirectory(), 'data');
    const given = options === null || Array.isArray(options) ? options : { create: true, ...(options as object) };
    await expect(openAnyhow(path, given)).rejects.toMatchObject(invalid(message));
    expect(existsSync(path)).toBe(false);
  });

  test('the options of a log are known by name', async () => {
    const store = await openStore(temporaryDirectory(), { create: true });
    const options = { flsh: 'none' } as object;
    await expect(store.openLog('events', 0, options)).rejects.toMatchObject(
      invalid(/no option "flsh"; did you mean "flush"/),
    );
    await store.close();
  });

  test.each([[undefined], [null], [{}], [{ clusterId: 'c' }], [{ nodeId: 1 }]])(
    'a directory is not formatted for %j',
    async (owner) => {
      const path = join(temporaryDirectory(), 'data');
      await expect(formatAnyhow(path, owner)).rejects.toMatchObject(invalid(/\{ clusterId, nodeId \}/));
      expect(existsSync(path)).toBe(false);
    },
  );
});

describe("a directory with somebody else's files", () => {
  test.each<[string, Partial<StoreOptions>, string]>([
    ['to create a store in', { create: true }, 'DIRECTORY_MISMATCH'],
    ['to open', {}, 'DIRECTORY_MISSING'],
  ])('is refused %s, and not even a lock file is left in it', async (_, options, code) => {
    const path = temporaryDirectory();
    writeFileSync(join(path, 'thesis.tex'), 'do not touch');
    await expect(openStore(path, options)).rejects.toMatchObject({ code });
    expect(readdirSync(path)).toEqual(['thesis.tex']);
  });
});

describe('a directory that cannot be made', () => {
  test('below a file', async () => {
    const file = join(temporaryDirectory(), 'file');
    writeFileSync(file, '');
    await expect(openStore(join(file, 'a', 'b'), { create: true })).rejects.toMatchObject({
      code: 'DIRECTORY_MISSING',
      message: expect.stringMatching(/ENOTDIR.*Choose a path/),
    });
    await expect(openStore(file, { create: true })).rejects.toMatchObject({ code: 'DIRECTORY_MISSING' });
    expect(readFileSync(file, 'utf8')).toBe('');
  });

  // There the kernel says ENOENT to mkdir, whatever exists.
  test.skipIf(!existsSync('/proc/self'))('in /proc (skipped where there is none)', async () => {
    await expect(openStore('/proc/varve-test/data', { create: true })).rejects.toMatchObject({
      code: 'DIRECTORY_MISSING',
      message: expect.stringContaining('cannot be made'),
    });
  });
});

test('formatting again leaves a crashed directory as it crashed', async () => {
  const path = temporaryDirectory();
  const owner = { clusterId: 'one', nodeId: 1 };
  await formatStore(path, owner);
  const store = await openStore(path);
  const log = await store.openLog('events', 0, { flush: 'none' });
  await log.append([{ value: 'x' }]);
  const image = join(temporaryDirectory(), 'image');
  cpSync(path, image, { recursive: true });
  await store.close();

  const before = readdirSync(image);
  await formatStore(image, owner);
  expect(readdirSync(image)).toEqual(before);
  await expect(formatStore(image, { ...owner, nodeId: 2 })).rejects.toMatchObject({ code: 'DIRECTORY_MISMATCH' });
  expect(await readOwner(image)).toMatchObject(owner);
  const crashed = await openStore(image);
  const reopened = await crashed.openLog('events', 0, { flush: 'none' });
  expect(reopened.recovery).toMatchObject({ clean: false, mayHaveForgotten: true });
  await crashed.close();
});

test('directories with missing parents are made', async () => {
  const path = join(temporaryDirectory(), 'a', 'b', 'c');
  await (await openStore(path, { create: true })).close();
  expect(existsSync(join(path, 'meta.json'))).toBe(true);
});
