// A lookup by timestamp walks over a segment's batches and waits whenever it decodes one. A batch whose header names a
// time that none of its records has made it walk on, past the bytes that were there when it began: appends that came in
// meanwhile ended it with a RangeError.
import { expect, test } from 'vitest';
import { crc32c } from '../../src/disk/addon.js';
import { openStore } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { CRC_AT, CRC_START, MAX_TIMESTAMP_AT, writeInt64 } from '../../src/record/record-batch.js';
import { temporaryDirectory } from '../log/crash-image.js';

test('a lookup by timestamp beside appends finds what was there when it began, or nothing', async () => {
  const store = await openStore(`${temporaryDirectory()}/store`, { create: true });
  const log = await store.openLog('events', 0);
  const builder = new BatchBuilder();
  builder.append(1000, null, 'older than its batch says');
  const batch = builder.finish();
  writeInt64(batch, MAX_TIMESTAMP_AT, 5000);
  batch.writeUInt32BE(crc32c(batch, CRC_START, batch.length), CRC_AT);
  log.appendProduced(batch, 0, batch.length, 0);
  await log.flush();

  const found = log.offsetForTimestamp(4000);
  const appended = log.append([{ value: 'x', timestamp: 4500 }]);
  expect([undefined, { offset: 1, timestamp: 4500 }]).toContainEqual(await found);
  await appended;
  expect(await log.offsetForTimestamp(4000)).toEqual({ offset: 1, timestamp: 4500 });
  await store.close();
});
