import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Disk, FlushMode, SegmentFile } from '../../src/disk/disk.js';
import { type JournalRecord, STORED_RECORD_TYPE } from '../../src/disk/journal-format.js';
import { JournalReader } from '../../src/disk/journal-reader.js';
import { DIRECTORY_ID, openTestDisk, openTestJournal, temporaryDisk } from './temporary-disk.js';

const withCode = (code: string) => expect.objectContaining({ name: 'VarveError', code });
const KIB = 1024;
const MIB = 1024 * KIB;
const TOPIC = { topicId: Buffer.alloc(16, 0xaa), partition: 7 };

async function readAll(disk: Disk, firstFile = 0): Promise<JournalRecord[]> {
  const records: JournalRecord[] = [];
  for await (const record of new JournalReader(disk, 'journal', DIRECTORY_ID).records(firstFile)) records.push(record);
  return records;
}

/** Group commit may join stored records that continue each other; joined here, what was submitted and what is read compare equal. */
function normalized(records: readonly JournalRecord[]): Map<string, JournalRecord[]> {
  const logs = new Map<string, JournalRecord[]>();
  for (const record of records) {
    const log = logs.get(`${record.topicId}-${record.partition}`) ?? [];
    logs.set(`${record.topicId}-${record.partition}`, log);
    const before = log.at(-1);
    const continues =
      before?.type === STORED_RECORD_TYPE &&
      record.type === STORED_RECORD_TYPE &&
      before.segmentBaseOffset === record.segmentBaseOffset &&
      before.generation === record.generation &&
      before.epoch === record.epoch &&
      before.position + before.payload.length === record.position;
    if (!continues) {
      log.push(record);
      continue;
    }
    const payload = Buffer.concat([before.payload, record.payload]);
    const hwFloor = Math.max(before.hwFloor, record.hwFloor);
    log[log.length - 1] = { ...before, payload, hwFloor, lastOffset: record.lastOffset };
  }
  return logs;
}

test('many appends share few syncs, and tickets are reported in order', async () => {
  const { disk } = await temporaryDisk();
  const { journal, durable, reported } = await openTestJournal(disk, { fileBytes: 8 * MIB });
  const log = journal.registerLog(TOPIC);
  const tickets: number[] = [];
  for (let i = 0; i < 5000; i++) tickets.push(journal.append(log, 2, 0, 0, Buffer.from('record'), 'sync'));
  expect(tickets).toEqual(Array.from({ length: 5000 }, (_, i) => i + 1));
  expect(journal.lastTicket).toBe(5000);
  await durable(5000);
  expect(reported).toEqual([...reported].sort((a, b) => a - b));
  expect(new Set(reported).size).toBe(reported.length);
  const stats = journal.stats();
  expect(stats.syncs).toBeLessThan(2500);
  expect(stats).toMatchObject({ records: 5000, payloadBytes: 30_000, pendingBytes: 0 });
  expect(stats.syncLatencyBuckets.reduce((sum, count) => sum + count, 0)).toBe(stats.syncs);
});

test('whatever is submitted, in whatever mode, is read back: same logs, same order, same bytes', async () => {
  const mode = fc.constantFrom<FlushMode>('sync', 'async', 'none');
  const stored = fc.record({
    kind: fc.constant('stored' as const),
    log: fc.nat(2),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 9000 }),
    generation: fc.nat(2),
    epoch: fc.integer({ min: -1, max: 3 }),
    hwFloor: fc.nat(1000),
    mode,
  });
  const small = fc.record({
    kind: fc.constant('small' as const),
    log: fc.nat(2),
    type: fc.integer({ min: 2, max: 65535 }),
    payload: fc.uint8Array({ maxLength: 6000 }),
    generation: fc.nat(2),
    epoch: fc.integer({ min: -1, max: 3 }),
    mode,
  });
  const flush = fc.record({ kind: fc.constant('flush' as const) });
  const operations = fc.array(fc.oneof({ weight: 6, arbitrary: stored }, { weight: 2, arbitrary: small }, flush), {
    maxLength: 60,
  });
  await fc.assert(
    fc.asyncProperty(operations, fc.constantFrom(16 * KIB, 64 * KIB, MIB), async (steps, fileBytes) => {
      const { disk } = await temporaryDisk();
      const { journal, failures } = await openTestJournal(disk, { fileBytes, maxGroupBytes: 32 * KIB, asyncMaxMs: 5 });
      const topicIds = [0, 1, 2].map((i) => Buffer.alloc(16, i + 1));
      const logs = topicIds.map((topicId, i) => journal.registerLog({ topicId, partition: i * 100 }));
      const segments: SegmentFile[] = [];
      for (let i = 0; i < 3; i++) segments.push(disk.createSegment(`${i}.log`, { reserveBytes: MIB }));
      const expected: JournalRecord[] = [];
      for (const step of steps) {
        if (step.kind === 'flush') {
          await journal.flush();
          continue;
        }
        const { generation, epoch } = step;
        const common = { generation, epoch, topicId: topicIds[step.log]!.toString('hex'), partition: step.log * 100 };
        if (step.kind === 'stored') {
          const segment = segments[step.log]!;
          const position = segment.append(step.bytes, 0, step.bytes.length);
          const { hwFloor } = step;
          const [id, length, last] = [logs[step.log]!, step.bytes.length, position + step.bytes.length];
          journal.appendStored(id, segment, 5, position, length, last, epoch, generation, hwFloor, step.mode);
          const payload = Buffer.from(step.bytes);
          const where = { type: 1, segmentBaseOffset: 5, position, lastOffset: last, hwFloor, payload };
          expected.push({ ...common, ...where });
        } else {
          journal.append(logs[step.log]!, step.type, generation, epoch, step.payload, step.mode);
          const where = { type: step.type, segmentBaseOffset: 0, position: 0, lastOffset: 0, hwFloor: 0 };
          expected.push({ ...common, ...where, payload: Buffer.from(step.payload) });
        }
      }
      await journal.close();
      expect(failures).toEqual([]);
      const read = await readAll(disk);
      expect(normalized(read)).toEqual(normalized(expected));
      await disk.close();
    }),
    { numRuns: 40 },
  );
});

test('a small file is rolled many times, and its files are one chain', async () => {
  const { disk } = await temporaryDisk();
  const { journal, durable } = await openTestJournal(disk, { fileBytes: 20 * KIB });
  const log = journal.registerLog(TOPIC);
  for (let i = 0; i < 60; i++) await durable(journal.append(log, 2, 0, i, Buffer.alloc(3000, i), 'sync'));
  expect(journal.currentFileNumber).toBe(20);
  expect(journal.stats().fileRolls).toBe(19);
  await journal.close();
  expect((await readAll(disk)).map((record) => record.epoch)).toEqual(Array.from({ length: 60 }, (_, i) => i));
});

test('recycled files are reused, keep the disk small, and leave nothing of their old life in the chain', async () => {
  const { disk } = await temporaryDisk();
  const { journal, durable } = await openTestJournal(disk, { fileBytes: 20 * KIB });
  const log = journal.registerLog(TOPIC);
  let recycled = 0;
  for (let i = 0; i < 90; i++) {
    await durable(journal.append(log, 2, 0, i, Buffer.alloc(3000, i), 'sync'));
    while (recycled < journal.currentFileNumber - 1) journal.recycle(++recycled);
  }
  expect(() => journal.recycle(journal.currentFileNumber)).toThrow(withCode('INVALID_ARGUMENT'));
  const current = journal.currentFileNumber;
  await journal.close();
  expect((await disk.readDirectory('journal')).length).toBeLessThan(6);
  const records = await readAll(disk, current);
  expect(records.map((record) => record.epoch)).toEqual([87, 88, 89]);
});

test('files named as spares are used before new ones are made', async () => {
  const { root, disk } = await temporaryDisk();
  const first = await openTestJournal(disk, { fileBytes: 64 * KIB });
  await first.durable(first.journal.append(first.journal.registerLog(TOPIC), 2, 0, 1, Buffer.from('a'), 'sync'));
  await disk.close();

  const again = await openTestDisk(root);
  const end = (await new JournalReader(again, 'journal', DIRECTORY_ID).end())!;
  const second = await openTestJournal(again, {
    fileBytes: 64 * KIB,
    firstFileNumber: 2,
    startLsn: end.lsn,
    previousChecksum: end.checksum,
    spareFiles: ['00000000000000000001.wal'],
  });
  await second.durable(second.journal.append(second.journal.registerLog(TOPIC), 2, 0, 2, Buffer.from('b'), 'sync'));
  expect((await again.readDirectory('journal')).map(({ name }) => name)).toEqual(['00000000000000000002.wal']);
  expect((await readAll(again)).map((record) => record.epoch)).toEqual([2]);
});

test('asynchronous records become durable without anybody asking, by age or by bytes', async () => {
  const { disk } = await temporaryDisk();
  const byAge = await openTestJournal(disk, { asyncMaxMs: 1 });
  const log = byAge.journal.registerLog(TOPIC);
  await byAge.durable(byAge.journal.append(log, 2, 0, 0, Buffer.from('x'), 'async'));
  await byAge.durable(byAge.journal.append(log, 2, 0, 0, Buffer.from('y'), 'async'));
  await disk.close();

  const other = await temporaryDisk();
  const byBytes = await openTestJournal(other.disk, { asyncMaxMs: 2 ** 31, asyncMaxBytes: 100_000 });
  const id = byBytes.journal.registerLog(TOPIC);
  let ticket = 0;
  for (let i = 0; i < 10; i++) ticket = byBytes.journal.append(id, 2, 0, 0, Buffer.alloc(10_000), 'async');
  await byBytes.durable(ticket);
});

test('records that ask for no sync are covered by the next one, and by flush', async () => {
  const { disk } = await temporaryDisk();
  const { journal, durable } = await openTestJournal(disk, { fileBytes: 8 * MIB });
  const log = journal.registerLog(TOPIC);
  for (let i = 0; i < 300; i++) journal.append(log, 2, 0, i, Buffer.alloc(10_000), 'none');
  await durable(journal.append(log, 3, 0, 300, Buffer.alloc(0), 'sync'));
  journal.append(log, 2, 0, 301, Buffer.alloc(10), 'none');
  await journal.flush();
  expect(journal.stats().pendingBytes).toBe(0);
  await journal.close();
  expect((await readAll(disk)).map((record) => record.epoch)).toEqual(Array.from({ length: 302 }, (_, i) => i));
});

test('flush of nothing, or of what is durable already, resolves', async () => {
  const { disk } = await temporaryDisk();
  const { journal, durable } = await openTestJournal(disk);
  await journal.flush();
  await durable(journal.append(journal.registerLog(TOPIC), 2, 0, 0, Buffer.from('x'), 'sync'));
  await journal.flush();
});

test('close makes everything durable; afterwards everything is refused but the counters', async () => {
  const { disk } = await temporaryDisk();
  const { journal, reported } = await openTestJournal(disk);
  const log = journal.registerLog(TOPIC);
  for (let i = 0; i < 10; i++) journal.append(log, 2, 0, i, Buffer.from('x'), 'none');
  const closing = journal.close();
  expect(journal.close()).toBe(closing);
  await closing;
  expect(reported.at(-1)).toBe(10);
  expect(() => journal.append(log, 2, 0, 0, Buffer.from('x'), 'sync')).toThrow(withCode('CLOSED'));
  await expect(journal.flush()).rejects.toThrow(withCode('CLOSED'));
  expect(journal.stats().records).toBe(10);
  expect(journal.currentFileNumber).toBe(1);
  expect(await readAll(disk)).toHaveLength(10);
});

test('arguments that cannot be right are refused before anything is queued', async () => {
  const { disk } = await temporaryDisk();
  const { journal } = await openTestJournal(disk);
  const log = journal.registerLog(TOPIC);
  const segment = disk.createSegment('s.log', { reserveBytes: 1000 });
  segment.append(Buffer.alloc(10), 0, 10);
  const invalid = withCode('INVALID_ARGUMENT');
  expect(() => journal.registerLog({ topicId: Buffer.alloc(15), partition: 0 })).toThrow(invalid);
  expect(() => journal.append(log + 1, 2, 0, 0, Buffer.alloc(1), 'sync')).toThrow(invalid);
  expect(() => journal.append(log, 1, 0, 0, Buffer.alloc(1), 'sync')).toThrow(invalid);
  expect(() => journal.append(log, 2, -1, 0, Buffer.alloc(1), 'sync')).toThrow(invalid);
  expect(() => journal.append(log, 2, 0, 2 ** 31, Buffer.alloc(1), 'sync')).toThrow(invalid);
  expect(() => journal.append(log, 2, 0, 0, Buffer.alloc(1), 'never' as FlushMode)).toThrow(invalid);
  expect(() => journal.appendStored(log, segment, 0, 5, 6, 0, 0, 0, 0, 'sync')).toThrow(invalid);
  expect(() => journal.appendStored(log, segment, 0, 0, 0, 0, 0, 0, 0, 'sync')).toThrow(invalid);
  expect(() => journal.appendStored(log, {} as SegmentFile, 0, 0, 1, 0, 0, 0, 0, 'sync')).toThrow(invalid);
  expect(journal.lastTicket).toBe(0);
  await expect(openTestJournal(disk)).rejects.toThrow(withCode('INVARIANT_BROKEN'));
});

test('after a failure nothing is durable, nothing is accepted, and the failure is reported once', async () => {
  const { root, disk } = await temporaryDisk();
  const { journal, durable, failed, failures, reported } = await openTestJournal(disk);
  const log = journal.registerLog(TOPIC);
  await durable(journal.append(log, 2, 0, 0, Buffer.from('before'), 'sync'));
  const segment = disk.createSegment('s.log', { reserveBytes: MIB });
  const other = disk.createSegment('t.log', { reserveBytes: MIB });
  segment.append(Buffer.alloc(100_000, 1), 0, 100_000);
  other.append(Buffer.alloc(10, 1), 0, 10);
  // The journal thread will not be able to read the bytes that it was told are stored.
  await truncate(join(root, 's.log'), 0);
  journal.appendStored(log, segment, 0, 0, 100_000, 9, 0, 0, 0, 'sync');
  const flushed = journal.flush();
  await expect(flushed).rejects.toThrow(withCode('DISK_FAILED'));
  expect(await failed()).toEqual(withCode('DISK_FAILED'));
  expect(() => journal.append(log, 2, 0, 0, Buffer.from('x'), 'sync')).toThrow(withCode('DISK_FAILED'));
  expect(() => other.append(Buffer.alloc(10), 0, 10)).toThrow(withCode('DISK_FAILED'));
  await expect(other.sync()).rejects.toThrow(withCode('DISK_FAILED'));
  expect(other.view(0, 10).equals(Buffer.alloc(10, 1))).toBe(true);
  await expect(journal.close()).rejects.toThrow(withCode('DISK_FAILED'));
  await expect(disk.close()).rejects.toThrow(withCode('DISK_FAILED'));
  expect(reported).toEqual([1]);
  expect(failures).toHaveLength(1);
});

test('a journal directory that is not there is an error at once; a file in the way is reported', async () => {
  const { disk } = await temporaryDisk();
  await expect(openTestJournal(disk, { path: 'nowhere' })).rejects.toThrow(withCode('DISK_FAILED'));
  await disk.makeDirectory('journal');
  await disk.writeFile('journal/00000000000000000001.wal', 0, Buffer.from('precious'));
  const { failed } = await openTestJournal(disk);
  expect(await failed()).toEqual(withCode('DISK_FAILED'));
  expect(await disk.readFile('journal/00000000000000000001.wal')).toEqual(Buffer.from('precious'));
});
