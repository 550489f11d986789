// A topic's first log gives it an id, and the topic's other logs take it over. Logs opened at the same time did not see
// each other: each made up an id of its own, and one partition could even be opened twice, as two logs. From then on
// nobody could open it without saying which was meant.
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

test('the logs of a topic that are opened at once share its id', async () => {
  const store = await openStore(`${temporaryDirectory()}/store`, { create: true });
  const logs = await Promise.all([0, 1, 2].map((partition) => store.openLog('events', partition)));
  expect(new Set(logs.map((log) => log.topicId)).size).toBe(1);
  await store.close();
});

test('of two attempts to open the same log at once one is refused, whether it is new or not', async () => {
  const store = await openStore(`${temporaryDirectory()}/store`, { create: true });
  for (let time = 0; time < 2; time++) {
    const attempts = [store.openLog('events', 0, { flush: 'none' }), store.openLog('events', 0, { flush: 'none' })];
    await expect(attempts[1]).rejects.toThrow('is open already');
    await (await attempts[0]!).close();
  }
  await store.close();
});
