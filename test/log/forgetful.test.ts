// What a replica may have forgotten stays written down, with the term it stood in, until whoever replicates the log says that
// it has been taken over again: over any number of openings, clean ones included.
import { expect, test } from 'vitest';
import { openDisk } from '../../src/disk/native-disk.js';
import type { FlushMode } from '../../src/disk/disk.js';
import { wallClock } from '../wall-clock.js';
import type { Log } from '../../src/log/log.js';
import { Store } from '../../src/log/partition-store.js';
import type { HardState } from '../../src/raft/types.js';
import { crashImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;

async function openAt(path: string, boot: string, flush: FlushMode): Promise<{ store: Store; log: Log }> {
  const ground = { disk: await openDisk(path), path, bootId: boot, environment: wallClock(Date.now) };
  const store = await Store.open(ground, { create: true, journalFileBytes: MIB, journalMaxBytes: 8 * MIB });
  return { store, log: await store.openLog('t', 0, { segmentBytes: MIB, replicated: true, flush }) };
}

function save(log: Log, state: HardState): Promise<void> {
  return new Promise((resolve) => log.saveHardState(state, resolve));
}

/** A log that stood in term 3, and was not closed. */
async function crashed(flush: FlushMode, state: HardState = { term: 3, vote: 2 }): Promise<string> {
  const path = temporaryDirectory();
  const { store, log } = await openAt(path, 'first boot', flush);
  if (state.term > 0) await save(log, state);
  const image = crashImage(path);
  await store.close();
  return image;
}

test('after a restart of the machine a relaxed log has forgotten, in the term it stood in, and says so ever after', async () => {
  const image = await crashed('async');
  const { store, log } = await openAt(image, 'second boot', 'async');
  expect(log.hardState).toEqual({ term: 3, vote: 2, forgot: 3 });
  // The term goes on, a further cut changes nothing.
  await save(log, { term: 5, vote: 0, forgot: 3 });
  const again = crashImage(image);
  await store.close();
  const { store: third, log: cut } = await openAt(again, 'third boot', 'async');
  expect(cut.hardState).toEqual({ term: 5, vote: 0, forgot: 3 });
  expect(cut.recovery).toMatchObject({ clean: false, mayHaveForgotten: true });
  await third.close();
  const { store: fourth, log: clean } = await openAt(again, 'third boot', 'async');
  expect(clean.hardState).toEqual({ term: 5, vote: 0, forgot: 3 });
  expect(clean.recovery).toMatchObject({ clean: true, mayHaveForgotten: true });

  // Taken over: also in the term it has, and also when that was only in the journal.
  await save(clean, { term: 5, vote: 0 });
  const last = crashImage(again);
  await fourth.close();
  const { store: fifth, log: whole } = await openAt(last, 'third boot', 'async');
  expect(whole.hardState).toEqual({ term: 5, vote: 0 });
  await fifth.close();
});

test.each<[string, FlushMode, string, HardState]>([
  ['the process alone died: the page cache has it all', 'async', 'first boot', { term: 3, vote: 2 }],
  ['everything is synced before it is acknowledged', 'sync', 'second boot', { term: 3, vote: 2 }],
  ['it was never in a term, so it has acknowledged nothing', 'none', 'second boot', { term: 0, vote: 0 }],
])('nothing is forgotten when %s', async (_, flush, boot, state) => {
  const { store, log } = await openAt(await crashed(flush, state), boot, flush);
  expect(log.hardState).toEqual(state);
  await store.close();
});
