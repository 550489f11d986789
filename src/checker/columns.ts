/** Growing arrays of numbers: what the checker keeps for each record is a row over several of them. */
const INITIAL = 1024;

abstract class Column<A extends Float64Array | Int32Array> {
  protected data: A;
  length = 0;

  protected constructor(data: A) {
    this.data = data;
  }

  protected abstract larger(length: number): A;

  /** Returns the index of the new value. */
  push(value: number): number {
    if (this.length === this.data.length) {
      const data = this.larger(this.length * 2);
      data.set(this.data);
      this.data = data;
    }
    this.data[this.length] = value;
    this.length += 1;
    return this.length - 1;
  }

  at(index: number): number {
    return this.data[index] as number;
  }

  set(index: number, value: number): void {
    this.data[index] = value;
  }
}

/** Doubles. */
export class Numbers extends Column<Float64Array> {
  constructor() {
    super(new Float64Array(INITIAL));
  }

  protected larger(length: number): Float64Array {
    return new Float64Array(length);
  }
}

/** Integers of 32 bits with a sign: line numbers, indexes, epochs. */
export class Integers extends Column<Int32Array> {
  constructor() {
    super(new Int32Array(INITIAL));
  }

  protected larger(length: number): Int32Array {
    return new Int32Array(length);
  }
}

/** A number of 32 bits per offset, in pages: dense logs are cheap, and an offset far away costs one page. */
export class OffsetPages {
  readonly #pages = new Map<number, Int32Array>();
  #latest: Int32Array | undefined;
  #latestNumber = -1;

  /** −1 where nothing was set. */
  get(offset: number): number {
    const page = this.#page(Math.floor(offset / PAGE));
    return page === undefined ? -1 : (page[offset % PAGE] as number);
  }

  set(offset: number, value: number): void {
    const number = Math.floor(offset / PAGE);
    let page = this.#page(number);
    if (page === undefined) {
      page = new Int32Array(PAGE).fill(-1);
      this.#pages.set(number, page);
      this.#latest = page;
    }
    page[offset % PAGE] = value;
  }

  #page(number: number): Int32Array | undefined {
    if (number !== this.#latestNumber) {
      this.#latestNumber = number;
      this.#latest = this.#pages.get(number);
    }
    return this.#latest;
  }
}

const PAGE = 512;

/**
 * The largest value so far, by time. `add` is called in the order of time, so that a question about any earlier moment is
 * a binary search over the moments at which the maximum rose.
 */
export class RunningMaximum {
  readonly #times: number[] = [];
  readonly #values: number[] = [];
  readonly #lines: number[] = [];

  add(time: number, value: number, line: number): void {
    if (this.#values.length > 0 && value <= this.latest) return;
    this.#times.push(time);
    this.#values.push(value);
    this.#lines.push(line);
  }

  /** −1 if nothing was added. */
  get latest(): number {
    return this.#values.at(-1) ?? -1;
  }

  /** The maximum of what was over before `begin`. */
  before(begin: number): { readonly value: number; readonly line: number } | undefined {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#times[middle] as number) < begin) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? undefined : { value: this.#values[low - 1] as number, line: this.#lines[low - 1] as number };
  }

  *steps(): Generator<{ readonly time: number; readonly value: number; readonly line: number }> {
    for (const [i, time] of this.#times.entries()) {
      yield { time, value: this.#values[i] as number, line: this.#lines[i] as number };
    }
  }
}

/** The maximum of a range of positions, each of which can be raised: a segment tree. Positions begin at −Infinity. */
export class RangeMaximum {
  readonly #size: number;
  readonly #tree: Float64Array;

  constructor(size: number) {
    this.#size = size;
    this.#tree = new Float64Array(2 * size).fill(Number.NEGATIVE_INFINITY);
  }

  raise(position: number, value: number): void {
    for (let at = position + this.#size; at >= 1 && (this.#tree[at] as number) < value; at >>= 1)
      this.#tree[at] = value;
  }

  /** Of [from, to); −Infinity if it is empty. */
  maximum(from: number, to: number): number {
    let found = Number.NEGATIVE_INFINITY;
    for (let a = from + this.#size, b = to + this.#size; a < b; a >>= 1, b >>= 1) {
      if (a & 1) found = Math.max(found, this.#tree[a++] as number);
      if (b & 1) found = Math.max(found, this.#tree[--b] as number);
    }
    return found;
  }
}
