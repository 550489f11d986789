import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { formatStore, openStore } from '../../src/log/store.js';
import { temporaryDirectory } from './crash-image.js';

test('what was appended is read back after closing and opening again', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, { create: true });
  const log = await store.openLog('events', 0);
  expect(await log.append([{ key: 'a', value: 'hello' }])).toEqual({ baseOffset: 0, lastOffset: 0 });
  expect(await log.append([{ value: '1' }, { value: '2' }], { compression: 'lz4' })).toEqual({
    baseOffset: 1,
    lastOffset: 2,
  });
  await store.close();

  const again = await openStore(path);
  const reopened = await again.openLog('events', 0);
  expect(reopened.recovery.clean).toBe(true);
  expect([reopened.start, reopened.end, reopened.durable, reopened.highWatermark]).toEqual([0, 3, 3, 3]);
  expect(await reopened.append([{ value: '3' }])).toEqual({ baseOffset: 3, lastOffset: 3 });
  const { records, nextOffset } = await reopened.read(0);
  expect(records.map((record) => [record.offset, record.key?.toString(), record.value?.toString()])).toEqual([
    [0, 'a', 'hello'],
    [1, undefined, '1'],
    [2, undefined, '2'],
    [3, undefined, '3'],
  ]);
  expect(nextOffset).toBe(4);
  await again.close();
});

test('a directory that was never formatted is refused, and says what to do', async () => {
  const path = temporaryDirectory();
  await expect(openStore(path)).rejects.toMatchObject({
    code: 'DIRECTORY_MISSING',
    message: expect.stringContaining('create: true'),
  });
  await expect(openStore(join(path, 'nowhere'))).rejects.toMatchObject({
    code: 'DIRECTORY_MISSING',
    message: expect.stringMatching(/there is no .*nowhere: open it with \{ create: true \}/),
  });
});

test('a log that is being closed is not open to be shared: opening it says so', async () => {
  const store = await openStore(temporaryDirectory(), { create: true });
  const log = await store.openLog('t', 0);
  const closing = log.close();
  await expect(store.openLog('t', 0)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringContaining('still being closed: await that close()'),
  });
  await closing;
  await expect(store.openLog('t', 0)).resolves.toMatchObject({ end: 0 });
  await store.close();
});

test("a directory with somebody else's files is not formatted", async () => {
  const path = temporaryDirectory();
  writeFileSync(join(path, 'thesis.tex'), 'do not touch');
  await expect(openStore(path, { create: true })).rejects.toMatchObject({ code: 'DIRECTORY_MISMATCH' });
  expect(readFileSync(join(path, 'thesis.tex'), 'utf8')).toBe('do not touch');
});

test('a directory of another cluster or node is refused', async () => {
  const path = temporaryDirectory();
  await formatStore(path, { clusterId: 'one', nodeId: 1 });
  await expect(openStore(path, { clusterId: 'two' })).rejects.toMatchObject({ code: 'DIRECTORY_MISMATCH' });
  await expect(openStore(path, { nodeId: 2 })).rejects.toMatchObject({ code: 'DIRECTORY_MISMATCH' });
  const store = await openStore(path, { clusterId: 'one', nodeId: 1 });
  expect([store.clusterId, store.nodeId]).toEqual(['one', 1]);
  await store.close();
});

test('a second opener of the same directory is refused while the first one has it', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, { create: true });
  await expect(openStore(path)).rejects.toMatchObject({ code: 'DIRECTORY_LOCKED' });
  await store.close();
  await (await openStore(path)).close();
});

test.each(['../up', 'a/b', '', '.', '..', 'ä', 'x'.repeat(201), 'a\0b'])(
  'topic name %j never touches a path',
  async (topic) => {
    const path = temporaryDirectory();
    const store = await openStore(path, { create: true });
    const before = readdirSync(path).length;
    await expect(store.openLog(topic, 0)).rejects.toMatchObject({ code: 'INVALID_TOPIC' });
    expect(readdirSync(path).length).toBe(before);
    await store.close();
  },
);

test('partitions of one topic share its topic id, and a log is open once', async () => {
  const store = await openStore(temporaryDirectory(), { create: true });
  const first = await store.openLog('events', 0);
  const second = await store.openLog('events', 1);
  expect(second.topicId).toBe(first.topicId);
  await expect(store.openLog('events', 0)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await first.close();
  const again = await store.openLog('events', 0);
  expect(again.topicId).toBe(second.topicId);
  await store.close();
});

test('a closed log and a closed store say so', async () => {
  const store = await openStore(temporaryDirectory(), { create: true });
  const log = await store.openLog('events', 0);
  await log.append([{ value: 'x' }]);
  const waiting = log.readViews(1, { minBytes: 1, maxWaitMs: 60_000 });
  const refused = expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
  await log.close();
  await refused;
  await expect(log.append([{ value: 'y' }])).rejects.toMatchObject({ code: 'CLOSED' });
  await expect(log.read(0)).rejects.toMatchObject({ code: 'CLOSED' });
  await store.close();
  await store.close();
  await expect(store.openLog('events', 0)).rejects.toMatchObject({ code: 'CLOSED' });
});

test('options out of range are refused by name', async () => {
  const path = temporaryDirectory();
  await expect(openStore(path, { create: true, asyncMaxMs: 0 })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringContaining('asyncMaxMs'),
  });
  const store = await openStore(path, { create: true });
  await expect(store.openLog('events', 0, { segmentBytes: 5 })).rejects.toMatchObject({
    message: expect.stringContaining('segmentBytes'),
  });
  await store.close();
});
