// What a caller without types can give the reads: refused with the argument, what was given and what is allowed.
import { beforeAll, expect, test } from 'vitest';
import type { Log, ReadOptions } from '../../src/main.js';
import { sharedStore } from './shared-store.js';

const openLog = sharedStore();
let log: Log;

beforeAll(async () => {
  log = await openLog();
  await log.append([{ value: 'a', timestamp: 5 }]);
});

const invalid = (message: RegExp) => ({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) });

test.each<[unknown, RegExp]>([
  [null, /options: give an object, with any of maxBytes/],
  [1024, /options: give an object/],
  [{ maxBytse: 5 }, /no option "maxBytse"; did you mean "maxBytes"/],
  [{ maxBytes: 0 }, /maxBytes 0: give a whole number of bytes from 1/],
  [{ maxBytes: Number.NaN }, /maxBytes NaN/],
  [{ maxBytes: '1000' }, /maxBytes '1000'/],
  [{ minBytes: -1 }, /minBytes -1: give a whole number of bytes from 0/],
  [{ minBytes: 1.5 }, /minBytes 1\.5/],
  [{ maxWaitMs: -1 }, /maxWaitMs -1: give a number from 0/],
  [{ maxWaitMs: Number.NaN }, /maxWaitMs NaN/],
  [{ maxWaitMs: '100' }, /maxWaitMs '100'/],
  [{ isolation: 'committed' }, /isolation 'committed': give 'read_uncommitted' or 'read_committed'/],
])('the read options %j are refused', async (options, message) => {
  await expect(log.read(0, options as ReadOptions)).rejects.toMatchObject(invalid(message));
  await expect(log.readViews(0, options as ReadOptions)).rejects.toMatchObject(invalid(message));
});

test.each<[unknown, RegExp]>([
  ['0', /events-0: offset '0': give a number, not string/],
  [undefined, /offset undefined/],
  [0n, /offset 0n: give a number, not bigint/],
])('an offset is a number: %s (%#)', async (given, message) => {
  const offset = given as number;
  await expect(log.read(offset)).rejects.toMatchObject(invalid(message));
  await expect(log.readViews(offset)).rejects.toMatchObject(invalid(message));
  await expect(log.deleteBefore(offset)).rejects.toMatchObject(invalid(message));
  expect(() => log.viewsFrom(offset, 100)).toThrow(expect.objectContaining(invalid(message)));
});

test.each([[undefined], [Number.NaN], [Number.POSITIVE_INFINITY], ['5'], [null]])(
  'a timestamp is a finite number, which %s is not',
  async (timestamp) => {
    await expect(log.offsetForTimestamp(timestamp as number)).rejects.toMatchObject(
      invalid(/timestamp .* finite number/),
    );
    expect(await log.offsetForTimestamp(5)).toEqual({ offset: 0, timestamp: 5 });
  },
);

test('a read that is given a time to wait waits for a record', async () => {
  const read = log.read(1, { maxWaitMs: 600_000 });
  await log.append([{ value: 'b' }]);
  expect((await read).records.map(({ value }) => String(value))).toEqual(['b']);
});

test('minBytes 0 answers at once, whatever the time', async () => {
  expect((await log.read(log.end, { minBytes: 0, maxWaitMs: 600_000 })).records).toEqual([]);
});

test('undefined options are the defaults', async () => {
  const options = { maxBytes: undefined, minBytes: undefined, maxWaitMs: undefined, isolation: undefined };
  expect((await log.read(0, options as object)).records[0]).toMatchObject({ offset: 0 });
});

test.each<[unknown]>([[null], [5], [[]]])('openLog refuses the options %j', async (options) => {
  await expect(openLog(options as object)).rejects.toMatchObject(invalid(/options: give an object/));
});
