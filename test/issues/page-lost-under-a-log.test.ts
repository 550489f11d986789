// A page of a segment that cannot be read (its file was shortened under the mapping, a sector is gone) reads as zeros.
// Nobody asked the segment: decoding called it a corrupt log, and views of zeros were handed out as batches.
import { readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const LOST = { code: 'DISK_FAILED', message: expect.stringMatching(/t-0.*00000000000000000000.*\.log/) };

/** A log of two segments, of which the first one's file is emptied under it. */
async function withLostPages(use: (log: Log) => Promise<void>): Promise<void> {
  const path = temporaryDirectory();
  const store = await openStore(path, { create: true, journalFileBytes: MIB });
  const log = await store.openLog('t', 0, { segmentBytes: MIB });
  while (log.end < 15) await log.append([{ value: 'x'.repeat(100_000), timestamp: log.end }]);
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  const [first] = readdirSync(directory).filter((name) => name.endsWith('.log'));
  truncateSync(join(directory, first!), 0);
  await use(log);
  expect((await log.read(14)).records.map(({ offset }) => offset)).toEqual([14]);
  await store.close();
}

test('records are not read from lost pages', () =>
  withLostPages((log) => expect(log.read(0)).rejects.toMatchObject(LOST)));

test('a timestamp is not looked up in lost pages', () =>
  withLostPages((log) => expect(log.offsetForTimestamp(3)).rejects.toMatchObject(LOST)));

test.each(['committed', 'end'] as const)('views of lost pages are not handed out (%s)', (limit) =>
  withLostPages(async (log) => {
    await log.read(0).catch(() => {});
    expect(() => log.viewsFrom(0, MIB, limit)).toThrow(expect.objectContaining(LOST));
    await expect(log.readViews(0)).rejects.toMatchObject(LOST);
  }),
);
