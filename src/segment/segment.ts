/**
 * One segment of a log: its file, its indexes, and where it ends.
 *
 * Bytes of a segment are written once. It ends by being rolled (the next batch did not fit) or cut (a truncation): either
 * way `length` stays from then on, though the file may be longer (allocated ahead, or cut bytes that nobody reads).
 * A sealed segment found at open is mapped at its first read.
 *
 * What can go wrong: a header that does not continue the batch before it is CORRUPT_LOG, and so is any read that touches
 * a range known to be damaged. Once a page could not be read, zeros stand in for it: DISK_FAILED.
 */
import type { SegmentFile } from '../disk/disk.js';
import { VarveError } from '../errors.js';
import { BATCH_HEADER_BYTES, baseOffsetAt, batchSizeAt, lastOffsetAt, maxTimestampAt } from '../record/record-batch.js';
import type { SegmentName } from './file-names.js';
import type { SegmentIndexes } from './segment-indexes.js';

/** Bytes [from, to) that were durable once and no longer read back right. */
export interface DamagedRange {
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

export interface SegmentParts {
  readonly name: SegmentName;
  /** Of the .log file. */
  readonly path: string;
  readonly indexes: SegmentIndexes;
  /** Place of the segment's first byte in the log as a whole. */
  readonly place: number;
  /** Bytes of whole batches. */
  readonly length: number;
  /** Offset after the last record. */
  readonly end: number;
  readonly damaged: readonly DamagedRange[];
  /** Called once, at the first use. */
  readonly open: () => SegmentFile;
}

export class Segment implements SegmentName {
  readonly base: number;
  readonly tag: number;
  readonly path: string;
  readonly indexes: SegmentIndexes;
  readonly place: number;
  readonly damaged: readonly DamagedRange[];
  length: number;
  end: number;
  /** Stored bytes that no sync of the file covers yet. */
  dirty = false;
  /** When `length` reaches this, the next bytes are prepared. */
  prepareAt = 0;
  readonly #open: () => SegmentFile;
  #file: SegmentFile | undefined;
  #closed = false;
  #bytes: Buffer | undefined;

  constructor(parts: SegmentParts) {
    this.base = parts.name.base;
    this.tag = parts.name.tag;
    this.path = parts.path;
    this.indexes = parts.indexes;
    this.place = parts.place;
    this.length = parts.length;
    this.end = parts.end;
    this.damaged = parts.damaged;
    this.#open = parts.open;
  }

  get file(): SegmentFile {
    if (this.#file === undefined) {
      if (this.#closed) throw new VarveError('CLOSED', `${this.path}: the segment is closed`);
      this.#file = this.#open();
    }
    return this.#file;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Path of the segment's files without the extension. */
  get stem(): string {
    return this.path.slice(0, -'.log'.length);
  }

  /** All whole batches, for looking at headers. Views that are handed out come from `view`. */
  get bytes(): Buffer {
    if (this.#bytes === undefined || this.#bytes.length < this.length) this.#bytes = this.file.view(0, this.length);
    return this.#bytes;
  }

  /** @throws VarveError DISK_FAILED */
  view(position: number, length: number): Buffer {
    const view = this.file.view(position, length);
    this.checkReadable();
    return view;
  }

  /**
   * To be called after bytes were looked at, before anybody relies on them.
   * @throws VarveError DISK_FAILED when a page of the file was lost: what was read may be zeros in its place
   */
  checkReadable(): void {
    if (this.#file?.poisoned) throw this.#unreadable();
  }

  /** Drops the engine's reference to the mapping; views that are held stay valid. */
  close(): void {
    this.#closed = true;
    this.#bytes = undefined;
    this.#file?.close();
    this.#file = undefined;
  }

  /** The segment ends at `length` = `end` from now on. */
  cut(length: number, end: number): void {
    this.length = length;
    this.end = end;
    this.#bytes = undefined;
    this.indexes.truncateTo(end);
    const bytes = this.bytes;
    for (let position = this.indexes.offsets.lastPosition; position < length; ) {
      this.indexes.addTimestamp(maxTimestampAt(bytes, position), lastOffsetAt(bytes, position));
      position = this.checkedEnd(bytes, position, -1);
    }
  }

  /**
   * Position of the batch that holds `offset`, which lies in this segment.
   * @throws VarveError CORRUPT_LOG
   */
  positionOf(offset: number): number {
    let position = this.indexes.offsets.lookup(offset);
    if (this.damaged.length > 0) this.#checkDamage(position);
    const bytes = this.bytes;
    let expected = -1;
    while (position < this.length) {
      const next = this.checkedEnd(bytes, position, expected);
      const end = lastOffsetAt(bytes, position) + 1;
      if (offset < end) {
        if (offset < baseOffsetAt(bytes, position)) break;
        return position;
      }
      expected = end;
      position = next;
    }
    throw this.corrupt(position, `no batch here holds offset ${offset}`);
  }

  /** Position after the batch at `position`, which must fit in the segment and start at offset `expected` (−1: any). */
  checkedEnd(bytes: Buffer, position: number, expected: number): number {
    if (this.damaged.length > 0) this.#checkDamage(position);
    if (position + BATCH_HEADER_BYTES > this.length) throw this.corrupt(position, 'a batch header is cut short');
    const end = position + batchSizeAt(bytes, position);
    if (end < position + BATCH_HEADER_BYTES || end > this.length) {
      throw this.corrupt(position, `a batch says that it is ${end - position} bytes long`);
    }
    if (expected >= 0 && baseOffsetAt(bytes, position) !== expected) {
      throw this.corrupt(position, `a batch starts at offset ${baseOffsetAt(bytes, position)} instead of ${expected}`);
    }
    return end;
  }

  isDamagedAt(position: number): boolean {
    return this.damaged.some((range) => position >= range.from && position < range.to);
  }

  corrupt(position: number, what: string): VarveError {
    if (this.#file?.poisoned) return this.#unreadable();
    return new VarveError(
      'CORRUPT_LOG',
      `${this.path}, position ${position}: ${what}. Nothing was deleted, and offsets outside the damage still read; restore this replica from a peer or a backup`,
    );
  }

  #unreadable(): VarveError {
    return new VarveError(
      'DISK_FAILED',
      `${this.path}: a page of the file could not be read (the device failed, or somebody shortened the file); check the disk, then open the store again`,
    );
  }

  #checkDamage(position: number): void {
    for (const range of this.damaged) {
      if (position >= range.from && position < range.to) throw this.corrupt(range.from, range.reason);
    }
  }
}
