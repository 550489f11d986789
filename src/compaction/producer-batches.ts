/**
 * Which batches of each producer are its last ones: duplicates are told from the last five, so compaction keeps their
 * headers even when all their records go.
 */

/** A duplicate of an older batch can't be told from a gap. A producer has at most five requests in flight (KIP-98). */
export const REMEMBERED_BATCHES = 5;

export class ProducerBatches {
  readonly #last = new Map<number, number[]>();

  /** A batch of the producer, in rising order of offsets. */
  add(producerId: number, baseOffset: number): void {
    const batches = this.#last.get(producerId);
    if (batches === undefined) {
      this.#last.set(producerId, [baseOffset]);
    } else {
      if (batches.length === REMEMBERED_BATCHES) batches.shift();
      batches.push(baseOffset);
    }
  }

  isLast(producerId: number, baseOffset: number): boolean {
    return this.#last.get(producerId)?.includes(baseOffset) ?? false;
  }
}
