/**
 * Appends to and reads from a log through the public API, in a temporary directory that is removed afterwards. One call
 * appends one batch and waits until it is acknowledged, so the sync rows are bounded by the disk; the rows with many
 * batches at once show what group commit makes of it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FlushMode, type Log, openStore, type RecordInput } from '../../src/main.js';
import type { MicroSuite, MicroTask } from './task.js';

const RECORD_BYTES = 1024;
const BATCH_RECORDS = 64;
const CONCURRENT_APPENDS = 64;
const READ_BYTES = 1024 * 1024;
const FLUSH_MODES: readonly FlushMode[] = ['sync', 'none'];

export async function logSuite(): Promise<MicroSuite> {
  const path = await mkdtemp(join(tmpdir(), 'varve-micro-'));
  const store = await openStore(path, { create: true });
  const value = Buffer.alloc(RECORD_BYTES, 'varve');
  const single: RecordInput[] = [{ value }];
  const batch: RecordInput[] = Array.from({ length: BATCH_RECORDS }, () => ({ value }));

  const tasks: MicroTask[] = [];
  for (const flush of FLUSH_MODES) {
    const log = await store.openLog(`flush-${flush}`, 0, { flush });
    tasks.push(
      appendTask(log, `append 1 record, flush ${flush}`, single, 1),
      appendTask(log, `append ${BATCH_RECORDS} records, flush ${flush}`, batch, 1),
      appendTask(log, `append 1 record × ${CONCURRENT_APPENDS} at once, flush ${flush}`, single, CONCURRENT_APPENDS),
    );
  }
  tasks.push(...(await readTasks(await store.openLog('read', 0, { flush: 'none' }), batch)));
  return {
    tasks,
    async close() {
      await store.close();
      await rm(path, { recursive: true, force: true });
    },
  };
}

function appendTask(log: Log, name: string, records: readonly RecordInput[], concurrent: number): MicroTask {
  const count = records.length * concurrent;
  return {
    name: `${name} · ${RECORD_BYTES} B`,
    records: count,
    bytes: count * RECORD_BYTES,
    run: async () => {
      if (concurrent === 1) return await log.append(records);
      return await Promise.all(Array.from({ length: concurrent }, () => log.append(records)));
    },
  };
}

async function readTasks(log: Log, batch: readonly RecordInput[]): Promise<MicroTask[]> {
  const batches = Math.ceil((4 * READ_BYTES) / (BATCH_RECORDS * RECORD_BYTES));
  for (let i = 0; i < batches; i++) await log.append(batch);
  await log.flush();
  const { records } = await log.read(0, { maxBytes: READ_BYTES });
  const shared = { records: records.length, bytes: records.length * RECORD_BYTES };
  return [
    { name: `read 1 MiB, copies · ${RECORD_BYTES} B`, ...shared, run: () => log.read(0, { maxBytes: READ_BYTES }) },
    { name: `read 1 MiB, views · ${RECORD_BYTES} B`, ...shared, run: () => log.readViews(0, { maxBytes: READ_BYTES }) },
  ];
}
