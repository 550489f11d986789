// What a kill test writes down is a history that the checker reads, and in which it finds what is wrong with the log.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { KillHistory, replicaBatch } from '../../bench/kill/kill-history.js';
import { loadEvents, makeTemplates, RecordSource } from '../../bench/payload/record-source.js';
import { checkHistoryFile } from '../../src/checker/history-file.js';
import { VarveError } from '../../src/errors.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { encodeControlBatch } from '../../src/record/control-batch.js';
import { BATCH_HEADER_BYTES, stampBatch } from '../../src/record/record-batch.js';
import { temporaryDirectory } from '../log/crash-image.js';

const SOURCE = new RecordSource(makeTemplates(loadEvents(), 100), '0badcafe');

function batchOf(offset: number, sequences: readonly number[]): Buffer {
  const builder = new BatchBuilder();
  for (const sequence of sequences) {
    const value = Buffer.alloc(100);
    SOURCE.fill(value, 0, sequence);
    builder.append(0, null, value);
  }
  const batch = builder.finish();
  stampBatch(batch, 0, offset, 1);
  return batch;
}

/** Offset 0 a control batch, 1 and 2 acknowledged, 3 of unknown outcome, and a fourth that was refused. */
async function judge(log: readonly Buffer[], replicas: readonly (readonly Buffer[])[] = []) {
  const path = join(temporaryDirectory(), 'history.jsonl');
  const history = new KillHistory(path, 'events', 'sync', [1, 2, 3]);
  const { completed } = history.observer(SOURCE, 'all');
  completed(0, 0, performance.now(), null, 1);
  completed(0, 1, performance.now(), null, 2);
  history.kill(1, performance.now());
  completed(0, 2, performance.now(), new VarveError('OUTCOME_UNKNOWN', 'the connection ended'), -1);
  completed(0, 3, performance.now(), new VarveError('NOT_LEADER', 'ask another'), -1);
  history.heal();
  const read = history.reader('reader', 0);
  for (const batch of log) await read([batch], performance.now());
  for (const [i, batches] of replicas.entries()) history.replica(i + 1, 0, 4, batches.map(replicaBatch));
  history.close();
  const { counts, unknown, sends } = await checkHistoryFile(path);
  return { counts, unknown, sends };
}

const control = (): Buffer => encodeControlBatch(1000, Buffer.alloc(0), 0, 1, 0);

test('a log with everything acknowledged, and what was of unknown outcome', async () => {
  const log = [control(), batchOf(1, [0, 1]), batchOf(3, [2])];
  expect(await judge(log, [log, log])).toEqual({
    counts: {},
    unknown: { records: 1, read: 1 },
    sends: { ok: 2, failed: 1, unknown: 1 },
  });
});

test('a record that is lost, one that was refused, one with a wrong byte, and a damaged batch', async () => {
  expect((await judge([control(), batchOf(1, [0]), batchOf(3, [2])])).counts).toEqual({ 'lost-write': 1 });
  expect((await judge([control(), batchOf(1, [0, 1]), batchOf(3, [3])])).counts).toEqual({ 'aborted-read': 1 });

  const other = new RecordSource(makeTemplates(loadEvents(), 100), '0badf00d');
  const value = Buffer.alloc(100);
  other.fill(value, 0, 0);
  const builder = new BatchBuilder();
  builder.append(0, null, value);
  const foreign = builder.finish();
  stampBatch(foreign, 0, 3, 1);
  expect((await judge([control(), batchOf(1, [0, 1]), foreign])).counts).toEqual({ 'corrupt-served': 1 });

  const rotten = batchOf(3, [2]);
  rotten[BATCH_HEADER_BYTES + 20]! ^= 1;
  expect((await judge([control(), batchOf(1, [0, 1]), rotten])).counts).toEqual({ 'corrupt-served': 1 });
});

test('data directories that differ', async () => {
  const log = [control(), batchOf(1, [0, 1]), batchOf(3, [2])];
  const other = [control(), batchOf(1, [0, 1]), batchOf(3, [4])];
  expect((await judge(log, [log, other])).counts).toEqual({ 'replica-divergence': 1 });
});
