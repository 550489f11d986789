/** Producer snapshots and indexes of aborted transactions are read by a program that shares no code with us. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from '../log/crash-image.js';
import { type Produced, producedBatch } from '../log/producer-model.js';
import { runPython, whyNoPython } from './python.js';

const reason = whyNoPython(['struct']);

/** Two segments, plain and idempotent and transactional producers, a sequence that wraps, one open transaction. */
async function closedLog(): Promise<{ log: Buffer; snapshot: Buffer; txnindex: Buffer }> {
  const path = temporaryDirectory();
  const store = await openStore(path, { create: true, journalFileBytes: 1024 * 1024 });
  const log = await store.openLog('t', 0, { segmentBytes: 1024 * 1024 });
  const produce = (batch: Produced): void => {
    const bytes = producedBatch(batch);
    log.appendProduced(bytes, 0, bytes.length, 0);
  };
  for (let i = 0; i < 8; i++) {
    produce({ producerId: 4, epoch: 1, sequence: 3 * i, count: 3, bytes: 300_000, timestamp: 1_700_000_000_000 + i });
    produce({ producerId: 2 ** 40, epoch: 0, sequence: i, count: 1, transactional: true });
    produce({ producerId: 9, epoch: 0, sequence: 2 * i, count: 2, transactional: true });
    log.appendMarker(2 ** 40, 0, i % 2 === 0 ? 'abort' : 'commit', 6);
    if (i < 7) log.appendMarker(9, 0, 'abort', i);
    await log.append([{ value: 'of nobody' }]);
  }
  produce({ producerId: 77, epoch: 0, sequence: 2 ** 31 - 2, count: 4 });
  await store.close();
  const directory = join(path, readdirSync(path).find((name) => name.startsWith('t-0.'))!);
  const names = readdirSync(directory).sort();
  const read = (extension: string): Buffer[] =>
    names.filter((name) => name.endsWith(extension)).map((name) => readFileSync(join(directory, name)));
  expect(read('.log').length).toBeGreaterThan(1);
  return {
    log: Buffer.concat(read('.log').map(wholeBatches)),
    snapshot: read('.snapshot').at(-1)!,
    txnindex: Buffer.concat(read('.txnindex')),
  };
}

/** Without the space that was allocated ahead. */
function wholeBatches(bytes: Buffer): Buffer {
  let end = 0;
  while (end + 61 <= bytes.length && bytes[end + 16] === 2) end += 12 + bytes.readInt32BE(end + 8);
  return bytes.subarray(0, end);
}

function check(files: Awaited<ReturnType<typeof closedLog>>) {
  const hex = Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, bytes.toString('hex')]));
  return JSON.parse(runPython('producer_check.py', JSON.stringify(hex))) as {
    producers: number[][];
    transactions: number[][];
    faults: string[];
  };
}

describe.skipIf(reason !== undefined)('an independent reader of producer files', () => {
  test('finds in them what the batches say', async () => {
    const { producers, transactions, faults } = check(await closedLog());
    expect(faults).toEqual([]);
    expect(producers).toHaveLength(4);
    expect(producers.at(-2)!.slice(0, 5)).toEqual([77, 0, 1, expect.any(Number), 3]);
    expect(transactions).toHaveLength(11);
  });

  test('does find faults', async () => {
    const files = await closedLog();
    files.snapshot[20]! ^= 1;
    files.txnindex[7]! ^= 1;
    expect(check(files).faults).toHaveLength(3);
  });
});
