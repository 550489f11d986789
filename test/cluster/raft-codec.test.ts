import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { packMessage, type ReceivedAppend, unpackMessage } from '../../src/cluster/raft-codec.js';
import type { Message } from '../../src/raft/types.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { encodeControlBatch } from '../../src/record/control-batch.js';
import { stampBatch } from '../../src/record/record-batch.js';
import { encodeConfiguration } from '../../src/cluster/control-batches.js';
import { ControlKind } from '../../src/log/log.js';
import { member, votersOf } from '../raft/members.js';

const NONE = Buffer.alloc(0);
const term = fc.integer({ min: 1, max: 2 ** 31 - 1 });
const offset = fc.integer({ min: 0, max: 2 ** 48 });
const FROM = { id: 2, directory: 'd2', incarnation: 'i2' };
const TO = { id: 1, directory: 'd1', incarnation: 'i1' };
const recovery = fc.option(
  offset.map((end) => ({ recovery: { incarnation: 'i1', end } })),
  { nil: {} },
);
const base = { from: FROM, to: TO };

const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    type: fc.constantFrom('pre-vote' as const, 'vote' as const),
    from: fc.constant(FROM),
    to: fc.constant(TO),
    term,
    lastEpoch: fc.integer({ min: -1, max: 2 ** 31 - 1 }),
    end: offset,
    transfer: fc.boolean(),
    led: fc.nat(),
  }),
  fc.record({
    type: fc.constantFrom('pre-vote-reply' as const, 'vote-reply' as const),
    from: fc.constant(FROM),
    to: fc.constant(TO),
    term,
    granted: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('append-reply' as const),
    from: fc.constant(FROM),
    to: fc.constant(TO),
    term,
    rejectedStart: fc.oneof(fc.constant(-1), offset),
    hint: fc.record({ epoch: fc.integer({ min: -1, max: 100 }), end: offset }),
    written: fc.constant(2 ** 49),
    durable: offset,
    generation: fc.nat(),
    forgetful: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('heartbeat' as const),
    from: fc.constant(FROM),
    to: fc.constant(TO),
    term,
    highWatermark: offset,
    round: fc.nat(),
    counted: offset,
  }),
  fc.record({
    type: fc.constant('heartbeat-reply' as const),
    from: fc.constant(FROM),
    to: fc.constant(TO),
    term,
    round: fc.nat(),
    forgetful: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('reset' as const),
    from: fc.constant(FROM),
    to: fc.constant(TO),
    term,
    logStart: fc.integer({ min: 2 ** 40, max: 2 ** 48 }),
    prevEpoch: fc.integer({ min: -1, max: 2 ** 31 - 1 }),
    configuration: fc.record({
      offset: fc.integer({ min: -1, max: 2 ** 39 }),
      configuration: fc.constant(votersOf(1, 2)),
    }),
  }),
  fc.record({ type: fc.constant('timeout-now' as const), from: fc.constant(FROM), to: fc.constant(TO), term }),
);

/** One stamped batch of `count` records. */
function batch(baseOffset: number, epoch: number, count: number): Buffer {
  const builder = new BatchBuilder();
  for (let i = 0; i < count; i++) builder.append(1_700_000_000_000 + i, null, Buffer.from(`value ${baseOffset + i}`));
  const bytes = Buffer.from(builder.finish());
  stampBatch(bytes, 0, baseOffset, epoch);
  return bytes;
}

/** [type, term, start, prev epoch, end, high watermark, counted, recovery] */
const append = (start: number, prevEpoch: number, end: number, inTerm = 7): number[] => [
  5,
  inTerm,
  start,
  prevEpoch,
  end,
  0,
  0,
  -1,
];

describe('Raft messages', () => {
  test('come out as they went in', () => {
    fc.assert(
      fc.property(message, (original) => {
        const body = original.type === 'reset' ? encodeConfiguration(original.configuration.configuration) : NONE;
        expect(unpackMessage(packMessage(original), FROM, TO, body)).toEqual(original);
      }),
    );
  });

  test('what recovers a forgetful process says which one: the one that reads it', () => {
    fc.assert(
      fc.property(recovery, (told) => {
        const heartbeat = {
          ...base,
          type: 'heartbeat',
          term: 3,
          highWatermark: 0,
          round: 0,
          counted: 0,
          ...told,
        } as const;
        expect(unpackMessage(packMessage(heartbeat), FROM, TO, NONE)).toEqual(heartbeat);
        const probe = {
          ...base,
          type: 'append',
          term: 3,
          start: 5,
          prevEpoch: 1,
          end: 5,
          bytes: 0,
          batches: [],
          highWatermark: 0,
          counted: 0,
          ...told,
        } as const;
        expect(unpackMessage(packMessage(probe), FROM, TO, NONE)).toMatchObject(probe);
      }),
    );
  });

  test('an append names each of its batches', () => {
    const body = Buffer.concat([batch(10, 3, 2), batch(12, 3, 1), batch(13, 5, 4)]);
    const received = unpackMessage(append(10, 3, 17), FROM, TO, body) as ReceivedAppend;
    expect(received).toMatchObject({ ...base, type: 'append', term: 7, start: 10, end: 17, bytes: body.length });
    expect(received.batches.map(({ start, end, epoch }) => [start, end, epoch])).toEqual([
      [10, 12, 3],
      [12, 13, 3],
      [13, 17, 5],
    ]);
    expect(received.body.subarray(received.batches[1]!.position)).toEqual(body.subarray(batch(10, 3, 2).length));
  });

  test('a configuration comes with its batch, and one that cannot be is refused', () => {
    const configuration = { ...votersOf(1, 2), outgoing: [member(3)], learners: [member(4)] };
    const control = (value: Buffer): Buffer => encodeControlBatch(ControlKind.Configuration, value, 2, 3, 0);
    const body = Buffer.concat([batch(0, 3, 2), control(encodeConfiguration(configuration)), batch(3, 3, 1)]);
    const received = unpackMessage(append(0, -1, 4), FROM, TO, body) as ReceivedAppend;
    expect(received.batches.map((each) => each.configuration)).toEqual([undefined, configuration, undefined]);
    for (const bad of ['', '{}', '{"version":2}', '{"version":1,"voters":[[0,"d"]],"outgoing":[],"learners":[]}']) {
      const wrong = Buffer.concat([batch(0, 3, 2), control(Buffer.from(bad))]);
      expect(() => unpackMessage(append(0, -1, 3), FROM, TO, wrong)).toThrow(
        expect.objectContaining({ code: 'CORRUPT_LOG' }),
      );
    }
  });

  test('anything else is refused with a typed error', () => {
    fc.assert(
      fc.property(fc.anything(), fc.uint8Array({ maxLength: 100 }), (packed, bytes) => {
        try {
          unpackMessage(packed, FROM, TO, Buffer.from(bytes));
        } catch (error) {
          expect((error as { code: string }).code).toMatch(/^(PROTOCOL_ERROR|CORRUPT_BATCH|CORRUPT_LOG)$/);
        }
      }),
    );
  });

  test.each([
    ['no array', 7, NONE],
    ['an unknown type', [99, 1], NONE],
    ['too few fields', [5, 1, 2], NONE],
    ['too many fields', [8, 1, 2, 0, 3], NONE],
    ['a fraction', [7, 1, 1.5, 0, 0, -1], NONE],
    ['text', [7, 1, 'x', 0, 0, -1], NONE],
    ['term 0', [8, 0, 0, 0], NONE],
    ['durable above written', [6, 1, -1, -1, 0, 5, 6, 0, 0], NONE],
    ['bytes behind a heartbeat', [7, 1, 0, 0, 0, -1], batch(0, 1, 1)],
    ['batches that end before the message says', append(0, -1, 9), batch(0, 1, 3)],
    ['no batches for a span', append(0, -1, 9), NONE],
  ])('refuses %s', (_, packed, body) => {
    expect(() => unpackMessage(packed, FROM, TO, body)).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
  });

  test.each([
    ['a gap', append(0, -1, 5), [batch(0, 1, 2), batch(3, 1, 2)]],
    ['an epoch that goes back', append(0, -1, 4), [batch(0, 3, 2), batch(2, 2, 2)]],
    ['an epoch below the one before', append(5, 4, 7), [batch(5, 3, 2)]],
    ['an epoch above the term', append(0, -1, 2), [batch(0, 8, 2)]],
  ])('refuses batches with %s', (_, packed, batches) => {
    expect(() => unpackMessage(packed, FROM, TO, Buffer.concat(batches))).toThrow(
      expect.objectContaining({ code: 'CORRUPT_BATCH' }),
    );
  });

  test('refuses a batch with any flipped bit under its CRC', () => {
    const good = batch(0, 1, 3);
    fc.assert(
      fc.property(fc.integer({ min: 21 * 8, max: good.length * 8 - 1 }), (bit) => {
        const bad = Buffer.from(good);
        bad[bit >> 3]! ^= 1 << (bit & 7);
        expect(() => unpackMessage(append(0, -1, 3), FROM, TO, bad)).toThrow(
          expect.objectContaining({ code: expect.stringMatching(/CORRUPT_BATCH|UNSUPPORTED_CODEC|PROTOCOL_ERROR/) }),
        );
      }),
    );
  });
});
