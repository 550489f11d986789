// The journal joins neighbouring appends of a log into one record. A checkpoint captured between two appends that were
// joined left its durable mark inside a record, and replay took that for a journal that does not join up: CORRUPT_JOURNAL
// on a store with nothing wrong in it.
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { crashImage, temporaryDirectory } from '../log/crash-image.js';

test.each(['sync', 'async', 'none'] as const)(
  'a checkpoint taken between joined appends opens after a crash (flush %s)',
  async (flush) => {
    for (let round = 0; round < 4; round++) {
      const directory = `${temporaryDirectory()}/store`;
      const store = await openStore(directory, { create: true, journalFileBytes: 1024 * 1024 });
      const log = await store.openLog('events', 0, { flush });
      const appends: Promise<unknown>[] = [];
      const append = (count: number) => {
        for (let i = 0; i < count; i++) appends.push(log.append([{ value: 'x'.repeat(200) }]));
      };
      append(50);
      const checkpoint = store.checkpoint();
      for (let turn = 0; turn < round; turn++) await null;
      append(50);
      await Promise.all([checkpoint, ...appends, log.flush()]);
      const image = crashImage(directory);
      await store.close();

      const reopened = await openStore(image);
      const recovered = await reopened.openLog('events', 0, { flush });
      expect(recovered.end).toBe(100);
      expect(recovered.recovery.damaged).toEqual([]);
      await reopened.close();
    }
  },
);
