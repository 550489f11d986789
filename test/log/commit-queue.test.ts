import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CommitQueue, type CommitTarget } from '../../src/log/commit-queue.js';

const LIMITS = { pendingMaxBytes: 100, asyncMaxBytes: 50, asyncMaxMs: 10 };

class Target implements CommitTarget {
  listedForCommit = false;
  durable = 0;
  generation = 0;
  commits = 0;

  durableUpTo(end: number, generation: number): boolean {
    if (generation !== this.generation || end <= this.durable) return false;
    this.durable = end;
    return true;
  }

  committed(): void {
    this.commits++;
  }
}

test('a durable ticket completes everything up to it, in order, and tells each log once', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ log: fc.nat(2), bytes: fc.nat(100), record: fc.boolean() }), {
        minLength: 1,
        maxLength: 3000,
      }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 }),
      (entries, cuts) => {
        const queue = new CommitQueue({ ...LIMITS, pendingMaxBytes: Number.MAX_SAFE_INTEGER }, () => 0);
        const logs = [new Target(), new Target(), new Target()];
        const ends = [0, 0, 0];
        const called: number[] = [];
        entries.forEach(({ log, bytes, record }, i) => {
          if (record) queue.addRecord(i + 1, () => called.push(i + 1));
          else queue.addAppend(i + 1, logs[log]!, ++ends[log]!, 0, bytes, 'sync');
        });
        for (const ticket of [...cuts.map((cut) => Math.floor(cut * entries.length)), entries.length].sort(
          (a, b) => a - b,
        )) {
          const before = logs.map(({ durable, commits }) => ({ durable, commits }));
          queue.onDurable(ticket);
          logs.forEach((log, i) => {
            const done = entries.slice(0, ticket).filter((entry) => !entry.record && entry.log === i).length;
            expect(log.durable).toBe(done);
            expect(log.commits).toBe(before[i]!.commits + (done > before[i]!.durable ? 1 : 0));
          });
        }
        expect(called).toEqual(entries.flatMap(({ record }, i) => (record ? [i + 1] : [])));
        expect([queue.pendingBytes, queue.pendingTickets]).toEqual([0, 0]);
      },
    ),
  );
});

test('a completion of another generation moves nothing', () => {
  const queue = new CommitQueue(LIMITS, () => 0);
  const log = new Target();
  queue.addAppend(1, log, 5, 0, 10, 'sync');
  log.generation = 1;
  queue.addAppend(2, log, 3, 1, 10, 'sync');
  queue.onDurable(1);
  expect([log.durable, log.commits]).toEqual([0, 0]);
  queue.onDurable(2);
  expect([log.durable, log.commits]).toEqual([3, 1]);
});

test('each append that is let in may fill the limit again, and then the rest waits on', () => {
  const queue = new CommitQueue(LIMITS, () => 0);
  const log = new Target();
  let ticket = 0;
  let ran = 0;
  const append = (): void => {
    ran++;
    queue.addAppend(++ticket, log, ticket, 0, 60, 'sync');
  };
  for (let i = 0; i < 10; i++) queue.runWhenWritable('sync', append, () => {});
  expect(ran).toBe(2);
  queue.onDurable(1);
  expect(ran).toBe(3);
  queue.onDurable(3);
  expect(ran).toBe(5);
});

test('an append that is let in runs once, even if what it does lets others in', () => {
  const queue = new CommitQueue(LIMITS, () => 0);
  const log = new Target();
  const ran: number[] = [];
  let ticket = 0;
  queue.journalFull = true;
  for (let i = 0; i < 5; i++) {
    queue.runWhenWritable(
      'none',
      () => {
        ran.push(i);
        queue.addAppend(++ticket, log, ticket, 0, 10, 'none');
        queue.journalFull = true;
        queue.journalFull = false;
      },
      () => {},
    );
  }
  queue.journalFull = false;
  expect(ran).toEqual([0, 1, 2, 3, 4]);
});

test('async is bounded by bytes and by the age of the oldest', () => {
  let now = 0;
  const queue = new CommitQueue(LIMITS, () => now);
  const log = new Target();
  queue.addAppend(1, log, 1, 0, 20, 'async');
  now = 10;
  expect(queue.throttledFor('async')).toBe(false);
  queue.addAppend(2, log, 2, 0, 20, 'async');
  now = 11;
  expect(queue.throttledFor('async')).toBe(true);
  expect([queue.throttledFor('sync'), queue.throttledFor('none')]).toEqual([false, false]);
  queue.onDurable(1);
  expect(queue.throttledFor('async')).toBe(false);
  queue.addAppend(3, log, 3, 0, 30, 'async');
  expect(queue.throttledFor('async')).toBe(true);
});

test('a full journal holds every mode back until it is not', async () => {
  const queue = new CommitQueue(LIMITS, () => 0);
  queue.journalFull = true;
  const released = Promise.all((['sync', 'async', 'none'] as const).map((mode) => queue.whenWritable(mode)));
  for (const mode of ['sync', 'async', 'none'] as const) expect(queue.throttledFor(mode)).toBe(true);
  queue.journalFull = false;
  await released;
});

test('a failure reaches every callback and every waiter once, and nothing becomes durable after it', async () => {
  const queue = new CommitQueue(LIMITS, () => 0);
  const log = new Target();
  const errors: (Error | undefined)[] = [];
  queue.addRecord(1, (error) => errors.push(error));
  queue.addAppend(2, log, 1, 0, 100, 'sync');
  const waiting = queue.whenWritable('sync');
  const failure = new Error('broken');
  queue.fail(failure);
  queue.fail(new Error('again'));
  queue.onDurable(2);
  await expect(waiting).rejects.toBe(failure);
  await expect(queue.whenWritable('sync')).rejects.toBe(failure);
  expect([errors, log.durable, queue.failed]).toEqual([[failure], 0, failure]);
});

test('tickets without a gap are an invariant', () => {
  const queue = new CommitQueue(LIMITS, () => 0);
  expect(() => queue.addRecord(2, () => {})).toThrow(expect.objectContaining({ code: 'INVARIANT_BROKEN' }));
  expect(() => queue.onDurable(1)).toThrow(expect.objectContaining({ code: 'INVARIANT_BROKEN' }));
});
