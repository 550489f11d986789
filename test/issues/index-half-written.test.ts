// Of the two index files of a sealed segment the first was written and the second met a full disk. The indexes then
// passed for written: the next checkpoint left the second file as it was, old but consistent in itself, and after a
// restart a lookup by timestamp passed over the records that only the lost file knew of.
import { expect, test } from 'vitest';
import type { Disk } from '../../src/disk/disk.js';
import { SegmentIndexes } from '../../src/segment/segment-indexes.js';

test.each(['index', 'timeindex'])('indexes whose .%s file was not written are written again', async (failing) => {
  const written: string[] = [];
  let isFull = true;
  const disk = {
    replaceFile: async (path: string) => {
      if (isFull && path.endsWith(`.${failing}`)) throw new Error('full');
      written.push(path);
    },
  } as unknown as Disk;
  const indexes = new SegmentIndexes(0, 4096);
  indexes.add(0, 0, 9, 1000);
  await expect(indexes.save(disk, 's')).rejects.toThrow('full');
  expect(indexes.dirty).toBe(true);
  isFull = false;
  written.length = 0;
  await indexes.save(disk, 's');
  expect(indexes.dirty).toBe(false);
  expect(written).toEqual(['s.index', 's.timeindex']);
});
