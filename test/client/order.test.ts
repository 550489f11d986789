/**
 * The accumulator against a partition that accepts, refuses, loses and answers out of turn, by a random script. However it
 * goes: appended records are in the order in which they were sent, none is appended twice, and each callback says
 * what happened.
 *
 * A failure prints the seed and the path: `fc.assert(property, { seed, path })` replays it.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Accumulator } from '../../src/client/accumulator.js';
import { resolveBatchingOptions } from '../../src/client/resolved-options.js';
import { VarveError } from '../../src/errors.js';
import { refused, ScriptedTransport, turns } from './scripted-transport.js';

const PARTITIONS = 2;

const step = fc.record({
  send: fc.nat({ max: 6 }),
  /** Which of the unanswered requests is answered. */
  pick: fc.nat({ max: 4 }),
  answer: fc.constantFrom(
    'append',
    'append',
    'append',
    'refuse',
    'lose-before',
    'lose-after',
    'lose-unsent',
    'corrupt',
    'none',
  ),
  recover: fc.boolean(),
});

interface Sent {
  readonly partition: number;
  readonly value: string;
  code: string | undefined;
  offset: number;
}

it('keeps order, never appends twice and tells the truth, whatever the leader answers', async () => {
  const script = fc.array(step, { minLength: 1, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(
      script,
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 4 }),
      async (steps, maxInFlight, batchRecords) => {
        const transport = new ScriptedTransport();
        const options = { ...resolveBatchingOptions({ maxInFlight, batchRecords }), requestTimeoutMs: 600_000 };
        const accumulator = new Accumulator(options, transport);
        const logs: string[][] = Array.from({ length: PARTITIONS }, () => []);
        const sent: Sent[] = [];

        const answer = async (how: string, index: number): Promise<void> => {
          const [request] = transport.requests.splice(index % Math.max(1, transport.requests.length), 1);
          if (request === undefined) return;
          const values = await request.values;
          const append = (): { error: undefined; baseOffset: number }[] =>
            request.parts.map(({ partition }, i) => {
              const base = logs[partition]!.length;
              logs[partition]!.push(...values[i]!.flat());
              return { error: undefined, baseOffset: base };
            });
          if (how === 'append') request.resolve(append());
          else if (how === 'refuse') request.resolve(request.parts.map(() => refused('NOT_LEADER')));
          else if (how === 'corrupt') request.resolve(request.parts.map(() => refused('CORRUPT_BATCH')));
          else if (how === 'lose-unsent') request.reject(new VarveError('CONNECTION_LOST', 'never left'));
          else {
            if (how === 'lose-after') append();
            request.reject(new VarveError('OUTCOME_UNKNOWN', 'lost'));
          }
          await turns();
        };

        for (const { send, pick, answer: how, recover } of steps) {
          for (let i = 0; i < send; i++) {
            const entry: Sent = {
              partition: sent.length % PARTITIONS,
              value: String(sent.length),
              code: undefined,
              offset: -2,
            };
            sent.push(entry);
            accumulator.append(accumulator.queue('t', entry.partition), { value: entry.value }, (error, offset) => {
              expect(entry.code).toBeUndefined();
              entry.code = error === null ? 'ok' : (error as VarveError).code;
              entry.offset = offset;
            });
          }
          await turns();
          // A single leader takes what comes over one connection in the order in which it was sent, so it is the oldest request that
          // is decided; what happens out of turn are refusals and losses.
          if (how !== 'none') await answer(how, how === 'append' || how === 'lose-after' ? 0 : pick);
          if (recover) for (const recovery of transport.recoveries.splice(0)) recovery.resolve();
          await turns();
        }
        // In the end everything is answered.
        const flushed = accumulator.flush();
        let done = false;
        void flushed.then(() => {
          done = true;
        });
        while (!done) {
          for (const recovery of transport.recoveries.splice(0)) recovery.resolve();
          await answer('append', 0);
          await turns();
        }

        for (let partition = 0; partition < PARTITIONS; partition++) {
          const log = logs[partition]!;
          const numbers = log.map(Number);
          expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
        }
        for (const { partition, value, code, offset } of sent) {
          if (code === 'ok') expect(logs[partition]![offset]).toBe(value);
          else if (code !== 'OUTCOME_UNKNOWN') expect(logs[partition]).not.toContain(value);
        }
        expect(accumulator.bufferedBytes).toBe(0);
      },
    ),
    { numRuns: 150 },
  );
});
