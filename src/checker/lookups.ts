/**
 * Answers that are computed from the log, held against the records it is known to have had: the first offset of a timestamp,
 * the end of a leader epoch; and leader epochs along the log.
 */
import { type Claims, EXPECTED, SEEN } from './claims.js';
import { RangeMaximum } from './columns.js';
import { type HistoryState, OK, type Partition } from './history-state.js';
import type { EpochEnd, OffsetForTime } from './operation.js';
import { ACKS_ALL } from './permitted-loss.js';
import type { RecordVerdict } from './record-verdict.js';

interface Asked<T> {
  readonly question: T;
  readonly line: number;
  readonly begin: number;
}

export class Lookups {
  readonly #state: HistoryState;
  readonly #times = new Map<number, Asked<OffsetForTime>[]>();
  readonly #ends = new Map<number, Asked<EpochEnd>[]>();

  constructor(state: HistoryState) {
    this.#state = state;
  }

  addTime(question: OffsetForTime, partition: Partition, line: number): void {
    ask(this.#times, partition.number, { question, line, begin: question.begin ?? question.time });
  }

  addEnd(question: EpochEnd, partition: Partition, line: number): void {
    ask(this.#ends, partition.number, { question, line, begin: question.begin ?? question.time });
    this.#state.permittedLoss.addEpoch(partition.name, question.epoch);
  }

  judge(all: readonly Claims[], verdict: RecordVerdict): void {
    for (const claims of all) {
      const log = new KnownLog(this.#state, claims, verdict);
      const { number } = claims.partition;
      this.#judgeEpochs(log);
      const times = this.#times.get(number);
      if (times !== undefined) this.#judgeTimes(times, log);
      const ends = this.#ends.get(number);
      if (ends !== undefined) this.#judgeEnds(ends, log);
    }
  }

  #judgeEpochs({ length, epochs, offsets, lines, partition }: KnownLog): void {
    // The place of the highest epoch below this offset, and of that below or at it: at one offset there is no order.
    let highest = -1;
    let reached = -1;
    for (let i = 0; i < length; i += 1) {
      const epoch = epochs[i]!;
      if (i > 0 && offsets[i] !== offsets[i - 1]) highest = reached;
      if (epoch < 0) continue;
      if (reached < 0 || epoch > epochs[reached]!) reached = i;
      if (highest < 0 || epoch >= epochs[highest]!) continue;
      const above = highest;
      this.#state.findings.report(
        'epoch-regression',
        { partition: partition.name, offset: offsets[i]! },
        [lines[above]!, lines[i]!],
        () =>
          `offset ${offsets[i]} has leader epoch ${epoch}, and offset ${offsets[above]} before it has ${epochs[above]}`,
      );
    }
  }

  #judgeTimes(asked: Asked<OffsetForTime>[], log: KnownLog): void {
    const { findings, records } = this.#state;
    const { partition, offsets, timestamps, lines } = log;
    for (const { question, line } of asked) {
      if (question.offset === null) continue;
      const place = log.lowerBound(question.offset);
      if (offsets[place] !== question.offset || !(timestamps[place]! < question.timestamp)) continue;
      findings.report(
        'timestamp-index-wrong',
        { partition: partition.name, offset: question.offset },
        [lines[place]!, line],
        () => {
          return `timestamp ${question.timestamp} was found at offset ${question.offset}, whose record is of ${timestamps[place]}`;
        },
      );
    }
    if (partition.settings.compacted || records.length === 0) return;
    const known = new RangeMaximum(Math.max(1, log.length));
    log.sweep(
      asked,
      (place) => known.raise(place, Number.isNaN(timestamps[place]!) ? Number.NEGATIVE_INFINITY : timestamps[place]!),
      ({ question, line }) => {
        const from = log.lowerBound(partition.highestLogStart);
        const to = question.offset === null ? log.length : log.lowerBound(question.offset);
        if (known.maximum(from, to) < question.timestamp) return;
        let place = from;
        while (!(timestamps[place]! >= question.timestamp && known.maximum(place, place + 1) >= question.timestamp))
          place += 1;
        findings.report(
          'timestamp-index-wrong',
          { partition: partition.name, offset: offsets[place]! },
          [lines[place]!, line],
          () => {
            const found = question.offset === null ? 'nothing' : `offset ${question.offset}`;
            return `a lookup of timestamp ${question.timestamp} found ${found}, and offset ${offsets[place]} is of ${timestamps[place]}`;
          },
        );
      },
    );
  }

  #judgeEnds(asked: Asked<EpochEnd>[], log: KnownLog): void {
    const { findings } = this.#state;
    const { partition, offsets, epochs, lines } = log;
    const report = (line: number, question: EpochEnd, place: number): void =>
      findings.report(
        'epoch-index-mismatch',
        { partition: partition.name, offset: offsets[place]! },
        [lines[place]!, line],
        () =>
          `epoch ${question.epoch} was said to end at ${question.offset}, and offset ${offsets[place]} is of epoch ${epochs[place]}`,
      );
    const wrong = new Set<number>();
    for (const { question, line } of asked) {
      const place = log.firstAboveEpoch(question.epoch);
      if (place >= log.length || offsets[place]! >= question.offset) continue;
      wrong.add(line);
      report(line, question, place);
    }
    // The lowest epoch among what is known, as the highest of its negative.
    const known = new RangeMaximum(Math.max(1, log.length));
    log.sweep(
      asked,
      (place) => epochs[place]! >= 0 && known.raise(place, -epochs[place]!),
      ({ question, line }) => {
        const from = log.lowerBound(question.offset);
        if (wrong.has(line) || known.maximum(from, log.length) < -question.epoch) return;
        let place = from;
        while (known.maximum(place, place + 1) < -question.epoch) place += 1;
        report(line, question, place);
      },
    );
  }
}

function ask<T>(all: Map<number, Asked<T>[]>, partition: number, asked: Asked<T>): void {
  const list = all.get(partition);
  if (list === undefined) all.set(partition, [asked]);
  else list.push(asked);
}

/**
 * What is certainly in a partition, by offset: epoch (−1: not known), timestamp (NaN: not known), since when it is known.
 */
class KnownLog {
  readonly partition: Partition;
  readonly length: number;
  readonly offsets: Float64Array;
  readonly epochs: Int32Array;
  readonly timestamps: Float64Array;
  readonly knownSince: Float64Array;
  readonly lines: Int32Array;

  constructor({ records, sends }: HistoryState, claims: Claims, verdict: RecordVerdict) {
    const places: number[] = [];
    for (let place = 0; place < claims.length; place += 1) {
      const claim = claims.inOrder(place);
      const record = claims.record.at(claim);
      const kind = claims.kind.at(claim);
      if (kind === EXPECTED) continue;
      const isKnown = kind === SEEN ? !verdict.isGone(record) : verdict.isCertain(record, claims.send.at(claim));
      if (isKnown) places.push(claim);
    }
    this.partition = claims.partition;
    this.length = places.length;
    this.offsets = Float64Array.from(places, (claim) => claims.offset.at(claim));
    this.epochs = new Int32Array(places.length);
    this.timestamps = new Float64Array(places.length);
    this.knownSince = new Float64Array(places.length);
    this.lines = new Int32Array(places.length);
    for (const [i, claim] of places.entries()) {
      const record = claims.record.at(claim);
      const first = records.send.at(record);
      const isSeen = claims.kind.at(claim) === SEEN;
      const send = isSeen ? first : claims.send.at(claim);
      const sighting = isSeen
        ? records.sightingsOf(record).find((one) => one.offset === claims.offset.at(claim))
        : undefined;
      this.lines[i] = sighting?.line ?? sends.line.at(send);
      this.timestamps[i] = records.timestamp.at(record);
      const told = isSeen ? records.epoch.at(record) : -1;
      const isAnswer = send >= 0 && sends.offset.at(send) + indexIn(records, record, send) === claims.offset.at(claim);
      this.epochs[i] = told < 0 && isAnswer ? sends.epoch.at(send) : told;
      let since = sighting?.time ?? Number.POSITIVE_INFINITY;
      if (isAnswer && sends.outcome.at(send) === OK && sends.acks.at(send) === ACKS_ALL) {
        since = Math.min(since, sends.time.at(send));
      }
      this.knownSince[i] = since;
    }
  }

  lowerBound(offset: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.offsets[middle]! < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #highestEpochs: Int32Array | undefined;

  /** The first place whose epoch is above; `length` if there is none. */
  firstAboveEpoch(epoch: number): number {
    if (this.#highestEpochs === undefined) {
      this.#highestEpochs = new Int32Array(this.length);
      let highest = -1;
      for (let i = 0; i < this.length; i += 1) {
        highest = Math.max(highest, this.epochs[i]!);
        this.#highestEpochs[i] = highest;
      }
    }
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#highestEpochs[middle]! <= epoch) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Answers each question when exactly what was known before it was asked has been learned. */
  sweep<T>(asked: readonly Asked<T>[], learn: (place: number) => void, answer: (one: Asked<T>) => void): void {
    const places = Uint32Array.from({ length: this.length }, (_, i) => i);
    places.sort((a, b) => this.knownSince[a]! - this.knownSince[b]!);
    let next = 0;
    for (const one of [...asked].sort((a, b) => a.begin - b.begin)) {
      while (next < places.length && this.knownSince[places[next]!]! < one.begin) learn(places[next++]!);
      answer(one);
    }
  }
}

function indexIn(records: HistoryState['records'], record: number, send: number): number {
  if (records.send.at(record) === send) return records.index.at(record);
  return records.moreSends.get(record)!.find((one) => one.send === send)!.index;
}
