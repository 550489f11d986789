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

type Change =
  | { readonly kind: 'append'; readonly batch: StoredBatch }
  | { readonly kind: 'truncate'; readonly to: number }
  | { readonly kind: 'state'; readonly state: HardState };

export class MemoryStore implements LogView {
  batches: StoredBatch[] = [];
  image: { batches: StoredBatch[]; state: HardState; generation: number } = {
    batches: [],
    state: { term: 0, vote: 0 },
    generation: 0,
  };
  pending: Change[] = [];
  generation = 0;
  start = 0;
  /** The high watermark this store was last told: nothing below it may be cut. */
  highWatermark = 0;
  /** min(high watermark, durable end) at the last sync. */
  floor = 0;
  onDurableState: ((state: HardState) => void) | undefined;
  /** In effect before the first one that the log holds. */
  founding: Configuration;
  /** What a deletion of the log's beginning removed last. */
  #before: LoggedConfiguration[] = [];

  constructor(founding: Configuration = { voters: [], outgoing: [], learners: [] }) {
    this.founding = founding;
  }

  get configurations(): LoggedConfiguration[] {
    const logged = this.batches.flatMap(({ start, configuration }) =>
      configuration === undefined ? [] : [{ offset: start, configuration }],
    );
    return [{ offset: -1, configuration: this.founding }, ...this.#before, ...logged];
  }

  // ---- LogView ----

  get end(): number {
    return this.batches.at(-1)?.end ?? this.start;
  }

  get lastEpoch(): number {
    return this.batches.at(-1)?.epoch ?? -1;
  }

  epochAt(offset: number): number {
    assert(offset >= this.start - 1 && offset < this.end, `epochAt(${offset}) of [${this.start}, ${this.end})`);
    if (offset < this.start) return -1;
    return this.batches[this.#indexAt(offset)]!.epoch;
  }

  endForEpoch(epoch: number): EpochEnd {
    const last = this.batches.findLast((batch) => batch.epoch <= epoch);
    return last === undefined ? { epoch: -1, end: this.start } : { epoch: last.epoch, end: last.end };
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
    assert.equal(batch.start, this.end, 'batches join end to end');
    assert(batch.epoch >= this.lastEpoch, 'epochs never go back');
    this.batches.push(batch);
    this.pending.push({ kind: 'append', batch });
  }

  truncate(to: number): void {
    assert(to >= this.highWatermark, `truncation to ${to}, below high watermark ${this.highWatermark}`);
    assert(
      this.batches.every((batch) => batch.end <= to || batch.start >= to),
      `truncation to ${to} is not at a batch boundary`,
    );
    this.batches = this.batches.filter((batch) => batch.end <= to);
    this.generation++;
    this.pending.push({ kind: 'truncate', to });
  }

  saveState(state: HardState): void {
    this.pending.push({ kind: 'state', state });
  }

  /** Retention: forgets whole batches below `to`. */
  deleteBefore(to: number): void {
    const last = this.configurations.findLast(({ offset }) => offset >= 0 && offset < to);
    if (last !== undefined) this.#before = [last];
    this.batches = this.batches.filter((batch) => batch.start >= to);
    this.image.batches = this.image.batches.filter((batch) => batch.start >= to);
    this.start = Math.max(this.start, to);
  }

  // ---- the disk ----

  get progress(): LogProgress {
    // A truncation on its way to the disk already ends the durable prefix of the log that is accepted now.
    let durable = this.image.batches.at(-1)?.end ?? this.start;
    for (const change of this.pending) if (change.kind === 'truncate') durable = Math.min(durable, change.to);
    return { generation: this.generation, written: this.end, durable };
  }

  /** The oldest `count` changes reach the disk. Returns the progress to report, as of now. */
  sync(count: number): LogProgress {
    const done = this.pending.splice(0, count);
    const states: HardState[] = [];
    for (const change of done) {
      this.#apply(change);
      if (change.kind === 'state') states.push(change.state);
    }
    this.floor = Math.max(this.floor, Math.min(this.highWatermark, this.progress.durable));
    for (const state of states) this.onDurableState?.(state);
    return this.progress;
  }

  /** The power fails when the disk has taken `more` of the pending changes. What is left is what is found at start. */
  cutPower(more: number): void {
    const lost = this.pending.length > more;
    for (const change of this.pending.splice(0, more)) this.#apply(change);
    this.#restart(lost);
  }

  /** The process dies: what was written to the page cache stays, hard states that were waiting in memory do not. */
  killProcess(): void {
    for (const change of this.pending) if (change.kind !== 'state') this.#apply(change);
    this.#restart(false);
  }

  /** The batches of [start, end), as far as they are there. */
  slice(start: number, end: number): StoredBatch[] {
    if (start >= end || this.batches.length === 0) return [];
    const first = this.#indexAt(Math.max(start, this.start));
    const last = this.#indexAt(end - 1);
    return this.batches.slice(first, last + 1);
  }

  #restart(lost: boolean): void {
    this.pending = [];
    this.onDurableState = undefined;
    this.batches = [...this.image.batches];
    // Cutting a tail at open raises the generation too.
    this.generation = this.image.generation + (lost ? 1 : 0);
    this.image.generation = this.generation;
    assert(this.end >= this.floor, `log end ${this.end} is below the floor ${this.floor}`);
    this.highWatermark = this.floor;
  }

  #apply(change: Change): void {
    const { image } = this;
    if (change.kind === 'state') {
      image.state = change.state;
    } else if (change.kind === 'truncate') {
      image.batches = image.batches.filter((batch) => batch.end <= change.to);
      image.generation++;
    } else if (change.batch.start >= this.start) {
      image.batches.push(change.batch);
    }
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
