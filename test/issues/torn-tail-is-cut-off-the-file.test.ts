// Recovery ended the log before a torn batch, but left the bytes behind it in the file; only opening the log shortened
// it, and no sync made that durable. A second power cut could bring back a whole batch that lay behind the torn one, and
// where a new batch of the same size and count had been stored before it, it joined on: a record that had been cut off
// was part of the log again, out of order.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { crashImage, temporaryDirectory } from '../log/crash-image.js';

function segmentOf(directory: string): string {
  const partition = join(directory, readdirSync(directory).find((name) => name.startsWith('events-0.'))!);
  return join(partition, readdirSync(partition).find((name) => name.endsWith('.log'))!);
}

test('once the store is open, no file holds anything behind the end of its log', async () => {
  const directory = `${temporaryDirectory()}/store`;
  const store = await openStore(directory, { create: true });
  const log = await store.openLog('events', 0, { flush: 'none' });
  for (let i = 0; i < 4; i++) await log.append([{ value: 'x'.repeat(100) }]);
  const { views } = log.viewsFrom(0, 1000, 'end');
  const batchBytes = views[0]!.length / 4;
  const image = crashImage(directory);
  await store.close();

  // The third batch is torn, the fourth is whole.
  const bytes = readFileSync(segmentOf(image));
  bytes.fill(0, 2 * batchBytes + 70, 3 * batchBytes);
  writeFileSync(segmentOf(image), bytes);
  const reopened = await openStore(image);
  expect(statSync(segmentOf(image)).size).toBe(2 * batchBytes);
  const recovered = await reopened.openLog('events', 0);
  expect(recovered.end).toBe(2);
  await reopened.close();
});
