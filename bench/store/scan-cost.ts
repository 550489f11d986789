/**
 * Reading a log from its start to its end, all of it in the page cache: batches of 16 KiB with their CRC checked beside
 * `pread` of 64 KiB at a time, and records of 100 bytes of which offset, timestamp, key, first and last byte of the value
 * are really read, beside a reader of length-prefixed records in JavaScript.
 */
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scanBatches } from '../../src/disk/addon.js';
import { forEachRecord, type Log, openStore } from '../../src/main.js';
import { batchOfRecords, Values } from './records.js';
import type { OpenScenario, Scenario, Variant } from './scenario.js';

const TOTAL_BYTES = 128 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;
const PREAD_BYTES = 64 * 1024;
const BATCH_BYTES = 16 * 1024;
const ALL_BATCHES = 0x7fff_ffff;

const SCAN = 'varve, views and CRC';
const PREAD = 'pread of 64 KiB';
const RECORDS = 'varve, every record';
const PREFIXED = 'length-prefixed records';

export function scanCosts(): Scenario[] {
  return [
    {
      name: 'scan',
      title: 'scan of 16 KiB batches with CRC',
      unit: 'MB/s',
      higherIsBetter: true,
      checks: [{ says: 'scan ÷ pread from the page cache', value: SCAN, references: [PREAD], atLeast: 0.4 }],
      open: (folder) => open(folder, 1024),
    },
    {
      name: 'records-100',
      title: 'reading every record of 100 bytes',
      unit: 'records/s',
      higherIsBetter: true,
      checks: [{ says: 'records ÷ bare length-prefixed reader', value: RECORDS, references: [PREFIXED], atLeast: 0.4 }],
      open: openRecords,
    },
  ];
}

async function fill(
  folder: string,
  recordBytes: number,
): Promise<{ log: Log; close(): Promise<void>; records: number }> {
  const store = await openStore(join(folder, 'store'), { create: true });
  const log = await store.openLog('scanned', 0, { flush: 'none' });
  const count = Math.floor(BATCH_BYTES / recordBytes);
  const batch = batchOfRecords(count, recordBytes, new Values(recordBytes));
  let records = 0;
  for (let bytes = 0; bytes < TOTAL_BYTES; bytes += batch.length) {
    await log.whenWritable();
    log.appendProduced(batch, 0, batch.length, 0);
    records += count;
  }
  await log.flush();
  return { log, records, close: () => store.close() };
}

async function open(folder: string, recordBytes: number): Promise<OpenScenario> {
  const { log, close } = await fill(folder, recordBytes);
  const file = join(folder, 'file');
  writeFileSync(file, Buffer.alloc(TOTAL_BYTES, 'varve'));
  const fd = openSync(file, 'r');
  const buffer = Buffer.alloc(PREAD_BYTES);
  const variants: Variant[] = [
    {
      name: PREAD,
      async measure() {
        const began = performance.now();
        for (let at = 0; at < TOTAL_BYTES; at += PREAD_BYTES) readSync(fd, buffer, 0, PREAD_BYTES, at);
        return TOTAL_BYTES / (performance.now() - began) / 1000;
      },
    },
    {
      name: SCAN,
      async measure() {
        const began = performance.now();
        let bytes = 0;
        for (let offset = 0; offset < log.end; ) {
          const { views, nextOffset } = await log.readViews(offset, { maxBytes: READ_BYTES });
          for (const view of views) {
            const { end } = scanBatches(view, 0, view.length, -1, 0, ALL_BATCHES);
            if (end !== 'complete') throw new Error(`a batch at offset ${offset} does not check out: ${end}`);
            bytes += view.length;
          }
          offset = nextOffset;
        }
        return bytes / (performance.now() - began) / 1000;
      },
    },
  ];
  return {
    variants,
    async close() {
      closeSync(fd);
      await close();
    },
  };
}

async function openRecords(folder: string): Promise<OpenScenario> {
  const { log, records, close } = await fill(folder, 100);
  const prefixed = prefixedRecords(100);
  let sum = 0;
  const variants: Variant[] = [
    {
      name: PREFIXED,
      async measure() {
        const began = performance.now();
        let count = 0;
        while (count < records) {
          for (let at = 0; at < prefixed.length; count++) {
            const length = prefixed.readUInt32LE(at);
            const end = at + 4 + length;
            const offset = prefixed.readDoubleLE(at + 4);
            const timestamp = prefixed.readDoubleLE(at + 12);
            const keyEnd = at + 28;
            sum += offset + timestamp + prefixed[at + 20]! + prefixed[keyEnd]! + prefixed[end - 1]!;
            at = end;
          }
        }
        return (count * 1000) / (performance.now() - began);
      },
    },
    {
      name: RECORDS,
      async measure() {
        const began = performance.now();
        let count = 0;
        for (let offset = 0; offset < log.end; ) {
          const { views, nextOffset } = await log.readViews(offset, { maxBytes: READ_BYTES });
          for (const view of views) {
            for (let position = 0; position < view.length; ) {
              position = forEachRecord(
                view,
                position,
                view.length,
                (at, timestamp, bytes, keyStart, _keyLength, valueStart, valueLength) => {
                  sum += at + timestamp + bytes[keyStart]! + bytes[valueStart]! + bytes[valueStart + valueLength - 1]!;
                  count++;
                },
              );
            }
          }
          offset = nextOffset;
        }
        return (count * 1000) / (performance.now() - began);
      },
    },
  ];
  return {
    variants,
    notes: () => (Number.isFinite(sum) ? [] : ['the sum of what was read is no number']),
    close,
  };
}

/** One MiB of: length u32, offset f64, timestamp f64, key of 8 bytes, value. */
function prefixedRecords(bytes: number): Buffer {
  const count = Math.floor(READ_BYTES / (bytes + 4));
  const all = Buffer.alloc(count * (bytes + 4), 'varve');
  for (let i = 0; i < count; i++) {
    const at = i * (bytes + 4);
    all.writeUInt32LE(bytes, at);
    all.writeDoubleLE(i, at + 4);
    all.writeDoubleLE(1_700_000_000_000 + i, at + 12);
  }
  return all;
}
