/**
 * Where the last batches of a log lie: a ring of (base offset, place). Replication and tailing consumers ask for what
 * was just appended; this answers them without touching an index or a header.
 *
 * A *place* is a position in the log as a whole: the bytes of all segments counted as one run, so that a boundary is one
 * number whichever segment it lies in.
 */
const CAPACITY = 4096;
const MASK = CAPACITY - 1;

export class BatchTail {
  readonly #offsets = new Float64Array(CAPACITY);
  readonly #places = new Float64Array(CAPACITY);
  /** Slots [first, next) count up for ever; slot & MASK is where one lies. */
  #first = 0;
  #next = 0;

  push(baseOffset: number, place: number): void {
    const at = this.#next++ & MASK;
    this.#offsets[at] = baseOffset;
    this.#places[at] = place;
    if (this.#next - this.#first > CAPACITY) this.#first++;
  }

  /** Slot of the batch that holds `offset` (below the log end); −1 if that batch is no longer in the ring. */
  slotOf(offset: number): number {
    let low = this.#first;
    let high = this.#next - 1;
    if (high < low || offset < this.#offsets[low & MASK]!) return -1;
    // The newest batch is asked for most.
    if (offset >= this.#offsets[high & MASK]!) return high;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#offsets[middle & MASK]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The slot that the next batch will get. */
  get nextSlot(): number {
    return this.#next;
  }

  offsetAt(slot: number): number {
    return this.#offsets[slot & MASK]!;
  }

  placeAt(slot: number): number {
    return this.#places[slot & MASK]!;
  }

  /** The last slot after `from` whose place is ≤ `place`; `from` if there is none. */
  lastSlotUpTo(place: number, from: number): number {
    let low = from;
    let high = this.#next - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#places[middle & MASK]! <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Forgets the batches at `offset` and above. */
  truncate(offset: number): void {
    while (this.#next > this.#first && this.#offsets[(this.#next - 1) & MASK]! >= offset) this.#next--;
  }
}
