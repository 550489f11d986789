// With a whole other segment in place of the one that the durable mark is in, recovery ran past the places that checkpoint and
// journal know, since its batches check out, went back to the next one, and ended with INVARIANT_BROKEN: no opening any more.
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { partitionDirectory } from '../../src/segment/file-names.js';
import { crashImage, temporaryDirectory } from '../log/crash-image.js';

const KIB = 1024;
const OPTIONS = { create: true, checkpointIntervalMs: 3_600_000 };
const FIRST = '00000000000000000000.log';
const ID = { large: 'aa'.repeat(16), small: 'bb'.repeat(16) };

const fileOf = (path: string, name: 'large' | 'small'): string =>
  join(path, partitionDirectory(name, 0, ID[name]), FIRST);

test('the segment of another log is damage, as far as anything knows better', async () => {
  const directory = join(temporaryDirectory(), 'store');
  const store = await openStore(directory, OPTIONS);
  const large = await store.openLog('large', 0, { topicId: ID.large });
  const small = await store.openLog('small', 0, { topicId: ID.small });
  // More offsets in fewer bytes.
  for (let i = 0; i < 5; i++) await large.append([{ value: Buffer.alloc(8 * KIB) }]);
  for (let i = 0; i < 50; i++) await small.append([{ value: Buffer.alloc(200) }]);
  await store.checkpoint();
  const path = crashImage(directory);
  await store.close();
  copyFileSync(fileOf(path, 'small'), fileOf(path, 'large'));

  const again = await openStore(path, OPTIONS);
  const log = await again.openLog('large', 0, { topicId: ID.large });
  expect(log.end).toBe(5);
  expect(log.recovery.damaged).toMatchObject([{ endPosition: log.recovery.durableMark!.position }]);
  expect(await log.append([{ value: 'goes on behind it' }])).toMatchObject({ baseOffset: 5 });
  await again.close();
});
