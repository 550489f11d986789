/**
 * The cursors of one log, and what lies between them: leader epochs and configurations, by offset. Plain state, no IO.
 *
 *   start ≤ highWatermark ≤ end        durable ≤ written ≤ end
 *
 * Until the record of a truncation is durable, nothing above the cut counts as written: bytes of the new history could be
 * in their segment while a crash would still replay the old one.
 *
 * `generation` goes up with every truncation. A completion carries the one in which it was submitted and counts for
 * nothing in another: the offsets it speaks of may be those of other bytes by then.
 */
import { invariant } from '../errors.js';
import { EpochIndex, type EpochStart } from '../index/epoch-index.js';
import { ConfigurationHistory, type ConfigurationRow } from '../journal/configuration-history.js';
import type { LogState } from '../journal/log-state.js';

const NO_LIMIT = -1;

export class LogCursors {
  readonly epochs: EpochIndex;
  readonly configurations: ConfigurationHistory;
  /** The start that the journal was told of: what is below it is being deleted. */
  startSubmitted: number;
  readonly #name: string;
  #start: number;
  #end: number;
  #lastEpoch: number;
  #durable: number;
  #highWatermark: number;
  #generation: number;
  /** The lowest cut whose record is not durable yet. */
  #writtenLimit = NO_LIMIT;

  /** Of a log that was opened: all of it is durable. */
  constructor(name: string, state: LogState, highWatermark: number) {
    this.#name = name;
    this.epochs = EpochIndex.fromEntries(state.epochs.map(([epoch, startOffset]) => ({ epoch, startOffset })));
    this.configurations = ConfigurationHistory.fromRows(state.configurations);
    this.configurations.trimStart(state.logStart);
    this.startSubmitted = state.logStart;
    this.#start = state.logStart;
    this.#end = state.end;
    this.#lastEpoch = this.epochs.lastEpoch;
    this.#durable = state.end;
    this.#highWatermark = highWatermark;
    this.#generation = state.generation;
  }

  get start(): number {
    return this.#start;
  }

  get end(): number {
    return this.#end;
  }

  get written(): number {
    return this.#writtenLimit === NO_LIMIT ? this.#end : this.#writtenLimit;
  }

  get durable(): number {
    return this.#durable;
  }

  get highWatermark(): number {
    return this.#highWatermark;
  }

  get generation(): number {
    return this.#generation;
  }

  /** Epoch of the last batch; −1 if there never was one. */
  get lastEpoch(): number {
    return this.#lastEpoch;
  }

  /** A batch of `epoch` was stored at `baseOffset`, behind everything else. */
  noteEpoch(epoch: number, baseOffset: number): void {
    if (epoch === this.#lastEpoch) return;
    this.epochs.append(epoch, baseOffset);
    this.#lastEpoch = epoch;
  }

  extend(end: number): void {
    this.#end = end;
  }

  /** The log ends at `cut` now. The journal is to be told in the new generation. */
  truncate(cut: number): void {
    this.#generation++;
    this.epochs.truncateTo(cut);
    this.configurations.truncateTo(cut);
    this.#lastEpoch = this.epochs.lastEpoch;
    this.#end = cut;
    this.#durable = Math.min(this.#durable, cut);
    // An earlier truncation that is not durable yet still holds down what lies above its own cut.
    this.#writtenLimit = this.#writtenLimit === NO_LIMIT ? cut : Math.min(this.#writtenLimit, cut);
  }

  /**
   * The record of the last truncation is durable. Completions of what precedes the cut carry an older generation and were
   * ignored: this one speaks for them.
   */
  truncationDurable(cut: number): void {
    this.durableUpTo(cut, this.#generation);
    this.#writtenLimit = NO_LIMIT;
  }

  /** The log was emptied, and starts and ends at `logStart`, above all that was committed here. */
  reset(logStart: number, epochs: readonly EpochStart[], configurations: readonly ConfigurationRow[]): void {
    this.#generation++;
    this.epochs.reset(epochs);
    this.configurations.reset(configurations);
    this.#lastEpoch = this.epochs.lastEpoch;
    this.#start = logStart;
    this.startSubmitted = logStart;
    this.#end = logStart;
    // Until the record is durable, what is on disk is the log as it was.
    this.#durable = Math.min(this.#durable, logStart);
    this.#writtenLimit = this.#writtenLimit === NO_LIMIT ? this.#durable : Math.min(this.#writtenLimit, this.#durable);
  }

  /** The batch that holds the end of the empty log begins at `base`. */
  extendBack(base: number): void {
    this.#generation++;
    this.epochs.extendBack(base);
  }

  /** @returns whether that moved anything */
  durableUpTo(end: number, generation: number): boolean {
    if (generation !== this.#generation || end <= this.#durable) return false;
    this.#durable = end;
    return true;
  }

  /** Never goes back. @returns whether that moved anything */
  advanceHighWatermark(to: number): boolean {
    if (to <= this.#highWatermark) return false;
    invariant(to <= this.#end, `${this.#name}: high watermark ${to} above the log end ${this.#end}`);
    this.#highWatermark = to;
    return true;
  }

  /** @param physicalStart what is kept begins there: the epoch before it stays known */
  moveStart(to: number, physicalStart: number): void {
    this.#start = to;
    this.epochs.trimStart(physicalStart);
    this.configurations.trimStart(to);
  }
}
