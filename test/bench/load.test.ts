import { describe, expect, test } from 'vitest';
import { Load } from '../../bench/load.js';
import { loadEvents, makeTemplates, RecordSource } from '../../bench/payload/record-source.js';
import type { TargetProducer } from '../../bench/target.js';
import type { SendCallback } from '../../src/client/options.js';

const SOURCE = new RecordSource(makeTemplates(loadEvents(), 100), '0badcafe');
const DEADLINE_MS = 60_000;

/** Keeps what it is given until it is told to answer. */
class HeldTarget implements TargetProducer {
  readonly held: { readonly value: Buffer; readonly done: SendCallback }[] = [];
  largest = 0;

  send(value: Buffer, done: SendCallback): void {
    this.held.push({ value, done });
    this.largest = Math.max(this.largest, this.held.length);
  }

  answer(count = this.held.length): void {
    for (const { done } of this.held.splice(0, count)) done(null, -1, 0);
  }

  async close(): Promise<void> {}
}

describe('the closed loop', () => {
  test('keeps exactly the window in flight, each record different from the others', () => {
    const target = new HeldTarget();
    const load = new Load([target], SOURCE, 16);
    expect(target.held).toHaveLength(16);
    expect(new Set(target.held.map(({ value }) => value.toString())).size).toBe(16);
    target.answer(5);
    expect(target.held).toHaveLength(16);
    expect(target.largest).toBe(16);
    expect(load.ledger.sent).toBe(21);
    expect(load.ledger.acknowledged).toBe(5);
    target.answer(0);
  });

  test('sends nothing more once it is drained, and waits for every answer', async () => {
    const target = new HeldTarget();
    const load = new Load([target], SOURCE, 4);
    const drained = load.drain(DEADLINE_MS);
    target.answer();
    expect(await drained).toBe(true);
    expect(load.ledger).toMatchObject({ sent: 4, acknowledged: 4 });
    expect(load.inFlight).toBe(0);
  });

  test('says so when answers are missing', async () => {
    const load = new Load([new HeldTarget()], SOURCE, 4);
    expect(await load.drain(1)).toBe(false);
    expect(load.ledger.pending).toBe(4);
  });

  test('counts errors, and does not take them for acknowledgements', async () => {
    const target = new HeldTarget();
    const load = new Load([target], SOURCE, 2);
    const { done } = target.held.shift()!;
    done(new Error('no'), -1, -1);
    expect(load).toMatchObject({ errors: 1, firstError: expect.objectContaining({ message: 'no' }) });
    expect(load.ledger).toMatchObject({ acknowledged: 0, failed: 1 });
    const drained = load.drain(DEADLINE_MS);
    target.answer();
    await drained;
  });

  test('does not run away with the event loop when a target answers at once', async () => {
    const eager: TargetProducer = { send: (_value, done) => done(null, -1, 0), close: async () => {} };
    const load = new Load([eager], SOURCE, 8);
    await new Promise((resolve) => setImmediate(resolve));
    expect(load.ledger.acknowledged).toBeGreaterThan(8);
    expect(await load.drain(DEADLINE_MS)).toBe(true);
  });

  test('counts latency from the moment a slot became free, the wait of a stalled target included', async () => {
    const target = new HeldTarget();
    const load = new Load([target], SOURCE, 1);
    setTimeout(() => target.answer(), 60);
    setTimeout(() => target.answer(), 120);
    const measured = await load.measure(200);
    expect(measured.records).toBe(2);
    // Timers of 60 ms never fire 20 ms early.
    expect(measured.latency.minNonZeroValue).toBeGreaterThan(40_000);
    const drained = load.drain(DEADLINE_MS);
    target.answer();
    await drained;
  });
});

describe('the open loop', () => {
  test('counts a record from when it was due, although the stalled target got it later', async () => {
    const target = new HeldTarget();
    // One slot, 100 records a second: what is due during the stall is sent after it.
    const load = new Load([target], SOURCE, 1, 100);
    setTimeout(() => setInterval(() => target.answer(), 1).unref(), 200);
    const measured = await load.measure(400);
    expect(measured.records).toBeGreaterThan(10);
    expect(measured.latency.maxValue).toBeGreaterThan(150_000);
    expect(measured.latency.getValueAtPercentile(75)).toBeGreaterThan(20_000);
    await load.drain(DEADLINE_MS);
  });

  test('tells how far behind its schedule it is', async () => {
    const target = new HeldTarget();
    const load = new Load([target], SOURCE, 1, 1000);
    const measured = await load.measure(100);
    expect(measured.behindRecords).toBeGreaterThan(50);
    expect(target.held).toHaveLength(1);
    const drained = load.drain(DEADLINE_MS);
    target.answer();
    await drained;
  });
});
