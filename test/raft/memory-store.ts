/**
 * A log and a hard state in memory, with a disk of its own: every change is accepted at once and becomes durable later, in
 * order, when the test says so. A crash throws away what the disk does not have.
 *
 *   accepted  image + pending, what the LogView shows
 *   pending   changes on their way to the disk, oldest first
 *   image     what a power cut leaves
 */
import assert from 'node:assert/strict';
import type {
  BatchSpan,
  Configuration,
  EpochEnd,
  HardState,
  LoggedConfiguration,
  LogProgress,
  LogView,
} from '../../src/raft/types.js';

export interface StoredBatch extends BatchSpan {
  readonly bytes: number;
  /** Stands for the records. */
  readonly value: number;
}

/** What a log is, in memory or on the disk. */
interface Contents {
  batches: StoredBatch[];
  /** The first offset that readers see. */
  logStart: number;
  /** Epoch of the record before it, if nothing else tells; −1: unknown. */
  prevEpoch: number;
  /** The configuration that the log begins with, if the batch that held it is gone. */
  before: LoggedConfiguration[];
  generation: number;
}

type Change =
  | { readonly kind: 'append'; readonly batch: StoredBatch }
  | { readonly kind: 'truncate'; readonly to: number }
  | {
      readonly kind: 'reset';
      readonly logStart: number;
      readonly prevEpoch: number;
      readonly before: LoggedConfiguration[];
    }
  | { readonly kind: 'state'; readonly state: HardState };

const EMPTY: Readonly<Contents> = { batches: [], logStart: 0, prevEpoch: -1, before: [], generation: 0 };

export class MemoryStore implements LogView {
  #log: Contents = { ...EMPTY, batches: [] };
  image: Contents & { state: HardState } = { ...EMPTY, batches: [], state: { term: 0, vote: 0 } };
  pending: Change[] = [];
  /** The high watermark this store was last told: nothing below it may be cut. */
  highWatermark = 0;
  /** min(high watermark, durable end) at the last sync. */
  floor = 0;
  onDurableState: ((state: HardState) => void) | undefined;
  /** In effect before the first one that the log holds. */
  founding: Configuration;

  constructor(founding: Configuration = { voters: [], outgoing: [], learners: [] }) {
    this.founding = founding;
  }

  get batches(): readonly StoredBatch[] {
    return this.#log.batches;
  }

  get generation(): number {
    return this.#log.generation;
  }

  get configurations(): LoggedConfiguration[] {
    return [{ offset: -1, configuration: this.founding }, ...this.#log.before, ...configurationsOf(this.#log.batches)];
  }

  // ---- LogView ----

  get start(): number {
    return this.batches[0]?.start ?? this.logStart;
  }

  get logStart(): number {
    return this.#log.logStart;
  }

  get end(): number {
    return endOf(this.#log);
  }

  get lastEpoch(): number {
    return this.batches.at(-1)?.epoch ?? this.#log.prevEpoch;
  }

  epochAt(offset: number): number {
    assert(offset >= this.start - 1 && offset < this.end, `epochAt(${offset}) of [${this.start}, ${this.end})`);
    if (offset < this.start) return this.batches.length === 0 ? this.#log.prevEpoch : -1;
    return this.batches[this.#indexAt(offset)]!.epoch;
  }

  endForEpoch(epoch: number): EpochEnd {
    const last = this.batches.findLast((batch) => batch.epoch <= epoch);
    return last === undefined ? { epoch: -1, end: this.start } : { epoch: last.epoch, end: last.end };
  }

  baseOf(offset: number): number {
    return this.batches[this.#indexAt(offset)]!.start;
  }

  span(start: number, maxBytes: number): { end: number; bytes: number } {
    let end = start;
    let bytes = 0;
    for (const batch of this.slice(start, this.end)) {
      if (bytes > 0 && bytes + batch.bytes > maxBytes) break;
      end = batch.end;
      bytes += batch.bytes;
    }
    return { end, bytes };
  }

  // ---- writes ----

  append(batch: StoredBatch): void {
    // One that was emptied at its start may end inside the batch that comes next.
    const straddles = this.batches.length === 0 && batch.start < this.end && this.end < batch.end;
    assert(batch.start === this.end || straddles, 'batches join end to end');
    assert(batch.epoch >= this.lastEpoch, 'epochs never go back');
    this.#change({ kind: 'append', batch });
  }

  truncate(to: number): void {
    assert(to >= this.highWatermark, `truncation to ${to}, below high watermark ${this.highWatermark}`);
    assert(
      this.batches.every((batch) => batch.end <= to || batch.start >= to),
      `truncation to ${to} is not at a batch boundary`,
    );
    this.#change({ kind: 'truncate', to });
  }

  /** Empties the log: it starts and ends at `logStart`. */
  reset(logStart: number, prevEpoch: number, configuration: LoggedConfiguration): void {
    assert(logStart >= this.highWatermark, `reset to ${logStart}, below high watermark ${this.highWatermark}`);
    this.#change({ kind: 'reset', logStart, prevEpoch, before: configuration.offset < 0 ? [] : [configuration] });
  }

  /** Readers see nothing below `to`, and whole batches below it go. */
  deleteBefore(to: number): void {
    assert(to <= this.highWatermark, `deletion up to ${to}, above high watermark ${this.highWatermark}`);
    // At once, also on disk.
    for (const log of [this.#log, this.image]) if (to > log.logStart) deleteFrom(log, to);
  }

  saveState(state: HardState): void {
    this.pending.push({ kind: 'state', state });
  }

  #change(change: Change): void {
    apply(this.#log, change);
    this.pending.push(change);
  }

  // ---- the disk ----

  get progress(): LogProgress {
    // A truncation on its way to the disk already ends the durable prefix of the log that is accepted now.
    let durable = endOf(this.image);
    for (const change of this.pending) {
      if (change.kind === 'truncate') durable = Math.min(durable, change.to);
      if (change.kind === 'reset') durable = Math.min(durable, change.logStart);
    }
    return { generation: this.generation, written: this.end, durable };
  }

  /** The oldest `count` changes reach the disk. Returns the progress to report, as of now. */
  sync(count: number): LogProgress {
    const done = this.pending.splice(0, count);
    const states: HardState[] = [];
    for (const change of done) {
      this.#persist(change);
      if (change.kind === 'state') states.push(change.state);
    }
    this.floor = Math.max(this.floor, Math.min(this.highWatermark, this.progress.durable));
    for (const state of states) this.onDurableState?.(state);
    return this.progress;
  }

  /** The power fails when the disk has taken `more` of the pending changes. What is left is what is found at start. */
  cutPower(more: number): void {
    const lost = this.pending.length > more;
    for (const change of this.pending.splice(0, more)) this.#persist(change);
    this.#restart(lost);
  }

  /** The process dies: what was written to the page cache stays, hard states that were waiting in memory do not. */
  killProcess(): void {
    for (const change of this.pending) if (change.kind !== 'state') this.#persist(change);
    this.#restart(false);
  }

  /** The disk called it durable, and it is gone. */
  lose(from: number): void {
    this.image.batches = this.image.batches.filter((batch) => batch.end <= from);
    this.floor = Math.min(this.floor, from);
    this.#restart(true);
  }

  /** What recovery notes after a power cut under relaxed flush: something that was acknowledged may be gone. */
  forget(): void {
    const { state } = this.image;
    if (state.term > 0) this.image.state = { ...state, forgot: state.forgot ?? state.term };
  }

  /** The batches of [start, end), as far as they are there. */
  slice(start: number, end: number): StoredBatch[] {
    if (start >= end || end <= this.start || this.batches.length === 0) return [];
    const first = this.#indexAt(Math.max(start, this.start));
    const last = this.#indexAt(end - 1);
    return this.batches.slice(first, last + 1);
  }

  #restart(lost: boolean): void {
    this.pending = [];
    this.onDurableState = undefined;
    const { batches, logStart, prevEpoch, before, generation } = this.image;
    // Cutting a tail at open raises the generation too.
    this.image.generation = generation + (lost ? 1 : 0);
    this.#log = { batches: [...batches], logStart, prevEpoch, before, generation: this.image.generation };
    assert(this.end >= this.floor, `log end ${this.end} is below the floor ${this.floor}`);
    this.highWatermark = this.floor;
  }

  #persist(change: Change): void {
    if (change.kind === 'state') this.image.state = change.state;
    else apply(this.image, change);
  }

  /** Index of the batch that holds `offset`, or of the last one if it is beyond the end. */
  #indexAt(offset: number): number {
    let low = 0;
    let high = this.batches.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.batches[middle]!.start <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function endOf({ batches, logStart }: Contents): number {
  return batches.at(-1)?.end ?? logStart;
}

function configurationsOf(batches: readonly StoredBatch[]): LoggedConfiguration[] {
  return batches.flatMap(({ start, configuration }) =>
    configuration === undefined ? [] : [{ offset: start, configuration }],
  );
}

function apply(log: Contents, change: Change): void {
  switch (change.kind) {
    case 'append':
      if (change.batch.end > log.logStart) log.batches.push(change.batch);
      break;
    case 'truncate':
      log.batches = log.batches.filter((batch) => batch.end <= change.to);
      log.generation++;
      break;
    case 'reset':
      log.batches = [];
      log.logStart = change.logStart;
      log.prevEpoch = change.prevEpoch;
      log.before = change.before;
      log.generation++;
      break;
    case 'state':
      break;
  }
}

function deleteFrom(log: Contents, to: number): void {
  const gone = log.batches.filter((batch) => batch.end <= to);
  const last = configurationsOf(gone).at(-1);
  if (last !== undefined) log.before = [last];
  log.prevEpoch = gone.at(-1)?.epoch ?? log.prevEpoch;
  log.batches = log.batches.slice(gone.length);
  log.logStart = to;
}
