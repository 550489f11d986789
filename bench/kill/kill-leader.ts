/**
 * One kill -9 of the leader in the middle of load, and what became of every record.
 *
 *   load ── ≥ n acknowledged ──┬──────────── kill -9 ── new leader ── ≥ m more acknowledged ── read back, compare
 *                              └ followers paused (optional): the leader is alone with what it takes now
 *
 * A leader that acknowledged on its own word is found out when nobody else has what it acknowledged: pausing its followers
 * just before the kill makes sure that such records exist.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Acks } from '../../src/client/options.js';
import { VarveError } from '../../src/errors.js';
import { bufferBytesFor, CellProducer, producerOptions } from '../cell-producer.js';
import { type BenchCluster, topicOf } from '../cluster.js';
import { Load } from '../load.js';
import type { RecordSource } from '../payload/record-source.js';
import type { CellSettings } from '../plan.js';
import type { KillResult } from '../result.js';
import { settledEnd } from '../settle.js';
import { findFault, Verifier } from '../verify.js';
import type { Ledger } from '../ledger.js';

const DRAIN_MS = 60_000;

export interface KillOptions {
  readonly cell: CellSettings;
  readonly producers: number;
  readonly window: number;
  /** Records to be acknowledged before the kill … */
  readonly acknowledgedBefore: number;
  /** … and by the next leader. */
  readonly acknowledgedAfter: number;
  /** Pause the followers this long before the kill. Default: they run. Keep it below the election timeout. */
  readonly pauseMs?: number;
}

export interface KillOutcome {
  readonly result: KillResult;
  readonly ledger: Ledger;
  /** Why this breaks a promise; undefined when it doesn't. */
  readonly fault: string | undefined;
  readonly killed: number;
  readonly leader: number;
}

export async function killLeader(
  cluster: BenchCluster,
  source: RecordSource,
  options: KillOptions,
): Promise<KillOutcome> {
  const { cell, window } = options;
  const topic = topicOf(cell.flush);
  const start = await cluster.endOffset(topic);
  const settings = producerOptions(cell, cluster.brokers, bufferBytesFor(window, cell.recordBytes));
  const producers = Array.from({ length: options.producers }, () => new CellProducer(settings, topic));
  try {
    const load = new Load(producers, source, window);
    await load.acknowledged(options.acknowledgedBefore);
    const killed = await cluster.leader(topic);
    const followers = cluster.nodeIds.filter((id) => id !== killed).map((id) => cluster.node(id));
    if (options.pauseMs !== undefined) {
      for (const follower of followers) follower.pause();
      await delay(options.pauseMs);
    }
    const acknowledgedBeforeKill = load.ledger.acknowledged;
    const inFlightAtKill = load.inFlight;
    const killedAt = performance.now();
    const backAt = load.nextAcknowledgement();
    await cluster.node(killed).kill();
    for (const follower of followers) follower.resume();
    const leader = await cluster.leader(topic);
    if (leader === killed)
      throw new VarveError('INVARIANT_BROKEN', `node ${killed} was killed and still leads ${topic}`);
    const leaderAt = performance.now();
    // Under acks: 0 an acknowledgement says only that the record was handed over.
    const takenAgainAt = cell.acks === 0 ? leaderAt : await withDeadline(backAt, 'a record to be acknowledged');
    const target = load.ledger.acknowledged + options.acknowledgedAfter;
    await withDeadline(load.acknowledged(target), 'the next leader to acknowledge records');
    if (!(await load.drain(DRAIN_MS))) {
      throw new VarveError(
        'TIMEOUT',
        `${load.inFlight} records had no answer ${DRAIN_MS / 1000} s after the load stopped`,
      );
    }
    const end = await settledEnd(cluster, topic, load.ledger, { acks: cell.acks, start, hadFailure: true });
    const verifier = new Verifier(load.ledger, source, start);
    await cluster.readBatches(topic, start, end, (batches) => verifier.addBatches(batches));
    const verified = verifier.finish();
    const restartedAt = performance.now();
    cluster.node(killed).start();
    await cluster.caughtUp(killed, topic);
    const mustLoseNothing = cell.acks === 'all';
    return {
      result: {
        acks: cell.acks,
        flush: cell.flush,
        recordBytes: cell.recordBytes,
        acknowledgedBeforeKill,
        acknowledged: load.ledger.acknowledged,
        inFlightAtKill,
        verified,
        unavailableMs: takenAgainAt - killedAt,
        catchUpMs: performance.now() - restartedAt,
        mustLoseNothing,
      },
      ledger: load.ledger,
      fault: findFault(verified, mustLoseNothing ? ('all' satisfies Acks) : 0),
      killed,
      leader,
    };
  } finally {
    await Promise.all(producers.map((producer) => producer.close()));
  }
}

async function withDeadline<T>(promise: Promise<T>, what: string): Promise<T> {
  const timer = new AbortController();
  const late = delay(DRAIN_MS, undefined, { signal: timer.signal }).then(() => {
    throw new VarveError('TIMEOUT', `waited ${DRAIN_MS / 1000} s in vain for ${what}`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}
