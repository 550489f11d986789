/**
 * Where the last batches of a log lie: a ring of (base offset, place). Replication and tailing consumers ask for what
 * was just appended; this answers them without touching an index or a header.
 *
 * A *place* is a position in the log as a whole: the bytes of all segments counted as one run, so that a boundary is one
 * number whichever segment it lies in.
 */
const MAX_CAPACITY = 4096;
/** Thousands of logs hold a batch or two: the ring begins small and grows as it fills. */
const INITIAL_CAPACITY = 16;

export class BatchTail {
  #mask = INITIAL_CAPACITY - 1;
  #offsets = new Float64Array(INITIAL_CAPACITY);
  #places = new Float64Array(INITIAL_CAPACITY);
  /** Slots [first, next) count up for ever; slot & mask is where one lies. */
  #first = 0;
  #next = 0;

  push(baseOffset: number, place: number): void {
    if (this.#next - this.#first > this.#mask) {
      if (this.#mask + 1 < MAX_CAPACITY) this.#grow();
      else this.#first++;
    }
    const at = this.#next++ & this.#mask;
    this.#offsets[at] = baseOffset;
    this.#places[at] = place;
  }

  /** Slot of the batch that holds `offset` (below the log end); −1 if that batch is no longer in the ring. */
  slotOf(offset: number): number {
    let low = this.#first;
    let high = this.#next - 1;
    if (high < low || offset < this.#offsets[low & this.#mask]!) return -1;
    // The newest batch is asked for most.
    if (offset >= this.#offsets[high & this.#mask]!) return high;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#offsets[middle & this.#mask]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The slot that the next batch will get. */
  get nextSlot(): number {
    return this.#next;
  }

  offsetAt(slot: number): number {
    return this.#offsets[slot & this.#mask]!;
  }

  placeAt(slot: number): number {
    return this.#places[slot & this.#mask]!;
  }

  /** The last slot after `from` whose place is ≤ `place`; `from` if there is none. */
  lastSlotUpTo(place: number, from: number): number {
    let low = from;
    let high = this.#next - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#places[middle & this.#mask]! <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Forgets the batches at `offset` and above. */
  truncate(offset: number): void {
    while (this.#next > this.#first && this.#offsets[(this.#next - 1) & this.#mask]! >= offset) this.#next--;
  }

  /** The batches below `offset` lie elsewhere now, and those behind them moved by `shift`. */
  moved(offset: number, shift: number): void {
    while (this.#first < this.#next && this.#offsets[this.#first & this.#mask]! < offset) this.#first++;
    for (let slot = this.#first; slot < this.#next; slot++) this.#places[slot & this.#mask]! += shift;
  }

  #grow(): void {
    const capacity = 2 * (this.#mask + 1);
    const offsets = new Float64Array(capacity);
    const places = new Float64Array(capacity);
    for (let slot = this.#first; slot < this.#next; slot++) {
      offsets[slot & (capacity - 1)] = this.#offsets[slot & this.#mask]!;
      places[slot & (capacity - 1)] = this.#places[slot & this.#mask]!;
    }
    this.#mask = capacity - 1;
    this.#offsets = offsets;
    this.#places = places;
  }
}
