/**
 * What is known of the batches of a segment below the durable end, and is not covered by their CRC: the epochs of the
 * log, and places where batches begin or end. Bytes that check out and contradict it are another segment's, or have rotted.
 */
import type { EpochIndex } from '../index/epoch-index.js';

/** A batch begins, or the durable bytes end, at this position with this offset. */
export interface BatchBoundary {
  readonly position: number;
  readonly offset: number;
}

export class DurableBatches {
  readonly #epochs: EpochIndex;
  readonly #boundaries: readonly BatchBoundary[];
  /** All boundaries before this one lie at or before the last batch asked about. */
  #next = 0;

  /** @param boundaries by position */
  constructor(epochs: EpochIndex, boundaries: readonly BatchBoundary[]) {
    this.#epochs = epochs;
    this.#boundaries = boundaries;
  }

  /** Why this batch cannot be the one that was durable there; undefined when it can. Positions asked about must not fall. */
  contradiction(
    position: number,
    size: number,
    baseOffset: number,
    lastOffset: number,
    epoch: number,
  ): string | undefined {
    const known = this.#epochs.epochAt(baseOffset);
    if (known >= 0 && known !== epoch) return 'a batch has an epoch that the log never had there';
    const boundaries = this.#boundaries;
    while (this.#next < boundaries.length && boundaries[this.#next]!.position <= position) this.#next++;
    const boundary = boundaries[this.#next];
    if (boundary === undefined) return undefined;
    const isBefore = position + size < boundary.position && lastOffset < boundary.offset;
    const isUpTo = position + size === boundary.position && lastOffset + 1 === boundary.offset;
    if (isBefore || isUpTo) return undefined;
    return `a batch reaches offset ${lastOffset}, though offset ${boundary.offset} begins at position ${boundary.position}`;
  }
}
