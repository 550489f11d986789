/** Measures one step of a round: a cell, or a floor. What it does to the disk it takes back before it returns. */
import { setTimeout as delay } from 'node:timers/promises';
import { VarveError } from '../src/errors.js';
import { bufferBytesFor, CellProducer, producerOptions } from './cell-producer.js';
import { type BenchCluster, topicOf } from './cluster.js';
import type { FloorCluster } from './floor/floor-cluster.js';
import { FloorProducer } from './floor/floor-producer.js';
import { Load, type Measured } from './load.js';
import type { RecordSource } from './payload/record-source.js';
import type { BenchPlan, CellSettings } from './plan.js';
import type { CellRound, RoundFigures } from './result.js';
import { settledEnd } from './settle.js';
import { latencyMs } from './summary.js';
import type { TargetProducer } from './target.js';
import { findFault, type Verification, Verifier } from './verify.js';

/** Longest wait for what was sent to be answered. */
const DRAIN_MS = 60_000;

export type MeasuredCell = Omit<CellRound, 'round' | 'yardstickMs' | 'ratioToFloor'> & {
  /** Why this measurement breaks a promise; undefined when it doesn't. */
  readonly fault: string | undefined;
  /** The leader changed meanwhile: a figure of a machine that was busy with something else. */
  readonly leaderChanged: boolean;
};

export async function measureCell(
  cluster: BenchCluster,
  plan: BenchPlan,
  cell: CellSettings,
  source: RecordSource,
): Promise<MeasuredCell> {
  const topic = topicOf(cell.flush);
  const options = producerOptions(cell, cluster.brokers, bufferBytesFor(plan.window, cell.recordBytes));
  const producers = Array.from({ length: plan.producers }, () => new CellProducer(options, topic));
  try {
    const start = await cluster.endOffset(topic);
    const load = new Load(producers, source, plan.window, plan.ratePerSecond);
    await delay(plan.warmUpSeconds * 1000);
    const before = await cluster.counters(topic);
    const measured = await load.measure(plan.seconds * 1000);
    const after = await cluster.counters(topic);
    await drained(load);
    const isUnacknowledged = cell.acks === 0;
    const end = await settledEnd(cluster, topic, {
      least: isUnacknowledged ? start + load.ledger.sent : load.ledger.highestOffset + 1,
      isExact: load.errors === 0,
      hasUnacknowledged: isUnacknowledged,
    });
    const { verification, compressionRatio } = await readBack(cluster, topic, source, load, start, end);
    await cluster.replicated(topic, end);
    await cluster.deleteRecords(topic, end);
    const leaderChanged = before.node !== after.node || before.term !== after.term;
    const syncs = after.syncs - before.syncs;
    const seconds = (after.uptimeMs - before.uptimeMs) / 1000;
    // A record handed over under acks: 0 may still lie in a socket's buffer: what counts is what the leader took.
    const recordsPerSecond =
      cell.acks === 0 && !leaderChanged
        ? (after.logEnd - before.logEnd) / seconds
        : measured.records / measured.seconds;
    return {
      ...figures(recordsPerSecond, measured, source),
      errors: load.errors,
      ...(load.firstError !== undefined && { firstError: load.firstError.message }),
      syncsPerSecond: !leaderChanged && seconds > 0 ? syncs / seconds : 0,
      ...(!leaderChanged && syncs > 0 && { recordsPerSync: (after.logEnd - before.logEnd) / syncs }),
      compressionRatio,
      verified: verification,
      ...(plan.ratePerSecond !== undefined && { behindRecords: measured.behindRecords }),
      fault: findFault(verification, leaderChanged && cell.acks === 1 ? 0 : cell.acks),
      leaderChanged,
    };
  } finally {
    await Promise.all(producers.map((producer) => producer.close()));
  }
}

export async function measureFloor(
  floor: FloorCluster,
  plan: BenchPlan,
  source: RecordSource,
): Promise<Omit<RoundFigures, 'round' | 'yardstickMs'>> {
  const bufferBytes = bufferBytesFor(plan.window, source.recordBytes);
  const producers: TargetProducer[] = [];
  try {
    for (let i = 0; i < plan.producers; i += 1) producers.push(await FloorProducer.connect(floor.port, bufferBytes));
    const load = new Load(producers, source, plan.window, plan.ratePerSecond);
    await delay(plan.warmUpSeconds * 1000);
    const measured = await load.measure(plan.seconds * 1000);
    await drained(load);
    if (load.firstError !== undefined) throw load.firstError;
    return figures(measured.records / measured.seconds, measured, source);
  } finally {
    await Promise.all(producers.map((producer) => producer.close()));
  }
}

function figures(recordsPerSecond: number, { latency }: Measured, source: RecordSource) {
  return { recordsPerSecond, mbPerSecond: (recordsPerSecond * source.recordBytes) / 1e6, ...latencyMs(latency) };
}

async function drained(load: Load): Promise<void> {
  if (await load.drain(DRAIN_MS)) return;
  throw new VarveError('TIMEOUT', `${load.inFlight} records had no answer ${DRAIN_MS / 1000} s after the load stopped`);
}

async function readBack(
  cluster: BenchCluster,
  topic: string,
  source: RecordSource,
  load: Load,
  start: number,
  end: number,
): Promise<{ readonly verification: Verification; readonly compressionRatio: number }> {
  const verifier = new Verifier([{ ledger: load.ledger, source }], start);
  await cluster.readBatches(topic, start, end, (batches) => verifier.addBatches(batches));
  const compressionRatio = verifier.storedBytes === 0 ? 1 : verifier.plainBytes / verifier.storedBytes;
  const [verification] = verifier.finish();
  return { verification: verification as Verification, compressionRatio };
}
