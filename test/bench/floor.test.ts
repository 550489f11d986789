import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Cleanup } from '../../bench/cleanup.js';
import { FloorCluster, type FloorStorage } from '../../bench/floor/floor-cluster.js';
import { FloorProducer } from '../../bench/floor/floor-producer.js';
import { RingFile } from '../../bench/ring-file.js';
import { runSyncLoop } from '../../bench/floor/sync-loop.js';
import { Load } from '../../bench/load.js';
import { loadEvents, makeTemplates, RecordSource } from '../../bench/payload/record-source.js';
import { Yardstick } from '../../bench/yardstick.js';

const SOURCE = new RecordSource(makeTemplates(loadEvents(), 100), '0badcafe');
const DEADLINE_MS = 60_000;

let cleanup: Cleanup;
let folder: string;

beforeEach(() => {
  cleanup = new Cleanup();
  folder = cleanup.folder();
});

afterEach(async () => {
  await cleanup.finish();
});

describe('the bare servers', () => {
  test.each<FloorStorage>(['disk', 'memory'])('acknowledge every record once (%s)', async (storage) => {
    const floor = await FloorCluster.start(storage, folder, cleanup);
    const producers = [
      await FloorProducer.connect(floor.port, 2 ** 25),
      await FloorProducer.connect(floor.port, 2 ** 25),
    ];
    const load = new Load(producers, SOURCE, 64);
    await load.acknowledged(2000);
    expect(await load.drain(DEADLINE_MS)).toBe(true);
    expect(load.firstError).toBeUndefined();
    expect(load.ledger.acknowledged).toBe(load.ledger.sent);
    expect(load.ledger.acknowledged).toBeGreaterThanOrEqual(2000);
    await Promise.all(producers.map((producer) => producer.close()));
    await floor.stop();
  });

  test('do not acknowledge on the word of the leader alone', async () => {
    const floor = await FloorCluster.start('memory', folder, cleanup);
    const [first, second] = floor.pids as [number, number, number];
    const producer = await FloorProducer.connect(floor.port, 2 ** 25);
    process.kill(first, 'SIGSTOP');
    process.kill(second, 'SIGSTOP');
    let acknowledged = 0;
    const done = new Promise<void>((resolve) => {
      producer.send(Buffer.alloc(100), () => {
        acknowledged += 1;
        resolve();
      });
    });
    // Time enough for a leader that would.
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(acknowledged).toBe(0);
    process.kill(second, 'SIGCONT');
    await done;
    expect(acknowledged).toBe(1);
    await producer.close();
    await floor.stop();
  });

  test('fail what is in flight when they die', async () => {
    const floor = await FloorCluster.start('memory', folder, cleanup);
    const producer = await FloorProducer.connect(floor.port, 2 ** 25);
    for (const pid of floor.pids.slice(0, 2)) process.kill(pid, 'SIGSTOP');
    const failed = new Promise<Error | null>((resolve) => producer.send(Buffer.alloc(100), (error) => resolve(error)));
    process.kill(floor.pids[2]!, 'SIGKILL');
    expect(await failed).toMatchObject({ code: expect.stringMatching(/OUTCOME_UNKNOWN|CONNECTION_LOST/) });
    await floor.stop();
  });
});

test('the ring file takes more than it holds, and refuses what never fits', async () => {
  const ring = new RingFile(`${folder}/ring`, 64 * 1024);
  const commit = (bytes: number) =>
    new Promise<Error | null>((resolve) => ring.commit([Buffer.alloc(bytes, 1), Buffer.alloc(1)], bytes + 1, resolve));
  for (let i = 0; i < 10; i += 1) expect(await commit(30_000)).toBeNull();
  expect(() => ring.commit([], 64 * 1024 + 1, () => {})).toThrow(RangeError);
  ring.close();
});

test('the sync loop counts what it wrote, and leaves nothing behind', async () => {
  const { records, syncs, seconds } = await runSyncLoop(folder, SOURCE, 16, 50);
  expect(syncs).toBeGreaterThan(0);
  expect(records).toBe(16 * syncs);
  expect(seconds).toBeGreaterThan(0);
  expect(existsSync(`${folder}/sync-loop`)).toBe(false);
});

test('the yardstick reads a median between the least and the greatest', () => {
  const yardstick = new Yardstick(folder);
  const { medianMs, p90Ms, maxMs } = yardstick.read();
  expect(medianMs).toBeGreaterThan(0);
  expect(p90Ms).toBeGreaterThanOrEqual(medianMs);
  expect(maxMs).toBeGreaterThanOrEqual(p90Ms);
  yardstick.close();
});
