// A checkpoint whose checksum was right and whose content was not ended the opening with an error of JSON.parse, or later
// with whatever the missing fields led to.
import { expect, test } from 'vitest';
import { crc32c } from '../../src/disk/addon.js';
import { decodeCheckpoint } from '../../src/journal/checkpoint.js';

function checkpointOf(text: string): Buffer {
  const body = Buffer.from(text);
  const head = Buffer.alloc(20);
  head.write('VARVECKP', 0, 'latin1');
  head.writeUInt32LE(1, 8);
  head.writeUInt32LE(body.length, 12);
  head.writeUInt32LE(crc32c(body, 0, body.length), 16);
  return Buffer.concat([head, body]);
}

test.each(['', 'null', '{', '{}', '[]', '{"sequence":1,"directoryId":"","bootId":"","logs":[{}]}'])(
  'a body of %j is CORRUPT_CHECKPOINT',
  (body) => {
    expect(() => decodeCheckpoint(checkpointOf(body), 'checkpoint')).toThrow(
      expect.objectContaining({ code: 'CORRUPT_CHECKPOINT', message: expect.stringContaining('checkpoint') }),
    );
  },
);
