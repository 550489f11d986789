/**
 * Leaves out what aborted transactions wrote, as Kafka's consumer does: shown batches in offset order, it follows which
 * producers are inside an aborted transaction, from its first offset to the producer's next abort marker.
 */
import { hasProducerAt, isControlAt, isTransactionalAt, lastOffsetAt, producerIdAt } from '../record/record-batch.js';
import { decodeMarker } from '../record/transaction-marker.js';
import type { AbortedRange } from './log.js';

export class AbortedRecords {
  /** By first offset. */
  readonly #ranges: readonly AbortedRange[];
  #next = 0;
  readonly #aborting = new Set<number>();

  constructor(ranges: readonly AbortedRange[]) {
    this.#ranges = ranges;
  }

  /** True when the records of this batch were aborted. Every batch must be shown, control batches too. */
  skips(bytes: Buffer, position: number): boolean {
    if (!hasProducerAt(bytes, position)) return false;
    const lastOffset = lastOffsetAt(bytes, position);
    const ranges = this.#ranges;
    while (this.#next < ranges.length && ranges[this.#next]!.firstOffset <= lastOffset) {
      this.#aborting.add(ranges[this.#next++]!.producerId);
    }
    const producerId = producerIdAt(bytes, position);
    if (!this.#aborting.has(producerId)) return false;
    if (!isControlAt(bytes, position)) return isTransactionalAt(bytes, position);
    if (decodeMarker(bytes, position)?.result === 'abort') this.#aborting.delete(producerId);
    return false;
  }
}
