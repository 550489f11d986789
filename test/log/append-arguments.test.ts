// What a caller without types can give the append calls: refused with the argument, what was given and what is allowed,
// and nothing is changed.
import { beforeEach, describe, expect, test } from 'vitest';
import { BatchBuilder, decodeBatch, decodeBatchAsync, forEachRecord, type Log } from '../../src/main.js';
import { sharedStore } from './shared-store.js';

const openLog = sharedStore();
let log: Log;

beforeEach(async () => {
  log = await openLog();
});

const invalid = (message: RegExp) =>
  expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) });

function batchOf(...values: string[]): Buffer {
  const builder = new BatchBuilder();
  for (const value of values) builder.append(1, null, value);
  return builder.finish();
}

describe('appendProduced', () => {
  test.each<[unknown, RegExp]>([
    [-1, /epoch -1: .* from 5 to 2147483647/],
    [4, /epoch 4: .* from 5/],
    [5.5, /epoch 5\.5/],
    [2 ** 31, /epoch 2147483648/],
    [Number.NaN, /epoch NaN/],
    ['5', /epoch '5'/],
    [null, /epoch null/],
  ])('refuses the epoch %j after epoch 5', (epoch, message) => {
    const batch = batchOf('a');
    log.appendProduced(batch, 0, batch.length, 5);
    expect(() => log.appendProduced(batchOf('b'), 0, batch.length, epoch as number)).toThrow(invalid(message));
    expect(() => log.appendMarker(1, 0, 'commit', 0, epoch as number)).toThrow(invalid(message));
    expect([log.end, log.lastEpoch]).toEqual([1, 5]);
  });

  test('goes on in the epoch of the last record when none is given', () => {
    const batch = batchOf('a');
    log.appendProduced(batch, 0, batch.length);
    expect(log.lastEpoch).toBe(0);
    log.appendProduced(batch, 0, batch.length, 7);
    log.appendProduced(batch, 0, batch.length);
    expect([log.end, log.lastEpoch]).toEqual([3, 7]);
  });

  test('takes a plain Uint8Array', async () => {
    const batch = batchOf('a', 'b');
    const padded = new Uint8Array(batch.length + 3);
    padded.set(batch, 3);
    expect(log.appendProduced(padded, 3, padded.length)).toEqual({ baseOffset: 0, lastOffset: 1 });
    expect(log.appendProduced(padded.subarray(3), 0, batch.length)).toEqual({ baseOffset: 2, lastOffset: 3 });
    await log.flush();
    expect((await log.read(0)).records.map(({ value }) => String(value))).toEqual(['a', 'b', 'a', 'b']);
  });

  test.each<[unknown, unknown, unknown, RegExp]>([
    ['text', 0, 4, /bytes 'text': give a Uint8Array/],
    [undefined, 0, 4, /bytes undefined: give a Uint8Array/],
    [[1, 2], 0, 2, /give a Uint8Array/],
    [batchOf('a'), 0, undefined, /from 0 to undefined: give positions within the 69 bytes/],
    [batchOf('a'), -1, 69, /from -1 to 69/],
    [batchOf('a'), 0, 70, /from 0 to 70/],
    [batchOf('a'), '0', 69, /from '0' to 69/],
    [batchOf('a'), 69, 69, /give at least one batch/],
  ])('refuses bytes that are no run: %#', (bytes, start, end, message) => {
    expect(() => log.appendProduced(bytes as Buffer, start as number, end as number)).toThrow(invalid(message));
    expect(log.end).toBe(0);
  });
});

// Without a function to call, the process ended later, when the state was durable.
test.each<[unknown, unknown, RegExp]>([
  [{ term: 1, vote: 1 }, undefined, /takes a function/],
  [{ term: 1 }, () => {}, /hard state { term: 1 }: give { term, vote }/],
  [{ term: 1.5, vote: 1 }, () => {}, /hard state/],
  [{ term: '1', vote: 1 }, () => {}, /hard state { term: '1'/],
  [{ term: 1, vote: -1 }, () => {}, /hard state/],
  [undefined, () => {}, /hard state undefined/],
])('saveHardState(%j, %j) is refused', (state, done, message) => {
  expect(() => log.saveHardState(state as never, done as never)).toThrow(invalid(message));
  expect(log.hardState).toEqual({ term: 0, vote: 0 });
});

describe('append', () => {
  test.each<[unknown, RegExp]>([
    [{ valeu: 'a' }, /record 1: there is no field "valeu"; did you mean "value"/],
    [{ value: 'a', timestmap: 5 }, /no field "timestmap"; did you mean "timestamp"/],
    [{ value: 'a', headers: {} }, /record headers {}: give an array/],
    [{ value: 'a', headers: null }, /record headers null: give an array/],
    [{ value: 'a', headers: 'x' }, /record headers 'x': give an array/],
    [{ value: 'a', headers: [null] }, /record header: the key is a string/],
    [{ value: 5 }, /record value: give a Uint8Array/],
  ])('refuses the record %j, and those beside it', async (record, message) => {
    await expect(log.append([{ value: 'fine' }, record as object])).rejects.toEqual(invalid(message));
    expect(await log.append([{ value: 'next' }])).toEqual({ baseOffset: 0, lastOffset: 0 });
  });

  test.each<[unknown, RegExp]>([
    [{ compresion: 'gzip' }, /no option "compresion"; did you mean "compression"/],
    [null, /options: give an object/],
    ['gzip', /options: give an object/],
  ])('refuses the options %j', async (options, message) => {
    await expect(log.append([{ value: 'a' }], options as object)).rejects.toEqual(invalid(message));
    expect(log.end).toBe(0);
  });

  test('takes records as they were read', async () => {
    const headers = [{ key: 'h', value: Buffer.from('1') }];
    await log.append([
      { key: 'k', value: 'a', headers, timestamp: 7 },
      { value: 'b', headers: [] },
    ]);
    const { records } = await log.read(0);
    await log.append(records);
    const again = (await log.read(2)).records;
    expect(again).toEqual(records.map((record) => ({ ...record, offset: record.offset + 2 })));
  });
});

test('a plain Uint8Array is decoded as a Buffer is', async () => {
  const batch = batchOf('a', 'b');
  const plain = new Uint8Array(batch);
  expect(decodeBatch(plain)).toEqual(decodeBatch(batch));
  expect(await decodeBatchAsync(plain)).toEqual(decodeBatch(batch));
  for (const bytes of [undefined, 'text', [1]]) {
    expect(() => decodeBatch(bytes as never)).toThrow(invalid(/give a Uint8Array/));
    expect(() => forEachRecord(bytes as never, 0, 1, () => {})).toThrow(invalid(/give a Uint8Array/));
    await expect(decodeBatchAsync(bytes as never)).rejects.toEqual(invalid(/give a Uint8Array/));
  }
});
