import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CHECKPOINT_FILE, decodeCheckpoint } from '../../src/journal/checkpoint.js';
import { openStore } from '../../src/log/store.js';
import { powerCutImage, temporaryDirectory } from './crash-image.js';
import { Faults, openFailing } from './failing-disk.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, journalMaxBytes: 4 * MIB, checkpointIntervalMs: 3_600_000 };

test.each(['sync', 'none'] as const)(
  'the journal stays within its limit however much is appended under flush %s',
  async (flush) => {
    const path = temporaryDirectory();
    const store = await openStore(path, OPTIONS);
    const options = { segmentBytes: MIB, flush };
    const logs = [await store.openLog('t', 0, options), await store.openLog('t', 1, options)];
    let inFlight: Promise<unknown>[] = [];
    let most = 0;
    for (let i = 0; i < 400; i++) {
      inFlight.push(logs[i % 2]!.append([{ value: `${i}`.padEnd(100_000, '.') }]));
      if (inFlight.length === 16) {
        await Promise.all(inFlight);
        inFlight = [];
        most = Math.max(most, readdirSync(join(path, 'journal')).length);
      }
    }
    await Promise.all(inFlight);
    await logs[0]!.flush();
    const { checkpoints, journal } = store.stats();
    expect(checkpoints).toBeGreaterThan(5);
    expect(journal.fileRolls).toBeGreaterThan(20);
    // 4 MiB of uncovered bytes, what was under way when the limit was reached, and the files prepared ahead.
    expect(most).toBeLessThanOrEqual(12);
    const image = powerCutImage(path, () => false);
    await store.close();

    const again = await openStore(image, OPTIONS);
    for (const partition of [0, 1]) {
      const log = await again.openLog('t', partition, options);
      expect(log.end).toBe(200);
      for (let offset = 0; offset < 200; ) {
        const { records, nextOffset } = await log.read(offset);
        for (const record of records) {
          expect(Number.parseInt(String(record.value), 10)).toBe(record.offset * 2 + partition);
        }
        offset = nextOffset;
      }
    }
    await again.close();
  },
);

test('a loop of appends from memory leaves the event loop its turn', async () => {
  const store = await openStore(temporaryDirectory(), OPTIONS);
  const log = await store.openLog('t', 0, { flush: 'none' });
  let turned = false;
  setImmediate(() => {
    turned = true;
  });
  let appended = 0;
  for (; !turned && appended < 100_000; appended++) await log.append([{ value: 'x'.repeat(1000) }]);
  expect(appended).toBeLessThan(1000);
  await store.close();
});

test('a checkpoint of a log that was not opened this time keeps what it knows of it', async () => {
  const path = temporaryDirectory();
  let store = await openStore(path, OPTIONS);
  await (await store.openLog('seldom', 0)).append([{ value: 'x' }]);
  await store.close();
  store = await openStore(path, OPTIONS);
  await (await store.openLog('often', 0)).append([{ value: 'y' }]);
  await store.checkpoint();
  const image = powerCutImage(path, () => false);
  await store.close();

  store = await openStore(image, OPTIONS);
  const log = await store.openLog('seldom', 0);
  expect(String((await log.read(0)).records[0]!.value)).toBe('x');
  expect(log.recovery.damaged).toEqual([]);
  await store.close();
});

test('a log that was closed while the store stays open is whole after a crash', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, { flush: 'none' });
  for (let i = 0; i < 20; i++) await log.append([{ value: 'x' }]);
  await log.close();
  await store.checkpoint();
  const image = powerCutImage(path, () => false);
  await store.close();
  const again = await openStore(image, OPTIONS);
  expect((await again.openLog('t', 0)).end).toBe(20);
  await again.close();
});

test('appends wait while too many bytes are pending, and go on by themselves', async () => {
  const store = await openStore(temporaryDirectory(), { ...OPTIONS, pendingMaxBytes: 200_000 });
  const log = await store.openLog('t', 0);
  const appends = Array.from({ length: 50 }, (_, i) => log.append([{ value: `${i}`.padEnd(50_000, '.') }]));
  expect(log.throttled).toBe(true);
  await log.whenWritable();
  await Promise.all(appends);
  expect([log.end, log.throttled, store.stats().pendingBytes]).toEqual([50, false, 0]);
  await store.close();
});

test('async appends beyond their bound wait for the disk', async () => {
  const store = await openStore(temporaryDirectory(), { ...OPTIONS, asyncMaxBytes: 100_000, asyncMaxMs: 60_000 });
  const log = await store.openLog('t', 0, { flush: 'async' });
  let acknowledged = 0;
  const appends = Array.from({ length: 20 }, async () => {
    await log.append([{ value: 'x'.repeat(20_000) }]);
    expect(log.written).toBeGreaterThan(acknowledged);
    expect((log.written - log.durable) * 20_000).toBeLessThan(100_000 + 20_000);
    acknowledged++;
  });
  await Promise.all(appends);
  expect(log.end).toBe(20);
  await store.close();
});

test('leader epochs are written in the layout that Kafka uses', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, { replicated: true });
  log.appendControl(1000, Buffer.alloc(0), 4);
  log.appendControl(1000, Buffer.alloc(0), 7);
  await store.close();
  const directory = readdirSync(path).find((name) => name.startsWith('t-0.'))!;
  expect(readFileSync(join(path, directory, 'leader-epoch-checkpoint'), 'latin1')).toBe('0\n2\n4 0\n7 1\n');
  const checkpoint = decodeCheckpoint(readFileSync(join(path, CHECKPOINT_FILE)), CHECKPOINT_FILE);
  expect(checkpoint.logs).toMatchObject([
    {
      topic: 't',
      partition: 0,
      end: 2,
      epochs: [
        [4, 0],
        [7, 1],
      ],
    },
  ]);
});

test('a checkpoint takes the state of the logs that changed, and of no others', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const logs = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((i) => store.openLog('t', i, { replicated: true })));
  for (const log of logs) log.appendControl(1000, Buffer.alloc(0), 1);
  await store.checkpoint();
  const taken = (): number => store.stats().checkpointedLogs;
  const rows = () => {
    const file = join(path, CHECKPOINT_FILE);
    const { logs: states } = decodeCheckpoint(readFileSync(file), file);
    return [...states].sort((a, b) => a.partition - b.partition);
  };

  let before = taken();
  logs[3]!.appendControl(1000, Buffer.alloc(0), 1);
  await store.checkpoint();
  expect(taken() - before).toBe(1);
  expect(rows().map(({ end }) => end)).toEqual([1, 1, 1, 2, 1, 1, 1, 1]);

  // Also what no record of the journal tells of.
  before = taken();
  logs[5]!.advanceHighWatermark(1);
  await store.checkpoint();
  expect(taken() - before).toBe(1);
  expect(rows().map(({ hwFloor }) => hwFloor)).toEqual([0, 0, 0, 0, 0, 1, 0, 0]);

  before = taken();
  logs[0]!.saveHardState({ term: 9, vote: 1 }, () => {});
  logs[3]!.truncate(1);
  await store.checkpoint();
  await store.checkpoint();
  expect(taken() - before).toBe(2);
  expect([rows()[0]!.term, rows()[3]!.end, rows()[3]!.generation]).toEqual([9, 1, 1]);
  const image = powerCutImage(path, () => false);
  await store.close();

  const again = await openStore(image, OPTIONS);
  const log = await again.openLog('t', 3, { replicated: true });
  expect([log.end, log.recovery.damaged]).toEqual([1, []]);
  await again.close();
});

test('a checkpoint that found no space takes again what it had taken', async () => {
  const path = temporaryDirectory();
  const faults = new Faults();
  const store = await openFailing(path, faults, OPTIONS);
  const log = await store.openLog('t', 0, { replicated: true });
  await store.checkpoint();
  log.appendControl(1000, Buffer.alloc(0), 1);
  faults.fail('replaceFile', CHECKPOINT_FILE, 'DISK_FULL');
  await store.checkpoint();
  faults.heal();
  const before = store.stats().checkpointedLogs;
  await store.checkpoint();
  expect(store.stats().checkpointedLogs).toBe(before + 1);
  const file = join(path, CHECKPOINT_FILE);
  expect(decodeCheckpoint(readFileSync(file), file).logs[0]!.end).toBe(1);
  await store.close();
});

test('under pressure checkpoints take a part of the logs, oldest rows first, and a power cut finds everything', async () => {
  const path = temporaryDirectory();
  const store = await openStore(path, OPTIONS);
  const count = 80;
  const logs = await Promise.all(
    Array.from({ length: count }, (_, i) => store.openLog('t', i, { replicated: true, segmentBytes: 4 * MIB })),
  );
  const file = join(path, CHECKPOINT_FILE);
  const payload = Buffer.alloc(3000, 7);
  const rounds = 100;
  let lag = 0;
  let most = 0;
  for (let round = 1; round <= rounds; round++) {
    for (const [i, log] of logs.entries()) {
      log.appendControl(1000, payload, round);
      if ((round * 31 + i) % 97 === 0) log.truncate(log.end - 1);
      if ((round + i) % 11 === 0) log.saveHardState({ term: round, vote: 1 + (i % 3) }, () => {});
    }
    await logs[0]!.flush();
    await logs[0]!.whenWritable();
    const rows = decodeCheckpoint(readFileSync(file), file).logs;
    if (round >= 50) lag = Math.max(lag, ...rows.map(({ epochs }) => round - (epochs.at(-1)?.[0] ?? 0)));
    most = Math.max(most, readdirSync(join(path, 'journal')).length);
  }
  const { checkpoints, checkpointedLogs } = store.stats();
  expect(checkpoints).toBeGreaterThan(10);
  // 32 each, and now and then one whose producer snapshot is due.
  expect(checkpointedLogs / checkpoints).toBeLessThan(40);
  // A round is 240 KB: no row is older than what the journal may hold.
  expect(lag).toBeLessThan(40);
  expect(most).toBeLessThanOrEqual(12);
  // A last record, so that everything before it is durable when it is.
  for (const log of logs) log.appendControl(1000, payload, rounds);
  await Promise.all(logs.map((log) => log.flush()));
  const image = powerCutImage(path, () => false);
  // The term is never below the epoch of the last batch.
  const expected = logs.map(({ end, generation, lastEpoch, hardState: { term, vote } }) => {
    return { end, generation, lastEpoch, hardState: term < lastEpoch ? { term: lastEpoch, vote: 0 } : { term, vote } };
  });
  await store.close();

  const again = await openStore(image, OPTIONS);
  for (const [i, log] of logs.entries()) {
    const { end, generation, lastEpoch, hardState, recovery } = await again.openLog('t', log.partition, {
      replicated: true,
    });
    expect({ end, lastEpoch, hardState }).toEqual({
      end: expected[i]!.end,
      lastEpoch: expected[i]!.lastEpoch,
      hardState: expected[i]!.hardState,
    });
    expect(generation).toBeGreaterThanOrEqual(expected[i]!.generation);
    expect(recovery.damaged).toEqual([]);
  }
  await again.close();
}, 60_000);

test('after a clean stop a checkpoint takes no log that was only opened', async () => {
  const path = temporaryDirectory();
  let store = await openStore(path, OPTIONS);
  for (let i = 0; i < 8; i++) await (await store.openLog('t', i)).append([{ value: 'x' }]);
  await store.close();
  store = await openStore(path, OPTIONS);
  const logs = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((i) => store.openLog('t', i)));
  await logs[5]!.append([{ value: 'y' }]);
  await store.checkpoint();
  expect(store.stats().checkpointedLogs).toBe(1);
  const image = powerCutImage(path, () => false);
  await store.close();
  const again = await openStore(image, OPTIONS);
  for (let i = 0; i < 8; i++) expect((await again.openLog('t', i)).end).toBe(i === 5 ? 2 : 1);
  await again.close();
});
