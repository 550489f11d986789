/**
 * What the checks share: partitions with their settings, and the tables of sends and records. A record is known by its
 * partition and value; a send tries one or more of them. Rows are numbers, columns typed arrays: about 150 bytes a record.
 */
import type { Findings } from './anomaly.js';
import { Integers, Numbers, OffsetPages, RunningMaximum } from './columns.js';
import type { Name, Outcome, Send } from './operation.js';
import { ACKS_ALL, type PermittedLoss } from './permitted-loss.js';
import type { ResolvedSettings } from './settings.js';

/** Numbers for names, in the order of their appearance. */
export class Names {
  readonly #numbers = new Map<string, number>();
  readonly #names: string[] = [];

  number(name: Name): number {
    const text = String(name);
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.#names.length;
      this.#names.push(text);
      this.#numbers.set(text, number);
    }
    return number;
  }

  name(number: number): string {
    return this.#names[number] as string;
  }

  get size(): number {
    return this.#names.length;
  }
}

export const OUTCOMES: readonly Outcome[] = ['ok', 'failed', 'unknown'];
export const OK = 0;
export const FAILED = 1;
export const UNKNOWN = 2;

export class Sends {
  readonly line = new Integers();
  readonly partition = new Integers();
  readonly producer = new Integers();
  readonly begin = new Numbers();
  readonly time = new Numbers();
  /** −1: no offset. */
  readonly offset = new Numbers();
  /** −1: not known. */
  readonly epoch = new Integers();
  readonly node = new Integers();
  readonly acks = new Integers();
  readonly outcome = new Integers();
  readonly attempts = new Integers();
  /** −1: not idempotent, no transaction. */
  readonly producerId = new Integers();
  readonly producerEpoch = new Integers();
  readonly sequence = new Integers();
  readonly transaction = new Integers();
  readonly duplicate = new Integers();
  readonly tombstone = new Integers();
  /** Its records are members[start, start + count). */
  readonly start = new Integers();
  readonly count = new Integers();
  readonly members = new Integers();

  record(send: number, index = 0): number {
    return this.members.at(this.start.at(send) + index);
  }

  get length(): number {
    return this.line.length;
  }
}

export class Records {
  readonly partition = new Integers();
  /** The first send; −1: nobody has sent it so far. */
  readonly send = new Integers();
  /** Its place in that send. */
  readonly index = new Integers();
  /** −1: no key. */
  readonly key = new Integers();
  readonly timestamp = new Numbers();
  /** The first offset at which a reader had it; −1: nobody had it. */
  readonly offset = new Numbers();
  readonly seenLine = new Integers();
  readonly seenTime = new Numbers();
  /** Of the read of that offset that was called last. */
  readonly lastBegin = new Numbers();
  readonly lastLine = new Integers();
  /** The first time a read_committed reader had it; Infinity: never. */
  readonly committedTime = new Numbers();
  readonly committedLine = new Integers();
  /** Leader epoch as a reader had it; −1: not known. */
  readonly epoch = new Integers();
  readonly value: string[] = [];
  /** Sends behind the first. */
  readonly moreSends = new Map<number, { readonly send: number; readonly index: number }[]>();
  /** Offsets behind the first. */
  readonly moreSightings = new Map<number, Sighting[]>();

  get length(): number {
    return this.send.length;
  }

  /** A record that nobody has sent or read so far. */
  add(partition: number, value: string): number {
    this.partition.push(partition);
    this.index.push(0);
    this.key.push(-1);
    this.timestamp.push(Number.NaN);
    this.offset.push(-1);
    this.seenLine.push(0);
    this.seenTime.push(Number.POSITIVE_INFINITY);
    this.lastBegin.push(Number.NEGATIVE_INFINITY);
    this.lastLine.push(0);
    this.committedTime.push(Number.POSITIVE_INFINITY);
    this.committedLine.push(0);
    this.epoch.push(-1);
    this.value.push(value);
    return this.send.push(-1);
  }

  *sendsOf(record: number): Generator<{ readonly send: number; readonly index: number }> {
    if (this.send.at(record) < 0) return;
    yield { send: this.send.at(record), index: this.index.at(record) };
    yield* this.moreSends.get(record) ?? [];
  }

  sightingsOf(record: number): readonly Sighting[] {
    if (this.offset.at(record) < 0) return [];
    const first: Sighting = {
      offset: this.offset.at(record),
      line: this.seenLine.at(record),
      time: this.seenTime.at(record),
      lastBegin: this.lastBegin.at(record),
      lastLine: this.lastLine.at(record),
    };
    const more = this.moreSightings.get(record);
    return more === undefined ? [first] : [first, ...more];
  }
}

export interface Sighting {
  readonly offset: number;
  /** Of the first read, and when it was over. */
  readonly line: number;
  readonly time: number;
  lastBegin: number;
  lastLine: number;
}

/** A read that was given nothing for [from, to), and went on behind it. */
export interface Missed {
  readonly from: number;
  readonly to: number;
  readonly line: number;
  readonly begin: number;
  readonly time: number;
  readonly isCommitted: boolean;
  readonly consumer: string;
}

/** A reader had `later` where `earlier` had been read. */
export interface ReadConflict {
  readonly offset: number;
  readonly earlier: number;
  readonly earlierLine: number;
  readonly later: number;
  readonly laterLine: number;
}

export class Partition {
  readonly name: string;
  readonly number: number;
  readonly settings: ResolvedSettings;
  /** Record of each value. */
  readonly values = new Map<string, number>();
  /** The record that was read, or acknowledged, first at each offset. */
  readonly readAt = new OffsetPages();
  readonly acknowledgedAt = new OffsetPages();
  readonly missed: Missed[] = [];
  readonly readConflicts: ReadConflict[] = [];
  /** (earlier send, later send, offset) of different records. */
  readonly acknowledgedConflicts: { readonly offset: number; readonly earlier: number; readonly later: number }[] = [];
  /** The log start as anybody was told. */
  readonly logStart = new RunningMaximum();
  /** Upper bound of what the final reads cover, and its begin; −1: there is none. */
  finalFrom = Number.POSITIVE_INFINITY;
  finalNext = -1;
  finalBegin = Number.POSITIVE_INFINITY;
  finalLine = 0;

  constructor(name: string, number: number, settings: ResolvedSettings) {
    this.name = name;
    this.number = number;
    this.settings = settings;
  }

  get highestLogStart(): number {
    return Math.max(this.settings.logStart, this.logStart.latest);
  }
}

export interface HistoryState {
  readonly findings: Findings;
  readonly permittedLoss: PermittedLoss;
  readonly partitions: Partition[];
  readonly sends: Sends;
  readonly records: Records;
  readonly producers: Names;
  readonly producerIds: Names;
  readonly transactions: Names;
  readonly nodes: Names;
  readonly keys: Names;
}

export function acksNumber(acks: Send['acks']): number {
  return acks === undefined || acks === 'all' ? ACKS_ALL : acks;
}
