/** Verification of a segment whose files were gone ended with an error, and what lay behind it was not looked at. */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';

const MIB = 1024 * 1024;
const OPTIONS = { create: true, journalFileBytes: MIB, checkpointIntervalMs: 3_600_000 };

test('a segment whose files are gone is reported as damage, and the segments behind it are read', async () => {
  const path = temporaryDirectory();
  const first = await openStore(path, OPTIONS);
  const filled = await first.openLog('t', 0, { segmentBytes: MIB });
  while (filled.end < 40) await filled.append([{ value: 'x'.repeat(100_000) }]);
  await first.close();
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  for (const name of readdirSync(directory))
    if (name.startsWith('00000000000000000000.')) rmSync(join(directory, name));

  const store = await openStore(path, OPTIONS);
  const log = await store.openLog('t', 0, { segmentBytes: MIB });
  const report = await log.verify();
  expect(report.damaged.map(({ segmentBaseOffset }) => segmentBaseOffset)).toEqual([0]);
  expect(report.segments).toBeGreaterThan(1);
  await expect(log.read(0)).rejects.toMatchObject({ code: 'CORRUPT_LOG' });
  expect((await log.read(39)).records[0]?.offset).toBe(39);
  await store.close();
});
