/**
 * The accumulator against a partition that accepts, refuses, loses and answers out of turn, by a random script. However
 * it goes: appended records are in the order in which they were sent, none is appended twice, and each callback says
 * what happened.
 *
 * A failure prints the seed and the path: `fc.assert(property, { seed, path })` replays it.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Accumulator, type PartResult } from '../../src/client/accumulator.js';
import { resolveBatchingOptions } from '../../src/client/resolved-options.js';
import { VarveError } from '../../src/errors.js';
import { appended, refused, ScriptedTransport, turns } from './scripted-transport.js';

const PARTITIONS = 2;

const step = fc.record({
  send: fc.nat({ max: 6 }),
  /** What becomes of the oldest request that is undecided: one connection delivers them in their order. */
  decide: fc.constantFrom(
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
  /** Which of the decided requests is answered, if any: answers may overtake each other. */
  deliver: fc.option(fc.nat({ max: 4 })),
  recover: fc.boolean(),
  hasLeader: fc.integer({ min: 0, max: 3 }).map((n) => n > 0),
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

        const answers: (() => void)[] = [];

        const decide = async (how: string): Promise<void> => {
          const request = transport.requests.shift();
          if (request === undefined) return;
          const values = await request.values;
          const append = (): PartResult[] =>
            request.parts.map(({ partition }, i) => {
              const base = logs[partition]!.length;
              logs[partition]!.push(...values[i]!.flat());
              return appended(base);
            });
          if (how === 'append') {
            const results = append();
            answers.push(() => request.resolve(results));
          } else if (how === 'refuse' || how === 'corrupt') {
            const code = how === 'refuse' ? 'NOT_LEADER' : 'CORRUPT_BATCH';
            answers.push(() => request.resolve(request.parts.map(() => refused(code))));
          } else if (how === 'lose-unsent') {
            answers.push(() => request.reject(new VarveError('CONNECTION_LOST', 'never left')));
          } else {
            if (how === 'lose-after') append();
            answers.push(() => request.reject(new VarveError('OUTCOME_UNKNOWN', 'lost')));
          }
        };
        const deliver = async (index: number): Promise<void> => {
          answers.splice(index % Math.max(1, answers.length), 1)[0]?.();
          await turns();
        };

        for (const { send, decide: how, deliver: index, recover, hasLeader } of steps) {
          transport.leader = () => (hasLeader ? 1 : 0);
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
          if (how !== 'none') await decide(how);
          if (index !== null) await deliver(index);
          if (recover) for (const recovery of transport.recoveries.splice(0)) recovery.resolve();
          await turns();
        }
        // In the end everything is answered.
        transport.leader = () => 1;
        const flushed = accumulator.flush();
        let done = false;
        void flushed.then(() => {
          done = true;
        });
        while (!done) {
          for (const recovery of transport.recoveries.splice(0)) recovery.resolve();
          await decide('append');
          await deliver(0);
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
    { numRuns: 300 },
  );
});
