/**
 * What the stores that are damaged were given. Segments are rolled by a clock of the workload's own, so that they are small;
 * the last rounds are in no checkpoint, and make several journal files.
 *
 *   basic       sealed and active segments, epochs, a truncation, deleted records, producers, aborted transactions
 *   compacted   every codec, a compacted log with tombstones and empty batches, a membership history with votes
 *   relaxed     'async' and 'none', direct flushes with and without their marks, memberships in both
 */
import { ControlKind, type Log } from '../../src/log/log.js';
import type { StoreOptions } from '../../src/log/options.js';
import type { OpenLogOptions, Store } from '../../src/log/partition-store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import type { Compression } from '../../src/record/types.js';
import { producedBatch } from '../log/producer-model.js';
import type { Random } from './random.js';
import { splitBatches, type TrueRecord } from './true-batches.js';
import { type LogSpec, logSpec } from './workbench.js';

const KIB = 1024;
const SEGMENT_MS = 60_000;
const BEGIN = 1_700_000_000_000;
const LONG_MS = 365 * 24 * 3_600_000;
const CODECS: readonly Compression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];

const OPTIONS: Partial<StoreOptions> = {
  create: true,
  clusterId: 'corruption',
  nodeId: 1,
  journalFileBytes: 64 * KIB,
  journalMaxBytes: 16 * KIB * KIB,
  reserveBytes: 64 * KIB,
  checkpointIntervalMs: 3_600_000,
};
const common = { segmentMs: SEGMENT_MS, indexIntervalBytes: 512, producerIdExpirationMs: LONG_MS };

interface WorkloadKind {
  readonly name: string;
  readonly options: Partial<StoreOptions>;
  readonly logs: Readonly<Record<string, OpenLogOptions>>;
  readonly rounds: number;
  /** The round after which the store is closed and opened again. */
  readonly reopenedAfter: number;
  begin(specs: readonly LogSpec[], random: Random): Work;
}

export interface CorruptionWorkload extends Omit<WorkloadKind, 'logs'> {
  readonly logs: readonly LogSpec[];
}

/** A store that is being used. */
export abstract class Work {
  now = BEGIN;
  /** Of logs whose batches may be compressed: by offset, what was appended. */
  readonly given = new Map<string, Map<number, TrueRecord>>();
  /** Batches that truncations removed. */
  readonly cutOff = new Map<string, Buffer[]>();
  /** Logs that producers wrote to. */
  readonly producing = new Set<string>();
  store!: Store;
  protected readonly random: Random;
  protected epoch = 0;
  readonly #specs: readonly LogSpec[];
  #logs = new Map<string, Log>();

  constructor(specs: readonly LogSpec[], random: Random) {
    this.#specs = specs;
    this.random = random;
  }

  abstract round(round: number): Promise<void>;

  async useStore(store: Store): Promise<void> {
    this.store = store;
    this.#logs = new Map();
    for (const { name, options } of this.#specs) {
      const log = await store.openLog(name, 0, options);
      if (options.replicated) log.advanceHighWatermark(log.end);
      this.#logs.set(name, log);
    }
  }

  log(name: string): Log {
    return this.#logs.get(name)!;
  }

  protected chance(oneIn: number): boolean {
    return this.random.below(oneIn) === 0;
  }

  /** Ends all segments, and has a checkpoint seal them. */
  protected async roll(): Promise<void> {
    this.now += 2 * SEGMENT_MS;
    await this.store.checkpoint();
  }

  /** A batch of the leader: whoever appends to a replicated log. */
  protected put(name: string, batch: Buffer): void {
    this.log(name).appendProduced(batch, 0, batch.length, this.epoch);
  }

  protected batch(bytes: number, key: string | null = null): Buffer {
    const builder = new BatchBuilder();
    builder.append(this.now, key, Buffer.alloc(bytes, `value ${this.random.below(1e9)} `));
    return Buffer.from(builder.finish());
  }

  protected truncate(name: string, to: number): void {
    const log = this.log(name);
    const { views } = log.viewsFrom(to, 64 * KIB * KIB, 'end');
    this.cutOff.set(name, [
      ...(this.cutOff.get(name) ?? []),
      ...splitBatches(Buffer.concat(views)).map(({ raw }) => raw),
    ]);
    log.truncate(to);
  }

  protected async vote(name: string): Promise<void> {
    const vote = 1 + this.random.below(3);
    await new Promise<void>((resolve) => this.log(name).saveHardState({ term: this.epoch, vote }, resolve));
  }

  protected async commit(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      const log = this.log(name);
      await log.flush();
      log.advanceHighWatermark(log.end);
    }
  }

  /** Through the embedded API; records with keys. */
  protected async append(name: string, keys: readonly string[], compression: Compression = 'none'): Promise<void> {
    const records = keys.map((key, i) => {
      const value = Buffer.alloc(1 + this.random.below(i === 0 ? 900 : 60), `value ${this.random.below(1e9)} `);
      return { key, value: key.startsWith('-') ? null : value, timestamp: this.now + i };
    });
    this.now += records.length;
    const { baseOffset } = await this.log(name).append(
      records.map((record) => ({ ...record, key: record.key.replace('-', '') })),
      { compression },
    );
    const given = this.given.get(name) ?? new Map<number, TrueRecord>();
    this.given.set(name, given);
    records.forEach(({ key, value, timestamp }, i) => {
      given.set(baseOffset + i, { offset: baseOffset + i, timestamp, key: Buffer.from(key.replace('-', '')), value });
    });
  }
}

class BasicWork extends Work {
  readonly #sequences = [0, 0, 0];

  constructor(specs: readonly LogSpec[], random: Random) {
    super(specs, random);
    this.producing.add('t');
  }

  async round(round: number): Promise<void> {
    if (round === 2 || round === 5) {
      this.epoch++;
      await this.vote('t');
    }
    for (let i = 0; i < 5; i++) {
      this.now += 1 + this.random.below(50);
      await this.#produce(i % 3, round);
      await this.#appendEmbedded();
    }
    if (round === 1) this.#truncateAgain();
    await this.commit('t');
    await this.log('e').flush();
    if (round === 3) {
      const e = this.log('e');
      await e.deleteBefore(Math.floor(e.end / 3));
      await this.log('t').deleteBefore(2 + this.random.below(5));
    }
    if (round < basic.reopenedAfter) await this.roll();
    else if (round === 5 && this.chance(2)) this.now += 2 * SEGMENT_MS;
  }

  async #produce(producerId: number, round: number): Promise<void> {
    const { random, now: timestamp } = this;
    const t = this.log('t');
    const transactional = producerId > 0;
    const count = 1 + random.below(4);
    const bytes = this.chance(6) ? 3000 + random.below(6000) : 1 + random.below(400);
    const sequence = this.#sequences[producerId]!;
    this.#sequences[producerId]! += count;
    this.put('t', producedBatch({ producerId, epoch: 0, sequence, count, transactional, bytes, timestamp }));
    // The last round leaves a transaction open.
    if (transactional && (this.chance(2) || round === 0)) {
      t.appendMarker(producerId, 0, this.chance(3) ? 'commit' : 'abort', 0);
    }
    if (this.chance(2)) await t.flush();
  }

  async #appendEmbedded(): Promise<void> {
    const { random } = this;
    const records = Array.from({ length: 1 + random.below(3) }, (_, i) => ({
      key: `key ${random.below(10)}`,
      value: Buffer.alloc(1 + random.below(i === 0 ? 900 : 40), `value ${random.below(1e9)} `),
      timestamp: this.now - random.below(30),
    }));
    await this.log('e').append(records);
  }

  /** What was not committed yet is replaced, in a segment of its own. */
  #truncateAgain(): void {
    const t = this.log('t');
    const to = t.end;
    this.put('t', this.batch(13));
    this.truncate('t', to);
    this.put('t', this.batch(12));
  }
}

const basic: WorkloadKind = {
  name: 'basic',
  options: OPTIONS,
  logs: { t: {}, e: { replicated: false } },
  rounds: 7,
  reopenedAfter: 4,
  begin: (specs, random) => new BasicWork(specs, random),
};

const COMPACTION: OpenLogOptions = {
  replicated: false,
  cleanup: 'compact',
  minCleanableDirtyRatio: 1,
  deleteRetentionMs: LONG_MS,
};

class CompactedWork extends Work {
  async round(round: number): Promise<void> {
    await this.#changeMembers(round);
    for (let i = 0; i < 5; i++) {
      const codec = CODECS[(i + round) % CODECS.length]!;
      await this.append('z', this.#keys(100), codec);
      await this.append('k', this.#keys(6), codec);
    }
    if (round < 3) await this.roll();
    // A first pass, a second one over what it left, and records that no pass has seen.
    if (round === 1 || (round === 3 && this.chance(2))) await this.log('k').compact();
    if (round === 2) await this.log('z').deleteBefore(Math.floor(this.log('z').end / 4));
  }

  #keys(many: number): string[] {
    return Array.from({ length: 1 + this.random.below(6) }, () => {
      return `${this.chance(4) ? '-' : ''}key ${this.random.below(many)}`;
    });
  }

  async #changeMembers(round: number): Promise<void> {
    const m = this.log('m');
    this.epoch++;
    await this.vote('m');
    const control = (): unknown =>
      m.appendControl(ControlKind.Configuration, Buffer.from(`members ${this.random.below(1e9)}`), this.epoch);
    for (let i = 0; i < 4; i++) {
      if (i === 1 || this.chance(3)) control();
      this.put('m', this.batch(1 + this.random.below(300)));
      if (this.chance(2)) await m.flush();
    }
    await this.commit('m');
    // A configuration that never was committed gives way to the one before it.
    if (round % 2 === 1) {
      const to = m.end;
      control();
      if (this.chance(2)) await m.flush();
      this.truncate('m', to);
      this.epoch++;
      this.put('m', this.batch(20));
      await this.commit('m');
    }
    if (round === 3) await m.deleteBefore(Math.floor(m.end / 3));
  }
}

const compacted: WorkloadKind = {
  name: 'compacted',
  options: { ...OPTIONS, compactionBufferBytes: 4096 },
  logs: { z: { replicated: false }, k: COMPACTION, m: {} },
  rounds: 6,
  reopenedAfter: 2,
  begin: (specs, random) => new CompactedWork(specs, random),
};

const DIRECT_BYTES = 3000;

class RelaxedWork extends Work {
  async round(round: number): Promise<void> {
    if (round % 2 === 0) {
      this.epoch++;
      await this.vote('d');
      this.#configure('n');
      this.#configure('d');
    }
    for (let i = 0; i < 8; i++) {
      this.now += 1 + this.random.below(50);
      this.put('a', this.batch(1 + this.random.below(500)));
      this.put('n', this.batch(1 + this.random.below(500)));
      this.put('d', this.batch(this.chance(2) ? DIRECT_BYTES + this.random.below(3000) : 1 + this.random.below(300)));
      if (this.chance(2)) await this.log('d').flush();
      if (this.chance(6)) await this.log('n').flush();
      if (this.chance(6)) await this.log('a').flush();
    }
    if (round === relaxed.rounds - 1) {
      await this.#endSomewhere();
      return;
    }
    await this.commit('a', 'n', 'd');
    if (round === 1) await this.log('n').deleteBefore(2 + this.random.below(5));
    if (round < 3) await this.roll();
    else if (this.chance(2)) this.now += 2 * SEGMENT_MS;
  }

  #configure(name: string): void {
    const value = Buffer.from(`members ${this.random.below(1e9)}`);
    this.log(name).appendControl(ControlKind.Configuration, value, this.epoch);
  }

  /** With relaxed batches that nobody has synced, and often with a direct flush whose mark is not in the journal. */
  async #endSomewhere(): Promise<void> {
    this.put('d', this.batch(DIRECT_BYTES + this.random.below(3000)));
    await this.log('d').flush();
    for (let i = this.random.below(4); i > 0; i--) {
      this.put('a', this.batch(1 + this.random.below(500)));
      this.put('n', this.batch(1 + this.random.below(500)));
    }
  }
}

const relaxed: WorkloadKind = {
  name: 'relaxed',
  options: { ...OPTIONS, directFlushBytes: DIRECT_BYTES, directMarkMaxMs: 10_000, asyncMaxMs: 60_000 },
  logs: { a: { flush: 'async' }, n: { flush: 'none' }, d: {} },
  rounds: 6,
  reopenedAfter: 3,
  begin: (specs, random) => new RelaxedWork(specs, random),
};

const KINDS = [basic, compacted, relaxed];

export const WORKLOAD_KINDS = KINDS.length;

/** The one that a seed stands for; its topics are no other seed's. */
export function corruptionWorkload(seed: number): CorruptionWorkload {
  const kind = KINDS[seed % KINDS.length]!;
  const logs = Object.entries(kind.logs).map(([name, options]) => {
    const topicId = Buffer.from(`${name} of ${seed}`.padEnd(16, '.')).toString('hex').slice(0, 32);
    return logSpec(name, { ...common, ...options, topicId });
  });
  return { ...kind, logs };
}
