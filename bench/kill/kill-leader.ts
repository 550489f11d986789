/**
 * One kill -9 of the leader in the middle of load, and what became of every record.
 *
 *   load ── ≥ n acknowledged ──┬──────────── kill -9 ── new leader ── ≥ m more acknowledged ── read back, compare
 *                              └ followers paused (optional): the leader is alone with what it takes now
 *
 * A leader that acknowledged on its own word is found out when nobody else has what it acknowledged: pausing its followers
 * just before the kill makes sure that such records exist.
 *
 * Several loads, one per acks, may share a kill: each has a run id of its own, so what became of its records is known.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { VarveError } from '../../src/errors.js';
import { bufferBytesFor, CellProducer, producerOptions } from '../cell-producer.js';
import { type BenchCluster, topicOf } from '../cluster.js';
import { Load } from '../load.js';
import type { RecordSource } from '../payload/record-source.js';
import type { CellSettings } from '../plan.js';
import type { KillResult } from '../result.js';
import { settledEnd } from '../settle.js';
import { findFault, type SentRun, type Verification, Verifier } from '../verify.js';
import type { KillHistory } from './kill-history.js';

const DRAIN_MS = 60_000;
/** Records per second under acks: 0, whose producers wait for nobody and would drown the others. */
const UNACKNOWLEDGED_RATE = 20_000;

export interface KillLoad {
  /** All loads of one kill have the same flush mode. */
  readonly cell: CellSettings;
  readonly source: RecordSource;
  readonly producers: number;
  readonly window: number;
}

export interface KillOptions {
  /** Records of each load to be acknowledged before the kill … */
  readonly acknowledgedBefore: number;
  /** … and by the next leader. */
  readonly acknowledgedAfter: number;
  /** Pause the followers this long before the kill. Default: they run. Keep it below the election timeout. */
  readonly pauseMs?: number;
  /** Where what happens is written down. */
  readonly history?: KillHistory;
}

export interface KillOutcome {
  /** In the order of the loads. */
  readonly results: readonly (KillResult & {
    /** Why this breaks a promise; undefined when it doesn't. */
    readonly fault: string | undefined;
    readonly run: SentRun;
  })[];
  readonly killed: number;
  readonly leader: number;
}

export async function killLeader(
  cluster: BenchCluster,
  loads: readonly KillLoad[],
  options: KillOptions,
): Promise<KillOutcome> {
  const topic = topicOf((loads[0] as KillLoad).cell.flush);
  const start = await cluster.endOffset(topic);
  const running = loads.map((load) => new RunningLoad(load, cluster, topic, options.history));
  try {
    await all(running, (one) => one.load.acknowledged(options.acknowledgedBefore), 'records to be acknowledged');
    const killed = await cluster.leader(topic);
    const followers = cluster.nodeIds.filter((id) => id !== killed).map((id) => cluster.node(id));
    if (options.pauseMs !== undefined) {
      for (const follower of followers) follower.pause();
      await delay(options.pauseMs);
    }
    for (const one of running) one.beforeKill();
    const killedAt = performance.now();
    await cluster.node(killed).kill();
    options.history?.kill(killed, killedAt);
    for (const follower of followers) follower.resume();
    const leader = await cluster.leader(topic);
    if (leader === killed)
      throw new VarveError('INVARIANT_BROKEN', `node ${killed} was killed and still leads ${topic}`);
    const leaderAt = performance.now();
    await all(running, (one) => one.afterElection(options.acknowledgedAfter), 'the next leader to acknowledge records');
    for (const one of running) await one.drain();
    const verified = await verify(cluster, topic, start, running, options.history);
    const results = running.map((one, i) => {
      const result = one.result(verified[i] as Verification, killedAt, leaderAt);
      return { ...result, fault: findFault(result.verified, result.mustLoseNothing ? 'all' : 0), run: one.run };
    });
    // A cluster that broke a promise may do anything next, and must not do it over the report.
    if (results.some((result) => result.fault !== undefined)) return { results, killed, leader };
    const restartedAt = performance.now();
    cluster.node(killed).start();
    await cluster.caughtUp(killed, topic);
    const catchUpMs = performance.now() - restartedAt;
    options.history?.heal();
    return { results: results.map((result) => ({ ...result, catchUpMs })), killed, leader };
  } finally {
    await Promise.all(running.map((one) => one.close()));
  }
}

/** One load and what it lives through. */
class RunningLoad {
  readonly load: Load;
  readonly run: SentRun;
  readonly #cell: CellSettings;
  readonly #producers: readonly CellProducer[];
  #acknowledgedBeforeKill = 0;
  #inFlightAtKill = 0;
  #takenAgain: Promise<number> = Promise.resolve(0);
  #takenAgainAt = 0;

  constructor(
    { cell, source, producers, window }: KillLoad,
    cluster: BenchCluster,
    topic: string,
    history: KillHistory | undefined,
  ) {
    const settings = producerOptions(cell, cluster.brokers, bufferBytesFor(window, cell.recordBytes));
    this.#cell = cell;
    this.#producers = Array.from({ length: producers }, () => new CellProducer(settings, topic));
    const rate = cell.acks === 0 ? UNACKNOWLEDGED_RATE : undefined;
    this.load = new Load(this.#producers, source, window, rate, history?.observer(source, cell.acks));
    this.run = { ledger: this.load.ledger, source };
  }

  beforeKill(): void {
    this.#acknowledgedBeforeKill = this.load.ledger.acknowledged;
    this.#inFlightAtKill = this.load.inFlight;
    this.#takenAgain = this.load.nextAcknowledgement();
  }

  async afterElection(records: number): Promise<void> {
    // Under acks: 0 an acknowledgement says only that the record was handed over.
    if (this.#cell.acks !== 0) this.#takenAgainAt = await this.#takenAgain;
    await this.load.acknowledged(this.load.ledger.acknowledged + records);
  }

  async drain(): Promise<void> {
    if (await this.load.drain(DRAIN_MS)) return;
    throw new VarveError(
      'TIMEOUT',
      `${this.load.inFlight} records had no answer ${DRAIN_MS / 1000} s after the load stopped`,
    );
  }

  result(verified: Verification, killedAt: number, leaderAt: number): KillResult {
    const { acks, flush, recordBytes } = this.#cell;
    return {
      acks,
      flush,
      recordBytes,
      acknowledgedBeforeKill: this.#acknowledgedBeforeKill,
      acknowledged: this.load.ledger.acknowledged,
      inFlightAtKill: this.#inFlightAtKill,
      verified,
      unavailableMs: (acks === 0 ? leaderAt : this.#takenAgainAt) - killedAt,
      mustLoseNothing: acks === 'all',
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#producers.map((producer) => producer.close()));
  }
}

/** Reads the log from `start` on from the present leader; one verdict per load. */
async function verify(
  cluster: BenchCluster,
  topic: string,
  start: number,
  running: readonly RunningLoad[],
  history: KillHistory | undefined,
): Promise<Verification[]> {
  const runs = running.map((one) => one.run);
  const hasUnacknowledged = running.some((one) => one.load.ledger.highestOffset < 0);
  const highestOffset = Math.max(...runs.map(({ ledger }) => ledger.highestOffset));
  const end = await settledEnd(cluster, topic, { least: highestOffset + 1, isExact: false, hasUnacknowledged });
  const verifier = new Verifier(runs, start);
  const read = history?.reader(`the reader from ${start} on`, start);
  let began = performance.now();
  await cluster.readBatches(topic, start, end, async (batches) => {
    await verifier.addBatches(batches);
    await read?.(batches, began);
    began = performance.now();
  });
  return verifier.finish();
}

async function all(
  running: readonly RunningLoad[],
  wait: (one: RunningLoad) => Promise<void>,
  what: string,
): Promise<void> {
  const timer = new AbortController();
  const late = delay(DRAIN_MS, undefined, { signal: timer.signal }).then(() => {
    throw new VarveError('TIMEOUT', `waited ${DRAIN_MS / 1000} s in vain for ${what}`);
  });
  late.catch(() => {});
  try {
    await Promise.race([Promise.all(running.map(wait)), late]);
  } finally {
    timer.abort();
  }
}
