/**
 * Opens a damaged directory with the real store and says everything that is wrong with what it does. What is right is decided
 * by the recording, read with a reader of its own (true-batches.ts); nothing here is recovery's.
 *
 *   what is read was appended, at its offset, byte for byte
 *   what was acknowledged is there, or its read (or the opening) fails with a typed error that names a file
 *   the log ends where it would without the damage; before that only where nothing knew of the damaged bytes but they
 *   themselves (a relaxed flush, a direct flush without its mark, the end of the journal)
 *   term, vote and memberships are those that were acknowledged
 *   lookups by timestamp, dedupe and read_committed are right, or fail with a typed error
 *   verify finds what differs in segments that have ended, and nothing else
 *   no byte of a segment that was durable is changed or cut off
 *   an append lands at the end, and opening again shows the same
 */
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { VarveError } from '../../src/errors.js';
import type { Log, VerifyReport } from '../../src/log/log.js';
import type { Store } from '../../src/log/partition-store.js';
import { expectAnswers, expectCommitted } from '../log/producer-answers.js';
import { producedBatch } from '../log/producer-model.js';
import { bootOf, openAt, type Recording, recordsIn, type TrueLog } from './corruption-store.js';
import {
  bytesOf,
  configurationText,
  differences,
  isLostLink,
  recordsDiffer,
  segmentsOf,
  viewProblem,
} from './corruption-truth.js';
import { changedFrom, type Damage, type DamageKind, isJournalEnd } from './damage.js';
import { DERIVED } from './file-regions.js';
import type { Scratch } from './scratch.js';
import type { BatchOnDisk } from './true-batches.js';

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
/** Whole files of batches that check out, in a place that is not theirs. */
const EXCHANGES: readonly DamageKind[] = ['swap', 'foreign', 'misdirect'];

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
  const directory = scratch.directory(damage.files);
  const elsewhere = scratch.directory();
  placeLink(damage, directory, elsewhere);
  if (damage.isUnreadable) chmodSync(join(directory, damage.path), 0);
  const check = new Check(recording, damage, directory, lie);
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`it hangs while ${check.doing}`), HANG_MS);
  });
  const ended = await Promise.race([check.run(), hang]);
  clearTimeout(timer);
  if (ended !== undefined) check.problems.push(ended);
  scratch.remove(directory);
  scratch.remove(elsewhere);
  return { outcome: check.outcome(), problems: check.problems };
}

function placeLink({ link, path }: Damage, directory: string, elsewhere: string): void {
  if (link === undefined) return;
  const place = join(directory, path.replace(/\/$/, ''));
  const target = link === 'to itself' ? place : join(elsewhere, 'target');
  if (link === 'elsewhere') renameSync(place, target);
  else rmSync(place, { recursive: true });
  symlinkSync(target, place);
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
  readonly #lie: Lie;
  readonly #isLimit: boolean;
  /** Per log, where it ended when it was first opened: behind that is what was appended here. */
  readonly #ends = new Map<string, number>();
  /** Logs that show what was truncated. */
  readonly #lostTruncations = new Set<string>();
  /** Segments in which damage was found, by log and base offset. */
  readonly #reported = new Set<string>();
  #hasErrors = false;
  #hasFailed = false;
  #hasReports = false;
  #usesLimit = false;
  #isRebuilt = false;
  #refusal = '';

  constructor(recording: Recording, damage: Damage, directory: string, lie: Lie) {
    this.#recording = recording;
    this.#damage = damage;
    this.#directory = directory;
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
    const { workload, now } = this.#recording;
    const { left } = this.#damage;
    try {
      return await openAt(this.#directory, bootOf(left), workload, () => now);
    } catch (error) {
      this.#expectTyped(error);
      this.#refusal = (error as Error).message;
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
    this.#hasFailed = store.failed !== undefined;
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
    const { end } = log;
    const least = this.#leastEnd(truth);
    this.#ends.set(name, Math.min(end, truth.end));
    if (log.recovery.damaged.length > 0) this.#hasReports = true;
    if (end > truth.end) this.problems.push(`${name}: ends at ${end}, ${truth.end} was appended`);
    else if (end !== truth.start && !truth.batches.some((batch) => batch.end === end)) {
      this.#missing(`${name}: ends at ${end}, inside a batch`);
    }
    if (end < least) {
      this.#missing(`${name}: ends at ${end}, below ${least}, which was there: ${text(log.recovery.cuts)}`);
    } else if (end < truth.ends[this.#damage.left]) this.#usesLimit = true;
    if (log.start !== truth.start) this.#missing(`${name}: starts at ${log.start} instead of ${truth.start}`);
    const { term, vote } = log.hardState;
    // Batches of a later term are on disk before the term is; nobody voted in it.
    const lastEpoch = truth.batches.findLast((batch) => batch.end <= end)?.epoch ?? -1;
    const isOfBatches = lastEpoch > truth.term && term === lastEpoch && vote === 0;
    // The CRC does not cover the epoch: rot in it is not found where nobody but the batch knows it.
    const isOfTail = least < truth.ends[this.#damage.left] && vote === 0;
    if (isOfTail && term !== truth.term) this.#usesLimit = true;
    else if (!isOfBatches && (term !== truth.term || vote !== truth.vote)) {
      this.#missing(`${name}: term ${term}, vote ${vote} instead of ${truth.term}, ${truth.vote}`);
    }
    const wanted = truth.configurations.filter(({ offset }) => offset < end).map(configurationText);
    const found = log.configurations.map(configurationText);
    if (found.join() !== wanted.join()) this.#missing(`${name}: memberships ${found.join()}, not ${wanted.join()}`);
  }

  /** Where the log must end: damage may take what nobody knows of but the segment, from the damaged batch on. */
  #leastEnd(truth: TrueLog): number {
    const { left } = this.#damage;
    const known = truth.known[left];
    let least = truth.ends[left];
    for (const { path, front, batches } of segmentsOf(this.#recording, this.#damage, truth)) {
      const first = changedFrom(this.#damage, this.#recording, path);
      let at = front.length;
      for (const { base, end, raw } of batches) {
        at += raw.length;
        if (first >= 0 && first < at && end > known) least = Math.min(least, Math.max(base, known));
      }
    }
    return least;
  }

  /** As far as the log went when it was opened. */
  #batchesOf(truth: TrueLog): readonly BatchOnDisk[] {
    const end = this.#ends.get(truth.spec.name) ?? truth.end;
    return truth.batches.filter((batch) => batch.end <= end);
  }

  async #read(log: Log, truth: TrueLog, isVerified = false): Promise<Seen> {
    const batches: string[] = [];
    for (const batch of this.#batchesOf(truth)) batches.push(await this.#readBatch(log, truth, batch, isVerified));
    await this.#readAll(log, truth, isVerified);
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
    if (views !== undefined && this.#isOfLostTruncation(truth, Buffer.concat(views.views))) return 'truncated';
    if (views !== undefined) {
      const problem = viewProblem(Buffer.concat(views.views), batch, isVerified && isEnded(log, batch));
      if (problem !== undefined) this.#wrong(truth, batch, isVerified, `${where}: ${problem}`);
    }
    const read = await this.#typed(
      () => log.read(offset, { maxBytes: 1 }),
      (error) => {
        code = error.code;
      },
    );
    if (read !== undefined) {
      const difference = recordsDiffer(read.records, recordsIn(truth, batch));
      if (difference !== undefined) this.#wrong(truth, batch, isVerified, `${where}: ${difference}`);
      if (read.nextOffset !== batch.end) {
        this.#wrong(truth, batch, isVerified, `${where}: reading goes on at ${read.nextOffset}`);
      }
    }
    if (code === 'right') this.#hasErrors = before;
    return code;
  }

  /** The truncation was at the end of the journal that is gone. */
  #isOfLostTruncation({ spec, cutOff }: TrueLog, view: Buffer): boolean {
    if (!this.#isLimit || !cutOff.some((raw) => raw.equals(view))) return false;
    this.#usesLimit = true;
    this.#lostTruncations.add(spec.name);
    return true;
  }

  /** In large pieces, as consumers do, from each place that can be read. */
  async #readAll(log: Log, truth: TrueLog, isVerified: boolean): Promise<void> {
    const end = this.#ends.get(truth.spec.name) ?? truth.end;
    for (let offset = truth.start; offset < log.end; ) {
      const read = await this.#typed(() => log.read(offset, { maxBytes: ALL }));
      const next = read?.nextOffset ?? truth.batches.find((batch) => batch.end > offset)?.end ?? log.end;
      if (read !== undefined) {
        const to = Math.min(next, end);
        const wanted = [...truth.records.values()].filter((record) => record.offset >= offset && record.offset < to);
        // Behind them is what was appended after the damage.
        const known = read.records.filter((record) => record.offset < end);
        const difference = recordsDiffer(known, wanted);
        const foreign = truth.batches.find((batch) => {
          return batch.end > offset && batch.base < next && this.#mayBeForeign(truth, batch, isVerified);
        });
        const what = `${truth.spec.name}, read from ${offset}: ${difference}`;
        if (difference !== undefined && !this.#lostTruncations.has(truth.spec.name))
          this.#wrong(truth, foreign, isVerified, what);
      }
      if (next <= offset) throw new Error(`reading at ${offset} got nowhere`);
      offset = next;
    }
  }

  /** Wrong, unless it may come from a segment that is another's. */
  #wrong(truth: TrueLog, batch: BatchOnDisk | undefined, isVerified: boolean, what: string): void {
    if (batch !== undefined && this.#mayBeForeign(truth, batch, isVerified)) this.#usesLimit = true;
    else this.problems.push(what);
  }

  /**
   * The documented limit: a segment in whose place a whole other one stands. Its batches check out; only the seal knows, so
   * `verify` does. Nobody does of the segment that is appended to, nor of the batches beside damage, which spoils the seal, nor
   * when the seal is another's too.
   */
  #mayBeForeign(truth: TrueLog, batch: BatchOnDisk, isVerified: boolean): boolean {
    if (!EXCHANGES.includes(this.#damage.kind)) return false;
    return segmentsOf(this.#recording, this.#damage, truth).some(({ path, base, batches }) => {
      const isEnd = batches.at(-1)!.end >= truth.ends[this.#damage.left];
      const isSealed = changedFrom(this.#damage, this.#recording, path.replace('.log', '.seal')) < 0;
      const isKnown = isVerified && !isEnd && isSealed && !this.#reported.has(`${truth.spec.name} ${base}`);
      const isOf = batches.some((each) => each.base === batch.base);
      return isOf && !isKnown && changedFrom(this.#damage, this.#recording, path) >= 0;
    });
  }

  #hasForeign(truth: TrueLog): boolean {
    return truth.batches.some((batch) => this.#mayBeForeign(truth, batch, false));
  }

  async #checkLookups(log: Log, truth: TrueLog, seen: Seen): Promise<void> {
    if (log.end < truth.end || this.#hasForeign(truth) || this.#lostTruncations.has(truth.spec.name)) return;
    const records = [...truth.records.values()];
    for (let i = 0; i <= TIMESTAMPS; i++) {
      const { timestamp } = records[Math.floor(((records.length - 1) * i) / TIMESTAMPS)]!;
      const wanted = records.find((record) => record.timestamp >= timestamp)!;
      const found = await this.#typed(async () => ({ at: await log.offsetForTimestamp(timestamp) }));
      if (found === undefined) {
        // What lies before the log start is needed for a new index as well.
        const isFront = segmentsOf(this.#recording, this.#damage, truth).some(({ path, front }) => {
          return front.length > 0 && changedFrom(this.#damage, this.#recording, path) >= 0;
        });
        if (!isFront && seen.batches.every((each) => each === 'right')) {
          this.problems.push(`${truth.spec.name}: lookup of ${timestamp} fails though everything can be read`);
        }
      } else if (found.at?.offset !== wanted.offset || found.at.timestamp !== wanted.timestamp) {
        this.problems.push(`${truth.spec.name}: lookup of ${timestamp} gives ${text(found.at)}, not ${wanted.offset}`);
      }
    }
  }

  async #checkProducers(log: Log, truth: TrueLog, seen: Seen): Promise<void> {
    if (log.end < truth.end || truth.producers === undefined || this.#hasForeign(truth)) return;
    // What was only in a batch that is damaged, nobody can know.
    if (!seen.batches.every((each) => each === 'right')) {
      await this.#typed(() => log.read(log.start, { maxBytes: ALL, isolation: 'read_committed' }));
      return;
    }
    const { producers } = truth;
    expectAnswers(log, producers);
    await this.#typed(() => expectCommitted(log, producers));
  }

  /** Of the segments that have ended: what differs on disk is found, and nothing else is. */
  #checkVerified(log: Log, truth: TrueLog, report: VerifyReport): void {
    const { name } = truth.spec;
    const found = [...report.damaged, ...log.recovery.damaged];
    if (report.damaged.length > 0) this.#hasReports = true;
    const ended = this.#ends.get(name)!;
    for (const segment of segmentsOf(this.#recording, this.#damage, truth)) {
      const { path, base } = segment;
      const ranges = found.filter(({ segmentBaseOffset }) => segmentBaseOffset === base);
      const isLast = segment.batches.at(-1)!.end >= ended;
      const now = this.#onDisk(path);
      const right = bytesOf(segment, ended);
      const wrong = differences(right, now);
      const missed = wrong.find(
        (at) => !ranges.some(({ position, endPosition }) => position <= at && at < endPosition),
      );
      for (const { segmentBaseOffset } of ranges) this.#reported.add(`${name} ${segmentBaseOffset}`);
      const isSeal = changedFrom(this.#damage, this.#recording, path.replace('.log', '.seal')) >= 0;
      const isSaid = EXCHANGES.includes(this.#damage.kind) && (ranges.length > 0 || isSeal);
      if (missed !== undefined && !isLast && !isSaid)
        this.problems.push(`${name}: verify does not find byte ${missed} of ${path}`);
      if (wrong.length === 0 && ranges.length > 0 && !isSeal) {
        this.problems.push(`${name}: ${path} is as it was, and said to be damaged: ${text(ranges)}`);
      }
    }
  }

  async #append(log: Log, truth: TrueLog): Promise<number> {
    const { end } = log;
    const appended = await this.#typed(async () => {
      if (!truth.spec.options.replicated) return log.append([{ key: 'key', value: 'behind the damage' }]);
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
    const { files } = this.#damage;
    for (const truth of this.#recording.logs) {
      const ended = this.#ends.get(truth.spec.name) ?? this.#leastEnd(truth);
      for (const segment of segmentsOf(this.#recording, this.#damage, truth)) {
        const { path } = segment;
        const given = files.get(path);
        if (given === undefined || isLostLink(this.#damage, path)) continue;
        const right = bytesOf(segment, ended);
        if (right.length === 0) continue;
        if (!existsSync(join(this.#directory, path))) {
          this.problems.push(`${path} is gone`);
          continue;
        }
        const now = this.#onDisk(path);
        const length = Math.min(right.length, given.length);
        if (now.length < length) this.problems.push(`${path} was cut off at ${now.length}, from ${given.length}`);
        for (let i = 0; i < Math.min(length, now.length); i++) {
          if (now[i] === given[i] || now[i] === right[i]) continue;
          this.problems.push(`${path}: byte ${i} was changed`);
          break;
        }
      }
    }
    const { path, fileKind } = this.#damage;
    const bytes = files.get(path);
    const isThere = existsSync(join(this.#directory, path));
    const isAsGiven = isThere ? bytes?.equals(this.#onDisk(path)) : bytes === undefined;
    this.#isRebuilt = DERIVED.includes(fileKind) && !isAsGiven;
  }

  async #opensTheSame(before: ReadonlyMap<string, Seen>): Promise<void> {
    const store = await this.#open();
    if (store === undefined) {
      this.problems.push(`it was opened once, and is refused now: ${this.#refusal}`);
      return;
    }
    for (const truth of this.#recording.logs) {
      const { name } = truth.spec;
      const log = await this.#openLog(store, truth);
      const wanted = before.get(name);
      const opensOnce = (log === undefined) !== (wanted === undefined);
      // A store that failed opens no further logs.
      if (opensOnce && !this.#hasFailed && store.failed === undefined)
        this.problems.push(`${name}: opens only once of two times`);
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
    const { left, files, path } = this.#damage;
    const paths = [path, ...files.keys(), ...this.#recording.left[left].keys()];
    const names = paths.map((name) => name.replace(/^.*\/(?=.)/, '').replace(/\/$/, ''));
    const { logs } = this.#recording.workload;
    const isNamed =
      names.some((name) => message.includes(name)) || logs.some(({ name }) => message.includes(`${name}-0`));
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

function isEnded(log: Log, batch: BatchOnDisk): boolean {
  const bases = log.recovery.durableMark?.segmentBaseOffset ?? 0;
  return batch.end <= bases;
}

function text(value: unknown): string {
  return JSON.stringify(value);
}
