/**
 * This node's own cursors: how much of its log is written and durable.
 *
 * Reports arrive after the fact, so one can describe a history that has been cut since. Offset and epoch do not tell the
 * two apart (cut at 10, append up to 20 again: "20 is durable" may speak of either), the truncation generation does. After
 * a truncation the cursors are what certainly survived it, and reports count again from the next generation on.
 */
import { invariant } from './invariant.js';
import type { LogProgress } from './types.js';

export class Cursors {
  #generation: number;
  /** Reports of an earlier generation are about bytes that are gone. */
  #generationMin: number;
  #written: number;
  #durable: number;
  readonly #countBy: 'durable' | 'written';

  constructor(progress: LogProgress, countBy: 'durable' | 'written') {
    this.#generation = progress.generation;
    this.#generationMin = progress.generation;
    this.#written = progress.written;
    this.#durable = progress.durable;
    this.#countBy = countBy;
  }

  get generation(): number {
    return this.#generation;
  }

  get written(): number {
    return this.#written;
  }

  get durable(): number {
    return this.#durable;
  }

  /** The cursor that counts for a commit. */
  get counted(): number {
    return this.#countBy === 'durable' ? this.#durable : this.#written;
  }

  /** The log is being cut at `to`; the log raises its generation when it is done. */
  truncate(to: number): void {
    this.#written = Math.min(this.#written, to);
    this.#durable = Math.min(this.#durable, to);
    this.#generationMin = Math.max(this.#generationMin, this.#generation) + 1;
  }

  update(progress: LogProgress, end: number): void {
    const { generation, written, durable } = progress;
    if (generation < this.#generationMin) return;
    invariant(durable <= written && written <= end, () => `cursors out of order: ${durable} ≤ ${written} ≤ ${end}`);
    if (generation === this.#generation) {
      invariant(
        written >= this.#written && durable >= this.#durable,
        () =>
          `cursors went back within generation ${generation}: written ${this.#written} → ${written}, ` +
          `durable ${this.#durable} → ${durable}`,
      );
    }
    this.#generation = generation;
    this.#generationMin = generation;
    this.#written = written;
    this.#durable = durable;
  }
}
