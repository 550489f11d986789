// Snapshots and aborted-transaction indexes on disk: when they are written, what opening makes of them, and that damage to
// them costs time and never a wrong answer.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { decodeTxnIndex, encodeTxnIndex } from '../../src/index/txn-index.js';
import type { Log } from '../../src/log/log.js';
import type { LogOptions } from '../../src/log/options.js';
import { decodeSnapshot, encodeSnapshot } from '../../src/log/producer-snapshot.js';
import { openStore, type Store } from '../../src/log/store.js';
import { crashImage, temporaryDirectory } from './crash-image.js';
import { Faults, openFailing } from './failing-disk.js';
import { type Produced, producedBatch } from './producer-model.js';

const MIB = 1024 * 1024;
const STORE = { create: true, journalFileBytes: MIB, journalMaxBytes: 64 * MIB, checkpointIntervalMs: 3_600_000 };
const FILLER = 400_000;

interface Opened {
  readonly store: Store;
  readonly log: Log;
  readonly path: string;
}

interface How extends Partial<LogOptions> {
  readonly replicated?: boolean;
}

const stores: Store[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const store of stores.splice(0)) await store.close();
});

async function open(path: string, how: How = {}): Promise<Opened> {
  const store = await openStore(path, STORE);
  stores.push(store);
  return { store, log: await store.openLog('t', 0, { segmentBytes: MIB, ...how }), path };
}

const openEmpty = (how: How = {}): Promise<Opened> => open(temporaryDirectory(), how);

function produce(log: Log, producerId: number, sequence: number, more: Partial<Produced> = {}) {
  const bytes = producedBatch({ producerId, epoch: 0, sequence, count: 1, ...more });
  return log.appendProduced(bytes, 0, bytes.length, Math.max(0, log.lastEpoch));
}

/** Makes the log durable, and thereby committed when nobody replicates it. */
const settle = (log: Log): Promise<void> => log.flush();

function filesOf(path: string, extension: string): string[] {
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  return readdirSync(directory)
    .filter((name) => name.endsWith(extension))
    .map((name) => join(directory, name));
}

/** A closed store whose log was rolled twice, with two snapshots, and producers 1 (five batches) and 2. */
async function closedStore(): Promise<string> {
  const { store, log, path } = await openEmpty();
  for (let i = 0; i < 3; i++) produce(log, 1, i, { bytes: FILLER });
  produce(log, 2, 7);
  await settle(log);
  await store.checkpoint();
  for (let i = 3; i < 6; i++) produce(log, 1, i, { bytes: FILLER });
  await store.close();
  expect(filesOf(path, '.snapshot')).toHaveLength(2);
  return path;
}

/** The answers that `closedStore` must give, whatever became of its snapshots. */
async function expectAnswers(path: string): Promise<void> {
  const { store, log } = await open(path);
  expect(log.end).toBe(7);
  for (const [sequence, offset] of [
    [1, 1],
    [2, 2],
    [3, 4],
    [4, 5],
    [5, 6],
  ] as const) {
    expect(produce(log, 1, sequence)).toEqual({ baseOffset: offset, lastOffset: offset, duplicate: true });
  }
  expect(produce(log, 2, 7)).toMatchObject({ baseOffset: 3, duplicate: true });
  expect(() => produce(log, 1, 0)).toThrow(expect.objectContaining({ code: 'OUT_OF_ORDER_SEQUENCE' }));
  expect(() => produce(log, 2, 9)).toThrow(expect.objectContaining({ code: 'OUT_OF_ORDER_SEQUENCE' }));
  await store.close();
}

function copyOf(path: string): string {
  const copy = join(temporaryDirectory(), 'copy');
  const copyInto = (from: string, to: string): void => {
    mkdirSync(to, { recursive: true });
    for (const entry of readdirSync(from, { withFileTypes: true })) {
      if (entry.isDirectory()) copyInto(join(from, entry.name), join(to, entry.name));
      else if (entry.name !== 'LOCK') copyFileSync(join(from, entry.name), join(to, entry.name));
    }
  };
  copyInto(path, copy);
  return copy;
}

describe('a snapshot', () => {
  test('says what was put in, and nothing else', () => {
    const identity = { topicId: '0123456789abcdef0123456789abcdef', partition: 3, offset: 1000 };
    const batch = (lastSequence: number, lastOffset: number) => ({
      firstSequence: lastSequence,
      lastSequence,
      baseOffset: lastOffset,
      lastOffset,
      timestamp: 2 ** 41,
    });
    const wrapped = { ...batch(2, 600), firstSequence: 2 ** 31 - 3, baseOffset: 595 };
    const entries = [
      { producerId: 5, epoch: 1, coordinatorEpoch: -1, timestamp: 2 ** 41, txnFirstOffset: 500, seenAt: 2 ** 42 },
      { producerId: 2 ** 52, epoch: 0, coordinatorEpoch: 9, timestamp: -1, txnFirstOffset: -1, seenAt: 0 },
    ].map((entry, i) => ({ ...entry, batches: i === 0 ? [batch(3, 500), batch(4, 501), wrapped] : [] }));
    const snapshot = { ...identity, entries, txnFiles: [{ base: 40, count: 2, crc: 0xffff_ffff }] };
    const bytes = encodeSnapshot(snapshot);
    expect(decodeSnapshot(bytes, identity)).toEqual(snapshot);
    expect(decodeSnapshot(bytes, { ...identity, partition: 4 })).toBeUndefined();
    expect(decodeSnapshot(bytes, { ...identity, offset: 1001 })).toBeUndefined();
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 0x10;
      expect(decodeSnapshot(damaged, identity), `byte ${at}`).toBeUndefined();
      expect(decodeSnapshot(bytes.subarray(0, at), identity), `cut at ${at}`).toBeUndefined();
    }
  });

  test.each([
    ['is gone', (file: string) => rmSync(file)],
    ['is empty', (file: string) => writeFileSync(file, '')],
    ['is cut short', (file: string) => writeFileSync(file, readFileSync(file).subarray(0, 60))],
    [
      'has a byte too many',
      (file: string) => writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.from('x')])),
    ],
    ['has another version', (file: string) => flip(file, 1)],
    ['has another checksum', (file: string) => flip(file, 3)],
    ['names another producer', (file: string) => flip(file, 17)],
    ['names another sequence', (file: string) => flip(file, 22)],
    ['has another trailer', (file: string) => flip(file, readFileSync(file).length - 30)],
    ['is that of another offset', (file: string) => copyFileSync(filesBeside(file)[0]!, file)],
  ])('that %s makes opening go further back, to the same state', async (_, damage) => {
    const path = await closedStore();
    const newest = copyOf(path);
    damage(filesOf(newest, '.snapshot')[1]!);
    await expectAnswers(newest);
    const both = copyOf(path);
    for (const file of filesOf(both, '.snapshot').reverse()) damage(file);
    // The copy of the older one onto itself leaves it right.
    await expectAnswers(both);
  });

  test('beyond the log end is removed: what it tells of never happened', async () => {
    const { store, log, path } = await openEmpty();
    produce(log, 1, 0);
    await store.close();
    const [file] = filesOf(path, '.snapshot');
    const stray = file!.replace(/\d{20}\.snapshot/, '00000000000000000777.snapshot');
    copyFileSync(file!, stray);
    await open(path);
    expect([existsSync(file!), existsSync(stray)]).toEqual([true, false]);
  });

  test('beyond the log end is not believed, though it checks out', async () => {
    const { store, log, path } = await openEmpty();
    produce(log, 1, 0);
    const { topicId } = log;
    await store.close();
    const [file] = filesOf(path, '.snapshot');
    const stray = file!.replace(/\d{20}\.snapshot/, '00000000000000000777.snapshot');
    writeFileSync(stray, encodeSnapshot({ topicId, partition: 0, offset: 777, entries: [], txnFiles: [] }));
    const again = await open(path);
    expect(produce(again.log, 1, 0)).toMatchObject({ baseOffset: 0, duplicate: true });
  });

  test('that is older than the first segment is not believed: producers go on where they were', async () => {
    const faults = new Faults();
    const path = temporaryDirectory();
    const store = await openFailing(path, faults, STORE);
    stores.push(store);
    const log = await store.openLog('t', 0, { segmentBytes: MIB });
    for (let i = 0; i < 3; i++) produce(log, 1, i, { bytes: FILLER });
    await settle(log);
    await store.checkpoint();
    expect(filesOf(path, '.snapshot')).toHaveLength(1);
    for (let i = 3; i < 6; i++) produce(log, 1, i);
    for (let i = 0; i < 6; i++) produce(log, 2, i, { bytes: FILLER });
    await settle(log);
    // What should have been written before the deletion finds no space.
    faults.fail('replaceFile', '.snapshot', 'DISK_FULL');
    await log.deleteBefore(11);
    const image = crashImage(path);
    faults.heal();
    const { log: after } = await open(image);
    expect(after.end).toBe(12);
    expect(produce(after, 1, 6)).toEqual({ baseOffset: 12, lastOffset: 12 });
  });

  test('is written at the high watermark, and what lies above it can be cut after opening', async () => {
    const { store, log, path } = await openEmpty({ replicated: true });
    produce(log, 1, 0);
    produce(log, 1, 1);
    log.advanceHighWatermark(1);
    produce(log, 1, 2);
    await store.close();
    expect(filesOf(path, '.snapshot').map((file) => file.slice(-12))).toEqual(['001.snapshot']);
    const again = await open(path, { replicated: true });
    expect(produce(again.log, 1, 2)).toMatchObject({ baseOffset: 2, duplicate: true });
    again.log.truncate(1);
    expect(() => produce(again.log, 1, 2)).toThrow(expect.objectContaining({ code: 'OUT_OF_ORDER_SEQUENCE' }));
    expect(produce(again.log, 1, 1)).toEqual({ baseOffset: 1, lastOffset: 1 });
  });

  test('makes opening after a clean close read no batch at all', async () => {
    const path = await closedStore();
    const faults = new Faults();
    const reads: string[] = [];
    faults.onCall = (method, file) => {
      if (method === 'readFile' && String(file).endsWith('.log')) reads.push(String(file));
    };
    const store = await openFailing(path, faults, STORE);
    const log = await store.openLog('t', 0, { segmentBytes: MIB });
    expect(produce(log, 1, 5, { bytes: FILLER })).toMatchObject({ duplicate: true });
    expect(reads).toEqual([]);
    await store.close();
  });

  test('is never written for a log without producer ids, which is not read at opening either', async () => {
    const { store, log, path } = await openEmpty();
    for (let i = 0; i < 6; i++) await log.append([{ value: Buffer.alloc(FILLER) }]);
    await store.checkpoint();
    expect(filesOf(path, '.snapshot')).toEqual([]);
    await store.close();
    expect(filesOf(path, '.snapshot')).toEqual([]);
    const faults = new Faults();
    faults.fail('readFile', '.log', 'DISK_FAILED');
    const again = await openFailing(path, faults, STORE);
    await again.openLog('t', 0);
    await again.close();
  });

  test('a full disk leaves the log without one, and the next checkpoint writes it', async () => {
    const faults = new Faults();
    const path = temporaryDirectory();
    const store = await openFailing(path, faults, STORE);
    stores.push(store);
    const log = await store.openLog('t', 0, { segmentBytes: MIB });
    for (let i = 0; i < 6; i++) produce(log, 1, i, { bytes: FILLER });
    await settle(log);
    faults.fail('replaceFile', '.snapshot', 'DISK_FULL');
    await store.checkpoint();
    // Deleting is what makes room: it must not need any.
    await log.deleteBefore(3);
    faults.heal();
    await store.checkpoint();
    expect(filesOf(path, '.snapshot')).toHaveLength(1);
    expect(produce(log, 1, 4, { bytes: FILLER })).toMatchObject({ baseOffset: 4, duplicate: true });
  });
});

describe('dedupe', () => {
  test('is right after kill -9, whether a checkpoint was written or not', async () => {
    const { store, log, path } = await openEmpty();
    for (let i = 0; i < 3; i++) produce(log, 1, i, { bytes: FILLER });
    await settle(log);
    const first = await open(crashImage(path));
    expect(produce(first.log, 1, 0, { bytes: FILLER })).toMatchObject({ baseOffset: 0, duplicate: true });
    await store.checkpoint();
    produce(log, 1, 3);
    await settle(log);
    const second = await open(crashImage(path));
    for (const i of [0, 1, 2]) expect(produce(second.log, 1, i, { bytes: FILLER }).duplicate).toBe(true);
    expect(produce(second.log, 1, 3)).toMatchObject({ baseOffset: 3, duplicate: true });
    expect(produce(second.log, 1, 4)).toEqual({ baseOffset: 4, lastOffset: 4 });
  });

  test.each([true, false])(
    'outlives the batches that retention deletes, also over a crash (replicated: %s)',
    async (replicated) => {
      const { log, path } = await openEmpty({ replicated });
      for (let i = 0; i < 3; i++) produce(log, 1, i);
      for (let i = 0; i < 6; i++) produce(log, 2, i, { bytes: FILLER });
      await settle(log);
      log.advanceHighWatermark(log.durable);
      await log.deleteBefore(8);
      expect(log.start).toBe(8);
      const { log: after } = await open(crashImage(path), { replicated });
      expect(after.end).toBe(9);
      expect(produce(after, 1, 1)).toEqual({ baseOffset: 1, lastOffset: 1, duplicate: true });
      expect(() => produce(after, 1, 5)).toThrow(expect.objectContaining({ code: 'OUT_OF_ORDER_SEQUENCE' }));
    },
  );

  test('forgets a producer that was idle for longer than producerIdExpirationMs, and not before', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_700_000_000_000 });
    const { store, log } = await openEmpty({ producerIdExpirationMs: 60_000 });
    // By its own clock this producer writes in the seventies: that is no reason to forget it.
    produce(log, 1, 0, { timestamp: 1_000_000 });
    await settle(log);
    await store.checkpoint();
    expect(() => produce(log, 1, 5)).toThrow(expect.objectContaining({ code: 'OUT_OF_ORDER_SEQUENCE' }));
    vi.setSystemTime(1_700_000_060_001);
    produce(log, 2, 0);
    await settle(log);
    await store.checkpoint();
    expect(produce(log, 1, 5)).toEqual({ baseOffset: 2, lastOffset: 2 });
    expect(() => produce(log, 2, 5)).toThrow(expect.objectContaining({ code: 'OUT_OF_ORDER_SEQUENCE' }));
  });
});

describe('an index of aborted transactions', () => {
  const transactional = { transactional: true, bytes: FILLER };

  /** Ten aborted transactions over several segments, interleaved with committed records; a snapshot covers them. */
  async function withAborts(): Promise<string> {
    const { store, log, path } = await openEmpty();
    for (let i = 0; i < 10; i++) {
      produce(log, 1, i, transactional);
      produce(log, 2, i);
      log.appendMarker(1, 0, 'abort', 0);
    }
    await store.close();
    expect(filesOf(path, '.txnindex').length).toBeGreaterThan(2);
    return path;
  }

  const committed = Array.from({ length: 10 }, (_, i) => 3 * i + 1);

  async function committedOffsets(log: Log): Promise<number[]> {
    const { records } = await log.read(0, { maxBytes: 64 * MIB, isolation: 'read_committed' });
    return records.map((record) => record.offset);
  }

  test('decodes only what can be right', () => {
    const entries = [
      { producerId: 1, firstOffset: 3, lastOffset: 9, lastStableOffset: 5 },
      { producerId: 2, firstOffset: 5, lastOffset: 10, lastStableOffset: 11 },
    ];
    const bytes = encodeTxnIndex(entries);
    expect(bytes.length).toBe(68);
    expect(decodeTxnIndex(bytes)).toEqual(entries);
    expect(decodeTxnIndex(bytes.subarray(1))).toBeUndefined();
    for (const [at, value] of [
      [1, 9],
      [2, 0xff],
      [17, 50],
      [25, 200],
      [33, 200],
    ] as const) {
      const damaged = Buffer.from(bytes);
      damaged[at] = value;
      expect(decodeTxnIndex(damaged), `byte ${at}`).toBeUndefined();
    }
  });

  test.each([
    ['whole', () => {}],
    ['gone', (file: string) => rmSync(file)],
    ['cut short', (file: string) => writeFileSync(file, readFileSync(file).subarray(0, 20))],
    ['wrong', (file: string) => flip(file, 9)],
    [
      'longer than it was',
      (file: string) => writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.alloc(34)])),
    ],
  ])('that is %s gives the same records, and is whole after the next snapshot', async (_, damage) => {
    const path = await withAborts();
    const before = filesOf(path, '.txnindex').map((file) => readFileSync(file));
    for (const file of filesOf(path, '.txnindex')) damage(file);
    const { store, log } = await open(path);
    expect(await committedOffsets(log)).toEqual(committed);
    const { abortedTransactions } = await log.readViews(6, { maxBytes: 1, isolation: 'read_committed' });
    expect(abortedTransactions).toEqual([{ producerId: 1, firstOffset: 6 }]);
    await store.close();
    const after = filesOf(path, '.txnindex').map((file) => readFileSync(file));
    expect(after.map((bytes, i) => bytes.subarray(0, before[i]!.length))).toEqual(before);
  });

  test('goes with its segment', async () => {
    const path = await withAborts();
    const { log } = await open(path);
    await log.deleteBefore(29);
    expect(filesOf(path, '.txnindex').length).toBeLessThanOrEqual(1);
    const { records } = await log.read(29, { isolation: 'read_committed' });
    expect(records).toEqual([]);
  });

  test('is right when a marker was cut off and the transaction ended otherwise', async () => {
    const { log } = await openEmpty({ replicated: true });
    produce(log, 1, 0, { transactional: true });
    log.advanceHighWatermark(1);
    log.appendMarker(1, 0, 'abort', 0);
    log.truncate(1);
    expect(log.lastStableOffset).toBe(0);
    log.appendMarker(1, 0, 'commit', 0);
    log.advanceHighWatermark(2);
    expect(log.lastStableOffset).toBe(2);
    expect(await committedOffsets(log)).toEqual([0]);
  });
});

describe('read_committed', () => {
  test('waits for the last stable offset, not for the high watermark', async () => {
    const { log } = await openEmpty({ replicated: true });
    produce(log, 1, 0, { transactional: true });
    produce(log, 2, 0);
    log.advanceHighWatermark(2);
    expect((await log.read(0)).records).toHaveLength(2);
    let answered = false;
    const read = log.read(0, { minBytes: 1, maxWaitMs: 60_000, isolation: 'read_committed' }).then((result) => {
      answered = true;
      return result;
    });
    produce(log, 2, 1);
    log.advanceHighWatermark(3);
    await log.flush();
    expect([answered, log.lastStableOffset]).toEqual([false, 0]);
    log.appendMarker(1, 0, 'commit', 0);
    log.advanceHighWatermark(4);
    const { records, nextOffset } = await read;
    expect([records.map((record) => record.offset), nextOffset]).toEqual([[0, 1, 2], 4]);
  });

  test('leaves out what was aborted and hands out what the same producer committed later, in one read', async () => {
    const { log } = await openEmpty();
    for (const [sequence, result] of [
      [0, 'abort'],
      [1, 'commit'],
      [2, 'abort'],
      [3, 'commit'],
    ] as const) {
      produce(log, 1, sequence, { transactional: true });
      log.appendMarker(1, 0, result, 0);
    }
    produce(log, 1, 4);
    await settle(log);
    const { records } = await log.read(0, { isolation: 'read_committed' });
    expect(records.map((record) => record.offset)).toEqual([2, 6, 8]);
  });

  test('knows of a transaction that was aborted long after the offsets that are read', async () => {
    const { store, log, path } = await openEmpty();
    produce(log, 1, 0, { transactional: true });
    produce(log, 2, 0, { transactional: true });
    log.appendMarker(2, 0, 'abort', 0);
    for (let i = 0; i < 6; i++) produce(log, 3, i, { bytes: FILLER });
    log.appendMarker(1, 0, 'abort', 0);
    await store.close();
    const { log: again } = await open(path);
    const { abortedTransactions } = await again.readViews(0, { maxBytes: 1, isolation: 'read_committed' });
    expect(abortedTransactions).toEqual([{ producerId: 1, firstOffset: 0 }]);
    expect((await again.read(1, { maxBytes: 200, isolation: 'read_committed' })).records).toEqual([]);
  });

  test('is a word of two: others are refused', async () => {
    const { log } = await openEmpty();
    await expect(log.read(0, { isolation: 'serializable' as never })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });
});

test('a marker is checked before it is written', async () => {
  const { log } = await openEmpty();
  produce(log, 1, 0, { epoch: 2, transactional: true });
  for (const [id, epoch, result, coordinator, code] of [
    [1, 1, 'commit', 0, 'PRODUCER_FENCED'],
    [-1, 0, 'commit', 0, 'INVALID_ARGUMENT'],
    [1, 40_000, 'commit', 0, 'INVALID_ARGUMENT'],
    [1, 2, 'perhaps', 0, 'INVALID_ARGUMENT'],
    [1, 2, 'commit', -1, 'INVALID_ARGUMENT'],
  ] as const) {
    expect(() => log.appendMarker(id, epoch, result as never, coordinator)).toThrow(expect.objectContaining({ code }));
  }
  expect(log.end).toBe(1);
  log.appendMarker(1, 2, 'commit', 4);
  expect(() => log.appendMarker(1, 2, 'commit', 3)).toThrow(expect.objectContaining({ code: 'COORDINATOR_FENCED' }));
});

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at]! ^= 0x20;
  writeFileSync(file, bytes);
}

function filesBeside(file: string): string[] {
  const directory = join(file, '..');
  return readdirSync(directory)
    .filter((name) => name.endsWith('.snapshot'))
    .map((name) => join(directory, name));
}
