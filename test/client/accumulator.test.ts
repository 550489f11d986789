import { describe, expect, it } from 'vitest';
import { Accumulator } from '../../src/client/accumulator.js';
import type { BatchingOptions } from '../../src/client/resolved-options.js';
import { resolveBatchingOptions } from '../../src/client/resolved-options.js';
import { VarveError } from '../../src/errors.js';
import { DATA_FRAME_BYTES, MAX_BATCH_BYTES } from '../../src/rpc/protocol.js';
import { appended, refused, ScriptedTransport, turns } from './scripted-transport.js';

interface Outcome {
  readonly value: string;
  readonly error: string | null;
  readonly offset: number;
}

class Bench {
  readonly transport = new ScriptedTransport();
  readonly accumulator: Accumulator;
  readonly outcomes: Outcome[] = [];

  constructor(options: Partial<BatchingOptions> = {}, requestTimeoutMs = 60_000) {
    this.accumulator = new Accumulator({ ...resolveBatchingOptions(options), requestTimeoutMs }, this.transport);
  }

  send(value: string, partition = 0, topic = 't'): boolean {
    return this.accumulator.tryAppend(this.accumulator.queue(topic, partition), { value }, (error, offset) => {
      this.outcomes.push({
        value: value.slice(0, 20),
        error: error === null ? null : (error as VarveError).code,
        offset,
      });
    });
  }
}

const ok = (value: string, offset: number): Outcome => ({ value, error: null, offset });
const failed = (value: string, error: string): Outcome => ({ value, error, offset: -1 });

describe('what goes into a request', () => {
  it('everything sent in one turn goes out in one request, one part per partition, one batch each', async () => {
    const bench = new Bench();
    for (const value of ['a', 'b', 'c']) bench.send(value, 0);
    bench.send('d', 3);
    bench.send('e', 0, 'other');
    const request = await bench.transport.nextRequest();
    expect(request.parts.map(({ topic, partition, records }) => [topic, partition, records])).toEqual([
      ['t', 0, 3],
      ['t', 3, 1],
      ['other', 0, 1],
    ]);
    expect(await request.values).toEqual([[['a', 'b', 'c']], [['d']], [['e']]]);
    expect(request.parts[0]!.byteLength).toBe(request.parts[0]!.buffers[0]!.length);
    await turns();
    expect(bench.transport.requests).toEqual([]);
  });

  it('callbacks run in order, each with its own offset, over the batches of a part', async () => {
    const bench = new Bench({ batchRecords: 2 });
    for (const value of ['a', 'b', 'c', 'd', 'e']) bench.send(value);
    const request = await bench.transport.nextRequest();
    expect(await request.values).toEqual([[['a', 'b'], ['c', 'd'], ['e']]]);
    request.resolve([appended(100)]);
    await turns();
    expect(bench.outcomes).toEqual([ok('a', 100), ok('b', 101), ok('c', 102), ok('d', 103), ok('e', 104)]);
  });

  it('without an answer (acks 0) every offset is -1', async () => {
    const bench = new Bench();
    bench.send('a');
    bench.send('b');
    (await bench.transport.nextRequest()).resolve([appended(-1)]);
    await turns();
    expect(bench.outcomes).toEqual([ok('a', -1), ok('b', -1)]);
  });

  it('a batch closes at batchBytes', async () => {
    const bench = new Bench({ batchBytes: 1000 });
    for (let i = 0; i < 10; i++) bench.send('x'.repeat(300));
    const { parts } = await bench.transport.nextRequest();
    expect(parts[0]!.buffers.length).toBeGreaterThan(2);
    for (const buffer of parts[0]!.buffers) expect(buffer.length).toBeLessThanOrEqual(1000);
  });

  it('a request stays below the frame size, and the rest follows in the next ones', async () => {
    const bench = new Bench({ maxInFlight: 100 });
    for (let i = 0; i < 30; i++) bench.send('y'.repeat(100_000), i % 3);
    await turns();
    const sizes = bench.transport.requests.map(({ parts }) => parts.reduce((sum, part) => sum + part.byteLength, 0));
    for (const size of sizes) expect(size).toBeLessThanOrEqual(DATA_FRAME_BYTES);
    expect(sizes.length).toBeLessThanOrEqual(5);
    const counts = bench.transport.requests.flatMap(({ parts }) => parts.map(({ records }) => records));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(30);
  });

  it('a record larger than batchBytes travels alone, so that its refusal touches no other', async () => {
    const bench = new Bench({ batchBytes: 1000 });
    bench.send('a');
    bench.send('B'.repeat(5000));
    bench.send('c');
    const requests = [
      await bench.transport.nextRequest(),
      await bench.transport.nextRequest(),
      await bench.transport.nextRequest(),
    ];
    expect(await Promise.all(requests.map(({ values }) => values))).toEqual([
      [[['a']]],
      [[['B'.repeat(5000)]]],
      [[['c']]],
    ]);
    requests[0]!.resolve([appended(0)]);
    requests[1]!.resolve([refused('BATCH_TOO_LARGE')]);
    requests[2]!.resolve([appended(1)]);
    await turns();
    expect(bench.outcomes).toEqual([ok('a', 0), failed('B'.repeat(20), 'BATCH_TOO_LARGE'), ok('c', 1)]);
  });

  it('a record that no batch can hold is refused at once, and nothing else is touched', async () => {
    const bench = new Bench();
    bench.send('a');
    expect(() => bench.send('x'.repeat(MAX_BATCH_BYTES))).toThrow(expect.objectContaining({ code: 'BATCH_TOO_LARGE' }));
    bench.send('b');
    expect(await (await bench.transport.nextRequest()).values).toEqual([[['a', 'b']]]);
  });

  it('a record that cannot be encoded is refused at once, and nothing else is touched', async () => {
    const bench = new Bench();
    const queue = bench.accumulator.queue('t', 0);
    const broken = { value: 7 as unknown as string };
    expect(() => bench.accumulator.append(queue, broken, () => {})).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    bench.send('b');
    expect(await (await bench.transport.nextRequest()).values).toEqual([[['b']]]);
  });

  it.each(['gzip', 'lz4', 'snappy', 'zstd'] as const)(
    '%s keeps the order of batches and requests',
    async (compression) => {
      const bench = new Bench({ compression, batchBytes: 2000, maxInFlight: 3 });
      const sent: string[] = [];
      for (let i = 0; i < 200; i++) {
        // Large and small batches in turn, so that some are compressed much faster than those before them.
        const value = `${i}:${'z'.repeat((i * 37) % 1500)}`;
        sent.push(value);
        bench.send(value);
        if (i % 50 === 49) await turns(1);
      }
      const received: string[] = [];
      while (received.length < sent.length) {
        const request = await bench.transport.nextRequest();
        received.push(...(await request.values).flat(2));
        request.resolve([appended(received.length)]);
      }
      expect(received).toEqual(sent);
    },
  );
});

describe('when a request goes out', () => {
  it('while maxInFlight requests are unanswered, batches keep filling', async () => {
    const bench = new Bench({ maxInFlight: 2 });
    for (const value of ['a', 'b', 'c', 'd', 'e']) {
      bench.send(value);
      await turns();
    }
    const [first, second, ...others] = bench.transport.requests;
    expect(await Promise.all([first!.values, second!.values])).toEqual([[[['a']]], [[['b']]]]);
    expect(others).toEqual([]);
    first!.resolve([appended(0)]);
    await turns();
    expect(await bench.transport.requests[2]!.values).toEqual([[['c', 'd', 'e']]]);
  });

  it('maxInFlight counts per node', async () => {
    const bench = new Bench({ maxInFlight: 1 });
    bench.transport.leader = (_, partition) => partition + 1;
    bench.send('a', 0);
    bench.send('b', 1);
    await turns();
    bench.send('c', 1);
    await turns();
    expect(bench.transport.requests.map(({ node }) => node)).toEqual([1, 2]);
  });

  it('with linger, an open batch waits, a full one does not', async () => {
    const bench = new Bench({ lingerMs: 60_000, batchRecords: 2 });
    bench.send('a');
    await turns();
    expect(bench.transport.requests).toEqual([]);
    bench.send('b');
    bench.send('c');
    expect(await (await bench.transport.nextRequest()).values).toEqual([[['a', 'b']]]);
    await turns();
    expect(bench.transport.requests).toEqual([]);
    bench.accumulator.close();
    expect(bench.outcomes).toEqual([failed('c', 'CLOSED')]);
  });

  it('when linger has passed, the batch goes out by itself', async () => {
    const bench = new Bench({ lingerMs: 5 });
    bench.send('a');
    expect(await (await bench.transport.nextRequest()).values).toEqual([[['a']]]);
  });

  it('flush sends what lingers, and resolves when all of it is completed', async () => {
    const bench = new Bench({ lingerMs: 60_000 });
    bench.send('a', 0);
    bench.send('b', 1);
    let flushed = false;
    const flush = bench.accumulator.flush().then(() => {
      flushed = true;
    });
    const request = await bench.transport.nextRequest();
    bench.send('later', 0);
    await turns();
    expect(flushed).toBe(false);
    request.resolve([appended(0), refused('CORRUPT_BATCH')]);
    await flush;
    expect(bench.outcomes).toEqual([ok('a', 0), failed('b', 'CORRUPT_BATCH')]);
    bench.accumulator.close();
  });

  it('flush resolves at once when nothing is buffered', async () => {
    await new Bench().accumulator.flush();
  });
});

describe('back-pressure', () => {
  it('a full buffer refuses records until some are completed', async () => {
    const bench = new Bench({ batchBytes: 1000, bufferBytes: 2000 });
    const accepted: boolean[] = [];
    for (let i = 0; i < 5; i++) accepted.push(bench.send('x'.repeat(900)));
    expect(accepted).toEqual([true, true, true, false, false]);
    let writable = false;
    const wait = bench.accumulator.whenWritable().then(() => {
      writable = true;
    });
    await turns();
    expect(writable).toBe(false);
    (await bench.transport.nextRequest()).resolve([appended(0)]);
    await wait;
    expect(bench.accumulator.bufferedBytes).toBe(0);
    expect(bench.send('again')).toBe(true);
  });
});

describe('failures', () => {
  it('a refusal for a new leader is sent again, first, after the transport says so', async () => {
    const bench = new Bench();
    bench.send('a');
    (await bench.transport.nextRequest()).resolve([refused('NOT_LEADER')]);
    const recovery = await bench.transport.nextRecovery();
    bench.send('b');
    await turns();
    expect(bench.transport.requests).toEqual([]);
    bench.transport.leader = () => 2;
    recovery.resolve();
    const again = await bench.transport.nextRequest();
    expect(again.node).toBe(2);
    expect(await again.values).toEqual([[['a'], ['b']]]);
    again.resolve([appended(7)]);
    await turns();
    expect(bench.outcomes).toEqual([ok('a', 7), ok('b', 8)]);
  });

  it('several refused parts are sent again in their order, once all of them have been answered', async () => {
    const bench = new Bench();
    for (const value of ['a', 'b', 'c']) {
      bench.send(value);
      await turns();
    }
    const [first, second, third] = bench.transport.requests.splice(0);
    third!.resolve([refused('NOT_LEADER')]);
    first!.resolve([refused('NOT_LEADER')]);
    await turns();
    expect(bench.transport.recoveries).toEqual([]);
    second!.reject(new VarveError('CONNECTION_LOST', 'never left'));
    (await bench.transport.nextRecovery()).resolve();
    expect(await (await bench.transport.nextRequest()).values).toEqual([[['a'], ['b'], ['c']]]);
  });

  it('while a refused part waits for the answers to others nothing passes it, though a leader was found meanwhile', async () => {
    const bench = new Bench();
    bench.send('a');
    await turns();
    bench.send('b');
    await turns();
    const [first, second] = bench.transport.requests.splice(0);
    bench.transport.leader = () => 0;
    bench.send('c');
    const recovery = await bench.transport.nextRecovery();
    first!.resolve([refused('NOT_LEADER')]);
    await turns();
    bench.transport.leader = () => 2;
    recovery.resolve();
    await turns();
    expect(bench.transport.requests).toEqual([]);
    second!.resolve([refused('NOT_LEADER')]);
    (await bench.transport.nextRecovery()).resolve();
    expect(await (await bench.transport.nextRequest()).values).toEqual([[['a'], ['b'], ['c']]]);
  });

  it('a refused part that was overtaken fails instead of being appended out of order', async () => {
    const bench = new Bench();
    for (const value of ['a', 'b', 'c']) {
      bench.send(value);
      await turns();
    }
    const [first, second, third] = bench.transport.requests.splice(0);
    first!.resolve([refused('NOT_LEADER')]);
    second!.resolve([appended(10)]);
    third!.resolve([refused('NOT_LEADER')]);
    await turns();
    expect(bench.outcomes).toEqual([failed('a', 'NOT_LEADER'), ok('b', 10)]);
    (await bench.transport.nextRecovery()).resolve();
    expect(await (await bench.transport.nextRequest()).values).toEqual([[['c']]]);
  });

  it('a refusal that comes after a later part was appended fails at once', async () => {
    const bench = new Bench();
    bench.send('a');
    await turns();
    bench.send('b');
    await turns();
    const [first, second] = bench.transport.requests.splice(0);
    second!.resolve([appended(10)]);
    await turns();
    first!.resolve([refused('OVERLOADED')]);
    await turns();
    expect(bench.outcomes).toEqual([ok('b', 10), failed('a', 'OVERLOADED')]);
  });

  it('records whose outcome is unknown fail and are never sent again; later ones go on', async () => {
    const bench = new Bench();
    bench.send('a');
    const request = await bench.transport.nextRequest();
    bench.send('b');
    await turns();
    const second = await bench.transport.nextRequest();
    request.reject(new VarveError('OUTCOME_UNKNOWN', 'connection lost'));
    second.reject(new VarveError('CONNECTION_LOST', 'never left'));
    bench.send('c');
    (await bench.transport.nextRecovery()).resolve();
    const rest = await bench.transport.nextRequest();
    expect(await rest.values).toEqual([[['b'], ['c']]]);
    rest.resolve([appended(5)]);
    await turns();
    expect(bench.outcomes).toEqual([failed('a', 'OUTCOME_UNKNOWN'), ok('b', 5), ok('c', 6)]);
  });

  it('a part that is refused for good fails alone', async () => {
    const bench = new Bench();
    bench.send('a', 0);
    bench.send('b', 1);
    (await bench.transport.nextRequest()).resolve([refused('DISK_FULL'), appended(3)]);
    await turns();
    expect(bench.outcomes).toEqual([failed('a', 'DISK_FULL'), ok('b', 3)]);
    expect(bench.transport.recoveries).toEqual([]);
  });

  it('without a leader records wait for one', async () => {
    const bench = new Bench();
    bench.transport.leader = () => 0;
    bench.send('a');
    (await bench.transport.nextRecovery()).resolve();
    const second = await bench.transport.nextRecovery();
    expect(second.attempt).toBe(1);
    bench.transport.leader = () => 3;
    second.resolve();
    expect((await bench.transport.nextRequest()).node).toBe(3);
  });

  it('records that no leader took in time fail with TIMEOUT and the last refusal as its cause', async () => {
    const bench = new Bench({}, 1);
    const errors: VarveError[] = [];
    bench.accumulator.append(bench.accumulator.queue('t', 0), { value: 'a' }, (error) =>
      errors.push(error as VarveError),
    );
    while (errors.length === 0) {
      for (const request of bench.transport.requests.splice(0)) request.resolve([refused('NOT_LEADER')]);
      for (const recovery of bench.transport.recoveries.splice(0)) recovery.resolve();
      await turns();
    }
    expect(errors[0]!.code).toBe('TIMEOUT');
    await bench.accumulator.flush();
    expect(bench.accumulator.bufferedBytes).toBe(0);
  });

  it('what the transport calls hopeless fails everything that waits, and the partition works again afterwards', async () => {
    const bench = new Bench();
    bench.transport.leader = () => 0;
    bench.send('a');
    const recovery = await bench.transport.nextRecovery();
    bench.send('b');
    recovery.reject(new VarveError('UNKNOWN_TOPIC', 'gone'));
    await turns();
    expect(bench.outcomes).toEqual([failed('a', 'UNKNOWN_TOPIC'), failed('b', 'UNKNOWN_TOPIC')]);
    bench.transport.leader = () => 1;
    bench.send('c');
    expect(await (await bench.transport.nextRequest()).values).toEqual([[['c']]]);
  });

  it('a callback that throws keeps no other from running', async () => {
    const bench = new Bench();
    const thrown: unknown[] = [];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', (error) => thrown.push(error));
    try {
      bench.accumulator.append(bench.accumulator.queue('t', 0), { value: 'a' }, () => {
        throw new Error('from the callback');
      });
      bench.send('b');
      (await bench.transport.nextRequest()).resolve([appended(0)]);
      await turns();
    } finally {
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
    expect(bench.outcomes).toEqual([ok('b', 1)]);
    expect(thrown).toEqual([new Error('from the callback')]);
  });

  it('a closed accumulator refuses records and fails those that were not sent', async () => {
    const bench = new Bench({ maxInFlight: 1 });
    bench.send('a');
    const request = await bench.transport.nextRequest();
    bench.send('b');
    await turns();
    bench.accumulator.close();
    request.resolve([appended(0)]);
    await turns();
    expect(bench.outcomes).toEqual([failed('b', 'CLOSED'), ok('a', 0)]);
    expect(() => bench.send('c')).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  });
});
