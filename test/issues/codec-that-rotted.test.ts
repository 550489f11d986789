// A flipped bit in the attributes of a stored batch was told to readers as a codec that nobody knows, and not as damage.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { decodeBatch } from '../../src/record/decode.js';
import { openStore } from '../../src/log/store.js';
import { partitionDirectory } from '../../src/segment/file-names.js';
import { temporaryDirectory } from '../log/crash-image.js';

const TOPIC_ID = 'c0'.repeat(16);
const ATTRIBUTES_AT = 22;

test('rot in the codec of a batch is damage', async () => {
  const path = join(temporaryDirectory(), 'store');
  const store = await openStore(path, { create: true });
  const log = await store.openLog('t', 0, { topicId: TOPIC_ID });
  await log.append([{ value: 'a record' }]);
  await store.close();
  const file = join(path, partitionDirectory('t', 0, TOPIC_ID), '00000000000000000000.log');
  const bytes = readFileSync(file);
  bytes[ATTRIBUTES_AT]! ^= 7;
  writeFileSync(file, bytes);
  const again = await openStore(path);
  const damaged = await again.openLog('t', 0, { topicId: TOPIC_ID });
  await expect(damaged.read(0)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  await again.close();
  const error = (checkCrc: boolean) => () => decodeBatch(bytes, 0, bytes.length, { checkCrc });
  expect(error(true)).toThrow(expect.objectContaining({ code: 'CORRUPT_BATCH' }));
  expect(error(false)).toThrow();
});
