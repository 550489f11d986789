/**
 * Opens a damaged directory with the real store and says everything that is wrong with what it does. What is right is decided
 * by the recording, read with a reader of its own (true-batches.ts); nothing here is recovery's.
 *
 *   what is read was appended, at its offset, byte for byte
 *   what was acknowledged is there, or its read (or the opening) fails with a typed error that names a file
 *   the log does not end below what was acknowledged, unless damage is reported
 *   lookups by timestamp, dedupe and read_committed are right, or fail with a typed error
 *   verify finds what differs in segments that have ended, and nothing else
 *   no byte of a segment that was durable is changed or cut off
 *   an append lands at the end, and opening again shows the same
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VarveError } from '../../src/errors.js';
import type { Log, VerifyReport } from '../../src/log/log.js';
import type { Store } from '../../src/log/partition-store.js';
import { expectAnswers, expectCommitted } from '../log/producer-answers.js';
import { producedBatch } from '../log/producer-model.js';
import { EMBEDDED_LOG, type Files, LOGS, openAt, type Recording, type TrueLog } from './corruption-store.js';
import { type Damage, isJournalEnd } from './damage.js';
import { DERIVED } from './file-regions.js';
import type { Scratch } from './scratch.js';
import { castagnoli } from './stored-batches.js';
import { type BatchOnDisk, recordsOf, type TrueRecord } from './true-batches.js';

export const OUTCOMES = ['served right', 'rebuilt', 'reported', 'typed error', 'documented limit'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Verdict {
  readonly outcome: Outcome;
  readonly problems: readonly string[];
}

const CODES: readonly string[] = [
  'CORRUPT_LOG',
  'CORRUPT_JOURNAL',
  'CORRUPT_CHECKPOINT',
  'DIRECTORY_MISMATCH',
  'DISK_FAILED',
];
const ALL = 64 * 1024 * 1024;
const HANG_MS = 60_000;
const TIMESTAMPS = 10;

/** For tests of this test: what a store that lies would do. */
export interface Lie {
  /** Before the files are looked at after close. */
  readonly afterClose?: (directory: string, damage: Damage) => void;
  /** A log as callers see it. */
  readonly shown?: (log: Log) => Log;
}

export async function checkDamage(
  recording: Recording,
  damage: Damage,
  scratch: Scratch,
  lie: Lie = {},
): Promise<Verdict> {
  const files = new Map(recording.left[damage.left]);
  if (damage.bytes === undefined) files.delete(damage.path);
  else files.set(damage.path, damage.bytes);
  const directory = scratch.directory(files);
  const check = new Check(recording, damage, directory, files, lie);
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`it hangs while ${check.doing}`), HANG_MS);
  });
  const ended = await Promise.race([check.run(), hang]);
  clearTimeout(timer);
  if (ended !== undefined) check.problems.push(ended);
  scratch.remove(directory);
  return { outcome: check.outcome(), problems: check.problems };
}

/** What an opening showed of a log: its end, and per batch how reading it went. */
interface Seen {
  readonly end: number;
  readonly batches: readonly string[];
}

class Check {
  readonly problems: string[] = [];
  doing = 'opening';
  readonly #recording: Recording;
  readonly #damage: Damage;
  readonly #directory: string;
  /** As it was given to the store. */
  readonly #files: Files;
  readonly #lie: Lie;
  readonly #isLimit: boolean;
  #hasErrors = false;
  #hasReports = false;
  #usesLimit = false;
  #isRebuilt = false;

  constructor(recording: Recording, damage: Damage, directory: string, files: Files, lie: Lie) {
    this.#recording = recording;
    this.#damage = damage;
    this.#directory = directory;
    this.#files = files;
    this.#lie = lie;
    this.#isLimit = isJournalEnd(damage, recording);
  }

  outcome(): Outcome {
    if (this.#hasErrors) return 'typed error';
    if (this.#hasReports) return 'reported';
    if (this.#usesLimit) return 'documented limit';
    return this.#isRebuilt ? 'rebuilt' : 'served right';
  }

  /** Errors that nobody expects end it. */
  async run(): Promise<undefined> {
    try {
      const store = await this.#open();
      if (store === undefined) {
        await this.#staysClosed();
        return;
      }
      const after = await this.#use(store);
      this.#lie.afterClose?.(this.#directory, this.#damage);
      this.doing = 'looking at the files after close';
      this.#checkFiles();
      this.doing = 'opening a second time';
      await this.#opensTheSame(after);
    } catch (error) {
      const { code, message, stack } = error as { code?: string; message: string; stack?: string };
      this.problems.push(
        `${this.doing}: ${code ?? 'untyped error'}: ${message} ${stack?.split('\n').slice(1, 5).join(' ')}`,
      );
    }
  }

  /** Undefined: it was refused, with an error that says what is wrong. */
  async #open(): Promise<Store | undefined> {
    try {
      return await openAt(this.#directory, 'first boot', () => this.#recording.now);
    } catch (error) {
      this.#expectTyped(error);
      return undefined;
    }
  }

  async #staysClosed(): Promise<void> {
    this.doing = 'opening again what was refused';
    this.#checkFiles();
    const store = await this.#open();
    if (store === undefined) return;
    // Otherwise it must be right after all.
    this.problems.push('opening failed, and works the second time');
    await this.#use(store);
  }

  async #use(store: Store): Promise<Map<string, Seen>> {
    const after = new Map<string, Seen>();
    for (const truth of this.#recording.logs) {
      const { name } = truth.spec;
      this.doing = `opening ${name}`;
      const log = await this.#openLog(store, truth);
      if (log === undefined) continue;
      this.#checkEnds(log, truth);
      this.doing = `reading ${name}`;
      const before = await this.#read(log, truth);
      this.doing = `lookups in ${name}`;
      await this.#checkLookups(log, truth, before);
      this.doing = `producers of ${name}`;
      await this.#checkProducers(log, truth, before);
      this.doing = `verifying ${name}`;
      const report = await this.#typed(() => log.verify());
      if (report !== undefined) this.#checkVerified(log, truth, report);
      this.doing = `reading ${name} after verify`;
      const seen = await this.#read(log, truth, true);
      this.doing = `appending to ${name}`;
      const appended = await this.#append(log, truth);
      after.set(name, { ...seen, end: seen.end + appended });
    }
    this.doing = 'closing';
    await this.#typed(() => store.close());
    return after;
  }

  async #openLog(store: Store, { spec }: TrueLog): Promise<Log | undefined> {
    const log = await this.#typed(() => store.openLog(spec.name, 0, spec.options));
    if (log === undefined) return undefined;
    // One replica alone: everything durable is committed.
    if (spec.options.replicated) log.advanceHighWatermark(log.end);
    return this.#lie.shown?.(log) ?? log;
  }

  #checkEnds(log: Log, truth: TrueLog): void {
    const { name } = truth.spec;
    if (log.recovery.damaged.length > 0) this.#hasReports = true;
    if (log.end > truth.end) this.problems.push(`${name}: ends at ${log.end}, ${truth.end} was appended`);
    if (log.end < truth.end && log.recovery.damaged.length === 0) {
      this.#missing(
        `${name}: ends at ${log.end}, below ${truth.end}, which was acknowledged: ${text(log.recovery.cuts)}`,
      );
    }
    if (log.start !== truth.start) this.#missing(`${name}: starts at ${log.start} instead of ${truth.start}`);
    const { term, vote } = log.hardState;
    if (term !== truth.term || vote !== truth.vote) {
      this.#missing(`${name}: term ${term}, vote ${vote} instead of ${truth.term}, ${truth.vote}`);
    }
  }

  async #read(log: Log, truth: TrueLog, isVerified = false): Promise<Seen> {
    const batches: string[] = [];
    for (const batch of truth.batches) batches.push(await this.#readBatch(log, truth, batch, isVerified));
    await this.#readAll(log, truth);
    return { end: log.end, batches };
  }

  /** 'right', or the code that its read fails with. */
  async #readBatch(log: Log, truth: TrueLog, batch: BatchOnDisk, isVerified: boolean): Promise<string> {
    const offset = Math.max(batch.base, truth.start);
    if (offset >= log.end) return 'gone';
    const where = `${truth.spec.name}, batch ${batch.base}`;
    const before = this.#hasErrors;
    let code = 'right';
    const views = await this.#typed(
      () => log.viewsFrom(offset, 1, 'end'),
      (error) => {
        code = error.code;
      },
    );
    if (views !== undefined) {
      const problem = viewProblem(Buffer.concat(views.views), batch, isVerified && isEnded(log, batch));
      if (problem !== undefined) this.problems.push(`${where}: ${problem}`);
    }
    const read = await this.#typed(
      () => log.read(offset, { maxBytes: 1 }),
      (error) => {
        code = error.code;
      },
    );
    if (read !== undefined) {
      const wanted = recordsOf(batch).filter((record) => record.offset >= truth.start);
      const difference = recordsDiffer(read.records, wanted);
      if (difference !== undefined) this.problems.push(`${where}: ${difference}`);
      if (read.nextOffset !== batch.end) this.problems.push(`${where}: reading goes on at ${read.nextOffset}`);
    }
    if (code === 'right') this.#hasErrors = before;
    return code;
  }

  /** In large pieces, as consumers do, from each place that can be read. */
  async #readAll(log: Log, truth: TrueLog): Promise<void> {
    for (let offset = truth.start; offset < log.end; ) {
      const read = await this.#typed(() => log.read(offset, { maxBytes: ALL }));
      const next = read?.nextOffset ?? truth.batches.find((batch) => batch.end > offset)?.end ?? log.end;
      if (read !== undefined) {
        const wanted = [...truth.records.values()].filter((record) => record.offset >= offset && record.offset < next);
        // Behind them is what was appended after the damage.
        const known = read.records.filter((record) => record.offset < truth.end);
        const difference = recordsDiffer(known, wanted);
        if (difference !== undefined) this.problems.push(`${truth.spec.name}, read from ${offset}: ${difference}`);
      }
      if (next <= offset) throw new Error(`reading at ${offset} got nowhere`);
      offset = next;
    }
  }

  async #checkLookups(log: Log, truth: TrueLog, seen: Seen): Promise<void> {
    if (log.end < truth.end) return;
    const records = [...truth.records.values()];
    for (let i = 0; i <= TIMESTAMPS; i++) {
      const { timestamp } = records[Math.floor(((records.length - 1) * i) / TIMESTAMPS)]!;
      const wanted = records.find((record) => record.timestamp >= timestamp)!;
      const found = await this.#typed(async () => ({ at: await log.offsetForTimestamp(timestamp) }));
      if (found === undefined) {
        if (seen.batches.every((each) => each === 'right')) {
          this.problems.push(`${truth.spec.name}: lookup of ${timestamp} fails though everything can be read`);
        }
      } else if (found.at?.offset !== wanted.offset || found.at.timestamp !== wanted.timestamp) {
        this.problems.push(`${truth.spec.name}: lookup of ${timestamp} gives ${text(found.at)}, not ${wanted.offset}`);
      }
    }
  }

  async #checkProducers(log: Log, truth: TrueLog, seen: Seen): Promise<void> {
    if (log.end < truth.end || truth.spec === EMBEDDED_LOG) return;
    // What was only in a batch that is damaged, nobody can know.
    if (!seen.batches.every((each) => each === 'right')) {
      await this.#typed(() => log.read(log.start, { maxBytes: ALL, isolation: 'read_committed' }));
      return;
    }
    expectAnswers(log, truth.producers);
    await this.#typed(() => expectCommitted(log, truth.producers));
  }

  /** Of the segments that have ended: what differs on disk is found, and nothing else is. */
  #checkVerified(log: Log, truth: TrueLog, report: VerifyReport): void {
    const { name } = truth.spec;
    const found = [...report.damaged, ...log.recovery.damaged];
    if (report.damaged.length > 0) this.#hasReports = true;
    for (const { path, base, batches } of segmentsOf(this.#recording.left[this.#damage.left], truth)) {
      const ranges = found.filter(({ segmentBaseOffset }) => segmentBaseOffset === base);
      const isLast = batches.at(-1)!.end >= truth.end;
      const now = this.#onDisk(path);
      const right = Buffer.concat(batches.map(({ raw }) => raw));
      const wrong = differences(right, now);
      const missed = wrong.find(
        (at) => !ranges.some(({ position, endPosition }) => position <= at && at < endPosition),
      );
      if (missed !== undefined && !isLast)
        this.problems.push(`${name}: verify does not find byte ${missed} of ${path}`);
      const isSeal = this.#damage.path === path.replace('.log', '.seal');
      if (wrong.length === 0 && ranges.length > 0 && !isSeal) {
        this.problems.push(`${name}: ${path} is as it was, and said to be damaged: ${text(ranges)}`);
      }
    }
  }

  async #append(log: Log, truth: TrueLog): Promise<number> {
    const { end } = log;
    const appended = await this.#typed(async () => {
      if (truth.spec === EMBEDDED_LOG) return log.append([{ value: 'behind the damage' }]);
      const batch = producedBatch({ producerId: 99, epoch: 0, sequence: 0, count: 1 });
      const range = log.appendProduced(batch, 0, batch.length, Math.max(log.lastEpoch, truth.term));
      await log.flush();
      return range;
    });
    if (appended !== undefined && appended.baseOffset !== end) {
      this.problems.push(`${truth.spec.name}: an append landed at ${appended.baseOffset}, the log ended at ${end}`);
    }
    return log.end - end;
  }

  /** Bytes of segments that were durable are as they were given, or as they ought to be: the journal has healed them. */
  #checkFiles(): void {
    for (const truth of this.#recording.logs) {
      for (const { path, batches } of segmentsOf(this.#recording.left[this.#damage.left], truth)) {
        const given = this.#files.get(path);
        if (given === undefined) continue;
        if (!existsSync(join(this.#directory, path))) {
          this.problems.push(`${path} is gone`);
          continue;
        }
        const now = this.#onDisk(path);
        const right = Buffer.concat(batches.map(({ raw }) => raw));
        const length = Math.min(right.length, given.length);
        if (now.length < length) this.problems.push(`${path} was cut off at ${now.length}, from ${given.length}`);
        for (let i = 0; i < Math.min(length, now.length); i++) {
          if (now[i] === given[i] || now[i] === right[i]) continue;
          this.problems.push(`${path}: byte ${i} was changed`);
          break;
        }
      }
    }
    const { path, bytes, fileKind } = this.#damage;
    const isThere = existsSync(join(this.#directory, path));
    const isAsGiven = isThere ? bytes?.equals(this.#onDisk(path)) : bytes === undefined;
    this.#isRebuilt = DERIVED.includes(fileKind) && !isAsGiven;
  }

  async #opensTheSame(before: ReadonlyMap<string, Seen>): Promise<void> {
    const store = await this.#open();
    if (store === undefined) {
      this.problems.push('it was opened once, and is refused now');
      return;
    }
    for (const truth of this.#recording.logs) {
      const { name } = truth.spec;
      const log = await this.#openLog(store, truth);
      const wanted = before.get(name);
      if ((log === undefined) !== (wanted === undefined)) this.problems.push(`${name}: opens only once of two times`);
      if (log === undefined || wanted === undefined) continue;
      const seen = await this.#read(log, truth);
      if (text(seen) !== text(wanted)) {
        const i = seen.batches.findIndex((each, at) => each !== wanted.batches[at]);
        this.problems.push(
          `${name}: the second opening ends at ${seen.end} instead of ${wanted.end}; batch ${truth.batches[i]?.base}: ${seen.batches[i]} instead of ${wanted.batches[i]}`,
        );
      }
    }
    await this.#typed(() => store.close());
  }

  /** Undefined when it failed, with an error that is allowed and says where. */
  async #typed<T>(call: () => T | Promise<T>, onError?: (error: VarveError) => void): Promise<T | undefined> {
    try {
      return await call();
    } catch (error) {
      if (error instanceof Error && error.name === 'AssertionError') throw error;
      this.#expectTyped(error);
      if (error instanceof VarveError) onError?.(error);
      return undefined;
    }
  }

  #expectTyped(error: unknown): void {
    this.#hasErrors = true;
    const { message, stack } = error as Error;
    if (!(error instanceof VarveError) || !CODES.includes(error.code)) {
      const code = error instanceof VarveError ? error.code : 'untyped error';
      this.problems.push(`${this.doing}: ${code}: ${message} ${stack?.split('\n').slice(1, 4).join(' ')}`);
      return;
    }
    const names = [...this.#recording.left[this.#damage.left].keys()].map((path) => path.replace(/^.*\/(?=.)/, ''));
    const isNamed =
      names.some((name) => message.includes(name)) || LOGS.some(({ name }) => message.includes(`${name}-0`));
    if (!isNamed) this.problems.push(`${this.doing}: ${error.code} names no file: ${message}`);
  }

  /** Something acknowledged is not there: wrong, unless nothing that is left could show it. */
  #missing(what: string): void {
    if (this.#isLimit) this.#usesLimit = true;
    else this.problems.push(what);
  }

  #onDisk(path: string): Buffer {
    try {
      return readFileSync(join(this.#directory, path));
    } catch {
      return Buffer.alloc(0);
    }
  }
}

interface TrueSegment {
  readonly path: string;
  readonly base: number;
  readonly batches: readonly BatchOnDisk[];
}

/** The files that hold the log's batches in the undamaged directory; found by their bytes. */
function segmentsOf(files: Files, truth: TrueLog): TrueSegment[] {
  const found: TrueSegment[] = [];
  const prefix = `${truth.spec.name}-0.`;
  const logs = [...files].filter(([path]) => path.startsWith(prefix) && path.endsWith('.log'));
  for (const [path, bytes] of logs) {
    const base = Number(path.slice(path.lastIndexOf('/') + 1).split('.')[0]);
    const batches: BatchOnDisk[] = [];
    let at = 0;
    let next = truth.batches.findIndex((batch) => batch.base === base);
    for (let batch = truth.batches[next]; next >= 0 && batch !== undefined; batch = truth.batches[++next]) {
      if (!bytes.subarray(at, at + batch.raw.length).equals(batch.raw)) break;
      batches.push(batch);
      at += batch.raw.length;
    }
    if (batches.length > 0) found.push({ path, base, batches });
  }
  return found;
}

function isEnded(log: Log, batch: BatchOnDisk): boolean {
  const bases = log.recovery.durableMark?.segmentBaseOffset ?? 0;
  return batch.end <= bases;
}

/** Consumers check the CRC; what it does not cover must be right all the same. */
function viewProblem(view: Buffer, batch: BatchOnDisk, isVerified: boolean): string | undefined {
  if (view.equals(batch.raw)) return undefined;
  if (isVerified) return 'a view of other bytes, after verify';
  const size = view.length < 61 ? 0 : view.readInt32BE(8) + 12;
  const isWhole = size === view.length && view.readUInt32BE(17) === castagnoli(view, 21, view.length);
  if (!isWhole) return undefined;
  const isEpoch =
    view.subarray(0, 12).equals(batch.raw.subarray(0, 12)) && view.subarray(16).equals(batch.raw.subarray(16));
  return isEpoch ? undefined : 'a view that checks out, of other bytes';
}

function recordsDiffer(found: readonly TrueRecord[], wanted: readonly TrueRecord[]): string | undefined {
  if (found.length !== wanted.length) return `${found.length} records instead of ${wanted.length}`;
  const at = found.findIndex((record, i) => !sameRecord(record, wanted[i]!));
  if (at < 0) return undefined;
  return `record ${found[at]!.offset} (${found[at]!.timestamp}) is not ${wanted[at]!.offset} (${wanted[at]!.timestamp})`;
}

function sameRecord(a: TrueRecord, b: TrueRecord): boolean {
  return a.offset === b.offset && a.timestamp === b.timestamp && sameBytes(a.key, b.key) && sameBytes(a.value, b.value);
}

function sameBytes(a: Buffer | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}

function differences(right: Buffer, now: Buffer): number[] {
  const at: number[] = [];
  for (let i = 0; i < right.length; i++) if (right[i] !== now[i]) at.push(i);
  return at;
}

function text(value: unknown): string {
  return JSON.stringify(value);
}
