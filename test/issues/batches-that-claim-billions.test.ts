// A batch says itself how many records it holds, and nobody looks into it when it is stored. A run of batches that
// claim two billion records each spans more offsets than index entries can tell apart: the index refused the run after
// its bytes had been stored, so the log took nothing more, and recovery, which met them again, could not open the store.
import { expect, test } from 'vitest';
import { crc32c } from '../../src/disk/addon.js';
import { openStore } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import {
  CRC_AT,
  CRC_START,
  LAST_OFFSET_DELTA_AT,
  MAX_TIMESTAMP_AT,
  RECORD_COUNT_AT,
  writeInt64,
} from '../../src/record/record-batch.js';
import { crashImage, temporaryDirectory } from '../log/crash-image.js';

const CLAIMED = 0x7fff_ffff;

function batch(value: string, maxTimestamp: number, records: number): Buffer {
  const builder = new BatchBuilder();
  builder.append(1, null, value);
  const bytes = builder.finish();
  bytes.writeInt32BE(records - 1, LAST_OFFSET_DELTA_AT);
  bytes.writeInt32BE(records, RECORD_COUNT_AT);
  writeInt64(bytes, MAX_TIMESTAMP_AT, maxTimestamp);
  bytes.writeUInt32BE(crc32c(bytes, CRC_START, bytes.length), CRC_AT);
  return bytes;
}

test('a run that claims more offsets than a segment can index is stored, and the store goes on and opens again', async () => {
  const directory = `${temporaryDirectory()}/store`;
  const store = await openStore(directory, { create: true });
  const log = await store.openLog('events', 0);
  await log.append([{ value: 'before' }]);
  const run = Buffer.concat([1, 2, 3, 4].map((i) => batch('x'.repeat(5000), i, CLAIMED)));
  log.appendProduced(run, 0, run.length, 0);
  const { baseOffset } = await log.append([{ value: 'after' }]);
  expect(baseOffset).toBe(1 + 4 * CLAIMED);
  const image = crashImage(directory);
  await store.close();

  for (const path of [image, directory]) {
    const reopened = await openStore(path);
    const again = await reopened.openLog('events', 0);
    expect(again.recovery.damaged).toEqual([]);
    expect(again.end).toBe(baseOffset + 1);
    for (const [offset, value] of [[0, 'before'] as const, [baseOffset, 'after'] as const]) {
      expect(String((await again.read(offset, { maxBytes: 1 })).records[0]?.value)).toBe(value);
    }
    expect(again.viewsFrom(2 + 3 * CLAIMED, 1).nextOffset).toBe(baseOffset);
    await reopened.close();
  }
});
