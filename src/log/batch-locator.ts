/**
 * Answers "which bytes are the batches from this offset on": for replication, consumers and Raft's view of the log.
 *
 * Recent batches come from the ring of places (no header is read); older ones from the sparse index and a walk over
 * batch headers. Offsets given lie in [log start, log end].
 */
import { baseOffsetAt, lastOffsetAt } from '../record/record-batch.js';
import type { SegmentFile } from '../disk/disk.js';
import { headerFault } from '../segment/header-fault.js';
import type { Segment } from '../segment/segment.js';
import type { SegmentList } from '../segment/segment-list.js';
import type { BatchTail } from './batch-tail.js';

/** Read ahead beyond what was asked for: an index interval, and headers of batches. */
const WARM_EXTRA_BYTES = 64 * 1024;

export class BatchLocator {
  readonly #segments: SegmentList;
  readonly #tail: BatchTail;
  /** Result of `extend`: bytes [from, to) as places, and the offset after them. Fields, so that nothing is allocated. */
  from = 0;
  to = 0;
  next = 0;
  /** Set once some range is known to be damaged; then every header is looked at. */
  hasDamage = false;

  constructor(segments: SegmentList, tail: BatchTail) {
    this.#segments = segments;
    this.#tail = tail;
  }

  /** Place of the batch that holds `offset` (below the log end). */
  placeOf(offset: number): number {
    const slot = this.#tail.slotOf(offset);
    if (slot >= 0) return this.#tail.placeAt(slot);
    const segment = this.#segments.all[this.#segments.indexOf(offset)]!;
    return segment.place + segment.positionOf(offset);
  }

  /** Base offset of the batch that holds `offset` (below the log end). */
  baseOf(offset: number): number {
    const slot = this.#tail.slotOf(offset);
    if (slot >= 0) return this.#tail.offsetAt(slot);
    const segment = this.#segments.all[this.#segments.indexOf(offset)]!;
    return baseOffsetAt(segment.bytes, segment.positionOf(offset));
  }

  /**
   * Whole batches from the one that holds `offset`, all of them below `limit` (≤ log end), at most `maxBytes` but at
   * least one if there is one. Sets `from`, `to` and `next`; from = to and next = offset when there is none.
   * @throws VarveError CORRUPT_LOG
   */
  extend(offset: number, maxBytes: number, limit: number): void {
    if (offset >= limit) {
      this.#setEmpty(offset);
      return;
    }
    const active = this.#segments.active;
    const atEnd = limit === active.end;
    const limitPlace = atEnd ? active.place + active.length : this.placeOf(limit);
    const slot = this.#tail.slotOf(offset);
    const from = slot >= 0 ? this.#tail.placeAt(slot) : this.placeOf(offset);
    if (limitPlace <= from) {
      this.#setEmpty(offset);
      return;
    }
    this.from = from;
    if (this.hasDamage) {
      this.#walk(from, maxBytes, limitPlace);
    } else if (limitPlace - from <= maxBytes) {
      this.to = limitPlace;
      this.next = atEnd ? limit : this.baseOf(limit);
    } else if (slot >= 0) {
      const last = Math.max(this.#tail.lastSlotUpTo(from + maxBytes, slot), slot + 1);
      // The newest batch, larger than `maxBytes`, ends at the log end.
      const isEnd = last === this.#tail.nextSlot;
      this.to = isEnd ? limitPlace : this.#tail.placeAt(last);
      this.next = isEnd ? limit : this.#tail.offsetAt(last);
    } else {
      this.#walk(from, maxBytes, limitPlace);
    }
  }

  /** Views of [from, to), one per segment. */
  views(): Buffer[] {
    const views: Buffer[] = [];
    let place = this.from;
    for (let i = this.#segments.indexOfPlace(place); place < this.to; i++) {
      const segment = this.#segments.all[i]!;
      const end = Math.min(this.to, segment.place + segment.length);
      if (end > place) views.push(segment.view(place - segment.place, end - place));
      place = end;
    }
    return views;
  }

  /** The files that [from, to) lies in at present: a page of theirs may turn out to be lost while views are looked at. */
  files(): SegmentFile[] {
    const files: SegmentFile[] = [];
    for (let i = this.#segments.indexOfPlace(this.from), place = this.from; place < this.to; i++) {
      const segment = this.#segments.all[i]!;
      const end = segment.place + segment.length;
      if (end > place) files.push(segment.file);
      place = Math.max(place, end);
    }
    return files;
  }

  /**
   * Reads the pages that `extend` and `views` will look at off the event loop, and indexes that are not loaded; undefined
   * when everything is in memory as far as anybody can know.
   */
  warm(offset: number, maxBytes: number, limit: number): Promise<void> | undefined {
    if (offset >= limit || this.#isRecent(offset)) return undefined;
    return this.#warm(offset, maxBytes, limit);
  }

  async #warm(offset: number, maxBytes: number, limit: number): Promise<void> {
    const segments = this.#segments.all;
    let rest = maxBytes;
    let segment: Segment | undefined = segments[this.#segments.indexOf(offset)]!;
    for (let isFirst = true; segment !== undefined && (rest > 0 || isFirst) && segment.base < limit; isFirst = false) {
      await segment.prepareLookup();
      if (segment.isClosed) return;
      const start: number = isFirst ? segment.indexes.offsets.lookup(offset) : 0;
      // The first batch may be larger than what was asked for, and the index names a batch before it.
      const length = isFirst ? rest + WARM_EXTRA_BYTES : rest;
      await segment.warm(start, length);
      rest -= segment.length - start;
      const index = segments.indexOf(segment);
      // Compacted meanwhile: what takes its place was written just now.
      if (index < 0) return;
      segment = segments[index + 1];
    }
  }

  /** The ring knows only what was appended since the opening, and few bytes of it. */
  #isRecent(offset: number): boolean {
    const slot = this.#tail.slotOf(offset);
    if (slot < 0) return false;
    const segment = this.#segments.all[this.#segments.indexOf(offset)]!;
    return segment.isMapped && this.#tail.placeAt(slot) - segment.place >= segment.residentFrom;
  }

  #walk(from: number, maxBytes: number, limitPlace: number): void {
    const segments = this.#segments.all;
    let index = this.#segments.indexOfPlace(from);
    let place = from;
    let next = -1;
    while (place < limitPlace) {
      let segment: Segment = segments[index]!;
      while (place >= segment.place + segment.length) segment = segments[++index]!;
      const position = place - segment.place;
      const bytes = segment.bytes;
      // What lies before a damaged batch is served; asking for the batch itself fails.
      if (place > from && segment.isDamagedAt(position)) break;
      if (place > from && headerFault(bytes, position, segment.length, next) !== undefined) break;
      const end = segment.checkedEnd(bytes, position, next);
      if (place > from && segment.place + end - from > maxBytes) break;
      next = lastOffsetAt(bytes, position) + 1;
      place = segment.place + end;
    }
    this.to = place;
    this.next = next;
  }

  #setEmpty(offset: number): void {
    this.from = 0;
    this.to = 0;
    this.next = offset;
  }
}
