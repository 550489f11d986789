import { expect, test } from 'vitest';
import { xxhash32 } from '../../src/record/xxhash32.js';

test.each([
  ['', 0x02cc5d05],
  ['a', 0x550d7456],
  ['abc', 0x32d153ff],
  ['Nobody inspects the spammish repetition', 0xe2293b2f],
])('xxhash32 of %j is what the reference says', (text, hash) => {
  const bytes = Buffer.from(`..${text}..`);
  expect(xxhash32(bytes, 2, 2 + text.length)).toBe(hash);
});
