import { expect, test } from 'vitest';
import type { JournalRecord } from '../../src/disk/journal-format.js';
import {
  encodeHardState,
  encodeLogStart,
  encodeSwap,
  encodeTruncation,
  RecordType,
} from '../../src/journal/journal-records.js';
import { type LogState, newLogState } from '../../src/journal/log-state.js';
import { LogFold } from '../../src/journal/replay.js';

const topicId = 'ab'.repeat(16);

function record(type: number, generation: number, payload: Buffer, stored: Partial<JournalRecord> = {}): JournalRecord {
  return {
    type,
    topicId,
    partition: 0,
    segmentBaseOffset: 0,
    position: 0,
    lastOffset: 0,
    hwFloor: 0,
    epoch: 0,
    generation,
    payload,
    ...stored,
  };
}

/** Stored batches: 10 bytes per offset. */
function stored(segmentBaseOffset: number, from: number, to: number, generation = 0, hwFloor = 0): JournalRecord {
  const position = (from - segmentBaseOffset) * 10;
  return record(RecordType.Batches, generation, Buffer.alloc((to - from) * 10), {
    segmentBaseOffset,
    position,
    lastOffset: to - 1,
    hwFloor,
  });
}

/** A direct flush up to offset `to`. */
function durableMark(segmentBaseOffset: number, to: number, generation = 0, epoch = 0): JournalRecord {
  return record(RecordType.DurableMark, generation, Buffer.alloc(0), {
    segmentBaseOffset,
    position: (to - segmentBaseOffset) * 10,
    lastOffset: to - 1,
    epoch,
  });
}

function truncation(
  to: number,
  generation: number,
  endBase: number | undefined,
  newTag = 0,
  removed: number[] = [],
): JournalRecord {
  const payload = encodeTruncation({
    to,
    endSegment: endBase === undefined ? undefined : { base: endBase, tag: 0 },
    endLength: endBase === undefined ? 0 : (to - endBase) * 10,
    newTag,
    removed: removed.map((base) => ({ base, tag: 0 })),
  });
  return record(RecordType.Truncation, generation, payload);
}

function swap(replaced: readonly (readonly [base: number, tag: number])[], end: number, tag: number): JournalRecord {
  const names = replaced.map(([base, oldTag]) => ({ base, tag: oldTag }));
  return record(
    RecordType.Swap,
    2,
    encodeSwap({ replaced: names, tag, length: 61, end, maxTimestamp: 9, tombstonesRemovedTo: 3 }),
  );
}

function fold(state: LogState, records: readonly JournalRecord[]): LogFold {
  const result = new LogFold(state);
  for (const each of records) result.apply(each);
  return result;
}

function pieces(result: LogFold): string[] {
  return result.pieces.map(
    (piece) => `${piece.segmentBase}@${piece.position}+${piece.length}=[${piece.startOffset},${piece.endOffset})`,
  );
}

const empty = newLogState('t', 0, topicId);
const checkpointed: LogState = {
  ...empty,
  end: 20,
  generation: 2,
  segments: [
    { base: 0, tag: 0, length: 100 },
    { base: 10, tag: 0, length: 100 },
  ],
};

test('appends and rolls of a new log', () => {
  const result = fold(empty, [stored(0, 0, 5), stored(0, 5, 8, 0, 4), stored(8, 8, 9)]);
  expect(pieces(result)).toEqual(['0@0+50=[0,5)', '0@50+30=[5,8)', '8@0+10=[8,9)']);
  expect(result.segments).toEqual([
    { base: 0, tag: -1, length: 80 },
    { base: 8, tag: -1, length: -1 },
  ]);
  expect(result.durable).toEqual({ segmentBase: 8, position: 10, offset: 9 });
  expect(result.hwFloor).toBe(4);
});

test('what the checkpoint covers is not replayed again', () => {
  const result = fold(checkpointed, [
    stored(0, 0, 10, 1),
    truncation(10, 2, 0, 0, [10]),
    stored(10, 10, 15, 2),
    stored(10, 15, 20, 2),
    stored(10, 20, 22, 2),
  ]);
  expect(pieces(result)).toEqual(['10@100+20=[20,22)']);
  expect(result.removed).toEqual([]);
  expect(result.mark).toEqual({ segmentBase: 10, position: 100, offset: 20 });
});

test('a record that the checkpoint covers in part gives the rest', () => {
  const result = fold(checkpointed, [stored(10, 12, 23, 2), stored(10, 23, 24, 2)]);
  expect(pieces(result)).toEqual(['10@100+30=[20,23)', '10@130+10=[23,24)']);
  expect(result.pieces.map((piece) => piece.skip)).toEqual([80, 0]);
});

test('only what survives every later truncation is kept', () => {
  const result = fold(checkpointed, [
    stored(10, 20, 30, 2),
    stored(30, 30, 40, 2),
    truncation(25, 3, 10, 0, [30]),
    stored(25, 25, 28, 3),
    truncation(25, 4, undefined, 4, [25]),
    stored(25, 25, 26, 4),
  ]);
  // The record of [20, 30) held several batches, of which the first half stays.
  expect(pieces(result)).toEqual(['10@100+50=[20,25)', '25@0+10=[25,26)']);
  expect(result.segments).toEqual([
    { base: 0, tag: 0, length: 100 },
    { base: 10, tag: 0, length: 150 },
    { base: 25, tag: 4, length: -1 },
  ]);
  expect(result.removed.map(({ base }) => base)).toEqual([30, 25]);
  expect(result.generation).toBe(4);
});

test('a truncation below the durable mark lowers it', () => {
  const result = fold(checkpointed, [truncation(5, 3, 0, 0, [10]), stored(5, 5, 6, 3)]);
  expect(result.mark).toEqual({ segmentBase: 5, position: 0, offset: 5 });
  expect(result.segments.map(({ base, length }) => [base, length])).toEqual([
    [0, 50],
    [5, -1],
  ]);
});

test('a compacted segment takes the place of those it was made from, and nothing journalled for them is written', () => {
  const result = fold(checkpointed, [
    stored(10, 20, 30, 2),
    stored(30, 30, 40, 2),
    swap(
      [
        [0, 0],
        [10, 0],
      ],
      30,
      77,
    ),
    stored(30, 40, 41, 2),
    truncation(40, 3, 30),
  ]);
  expect(result.segments).toEqual([
    { base: 0, tag: 77, length: 61, compacted: { maxTimestamp: 9 } },
    { base: 30, tag: 0, length: 100 },
    { base: 40, tag: 0, length: -1 },
  ]);
  expect(pieces(result)).toEqual(['30@0+100=[30,40)']);
  expect(result.removed).toEqual([
    { base: 0, tag: 0 },
    { base: 10, tag: 0 },
  ]);
  expect(result.mark).toEqual({ segmentBase: 0, position: 61, offset: 30 });
  expect(result.tombstonesRemovedTo).toBe(3);
});

test('a compacted segment at the end of what was stored is gone on from in the next one', () => {
  const result = fold(checkpointed, [swap([[10, 0]], 20, 77), stored(20, 20, 22, 2)]);
  expect(result.segments).toEqual([
    { base: 0, tag: 0, length: 100 },
    { base: 10, tag: 77, length: 61, compacted: { maxTimestamp: 9 } },
    { base: 20, tag: -1, length: -1 },
  ]);
  expect(result.durable).toEqual({ segmentBase: 20, position: 20, offset: 22 });
});

test('a swap that the checkpoint covers changes nothing', () => {
  const state = {
    ...checkpointed,
    segments: [
      { base: 0, tag: 78, length: 50 },
      { base: 10, tag: 0, length: 100 },
    ],
  };
  const result = fold(state, [swap([[0, 0]], 10, 77), swap([[0, 77]], 10, 78)]);
  expect(result.segments[0]).toEqual({ base: 0, tag: 78, length: 50 });
  expect(result.removed).toEqual([]);
});

const withEpoch: LogState = { ...checkpointed, epochs: [[0, 0]] };

test('a durable mark moves the durable end without bytes, and journalled bytes join on at it', () => {
  const result = fold(withEpoch, [stored(10, 20, 22, 2), durableMark(10, 30, 2), stored(10, 30, 31, 2)]);
  expect(pieces(result)).toEqual(['10@100+20=[20,22)', '10@200+10=[30,31)']);
  expect(result.directEnds).toEqual([{ segmentBase: 10, position: 200, offset: 30 }]);
  expect(result.durable).toEqual({ segmentBase: 10, position: 210, offset: 31 });
  expect(result.mark).toEqual({ segmentBase: 10, position: 100, offset: 20 });
});

test('durable marks go over a roll of the segment', () => {
  const result = fold(withEpoch, [durableMark(10, 30, 2), durableMark(30, 40, 2), stored(40, 40, 41, 2)]);
  expect(result.segments).toEqual([
    { base: 0, tag: 0, length: 100 },
    { base: 10, tag: 0, length: 200 },
    { base: 30, tag: -1, length: 100 },
    { base: 40, tag: -1, length: -1 },
  ]);
  expect(pieces(result)).toEqual(['40@0+10=[40,41)']);
});

test('durable marks that the checkpoint covers, or of an older generation, are passed over', () => {
  const result = fold(withEpoch, [durableMark(0, 10, 2), durableMark(10, 15, 1), durableMark(10, 20, 2)]);
  expect(result.appliedCount).toBe(0);
  expect(result.durable).toEqual({ segmentBase: 10, position: 100, offset: 20 });
});

test('a truncation takes back what a durable mark said', () => {
  const records = [durableMark(10, 30, 2), truncation(25, 3, 10), durableMark(10, 30, 2), stored(25, 25, 26, 3)];
  const result = fold(withEpoch, records);
  expect(result.segments.map(({ base, length }) => [base, length])).toEqual([
    [0, 100],
    [10, 150],
    [25, -1],
  ]);
  expect(pieces(result)).toEqual(['25@0+10=[25,26)']);
  expect(result.directEnds).toEqual([]);
});

test('the last vote of the highest term and the highest log start count', () => {
  const result = fold({ ...empty, term: 3, vote: 1 }, [
    record(RecordType.HardState, 0, encodeHardState({ term: 2, vote: 3 })),
    record(RecordType.HardState, 0, encodeHardState({ term: 4, vote: 0 })),
    record(RecordType.HardState, 0, encodeHardState({ term: 4, vote: 2 })),
    record(RecordType.LogStart, 0, encodeLogStart(9)),
    record(RecordType.LogStart, 0, encodeLogStart(7)),
  ]);
  expect([result.term, result.vote, result.logStart]).toEqual([4, 2, 9]);
});

test.each([
  ['a gap in a segment', [stored(0, 0, 5), stored(0, 6, 7)]],
  ['a segment that begins too late', [stored(0, 0, 5), stored(6, 6, 7)]],
  ['a generation that no truncation began', [stored(0, 0, 5), stored(0, 5, 6, 1)]],
  [
    'a swap of segments that are not neighbours',
    [
      stored(0, 0, 5),
      stored(5, 5, 9),
      swap(
        [
          [0, 0],
          [4, 0],
        ],
        9,
        1,
      ),
    ],
  ],
  ['a swap that leaves offsets out', [stored(0, 0, 5), stored(5, 5, 9), swap([[0, 0]], 6, 1)]],
  ['a record of an unknown type', [record(99, 0, Buffer.alloc(0))]],
  ['a durable mark that goes back', [stored(0, 0, 5), durableMark(0, 4)]],
  ['a durable mark in a segment that begins too late', [stored(0, 0, 5), durableMark(6, 7)]],
  ['a durable mark of a generation that no truncation began', [stored(0, 0, 5), durableMark(0, 7, 1)]],
  ['a durable mark of an epoch that was never journalled', [stored(0, 0, 5), durableMark(0, 7, 0, 1)]],
  ['bytes that do not join on at the durable mark', [stored(0, 0, 5), durableMark(0, 7), stored(0, 6, 9)]],
  ['the same bytes twice', [stored(0, 0, 5), stored(0, 5, 8), stored(0, 5, 8)]],
])('%s is corruption, and is named', (_name, records) => {
  expect(() => fold({ ...empty, epochs: [[0, 0]] }, records)).toThrow(
    expect.objectContaining({ code: 'CORRUPT_JOURNAL', message: expect.stringContaining('t-0') }),
  );
});
