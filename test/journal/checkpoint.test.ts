import { expect, test } from 'vitest';
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint } from '../../src/journal/checkpoint.js';
import { newLogState } from '../../src/journal/log-state.js';

const checkpoint: Checkpoint = {
  sequence: 7,
  directoryId: 'cd'.repeat(16),
  bootId: 'boot',
  journalFile: 3,
  journalLsn: 4096,
  journalChecksum: 1,
  logs: [
    { ...newLogState('täglich', 0, 'ab'.repeat(16)), segments: [{ base: 0, tag: 2, length: 99 }], epochs: [[1, 0]] },
  ],
};

test('a checkpoint is read back as it was written', () => {
  expect(decodeCheckpoint(encodeCheckpoint(checkpoint), 'checkpoint')).toEqual(checkpoint);
});

test('one wrong bit anywhere, or one byte more or less, and it is not taken', () => {
  const bytes = encodeCheckpoint(checkpoint);
  for (let at = 0; at < bytes.length; at++) {
    const wrong = Buffer.from(bytes);
    wrong[at] = wrong[at]! ^ (1 << (at % 8));
    expect(() => decodeCheckpoint(wrong, 'checkpoint')).toThrow();
  }
  for (const wrong of [bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.alloc(1)]), Buffer.alloc(0)]) {
    expect(() => decodeCheckpoint(wrong, 'here/checkpoint')).toThrow(
      expect.objectContaining({
        code: 'CORRUPT_CHECKPOINT',
        message: expect.stringMatching(/here\/checkpoint: .*restore/),
      }),
    );
  }
});

test('a checkpoint of another format version says which build to use', () => {
  const bytes = encodeCheckpoint(checkpoint);
  bytes.writeUInt32LE(2, 8);
  expect(() => decodeCheckpoint(bytes, 'checkpoint')).toThrow(expect.objectContaining({ code: 'DIRECTORY_MISMATCH' }));
});

test('a row without configurations has none; wrong ones are not taken', () => {
  const row = checkpoint.logs[0]!;
  const encode = (configurations: unknown): Buffer =>
    encodeCheckpoint({ ...checkpoint, logs: [{ ...row, configurations: configurations as [] }] });
  const good = [
    [3, ''],
    [7, 'AQID'],
  ];
  expect(decodeCheckpoint(encode(good), 'checkpoint').logs[0]!.configurations).toEqual(good);
  expect(decodeCheckpoint(encode(undefined), 'checkpoint').logs[0]!.configurations).toBeUndefined();
  for (const wrong of [
    {},
    [[3]],
    [[-1, '']],
    [[3, 'not base64']],
    [[3, 7]],
    [
      [7, ''],
      [7, ''],
    ],
    [null],
  ]) {
    expect(() => decodeCheckpoint(encode(wrong), 'checkpoint'), JSON.stringify(wrong)).toThrow(
      expect.objectContaining({ code: 'CORRUPT_CHECKPOINT' }),
    );
  }
});
