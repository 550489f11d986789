/**
 * Floor (a): one process that writes and syncs, and does nothing else. What the disk alone allows, before any network,
 * replica or record exists: the records a second that would be, if `chunkBytes` of them were written at a time.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { RecordSource } from '../payload/record-source.js';

const RING_BYTES = 16 * 1024 * 1024;
/** The loop is synchronous; this often it lets others run. */
const SLICE_MS = 50;

export interface SyncLoopResult {
  readonly recordsPerSync: number;
  readonly records: number;
  readonly syncs: number;
  readonly seconds: number;
}

export async function runSyncLoop(
  folder: string,
  source: RecordSource,
  recordsPerSync: number,
  measureMs: number,
): Promise<SyncLoopResult> {
  const path = join(folder, 'sync-loop');
  const fd = openSync(path, 'wx');
  try {
    const chunkBytes = recordsPerSync * source.recordBytes;
    const chunk = Buffer.alloc(chunkBytes);
    for (let i = 0; i < recordsPerSync; i += 1) source.fill(chunk.subarray(i * source.recordBytes), 0, i);
    const places = Math.max(1, Math.floor(RING_BYTES / chunkBytes));
    for (let i = 0; i < places; i += 1) writeSync(fd, chunk, 0, chunkBytes, i * chunkBytes);
    fsyncSync(fd);
    const start = performance.now();
    let syncs = 0;
    let sliceEnd = start + SLICE_MS;
    for (let now = start; now - start < measureMs; now = performance.now()) {
      if (now > sliceEnd) {
        await new Promise((resolve) => setImmediate(resolve));
        sliceEnd = performance.now() + SLICE_MS;
      }
      writeSync(fd, chunk, 0, chunkBytes, (syncs % places) * chunkBytes);
      fdatasyncSync(fd);
      syncs += 1;
    }
    const seconds = (performance.now() - start) / 1000;
    return { recordsPerSync, records: syncs * recordsPerSync, syncs, seconds };
  } finally {
    closeSync(fd);
    unlinkSync(path);
  }
}
