// compact() removed records of a log whose cleanup is 'delete' (the default), which nobody had asked to be compacted.
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

test("compact() of a log whose cleanup is 'delete' is refused, and removes nothing", async () => {
  const store = await openStore(temporaryDirectory(), { create: true });
  const log = await store.openLog('t', 0);
  for (const value of ['old', 'new']) await log.append([{ key: 'a', value }]);
  await expect(log.compact()).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringMatching(/^t-0: .*cleanup 'delete'.*'compact'/),
  });
  expect((await log.read(0)).records.map(({ value }) => String(value))).toEqual(['old', 'new']);
  await store.close();
});

test.each(['compact', 'compact,delete'] as const)('compact() of a log whose cleanup is %s is done', async (cleanup) => {
  const store = await openStore(temporaryDirectory(), { create: true });
  const log = await store.openLog('t', 0, { cleanup });
  for (const value of ['old', 'new']) await log.append([{ key: 'a', value }]);
  expect(await log.compact()).toMatchObject({ recordsKept: 1, recordsRemoved: 1 });
  await store.close();
});
