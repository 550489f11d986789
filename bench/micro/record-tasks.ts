/**
 * Encoding, decoding, compressing and checking of record batches, on real events. Batches hold about 64 KiB; buffers are
 * recycled, as the Producer does it. A codec is measured both ways by the functions that batches go through.
 */
import { crc32c } from '../../src/disk/addon.js';
import { BatchBuffers } from '../../src/record/batch-buffers.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { decodeBatch, decodeBatchAsync, forEachRecord } from '../../src/record/decode.js';
import { COMPRESSIONS } from '../../src/record/types.js';
import { validateProducedBatch } from '../../src/record/validate-batch.js';
import { loadEvents, makeTemplates, RecordSource, runIdentity } from '../payload/record-source.js';
import type { MicroSuite, MicroTask } from './task.js';

const BATCH_BYTES = 64 * 1024;
const RECORD_SIZES = [100, 1024];
const CRC_SIZES = [1024, BATCH_BYTES, 1024 * 1024];
const TIMESTAMP = 1_700_000_000_000;

export async function recordSuite(): Promise<MicroSuite> {
  const events = loadEvents();
  const tasks: MicroTask[] = [];
  for (const recordBytes of RECORD_SIZES) tasks.push(...(await batchTasks(events, recordBytes)));
  for (const bytes of CRC_SIZES) {
    const block = Buffer.alloc(bytes, 'varve');
    tasks.push({ name: `crc32c ${bytes} B`, records: 1, bytes, run: () => crc32c(block, 0, bytes) });
  }
  return { tasks, close: async () => {} };
}

async function batchTasks(events: readonly string[], recordBytes: number): Promise<MicroTask[]> {
  const values = makeValues(events, recordBytes);
  const texts = values.map((value) => value.toString('latin1'));
  const bytes = values.length * recordBytes;
  const buffers = new BatchBuffers();
  const builder = new BatchBuilder({ initialBytes: 2 * BATCH_BYTES, buffers });
  const fill = (list: readonly (Buffer | string)[]) => {
    for (let i = 0; i < list.length; i++) builder.append(TIMESTAMP + i, null, list[i]!);
  };
  const task = (name: string, run: () => unknown): MicroTask => {
    return { name: `${name} · ${recordBytes} B`, records: values.length, bytes, run };
  };

  const tasks = [
    task('encode, Buffers', () => {
      fill(values);
      buffers.give(builder.finish());
    }),
    task('encode, strings', () => {
      fill(texts);
      buffers.give(builder.finish());
    }),
  ];
  fill(values);
  const plain = Buffer.from(builder.finish());
  tasks.push(
    task('validate as produced', () => validateProducedBatch(plain, 0, plain.length, plain.length)),
    task('visit without objects', () => {
      let total = 0;
      forEachRecord(plain, 0, plain.length, (_o, _t, _b, _ks, _kl, _vs, valueLength) => {
        total += valueLength;
      });
      return total;
    }),
    task('decode to records', () => decodeBatch(plain)),
  );
  for (const compression of COMPRESSIONS) {
    if (compression === 'none') continue;
    fill(values);
    const packed = await builder.finishCompressed(compression);
    const ratio = (plain.length / packed.length).toFixed(1);
    tasks.push(
      task(`encode ${compression} (÷${ratio})`, async () => {
        fill(values);
        await builder.finishCompressed(compression);
      }),
      task(`decode ${compression}`, () => decodeBatchAsync(packed)),
    );
  }
  return tasks;
}

function makeValues(events: readonly string[], recordBytes: number): Buffer[] {
  const source = new RecordSource(makeTemplates(events, recordBytes), runIdentity(1, 0));
  return Array.from({ length: Math.floor(BATCH_BYTES / recordBytes) }, (_, sequence) => {
    const value = Buffer.alloc(recordBytes);
    source.fill(value, 0, sequence);
    return value;
  });
}
