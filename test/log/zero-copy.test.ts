// Views are the pages of the file, not copies: they cost no memory, share one ArrayBuffer per segment, and outlive
// everything that can happen to the log.
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, onTestFinished, test } from 'vitest';
import { encodedBatch } from '../../bench/store/records.js';
import { openStore, type Store } from '../../src/log/store.js';

const MIB = 1024 * 1024;
const SCANNED_BYTES = 1024 * MIB;
const BATCH_BYTES = 256 * 1024;
const GROWTH_MAX_BYTES = 8 * MIB;

/** In memory where that is possible: a gigabyte is written twice. */
async function openTemporary(options: Parameters<typeof openStore>[1] = {}): Promise<Store> {
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const path = await mkdtemp(join(base, 'varve-zero-copy-'));
  const store = await openStore(path, { create: true, ...options });
  onTestFinished(async () => {
    await store.close();
    await rm(path, { recursive: true, force: true });
  });
  return store;
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

/**
 * Memory that a copy would show up in: what the process holds that belongs to no file. Node's own `external` counts the
 * address space of mappings.
 */
function unmappedBytes(): number {
  collectGarbage();
  const line = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(line![1]) * 1024;
}

test('two reads of one segment share one ArrayBuffer', async () => {
  const store = await openTemporary();
  const log = await store.openLog('t', 0);
  for (let i = 0; i < 4; i++) await log.append([{ value: `value ${i}` }]);
  const [first] = (await log.readViews(0, { maxBytes: 1 })).views;
  const [second] = (await log.readViews(2, { maxBytes: 1 })).views;
  expect(second!.buffer).toBe(first!.buffer);
  expect(second!.byteOffset).toBeGreaterThan(first!.byteOffset);
});

test('scanning a gigabyte through views takes no memory of its own', async () => {
  const store = await openTemporary({ journalFileBytes: 16 * MIB, journalMaxBytes: 64 * MIB });
  const log = await store.openLog('t', 0, { flush: 'none', segmentBytes: 128 * MIB });
  const batch = encodedBatch(BATCH_BYTES);
  const written = Buffer.from(batch);
  for (let bytes = 0; bytes < SCANNED_BYTES; bytes += BATCH_BYTES) {
    await log.whenWritable();
    log.appendProduced(batch, 0, batch.length, 0);
    if (bytes % (16 * MIB) === 0) await log.flush();
  }
  await log.flush();
  const before = unmappedBytes();
  // All views are held: copies would be garbage by now otherwise.
  const held: Buffer[] = [];
  let bytes = 0;
  let most = 0;
  for (let offset = 0; offset < log.end; ) {
    const { views, nextOffset } = await log.readViews(offset, { maxBytes: 4 * MIB });
    for (const view of views) {
      // The last record's last byte stands in for the bytes of a batch: comparing all of them is another test's work.
      expect(view[BATCH_BYTES - 1]).toBe(written[BATCH_BYTES - 1]);
      held.push(view);
      bytes += view.length;
    }
    offset = nextOffset;
    if (bytes % (128 * MIB) === 0) most = Math.max(most, unmappedBytes() - before);
  }
  expect(bytes).toBe(SCANNED_BYTES);
  expect(held.reduce((sum, { length }) => sum + length, 0)).toBe(SCANNED_BYTES);
  expect(most).toBeLessThan(GROWTH_MAX_BYTES);
  expect(unmappedBytes() - before).toBeLessThan(GROWTH_MAX_BYTES);
});

test('a view outlives retention, truncation, eviction and close with the right bytes', async () => {
  const store = await openTemporary();
  const log = await store.openLog('t', 0, { segmentBytes: MIB, replicated: true });
  const batch = encodedBatch(BATCH_BYTES);
  for (let i = 0; i < 12; i++) log.appendProduced(batch, 0, batch.length, 1);
  await log.flush();
  log.advanceHighWatermark(8);
  const held = [0, 5, 10].map((offset) => log.viewsFrom(offset, 1, 'end').views[0]!);
  const copies = held.map((view) => Buffer.from(view));

  log.truncate(9);
  await log.flush();
  log.appendProduced(batch, 0, batch.length, 2);
  await log.flush();
  await log.deleteBefore(6);
  await store.checkpoint();
  await log.close();
  collectGarbage();
  for (const [i, view] of held.entries()) expect(view.equals(copies[i]!)).toBe(true);
});
