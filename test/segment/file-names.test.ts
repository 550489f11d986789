import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  checkPartition,
  checkTopicId,
  checkTopicName,
  isSetAside,
  logFileName,
  parseLogFileName,
  parsePartitionDirectory,
  partitionDirectory,
  setAsideName,
} from '../../src/segment/file-names.js';

const topicId = 'ab'.repeat(16);

test("names of logs are Kafka's; only a name that was taken carries a generation", () => {
  expect(logFileName({ base: 1234, tag: 0 })).toBe('00000000000000001234.log');
  expect(logFileName({ base: 1234, tag: 7 })).toBe('00000000000000001234.7.log');
});

test('every name that is written is read back', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.nat(), (base, tag) => {
      expect(parseLogFileName(logFileName({ base, tag }))).toEqual({ base, tag });
      expect(isSetAside(setAsideName(logFileName({ base, tag }), 3))).toBe(true);
      expect(parseLogFileName(setAsideName(logFileName({ base, tag }), 3))).toBeUndefined();
    }),
  );
});

test.each([
  '1.log',
  '00000000000000000001.index',
  '00000000000000000001.0.log',
  '99999999999999999999.log',
  '00000000000000000001.log.tmp',
])('%s is no segment', (name) => expect(parseLogFileName(name)).toBeUndefined());

test('partition directories are read back, dashes and dots in topics included', () => {
  for (const topic of ['a', 'a-1', 'a.b-2.c', '...', '-']) {
    const name = partitionDirectory(topic, 12, topicId);
    expect(parsePartitionDirectory(name)).toEqual({ topic, partition: 12, topicId });
  }
  for (const name of [
    'journal',
    `a-01.${topicId}`,
    `a-1.${topicId}x`,
    `-1.${topicId}`,
    `a-4294967296.${topicId}`,
    `a/b-1.${topicId}`,
  ]) {
    expect(parsePartitionDirectory(name)).toBeUndefined();
  }
});

test('whatever comes from outside is checked', () => {
  fc.assert(
    fc.property(fc.string(), (topic) => {
      const fine = /^[a-zA-Z0-9._-]{1,200}$/.test(topic) && topic !== '.' && topic !== '..';
      if (fine) checkTopicName(topic);
      else expect(() => checkTopicName(topic)).toThrow(expect.objectContaining({ code: 'INVALID_TOPIC' }));
    }),
  );
  for (const partition of [-1, 1.5, Number.NaN, 2 ** 31]) {
    expect(() => checkPartition(partition)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  }
  for (const id of ['', '../..', 'AB'.repeat(16), 'ab'.repeat(15)]) {
    expect(() => checkTopicId(id)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  }
});
