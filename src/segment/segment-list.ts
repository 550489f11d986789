/**
 * The segments of one log in offset order. A segment holds the offsets from its base to the next one's base; only the
 * last one is appended to.
 */
import { invariant } from '../errors.js';
import type { Segment } from './segment.js';

export class SegmentList {
  readonly #segments: Segment[];
  #version = 0;

  constructor(segments: Segment[]) {
    this.#segments = segments;
  }

  get all(): readonly Segment[] {
    return this.#segments;
  }

  get active(): Segment {
    const last = this.#segments[this.#segments.length - 1];
    invariant(last !== undefined, 'a log has at least one segment');
    return last;
  }

  /** Index of the segment that holds `offset`: the last one whose base is ≤ it. */
  indexOf(offset: number): number {
    const segments = this.#segments;
    let high = segments.length - 1;
    if (offset >= segments[high]!.base) return high;
    let low = 0;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (segments[middle]!.base <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Index of the segment that holds the byte at `place`: the last one that starts at or before it. */
  indexOfPlace(place: number): number {
    const segments = this.#segments;
    let high = segments.length - 1;
    if (place >= segments[high]!.place) return high;
    let low = 0;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (segments[middle]!.place <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Goes up with every segment that comes or goes. */
  get version(): number {
    return this.#version;
  }

  add(segment: Segment): void {
    const last = this.#segments.at(-1);
    invariant(
      last === undefined || (segment.base === last.end && segment.base > last.base),
      'segments join end to end',
    );
    this.#segments.push(segment);
    this.#version++;
  }

  /** True when these are segments of the list, one after the other, and not the active one. */
  holds(segments: readonly Segment[]): boolean {
    const first = this.#segments.indexOf(segments[0]!);
    const isThere = segments.every((segment, i) => this.#segments[first + i] === segment);
    return first >= 0 && isThere && first + segments.length < this.#segments.length;
  }

  /**
   * Puts a segment of the same offsets in the place of some that the list holds; those behind it move to join on to it.
   * @returns by how much
   */
  replace(segments: readonly Segment[], by: Segment): number {
    invariant(this.holds(segments), `segments from ${segments[0]?.base} on are replaced, which are not there`);
    const last = segments.at(-1)!;
    invariant(
      by.base === segments[0]!.base && by.end === last.end,
      `segment ${by.base} is replaced by one of other offsets`,
    );
    by.place = segments[0]!.place;
    const shift = by.place + by.length - (last.place + last.length);
    const first = this.#segments.indexOf(segments[0]!);
    this.#segments.splice(first, segments.length, by);
    this.#version++;
    for (const segment of this.#segments.slice(first + 1)) segment.place += shift;
    return shift;
  }

  /** Takes out the segments whose base is ≥ `offset`. */
  removeFrom(offset: number): Segment[] {
    const first = this.#segments.findIndex((segment) => segment.base >= offset);
    this.#version++;
    return first < 0 ? [] : this.#segments.splice(first);
  }

  /** Takes out the segments that lie wholly below `offset`; the last segment always stays. */
  removeBelow(offset: number): Segment[] {
    let count = 0;
    while (count + 1 < this.#segments.length && this.#segments[count + 1]!.base <= offset) count++;
    this.#version++;
    return this.#segments.splice(0, count);
  }
}
