import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openDisk } from '../../src/disk/native-disk.js';
import { CHECKPOINT_FILE, decodeCheckpoint } from '../../src/journal/checkpoint.js';
import type { Log } from '../../src/log/log.js';
import type { LogOptions } from '../../src/log/options.js';
import { Store } from '../../src/log/partition-store.js';
import { resolveLogOptions } from '../../src/log/resolved-options.js';
import { isDueToRoll, retentionPoint, rollAfterMs, type TimedSegment } from '../../src/log/retention.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { wallClock } from '../wall-clock.js';
import { crashImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = 1_700_000_000_000;

/** Ten segments of 100 bytes and 10 records, appended an hour apart; the last one is being written. */
function tenSegments(change: (i: number) => Partial<TimedSegment> = () => ({})): TimedSegment[] {
  return Array.from({ length: 10 }, (_, i) => ({
    base: i * 10,
    end: i * 10 + 10,
    length: 100,
    isActive: i === 9,
    maxTimestamp: i * HOUR,
    firstAppend: i * HOUR,
    lastAppend: i * HOUR,
    ...change(i),
  }));
}

const WHOLE = { start: 0, highWatermark: 100 };

test('without limits nothing is deleted', () => {
  expect(retentionPoint(tenSegments(), resolveLogOptions({}), WHOLE, 1000 * DAY)).toBe(0);
});

test('segments whose youngest record is too old go, and no more than that', () => {
  const options = resolveLogOptions({ retentionMs: 5 * HOUR });
  expect(retentionPoint(tenSegments(), options, WHOLE, 7.5 * HOUR)).toBe(30);
  expect(retentionPoint(tenSegments(), options, { ...WHOLE, start: 55 }, 7.5 * HOUR)).toBe(55);
  // Never the one being written.
  expect(retentionPoint(tenSegments(), options, WHOLE, 1000 * HOUR)).toBe(90);
  expect(retentionPoint(tenSegments(), options, WHOLE, 1000 * HOUR, 4)).toBe(40);
});

test('nothing above the high watermark goes', () => {
  const options = resolveLogOptions({ retentionMs: 0 });
  expect(retentionPoint(tenSegments(), options, { start: 0, highWatermark: 39 }, DAY)).toBe(30);
});

test('a record from the future keeps its segment no longer than its append would, and one from the past ages it', () => {
  const options = resolveLogOptions({ retentionMs: 5 * HOUR });
  const future = tenSegments((i) => (i === 0 ? { maxTimestamp: 1000 * DAY } : {}));
  expect(retentionPoint(future, options, WHOLE, 7.5 * HOUR)).toBe(30);
  const past = tenSegments((i) => (i === 3 ? { maxTimestamp: 1 } : {}));
  expect(retentionPoint(past, options, WHOLE, 7.5 * HOUR)).toBe(40);
  const unknown = tenSegments(() => ({ maxTimestamp: -1 }));
  expect(retentionPoint(unknown, options, WHOLE, 7.5 * HOUR)).toBe(30);
});

test('the oldest segments go while the others hold at least retentionBytes', () => {
  const at = (retentionBytes: number) => retentionPoint(tenSegments(), resolveLogOptions({ retentionBytes }), WHOLE, 0);
  expect([at(0), at(100), at(101), at(450), at(900), at(901), at(10_000)]).toEqual([90, 90, 80, 50, 10, 0, 0]);
});

test('a segment is rolled at its age, minus a jitter that is always the same for it and differs between segments', () => {
  const options = resolveLogOptions({ segmentMs: DAY, segmentJitterMs: 6 * HOUR });
  const ages = Array.from({ length: 200 }, (_, base) => rollAfterMs(options, 'events-0', base));
  expect(ages).toEqual(Array.from({ length: 200 }, (_, base) => rollAfterMs(options, 'events-0', base)));
  expect(Math.min(...ages)).toBeGreaterThanOrEqual(DAY - 6 * HOUR);
  expect(Math.max(...ages)).toBeLessThanOrEqual(DAY);
  expect(new Set(ages).size).toBeGreaterThan(150);
  expect(rollAfterMs(resolveLogOptions({ segmentMs: DAY }), 'events-0', 7)).toBe(DAY);

  const [segment] = tenSegments(() => ({ firstAppend: 1000 }));
  expect(isDueToRoll(segment!, DAY, 1000 + DAY - 1)).toBe(false);
  expect(isDueToRoll(segment!, DAY, 1000 + DAY)).toBe(true);
  expect(isDueToRoll({ ...segment!, length: 0 }, DAY, 1000 + DAY)).toBe(false);
});

test('impossible limits are refused by name', () => {
  for (const [name, value] of [
    ['segmentMs', 0],
    ['retentionMs', -2],
    ['retentionBytes', -2],
    ['segmentJitterMs', -1],
  ] as const) {
    expect(() => resolveLogOptions({ [name]: value })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(name) }),
    );
  }
  expect(() => resolveLogOptions({ segmentMs: 1000, segmentJitterMs: 1001 })).toThrow(/segmentJitterMs 1001/);
});

class Clock {
  now = START;
}

async function openAt(path: string, clock: Clock): Promise<Store> {
  const disk = await openDisk(path);
  const ground = { disk, path, bootId: 'boot', environment: wallClock(() => clock.now) };
  const options = { create: true, journalFileBytes: MIB, checkpointIntervalMs: 3_600_000 };
  const store = await Store.open(ground, options);
  onTestFinished(() => store.close());
  return store;
}

async function append(log: Log, count: number, timestamp?: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const value = 'x'.repeat(200_000);
    await log.append([timestamp === undefined ? { value } : { value, timestamp }]);
  }
}

function logFiles(path: string): string[] {
  const directory = readdirSync(path).find((name) => name.startsWith('t-0.'))!;
  return readdirSync(join(path, directory)).filter((name) => name.endsWith('.log'));
}

test('a segment is rolled by age at the next append, and at a checkpoint when nothing is appended', async () => {
  const path = temporaryDirectory();
  const clock = new Clock();
  const store = await openAt(path, clock);
  const log = await store.openLog('t', 0, { segmentMs: HOUR });
  await append(log, 1);
  clock.now += HOUR - 1;
  await append(log, 1);
  expect(logFiles(path).length).toBe(1);
  clock.now += 1;
  await append(log, 1);
  expect(logFiles(path).length).toBe(2);
  await store.checkpoint();
  expect(logFiles(path).length).toBe(2);
  clock.now += HOUR;
  await store.checkpoint();
  expect(logFiles(path).length).toBe(3);
  // An empty one has no age.
  clock.now += DAY;
  await store.checkpoint();
  expect(logFiles(path).length).toBe(3);
  await append(log, 1);
  expect(log.end).toBe(4);
  expect((await log.read(0, { maxBytes: MIB })).records.map(({ offset }) => offset)).toEqual([0, 1, 2, 3]);
});

test.each(['closed', 'killed'])('the age of a segment counts on after the store was %s', async (how) => {
  let path = temporaryDirectory();
  const clock = new Clock();
  let store = await openAt(path, clock);
  const options: Partial<LogOptions> = { segmentMs: HOUR };
  await append(await store.openLog('t', 0, options), 2);
  await store.checkpoint();
  const image = crashImage(path);
  await store.close();
  if (how === 'killed') path = image;
  clock.now += HOUR;
  store = await openAt(path, clock);
  await append(await store.openLog('t', 0, options), 1);
  expect(logFiles(path).length).toBe(2);
});

test('an embedded log deletes what it need not keep, also when nothing is appended any more', async () => {
  const path = temporaryDirectory();
  const clock = new Clock();
  const store = await openAt(path, clock);
  const log = await store.openLog('t', 0, { segmentBytes: MIB, retentionMs: HOUR });
  for (let i = 0; i < 6; i++) {
    await append(log, 5);
    clock.now += 20 * 60_000;
  }
  const { views } = await log.readViews(0);
  const copy = Buffer.from(views[0]!);
  await store.checkpoint();
  expect(log.start).toBe(15);
  await expect(log.read(0)).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
  expect(views[0]!.equals(copy)).toBe(true);
  const before = logFiles(path).length;
  // Everything is old now, the segment being written too: it is rolled first.
  clock.now += DAY;
  await store.checkpoint();
  expect([log.start, log.end]).toEqual([30, 30]);
  expect(logFiles(path).length).toBeLessThan(before);
  await append(log, 1);
  expect((await log.read(30)).records.length).toBe(1);
  const image = crashImage(path);
  await store.close();

  const again = await openAt(image, clock);
  const found = await again.openLog('t', 0, { segmentBytes: MIB });
  expect([found.start, found.end]).toEqual([30, 31]);
});

test('an embedded log keeps about retentionBytes', async () => {
  const path = temporaryDirectory();
  const store = await openAt(path, new Clock());
  const log = await store.openLog('t', 0, { segmentBytes: MIB, retentionBytes: 2 * MIB });
  await append(log, 30);
  await store.checkpoint();
  const { segments } = decodeCheckpoint(readFileSync(join(path, CHECKPOINT_FILE)), '').logs[0]!;
  const kept = segments.filter(({ base }) => base >= log.start).reduce((sum, { length }) => sum + length, 0);
  expect(kept).toBeGreaterThanOrEqual(2 * MIB);
  expect(kept).toBeLessThan(3.2 * MIB);
  expect(logFiles(path).length).toBeLessThanOrEqual(4);
});

test('a replicated log deletes nothing by itself: it says how far it would go', async () => {
  const store = await openAt(temporaryDirectory(), new Clock());
  const log = await store.openLog('t', 0, { segmentBytes: MIB, retentionBytes: 0, replicated: true });
  for (let i = 0; i < 11; i++) {
    const builder = new BatchBuilder();
    builder.append(START, null, 'x'.repeat(200_000));
    const batch = builder.finish();
    log.appendProduced(batch, 0, batch.length, 0);
  }
  await log.flush();
  expect(log.retentionPoint()).toBe(0);
  log.advanceHighWatermark(7);
  expect(log.retentionPoint()).toBe(5);
  await store.checkpoint();
  expect(log.start).toBe(0);
  await log.deleteBefore(log.retentionPoint());
  expect(log.start).toBe(5);
});
