// `appendProduced` stamps base offset and epoch in place. Given what `readViews` returns, to copy batches from one log to
// another, it wrote into the read-only mapping of a segment, which killed the process (SIGSEGV).
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

test('views of one log are appended to another, and stay as they were', async () => {
  const store = await openStore(temporaryDirectory(), { create: true });
  const from = await store.openLog('from', 0);
  const to = await store.openLog('to', 0);
  await from.append([{ value: 'a' }, { value: 'b' }]);
  await from.append([{ value: 'c' }]);
  await to.append([{ value: 'first' }]);

  const { views } = await from.readViews(0);
  const before = views.map((view) => Buffer.from(view));
  for (const view of views) {
    expect(to.appendProduced(view, 0, view.length, 3)).toEqual({ baseOffset: 1, lastOffset: 3 });
    // Another object over the same mapping is the same mapping.
    const alias = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
    expect(to.appendProduced(alias, 0, alias.length, 3)).toEqual({ baseOffset: 4, lastOffset: 6 });
  }
  expect(views).toEqual(before);

  await to.flush();
  const { records } = await to.read(0);
  expect(records.map(({ offset, value }) => `${offset} ${value}`)).toEqual([
    '0 first',
    '1 a',
    '2 b',
    '3 c',
    '4 a',
    '5 b',
    '6 c',
  ]);
  await store.close();
});

test('a log takes views of itself, from the middle of one, also after the log they are of was closed', async () => {
  const store = await openStore(temporaryDirectory(), { create: true });
  const log = await store.openLog('events', 0);
  await log.append([{ value: 'a' }]);
  const { views } = await log.readViews(0);
  const view = views[0]!;
  const { length } = view;
  await log.append([{ value: 'b' }]);
  const both = (await log.readViews(0)).views[0]!;
  expect(log.appendProduced(both, length, both.length, 0)).toEqual({ baseOffset: 2, lastOffset: 2 });
  await log.close();

  const other = await store.openLog('other', 0);
  expect(other.appendProduced(view, 0, length, 0)).toEqual({ baseOffset: 0, lastOffset: 0 });
  await store.close();
});
