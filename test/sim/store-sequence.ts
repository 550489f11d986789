/**
 * One random sequence of calls of a store and its logs, made on a store over the native disk and on one over the twin: each
 * result, each error code, each cursor and recovery report, and in the end every byte of every file must be equal.
 *
 * One call at a time: what the journal's thread finds waiting is then the same on both sides.
 */
import { cpSync } from 'node:fs';
import type { Disk } from '../../src/disk/disk.js';
import { openDisk } from '../../src/disk/native-disk.js';
import { Trace } from '../../src/disk/trace.js';
import { ControlKind, type Log } from '../../src/log/log.js';
import type { StoreOptions } from '../../src/log/options.js';
import { type OpenLogOptions, Store } from '../../src/log/partition-store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { baseOffsetAt, batchSizeAt } from '../../src/record/record-batch.js';
import { wallClock } from '../wall-clock.js';
import { Prng } from '../raft/prng.js';
import { fastDirectory, removeDirectory } from '../temporary-directory.js';
import { TwinDisk } from './twin-disk.js';
import { TwinFileSystem } from './twin-file-system.js';
import { difference, filesOf, JournalWatch, outcome, runSequence, settle, sizesOf } from './twin-pair.js';
import { PromptScheduler } from './twin-schedulers.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const BOOT_ID = '11111111-2222-3333-4444-555555555555';
const META = { formatVersion: 1, clusterId: 'twin', nodeId: 1, directoryId: '00112233445566778899aabbccddeeff' };
/** From here on space is prepared ahead, and how much of it depends on which thread comes first. */
const PREPARED_BYTES = 250 * KIB;

interface Side {
  readonly disk: Disk;
  readonly store: Store;
  readonly logs: Map<string, Log>;
  /** What `onFailure` said. */
  failure: string;
}

interface LogSettings extends OpenLogOptions {
  readonly topic: string;
  readonly partition: number;
}

export function runStoreSequence(seed: number): Promise<StoreCoverage> {
  return runSequence(seed, new StoreSequence(seed));
}

/** What a sequence came through: sums over many of them show that the comparison is one of something. */
export interface StoreCoverage {
  readonly appends: number;
  readonly truncations: number;
  readonly crashes: number;
  readonly rolls: number;
  /** Records that compactions removed, of both sides. */
  readonly compactedRecords: number;
  readonly checkpoints: number;
}

class StoreSequence {
  readonly calls: string[] = [];
  readonly coverage = { appends: 0, truncations: 0, crashes: 0, rolls: 0, compactedRecords: 0, checkpoints: 0 };
  readonly #random: Prng;
  readonly #options: Partial<StoreOptions>;
  readonly #settings: readonly LogSettings[];
  #root = fastDirectory();
  #fileSystem = new TwinFileSystem();
  #watch!: JournalWatch;
  #native!: Side;
  #twin!: Side;
  #now = 1_700_000_000_000;
  #payload = 0;
  #isKilling = false;
  readonly #writesMuch: boolean;

  constructor(seed: number) {
    const random = new Prng(seed);
    this.#random = random;
    this.#writesMuch = random.chance(0.25);
    this.#options = {
      journalFileBytes: random.pick([64 * KIB, 200 * KIB]),
      journalMaxBytes: 64 * MIB,
      journalGroupMaxBytes: random.pick([8 * KIB, MIB]),
      directFlushBytes: random.pick([0, 0, 20_000]),
      directMarkMaxMs: 10_000,
      asyncMaxMs: 60_000,
      asyncMaxBytes: random.pick([64 * KIB, MIB]),
      checkpointIntervalMs: 3_600_000,
      maxMappedSegments: random.pick([1, 2, 100]),
    };
    this.#settings = Array.from({ length: 1 + random.below(3) }, (_, i) => ({
      topic: `topic${i % 2}`,
      partition: i,
      topicId: String(i % 2).repeat(32),
      flush: random.pick(['sync', 'sync', 'async', 'none'] as const),
      segmentBytes: MIB,
      indexIntervalBytes: random.pick([64, 500, 4096]),
      replicated: random.chance(0.6),
      cleanup: random.pick(['delete', 'compact', 'compact'] as const),
    }));
  }

  async run(): Promise<void> {
    await this.#format();
    await this.#open();
    const length = 5 + this.#random.below(26);
    for (let i = 0; i < length; i++) await this.#call();
    await this.#close();
    this.#compareFiles();
  }

  async dispose(): Promise<void> {
    await this.#native?.store.close().catch(() => {});
    removeDirectory(this.#root);
  }

  async #call(): Promise<void> {
    const dice = this.#random.below(100);
    const settings = this.#random.pick(this.#settings);
    const log = this.#twin.logs.get(nameOf(settings));
    this.#now += this.#random.below(2000);
    if (dice < 3) {
      await this.#close();
      await this.#open();
    } else if (dice < 9) {
      await this.#kill();
      await this.#open();
    } else if (dice < 13) {
      await this.#each('checkpoint', ({ store }) => store.checkpoint());
      this.coverage.checkpoints++;
    } else if (log === undefined) {
      await this.#openLog(settings);
    } else {
      await this.#logCall(dice, nameOf(settings), log, settings.replicated ?? false);
    }
    await this.#settle();
  }

  // ---- the store ----

  async #format(): Promise<void> {
    const twin = new TwinDisk(this.#fileSystem, { scheduler: new PromptScheduler(), processId: process.pid });
    for (const disk of [await openDisk(this.#root), twin]) {
      await disk.makeDirectory('journal');
      await disk.replaceFile('meta.json', Buffer.from(`${JSON.stringify(META)}\n`));
      await disk.close();
    }
  }

  async #open(): Promise<void> {
    this.calls.push(`open ${JSON.stringify(this.#options)}`);
    const scheduler = new PromptScheduler();
    const twin = new TwinDisk(this.#fileSystem, { scheduler, root: this.#root, processId: process.pid });
    this.#twin = await this.#openSide(closingAfter(twin, atRest));
    const trace = new Trace();
    this.#watch = new JournalWatch(trace);
    this.#native = await this.#openSide(closingAfter(await openDisk(this.#root, { trace }), () => this.#settleSizes()));
    for (const settings of this.#settings) await this.#openLog(settings);
    await this.#settle();
  }

  async #openSide(disk: Disk): Promise<Side> {
    const ground = { disk, path: this.#root, bootId: BOOT_ID, environment: wallClock(() => this.#now) };
    const store = await Store.open(ground, this.#options);
    const side: Side = { disk, store, logs: new Map(), failure: '' };
    store.onFailure = (error) => {
      side.failure = error.message;
    };
    return side;
  }

  /** The twin first: the native side then knows what files it has to wait for before its disk is closed. */
  async #close(): Promise<void> {
    await this.#each('close', ({ store }) => store.close());
  }

  /** kill -9: the native files are copied as they are, and the twin's process ends where it is. */
  async #kill(): Promise<void> {
    this.calls.push('kill');
    this.coverage.crashes++;
    await this.#settle();
    const image = fastDirectory();
    cpSync(this.#root, image, { recursive: true, filter: (source) => !source.endsWith('/LOCK') });
    const dead = this.#twin;
    this.#fileSystem = twinOf(dead.disk).crash({ kind: 'process' });
    void dead.store.close();
    const old = this.#root;
    this.#root = image;
    // Its files are of no interest any more, so it need not wait for them.
    this.#isKilling = true;
    await this.#native.store.close();
    this.#isKilling = false;
    removeDirectory(old);
  }

  async #openLog(settings: LogSettings): Promise<void> {
    const { topic, partition, ...options } = settings;
    const name = nameOf(settings);
    await this.#each(`openLog ${name} ${JSON.stringify(options)}`, async (side) => {
      const log = await side.store.openLog(topic, partition, options);
      side.logs.set(name, log);
      return [log.recovery, cursors(log)];
    });
  }

  // ---- a log ----

  async #logCall(dice: number, name: string, log: Log, replicated: boolean): Promise<void> {
    const random = this.#random;
    const on = (what: string, run: (log: Log) => unknown): Promise<void> =>
      this.#each(`${name}.${what}`, async ({ logs }) => {
        const each = logs.get(name)!;
        return [await run(each), cursors(each)];
      });
    if (dice < 55) {
      this.coverage.appends++;
      if (!replicated && random.chance(0.5)) {
        const records = this.#records();
        return on(`append of ${records.length} records`, (each) => each.append(records));
      }
      const epoch = Math.max(0, log.lastEpoch) + (replicated && random.chance(0.1) ? 1 : 0);
      const run = this.#run();
      return on(`appendProduced ${run.length} ${epoch}`, (each) => {
        const bytes = Buffer.from(run);
        return each.appendProduced(bytes, 0, bytes.length, epoch);
      });
    }
    if (dice < 62) {
      if (!replicated) return on('flush', (each) => each.flush());
      const to = log.highWatermark + random.below(Math.max(1, log.end - log.highWatermark + 1));
      if (to <= log.highWatermark && to >= log.end) return;
      this.coverage.truncations++;
      return on(`truncate ${to}`, (each) => each.truncate(to));
    }
    if (dice < 68) {
      const to = Math.min(log.durable, log.highWatermark + random.below(30));
      return on(`advanceHighWatermark ${to}`, (each) => each.advanceHighWatermark(to));
    }
    if (dice < 72) {
      const offset = log.start + random.below(log.highWatermark - log.start + 2);
      return on(`deleteBefore ${offset}`, (each) => each.deleteBefore(offset));
    }
    if (dice < 75) {
      const state = { term: log.hardState.term + 1 + Math.max(0, log.lastEpoch), vote: random.below(4) };
      return on(`saveHardState ${state.term} ${state.vote}`, (each) => {
        return new Promise<void>((resolve) => each.saveHardState(state, resolve));
      });
    }
    if (dice < 78) {
      const epoch = Math.max(0, log.lastEpoch) + random.below(2);
      return on(`appendControl ${epoch}`, (each) =>
        each.appendControl(ControlKind.LeaderChange, Buffer.alloc(8), epoch),
      );
    }
    if (dice < 81) {
      await on('close', (each) => each.close());
      for (const side of [this.#native, this.#twin]) side.logs.delete(name);
      return;
    }
    if (dice < 83) {
      return on('compact', async (each) => {
        const report = await each.compact();
        this.coverage.compactedRecords += report.recordsRemoved;
        return report;
      });
    }
    if (dice < 84) return on('flush', (each) => each.flush());
    if (dice < 88) {
      const timestamp = this.#now - random.below(20_000);
      return on(`offsetForTimestamp ${timestamp}`, (each) => each.offsetForTimestamp(timestamp));
    }
    if (dice < 92) {
      const [offset, epoch] = [log.start + random.below(log.end - log.start + 1), random.below(5)];
      return on(`epochs ${offset} ${epoch}`, (each) => [
        each.epochAt(offset),
        each.endForEpoch(epoch),
        each.span(offset, 5000),
      ]);
    }
    const offset = log.start + random.below(log.end - log.start + 2);
    const maxBytes = random.pick([1, 5000, 300_000]);
    const limit = random.pick(['committed', 'end', 'stable'] as const);
    return on(`viewsFrom ${offset} ${maxBytes} ${limit}`, async (each) => {
      await each.warm(offset, maxBytes);
      const { views, ...rest } = each.viewsFrom(offset, maxBytes, limit);
      return { ...rest, batches: views.flatMap(batchesIn) };
    });
  }

  #records(): { timestamp: number; key: string | null; value: Buffer }[] {
    return Array.from({ length: 1 + this.#random.below(4) }, () => ({
      timestamp: this.#now - this.#random.below(5000),
      key: this.#random.chance(0.95) ? `key ${this.#random.below(20)}` : null,
      value: Buffer.alloc(this.#random.below(this.#random.pick([50, 3000, 60_000])), `payload ${this.#payload++} `),
    }));
  }

  /** One to three batches, sometimes large ones, so that segments are rolled. */
  #run(): Buffer {
    const batches = Array.from({ length: 1 + this.#random.below(3) }, () => {
      const builder = new BatchBuilder();
      for (const { timestamp, key, value } of this.#records()) builder.append(timestamp, key, value);
      if (this.#writesMuch && this.#random.chance(0.3))
        builder.append(this.#now, null, Buffer.alloc(400_000, `large ${this.#payload++} `));
      return builder.finish();
    });
    return Buffer.concat(batches);
  }

  // ---- comparing ----

  async #each(what: string, run: (side: Side) => unknown): Promise<void> {
    this.calls.push(what);
    const twin = await outcome(() => run(this.#twin));
    const native = await outcome(() => run(this.#native));
    const [a, b] = [JSON.stringify(native), JSON.stringify(twin)];
    this.calls[this.calls.length - 1] += ` → ${b.slice(0, 150)}`;
    if (a !== b) throw new Error(`the native store answered ${a}, the one on the twin ${b}`);
  }

  async #settle(): Promise<void> {
    await settle(() => {
      const [native, twin] = [stateOf(this.#native), stateOf(this.#twin)];
      return native === twin
        ? (this.#watch.making() ?? this.#sizeDifference())
        : `${native} (native) and ${twin} (twin)`;
    });
  }

  async #settleSizes(): Promise<void> {
    if (!this.#isKilling) await settle(() => this.#watch.making() ?? this.#sizeDifference());
  }

  #sizeDifference(): string | undefined {
    const [native, twin] = [sizesOf(this.#root), this.#fileSystem.sizes()];
    const isPrepared = (path: string): boolean =>
      path.endsWith('.log') && Math.min(native.get(path) ?? 0, twin.get(path) ?? 0) > PREPARED_BYTES;
    return difference(native, twin, isPrepared);
  }

  #compareFiles(): void {
    const isPrepared = (path: string, bytes: Buffer): boolean => path.endsWith('.log') && bytes.length > PREPARED_BYTES;
    const trim = (files: Map<string, Buffer>): Map<string, Buffer> =>
      new Map([...files].map(([path, bytes]) => [path, isPrepared(path, bytes) ? withoutZeros(bytes) : bytes]));
    const files = this.#fileSystem.files();
    this.coverage.rolls += Math.max(
      0,
      [...files.keys()].filter((path) => path.endsWith('.log')).length - this.#settings.length,
    );
    const found = difference(trim(filesOf(this.#root)), trim(files));
    if (found !== undefined) throw new Error(`after closing, ${found}`);
  }
}

/** The disk itself, under a wrapper that waits before it is closed. */
const twins = new WeakMap<Disk, TwinDisk>();

/** Whatever still runs in the background when a store closes its disk is let finish first: how far it comes is chance. */
function closingAfter(disk: Disk, wait: () => Promise<void>): Disk {
  const wrapper = new Proxy(disk, {
    get(target, name: keyof Disk) {
      if (name === 'close') return () => wait().then(() => target.close());
      const member: unknown = target[name];
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
  if (disk instanceof TwinDisk) twins.set(wrapper, disk);
  return wrapper;
}

function twinOf(disk: Disk): TwinDisk {
  return twins.get(disk)!;
}

/** The twin's events are microtasks. */
function atRest(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function nameOf({ topic, partition }: LogSettings): string {
  return `${topic}-${partition}`;
}

function cursors(log: Log): unknown {
  const { start, end, generation, highWatermark, lastStableOffset, lastEpoch, hardState } = log;
  return { start, end, generation, highWatermark, lastStableOffset, lastEpoch, hardState };
}

/** What must be the same once the threads have done their work. */
function stateOf({ store, logs, failure }: Side): string {
  const { journal, openLogs, pendingBytes, pendingRecords, checkpoints, compaction } = store.stats();
  const { syncLatencyBuckets: _, syncMsTotal: __, ...counts } = journal;
  const durable = [...logs.values()].map((log) => [log.durable, log.written, log.highWatermark]);
  // A checkpoint begins a pass in the background, and a close would cut it short.
  const { passes } = compaction;
  return JSON.stringify({ counts, openLogs, pendingBytes, pendingRecords, checkpoints, passes, durable, failure });
}

function batchesIn(view: Buffer): string[] {
  const batches: string[] = [];
  for (let at = 0; at < view.length; at += batchSizeAt(view, at)) {
    batches.push(`${baseOffsetAt(view, at)}: ${view.toString('latin1', at, at + batchSizeAt(view, at))}`);
  }
  return batches;
}

function withoutZeros(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}
