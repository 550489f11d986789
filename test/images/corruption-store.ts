/**
 * A store whose directory is to be damaged: what was asked of it, what it acknowledged, and its files after kill -9 and after
 * a clean close. Every kind of file is there, with sealed and active segments, epochs, a truncation, deleted records,
 * producers, aborted transactions. Segments are rolled by a clock of the workload's own, so that they are small.
 */
import { openDisk } from '../../src/disk/native-disk.js';
import type { Log } from '../../src/log/log.js';
import type { StoreOptions } from '../../src/log/options.js';
import { Store } from '../../src/log/partition-store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { modelOf } from '../log/producer-answers.js';
import { type ProducerModel, producedBatch } from '../log/producer-model.js';
import { type Random, seeded } from './random.js';
import { imageOf, type Scratch } from './scratch.js';
import { type BatchOnDisk, recordsOf, splitBatches, type TrueRecord } from './true-batches.js';
import { type LogSpec, logSpec } from './workbench.js';

const KIB = 1024;
const SEGMENT_MS = 60_000;
const BEGIN = 1_700_000_000_000;
const ROUNDS = 7;
const REOPENED_AFTER = 4;
const ALL = 64 * KIB * KIB;

export const OPTIONS: Partial<StoreOptions> = {
  create: true,
  clusterId: 'corruption',
  nodeId: 1,
  journalFileBytes: 64 * KIB,
  journalMaxBytes: 16 * KIB * KIB,
  reserveBytes: 64 * KIB,
  checkpointIntervalMs: 3_600_000,
};

const LONG_MS = 365 * 24 * 3_600_000;
const common = { segmentMs: SEGMENT_MS, indexIntervalBytes: 512, producerIdExpirationMs: LONG_MS };
export const PRODUCERS_LOG = logSpec('t', common);
export const EMBEDDED_LOG = logSpec('e', { ...common, replicated: false });
export const LOGS: readonly LogSpec[] = [PRODUCERS_LOG, EMBEDDED_LOG];

/** What a log held, everything of it acknowledged as durable. */
export interface TrueLog {
  readonly spec: LogSpec;
  readonly start: number;
  readonly end: number;
  readonly term: number;
  readonly vote: number;
  readonly batches: readonly BatchOnDisk[];
  readonly records: ReadonlyMap<number, TrueRecord>;
  readonly producers: ProducerModel;
}

export type Left = 'closed' | 'killed';
export type Files = ReadonlyMap<string, Buffer>;

export interface Recording {
  readonly seed: number;
  readonly logs: readonly TrueLog[];
  readonly left: Readonly<Record<Left, Files>>;
  /** The directory at earlier moments, oldest first. */
  readonly older: readonly Files[];
  /** The clock of the workload when it ended. */
  readonly now: number;
}

export async function openAt(root: string, bootId: string, now: () => number): Promise<Store> {
  const disk = await openDisk(root);
  return Store.open({ disk, path: root, bootId, now }, OPTIONS);
}

export async function openLogs(store: Store): Promise<Map<string, Log>> {
  const logs = new Map<string, Log>();
  for (const { name, options } of LOGS) logs.set(name, await store.openLog(name, 0, options));
  return logs;
}

export async function recordStore(scratch: Scratch, seed: number): Promise<Recording> {
  const directory = scratch.directory();
  const work = new Work(directory, seed);
  const older: Files[] = [];
  await work.open();
  for (let round = 0; round < ROUNDS; round++) {
    await work.round(round);
    if (round === REOPENED_AFTER) {
      await work.close();
      older.push(imageOf(directory));
      await work.open();
    } else if (round < ROUNDS - 1) {
      older.push(imageOf(directory));
    }
  }
  const logs = work.truth();
  const killed = withLock(imageOf(directory));
  await work.close();
  const closed = withLock(imageOf(directory));
  scratch.remove(directory);
  return { seed, logs, left: { killed, closed }, older, now: work.now };
}

function withLock(files: Map<string, Buffer>): Files {
  return files.set('LOCK', Buffer.alloc(0));
}

class Work {
  now = BEGIN;
  readonly #directory: string;
  readonly #random: Random;
  #store!: Store;
  #t!: Log;
  #e!: Log;
  #epoch = 0;
  readonly #sequences = [0, 0, 0];

  constructor(directory: string, seed: number) {
    this.#directory = directory;
    this.#random = seeded(seed, 'corruption');
  }

  async open(): Promise<void> {
    this.#store = await openAt(this.#directory, 'first boot', () => this.now);
    const logs = await openLogs(this.#store);
    this.#t = logs.get('t')!;
    this.#e = logs.get('e')!;
    this.#t.advanceHighWatermark(this.#t.end);
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  truth(): TrueLog[] {
    return LOGS.map((spec) => {
      const log = spec === PRODUCERS_LOG ? this.#t : this.#e;
      const { views } = log.viewsFrom(log.start, ALL, 'end');
      const batches = splitBatches(Buffer.concat(views));
      if (batches.at(-1)!.end !== log.end || log.durable !== log.end) throw new Error(`${spec.name} is not complete`);
      const records = new Map<number, TrueRecord>();
      for (const record of batches.flatMap(recordsOf))
        if (record.offset >= log.start) records.set(record.offset, record);
      const { term, vote } = log.hardState;
      return { spec, start: log.start, end: log.end, term, vote, batches, records, producers: modelOf(log) };
    });
  }

  async round(round: number): Promise<void> {
    const random = this.#random;
    if (round === 2 || round === 5) await this.#beginEpoch();
    for (let i = 0; i < 5; i++) {
      this.now += 1 + random.below(50);
      await this.#produce(i % 3, round);
      await this.#appendEmbedded();
    }
    if (round === 1) this.#truncateAgain();
    await this.#commit();
    if (round === 3) await this.#e.deleteBefore(Math.floor(this.#e.end / 3));
    if (round === 3) await this.#t.deleteBefore(2 + random.below(5));
    const hasEnded = round < REOPENED_AFTER || (round === 5 && this.#random.below(2) === 0);
    if (hasEnded) this.now += 2 * SEGMENT_MS;
    if (round < REOPENED_AFTER) await this.#store.checkpoint();
  }

  async #produce(producerId: number, round: number): Promise<void> {
    const random = this.#random;
    const transactional = producerId > 0;
    const count = 1 + random.below(4);
    const bytes = random.below(6) === 0 ? 3000 + random.below(6000) : 1 + random.below(400);
    const sequence = this.#sequences[producerId]!;
    this.#sequences[producerId]! += count;
    const timestamp = this.now;
    this.#store_(producedBatch({ producerId, epoch: 0, sequence, count, transactional, bytes, timestamp }));
    // The last round leaves a transaction open.
    if (transactional && (random.below(2) === 0 || round === 0)) {
      this.#t.appendMarker(producerId, 0, random.below(3) === 0 ? 'commit' : 'abort', 0);
    }
    if (random.below(2) === 0) await this.#t.flush();
  }

  #store_(batch: Buffer): void {
    this.#t.appendProduced(batch, 0, batch.length, this.#epoch);
  }

  async #appendEmbedded(): Promise<void> {
    const random = this.#random;
    const records = Array.from({ length: 1 + random.below(3) }, (_, i) => ({
      key: `key ${random.below(10)}`,
      value: Buffer.alloc(1 + random.below(i === 0 ? 900 : 40), `value ${random.below(1e9)} `),
      timestamp: this.now - random.below(30),
    }));
    await this.#e.append(records);
  }

  async #beginEpoch(): Promise<void> {
    this.#epoch++;
    const vote = 1 + this.#random.below(3);
    await new Promise<void>((resolve) => this.#t.saveHardState({ term: this.#epoch, vote }, resolve));
  }

  /** What was not committed yet is replaced, in a segment of its own. */
  #truncateAgain(): void {
    const to = this.#t.end;
    const batch = (value: string): Buffer => {
      const builder = new BatchBuilder();
      builder.append(this.now, null, value);
      return Buffer.from(builder.finish());
    };
    this.#store_(batch('to be cut off'));
    this.#t.truncate(to);
    this.#store_(batch('in its place'));
  }

  async #commit(): Promise<void> {
    await this.#t.flush();
    this.#t.advanceHighWatermark(this.#t.end);
    await this.#e.flush();
  }
}
