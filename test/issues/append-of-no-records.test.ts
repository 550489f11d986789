// append('x') took the string for a list of records and stored an empty one; an object was a bare TypeError.
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import type { RecordInput } from '../../src/record/types.js';
import { temporaryDirectory } from '../log/crash-image.js';

test.each([
  ['a string', 'x'],
  ['one record without a list', { value: 'x' }],
  ['nothing', undefined],
  ['a list of strings', ['x']],
  ['a list of buffers', [Buffer.from('x')]],
])('append of %s is INVALID_ARGUMENT and stores nothing', async (_, records) => {
  const store = await openStore(temporaryDirectory(), { create: true, journalFileBytes: 1024 * 1024 });
  const log = await store.openLog('events', 0);
  await expect(log.append(records as unknown as RecordInput[])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await log.append([{ value: 'y' }]);
  expect((await log.read(0)).records.map((record) => `${record.value}`)).toEqual(['y']);
  await store.close();
});
