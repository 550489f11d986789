// The name of a codec comes from the caller, who may have no types: an unknown one was a TypeError about a property of
// undefined.
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

test.each(['brotli', 'constructor', ''])('compression %j is refused, and leaves nothing behind', async (name) => {
  const store = await openStore(`${temporaryDirectory()}/store`, { create: true });
  const log = await store.openLog('events', 0);
  const refused = log.append([{ value: 'refused' }], { compression: name as 'none' });
  await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await log.append([{ value: 'a' }]);
  const { records } = await log.read(0);
  expect(records.map(({ value }) => String(value))).toEqual(['a']);
  await store.close();
});
