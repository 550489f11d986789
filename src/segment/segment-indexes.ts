/**
 * The two sparse indexes of a segment: which batch lies where (entries at least `intervalBytes` apart), and how far
 * timestamps had grown at which offset. Kept in memory, written to their files when the segment is sealed or the log
 * is closed, and rebuilt from the batches when a file is missing or does not fit.
 */
import type { Disk } from '../disk/disk.js';
import { MAX_RELATIVE_OFFSET, OffsetIndex } from '../index/offset-index.js';
import { TimeIndex } from '../index/time-index.js';

export interface SegmentExtent {
  readonly base: number;
  readonly end: number;
  readonly length: number;
  /** Infinite: not known. */
  readonly maxTimestamp: number;
}

export class SegmentIndexes {
  readonly #intervalBytes: number;
  readonly offsets: OffsetIndex;
  readonly times: TimeIndex;
  /** Largest timestamp so far and the last offset of the batch that brought it; −1: none. */
  #maxTimestamp = -1;
  #maxTimestampOffset = -1;
  /** The files are older than this. */
  dirty = false;

  constructor(base: number, intervalBytes: number, offsets = new OffsetIndex(base), times = new TimeIndex(base)) {
    this.#intervalBytes = intervalBytes;
    this.offsets = offsets;
    this.times = times;
    this.#maxTimestamp = Math.max(-1, times.lastTimestamp);
  }

  /** From the contents of the files; undefined when one is missing or does not fit the segment. */
  static fromFiles(
    offsetBytes: Buffer | undefined,
    timeBytes: Buffer | undefined,
    extent: SegmentExtent,
    intervalBytes: number,
  ): SegmentIndexes | undefined {
    if (offsetBytes === undefined || timeBytes === undefined) return undefined;
    const limits = { baseOffset: extent.base, endOffset: extent.end, sizeBytes: extent.length };
    const offsets = OffsetIndex.fromBytes(offsetBytes, limits);
    const times = TimeIndex.fromBytes(timeBytes, limits);
    if (offsets === undefined || times === undefined) return undefined;
    const indexes = new SegmentIndexes(extent.base, intervalBytes, offsets, times);
    // Each entry can be compared with its batch; that the last ones are missing shows in this alone.
    const isWhole = extent.maxTimestamp === Number.POSITIVE_INFINITY || extent.maxTimestamp === indexes.maxTimestamp;
    return isWhole ? indexes : undefined;
  }

  /** −1: no timestamp. */
  get maxTimestamp(): number {
    return this.#maxTimestamp;
  }

  /** A batch was stored at `position`. */
  add(position: number, baseOffset: number, lastOffset: number, maxTimestamp: number): void {
    this.addTimestamp(maxTimestamp, lastOffset);
    if (position - this.offsets.lastPosition >= this.#intervalBytes && this.#reaches(lastOffset)) {
      this.offsets.append(baseOffset, position);
      this.#addTime();
    }
    this.dirty = true;
  }

  addTimestamp(maxTimestamp: number, lastOffset: number): void {
    if (maxTimestamp <= this.#maxTimestamp) return;
    this.#maxTimestamp = maxTimestamp;
    this.#maxTimestampOffset = lastOffset;
  }

  /** An entry for a batch that must be found without walking over what precedes it. */
  addEntry(position: number, baseOffset: number): void {
    if (position > this.offsets.lastPosition && baseOffset > this.offsets.baseOffset && this.#reaches(baseOffset)) {
      this.offsets.append(baseOffset, position);
    }
  }

  /** The segment now ends at `endOffset`. Timestamps from the last entry's batch on must be added again. */
  truncateTo(endOffset: number): void {
    this.offsets.truncateTo(endOffset);
    this.times.truncateTo(endOffset);
    this.#maxTimestamp = Math.max(-1, this.times.lastTimestamp);
    this.#maxTimestampOffset = -1;
    this.dirty = true;
  }

  /** Writes both files, durably. */
  async save(disk: Disk, stem: string): Promise<void> {
    this.#addTime();
    this.dirty = false;
    try {
      await disk.replaceFile(`${stem}.index`, this.offsets.toBytes());
      await disk.replaceFile(`${stem}.timeindex`, this.times.toBytes());
    } catch (error) {
      this.dirty = true;
      throw error;
    }
  }

  #addTime(): void {
    // An offset that is too low only makes a search begin too early.
    const offset = Math.min(this.#maxTimestampOffset, this.offsets.baseOffset + MAX_RELATIVE_OFFSET);
    if (offset >= 0) this.times.append(this.#maxTimestamp, offset);
  }

  /**
   * False for an offset too far above the base for an entry: what lies there is found by walking. Only batches that claim
   * billions of records get there, with one run at most: the segment is rolled after it.
   */
  #reaches(offset: number): boolean {
    return offset - this.offsets.baseOffset < MAX_RELATIVE_OFFSET;
  }
}
