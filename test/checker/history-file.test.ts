// Lines that are no history: each is refused with file, line, what is wrong, and what to do.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { HistoryChecker, checkHistory } from '../../src/checker/history-checker.js';
import { checkHistoryFile, checkHistoryStream } from '../../src/checker/history-file.js';
import type { Operation } from '../../src/checker/operation.js';
import { temporaryDirectory } from '../log/crash-image.js';

const HEADER = '{"op":"history","version":1}';

const poll = (rest: string): string => `{"op":"poll","partition":"p","consumer":"c","time":1,${rest}}`;
const send = (rest: string): string => `{"op":"send","partition":"p","producer":"w","time":1,${rest}}`;

test.each([
  ['no header', `${send('"value":"a"')}`, 1, 'a history begins with {"op":"history","version":1}'],
  ['two headers', `${HEADER}\n${HEADER}`, 2, 'one header'],
  ['another version', '{"op":"history","version":2}', 1, 'version must be one of 1, not 2'],
  ['no JSON', `${HEADER}\n{"op":}\n`, 2, 'not JSON'],
  ['a line that was cut off', `${HEADER}\n{"op":"poll","par`, 2, 'the file ends inside this line'],
  ['no object', `${HEADER}\n[1]`, 2, 'is not an object'],
  ['no op', `${HEADER}\n\n{"time":1}`, 3, 'there is no "op"'],
  ['a misspelled op', `${HEADER}\n{"op":"pol","time":1}`, 2, `there is no operation 'pol'; did you mean "poll"?`],
  ['a misspelled field', `${HEADER}\n${poll('"hihgWatermark":1')}`, 2, 'did you mean "highWatermark"?'],
  ['a name of Object', `${HEADER}\n${poll('"constructor":1')}`, 2, 'poll has no field "constructor"'],
  ['a field that is missing', `${HEADER}\n{"op":"poll","partition":"p","time":1}`, 2, 'poll needs "consumer"'],
  ['a wrong offset', `${HEADER}\n${poll('"from":-1')}`, 2, 'from must be a whole number from 0 on, not -1'],
  [
    'wrong records',
    `${HEADER}\n${poll('"records":[[1]]')}`,
    2,
    'records must be a list of [offset, value, epoch?, timestamp?]',
  ],
  ['next before from', `${HEADER}\n${poll('"from":2,"next":1')}`, 2, 'poll goes back'],
  ['a record behind next', `${HEADER}\n${poll('"next":1,"records":[[1,"a"]]')}`, 2, 'record at 1, and its next is 1'],
  ['a final poll without ends', `${HEADER}\n${poll('"final":true')}`, 2, 'a final poll needs'],
  [
    'records of a failed poll',
    `${HEADER}\n${poll('"outcome":"failed","records":[[1,"a"]]')}`,
    2,
    'its outcome is failed',
  ],
  ['value and values', `${HEADER}\n${send('"value":1,"values":[1]')}`, 2, 'either "value" or "values"'],
  ['too few keys', `${HEADER}\n${send('"values":[1,2],"keys":[1]')}`, 2, '2 values and 1 keys'],
  [
    'an offset without an answer',
    `${HEADER}\n${send('"value":1,"offset":1,"outcome":"unknown"')}`,
    2,
    'only an answer has one',
  ],
  [
    'half an identity',
    `${HEADER}\n${send('"value":1,"producerId":1')}`,
    2,
    'all of producerId, producerEpoch, sequence',
  ],
  ['begin after time', `${HEADER}\n${send('"value":1,"begin":2')}`, 2, 'begin (2) is after time (1)'],
  ['lines out of order', `${HEADER}\n${send('"value":1')}\n{"op":"heal","time":0.5}`, 3, 'before 1 of line 2'],
  [
    'late settings',
    `${HEADER}\n${send('"value":1')}\n{"op":"partition","partition":"p"}`,
    3,
    'before anything else of it',
  ],
  ['an unknown fault', `${HEADER}\n{"op":"fault","fault":"fire","time":1}`, 2, "fault must be one of 'kill'"],
  ['a kill of nobody', `${HEADER}\n{"op":"fault","fault":"kill","time":1}`, 2, 'fault kill needs "nodes"'],
  [
    'rot nowhere',
    `${HEADER}\n{"op":"fault","fault":"bit-rot","nodes":[1],"time":1}`,
    2,
    'needs "partition" and "offset"',
  ],
])('%s', async (_, text, line, message) => {
  const path = join(temporaryDirectory(), 'history.jsonl');
  writeFileSync(path, text);
  const error = await checkHistoryFile(path).then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  expect(error).toMatchObject({ code: 'INVALID_HISTORY' });
  expect(error!.message).toContain(`${path}:${line}: `);
  expect(error!.message).toContain(message);
});

test('a file that is not there, an empty one, and one that is not UTF-8', async () => {
  const folder = temporaryDirectory();
  await expect(checkHistoryFile(join(folder, 'nothing'))).rejects.toThrow(/cannot read .*nothing: ENOENT/);
  writeFileSync(join(folder, 'empty'), '\n');
  await expect(checkHistoryFile(join(folder, 'empty'))).rejects.toThrow(/empty is empty: a history begins with/);
  writeFileSync(join(folder, 'latin'), Buffer.from([0x7b, 0xff, 0x0a]));
  await expect(checkHistoryFile(join(folder, 'latin'))).rejects.toThrow(/latin:1: not UTF-8/);
});

test('lines may be cut anywhere between the chunks of a stream', async () => {
  const text = `${HEADER}\r\n${send('"value":"ä"')}\n\n${poll('"records":[[0,"ä"],[1,"x"]]')}`;
  const bytes = Buffer.from(text);
  for (let size = 1; size < 20; size += 1) {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    );
    const verdict = await checkHistoryStream(
      (async function* () {
        yield* chunks;
      })(),
    );
    expect(verdict.counts).toEqual({ 'corrupt-served': 1 });
    expect(verdict.anomalies[0]!.lines).toEqual([4]);
  }
});

test('as a library: operations are objects, and a verdict is given once', async () => {
  const operations: Operation[] = [
    { op: 'history', version: 1 },
    { op: 'send', partition: 'p', producer: 1, value: 7, offset: 0, begin: 1, time: 2 },
    { op: 'poll', partition: 'p', consumer: 1, records: [[0, '7']], time: 3 },
  ];
  expect(await checkHistory(operations)).toMatchObject({
    clean: true,
    operations: 2,
    partitions: 1,
    sends: { ok: 1, failed: 0, unknown: 0 },
  });
  const checker = new HistoryChecker({ name: 'mine' });
  for (const operation of operations) checker.add(operation);
  expect(() => checker.add({ op: 'heal', time: Number.NaN })).toThrow('mine:4: heal: time must be a number, not NaN');
  checker.finish();
  expect(() => checker.finish()).toThrow('the verdict was given');
});

test('all anomalies are counted, and as many are kept as were asked for', async () => {
  const operations: Operation[] = [{ op: 'history', version: 1 }];
  for (let i = 0; i < 5; i += 1) {
    operations.push({ op: 'poll', partition: 'p', consumer: 1, records: [[i, `x${i}`]], time: i });
  }
  const verdict = await checkHistory(operations, { keep: 2 });
  expect(verdict.counts).toEqual({ 'corrupt-served': 5 });
  expect(verdict.anomalies.map((one) => one.offset)).toEqual([0, 1]);
});

test('values that are no identities are refused before they make the checker slow', async () => {
  const same = function* (): Generator<Operation> {
    yield { op: 'history', version: 1 };
    for (let i = 0; i < 2000; i += 1) yield { op: 'send', partition: 'p', producer: 1, value: 'x', time: i };
  };
  await expect(checkHistory(same())).rejects.toThrow(/^history:1003: value "x" was sent more than 1000 times/);
});
