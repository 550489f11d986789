/**
 * Keeps the chain of a compacted segment: takes the input's batches in order, each with what is left of it, and gives out
 * batches that cover every offset. A run of removed batches becomes one empty batch per leader epoch.
 *
 * Invariant: what was given out, and the run that is pending, cover [base, next) without gaps.
 */
import { invariant } from '../errors.js';
import { encodeEmptyBatch, MAX_LAST_OFFSET_DELTA } from '../record/empty-batch.js';

/** Takes a batch of the output: its bytes, offsets and epoch. */
export type BatchSink = (bytes: Buffer, baseOffset: number, lastOffset: number, epoch: number) => void;

export class ChainWriter {
  readonly #sink: BatchSink;
  #next: number;
  #runBase: number;
  #runEpoch = -1;

  constructor(base: number, sink: BatchSink) {
    this.#sink = sink;
    this.#next = base;
    this.#runBase = base;
  }

  /** Offset after what was taken. */
  get next(): number {
    return this.#next;
  }

  /** A batch of the input; `bytes` undefined: nothing is left of it. */
  add(bytes: Buffer | undefined, baseOffset: number, lastOffset: number, epoch: number): void {
    invariant(baseOffset === this.#next, `compaction: a batch at offset ${baseOffset} follows offset ${this.#next}`);
    const fits = lastOffset - this.#runBase <= MAX_LAST_OFFSET_DELTA;
    if (bytes !== undefined || epoch !== this.#runEpoch || !fits) this.finish();
    this.#next = lastOffset + 1;
    if (bytes === undefined) {
      this.#runEpoch = epoch;
    } else {
      this.#sink(bytes, baseOffset, lastOffset, epoch);
      this.#runBase = this.#next;
    }
  }

  /** Gives out the run that is pending. */
  finish(): void {
    if (this.#runBase === this.#next) return;
    const lastOffset = this.#next - 1;
    this.#sink(encodeEmptyBatch(this.#runBase, lastOffset, this.#runEpoch), this.#runBase, lastOffset, this.#runEpoch);
    this.#runBase = this.#next;
  }
}
