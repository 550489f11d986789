/**
 * A store whose directory is to be damaged: what was asked of it, what it acknowledged, and its files after a clean close,
 * after kill -9, and after a power cut. What each store is given: corruption-workloads.ts.
 */
import { openDisk } from '../../src/disk/native-disk.js';
import { Trace, type TraceEvent } from '../../src/disk/trace.js';
import type { Configuration, Log } from '../../src/log/log.js';
import { Store } from '../../src/log/partition-store.js';
import { modelOf } from '../log/producer-answers.js';
import type { ProducerModel } from '../log/producer-model.js';
import { wallClock } from '../wall-clock.js';
import { cacheOf } from './campaign.js';
import { type CorruptionWorkload, corruptionWorkload, type Work } from './corruption-workloads.js';
import { DiskModel } from './disk-model.js';
import { type ImageKind, makeImage } from './image-kinds.js';
import { journalledEnds } from './journal-groups.js';
import { seeded } from './random.js';
import { imageOf, type Scratch } from './scratch.js';
import { type BatchOnDisk, recordsOf, splitBatches, type TrueRecord } from './true-batches.js';
import type { LogSpec } from './workbench.js';

const ALL = 64 * 1024 * 1024;
const LOG_END_KINDS = ['none', 'none', 'pages', 'ext4'] as const satisfies readonly ImageKind[];

/** 'killed': everything that was written is there; 'cut': what was not synced is there by chance, or not. */
export const LEFT = ['closed', 'killed', 'cut'] as const;
export type Left = (typeof LEFT)[number];
export type Files = ReadonlyMap<string, Buffer>;

/** What a log held. */
export interface TrueLog {
  readonly spec: LogSpec;
  readonly start: number;
  readonly end: number;
  /** Acknowledged as durable when the store was killed. */
  readonly promised: number;
  readonly term: number;
  readonly vote: number;
  readonly batches: readonly BatchOnDisk[];
  readonly records: ReadonlyMap<number, TrueRecord>;
  /** Batches that it held once, and that were truncated. */
  readonly cutOff: readonly Buffer[];
  readonly configurations: readonly Configuration[];
  /** Undefined for a log without producers. */
  readonly producers: ProducerModel | undefined;
  /** Where it ends when the undamaged files are opened. */
  readonly ends: Readonly<Record<Left, number>>;
  /** Up to where checkpoint and journal know of it: damage to a segment behind that looks like a torn write. */
  readonly known: Readonly<Record<Left, number>>;
}

export interface Recording {
  readonly seed: number;
  readonly workload: CorruptionWorkload;
  readonly logs: readonly TrueLog[];
  readonly left: Readonly<Record<Left, Files>>;
  /** The directory at earlier moments, oldest first. */
  readonly older: readonly Files[];
  /** The clock of the workload when it ended. */
  readonly now: number;
}

export function bootOf(left: Left): string {
  return left === 'cut' ? 'second boot' : 'first boot';
}

export async function openAt(
  root: string,
  bootId: string,
  { options }: CorruptionWorkload,
  now: () => number,
  trace?: Trace,
): Promise<Store> {
  const disk = await openDisk(root, { trace });
  return Store.open({ disk, path: root, bootId, environment: wallClock(now) }, options);
}

/** Records of the batch that are still there. */
export function recordsIn({ records, start }: TrueLog, { base, end }: BatchOnDisk): TrueRecord[] {
  return Array.from({ length: end - base }, (_, i) => base + i)
    .filter((offset) => offset >= start)
    .map((offset) => records.get(offset))
    .filter((record) => record !== undefined);
}

/** Of the workload that the seed stands for. */
export async function recordStore(scratch: Scratch, seed: number): Promise<Recording> {
  const workload = corruptionWorkload(seed);
  const directory = scratch.directory();
  const work = workload.begin(workload.logs, seeded(seed, 'corruption', workload.name));
  const model = new DiskModel(new Map());
  const older: Files[] = [];
  let trace = new Trace();
  const open = async (): Promise<void> => {
    trace = new Trace();
    const store = await openAt(directory, 'first boot', workload, () => work.now, trace);
    await work.useStore(store);
  };
  await open();
  for (let round = 0; round < workload.rounds; round++) {
    await work.round(round);
    if (round === workload.reopenedAfter) {
      await work.store.close();
      applyTo(model, trace.take());
      model.nextTrace();
      older.push(imageOf(directory));
      await open();
    } else if (round < workload.rounds - 1) {
      older.push(imageOf(directory));
    }
  }
  const promised = new Map(workload.logs.map(({ name }) => [name, work.log(name).durable]));
  applyTo(model, trace.take());
  const random = seeded(seed, 'corruption', 'cut');
  const kind = LOG_END_KINDS[random.below(LOG_END_KINDS.length)]!;
  const cut = makeImage(model, kind, random) ?? makeImage(model, 'all', random)!;
  const killed = cacheOf(model);
  const truths = await truthOf(work, workload);
  await work.store.close();
  const left = { killed: withLock(killed), cut: withLock(cut), closed: withLock(imageOf(directory)) };
  scratch.remove(directory);
  const logs = await withEnds(scratch, workload, truths, promised, left, work.now);
  return { seed, workload, logs, left, older, now: work.now };
}

function applyTo(model: DiskModel, events: readonly TraceEvent[]): void {
  for (const event of events) model.apply(event);
}

function withLock(files: Files): Files {
  return new Map(files).set('LOCK', Buffer.alloc(0));
}

type Truth = Omit<TrueLog, 'promised' | 'ends' | 'known'>;

async function truthOf(work: Work, { logs }: CorruptionWorkload): Promise<Truth[]> {
  return Promise.all(
    logs.map(async (spec) => {
      const log = work.log(spec.name);
      const { views } = log.viewsFrom(log.start, ALL, 'end');
      const batches = splitBatches(Buffer.concat(views));
      if (batches.at(-1)!.end !== log.end) throw new Error(`${spec.name} is not complete`);
      const given = work.given.get(spec.name);
      const found = given === undefined ? batches.flatMap(recordsOf) : await shownOf(log, given);
      const records = new Map<number, TrueRecord>();
      for (const record of found) if (record.offset >= log.start) records.set(record.offset, record);
      const { term, vote } = log.hardState;
      const { start, end, configurations } = log;
      const producers = work.producing.has(spec.name) ? modelOf(log) : undefined;
      const cutOff = work.cutOff.get(spec.name) ?? [];
      return { spec, start, end, term, vote, batches, records, cutOff, configurations, producers };
    }),
  );
}

/** What compaction has left of the records that were given. Which ones it may take is test/log's business. */
async function shownOf(log: Log, given: ReadonlyMap<number, TrueRecord>): Promise<TrueRecord[]> {
  const { records } = await log.read(log.start, { maxBytes: ALL });
  return records.map(({ offset }) => given.get(offset)!);
}

/** Opens the undamaged files: all of it must be there, or after a power cut what was promised. */
async function withEnds(
  scratch: Scratch,
  workload: CorruptionWorkload,
  truths: readonly Truth[],
  promised: ReadonlyMap<string, number>,
  left: Readonly<Record<Left, Files>>,
  now: number,
): Promise<TrueLog[]> {
  const ends = { closed: new Map<string, number>(), killed: new Map<string, number>(), cut: new Map<string, number>() };
  for (const how of LEFT) {
    const directory = scratch.directory(left[how]);
    const store = await openAt(directory, bootOf(how), workload, () => now);
    for (const { name, options } of workload.logs) {
      ends[how].set(name, (await store.openLog(name, 0, options)).end);
    }
    await store.close();
    scratch.remove(directory);
  }
  return truths.map((truth) => {
    const { name } = truth.spec;
    const of = (each: (how: Left) => number) => ({ closed: each('closed'), killed: each('killed'), cut: each('cut') });
    const least = promised.get(name)!;
    const found = of((how) => ends[how].get(name)!);
    if (found.closed !== truth.end || found.killed !== truth.end || found.cut < least || found.cut > truth.end) {
      throw new Error(`${name}: undamaged, ends at ${JSON.stringify(found)}; ${truth.end} appended, ${least} durable`);
    }
    return { ...truth, promised: least, ends: found, known: of((how) => journalledEnds(left[how], name)) };
  });
}
