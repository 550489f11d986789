/**
 * One segment of a log: its file, its indexes, and where it ends.
 *
 * Bytes of a segment are written once. It ends by being rolled (the next batch did not fit) or cut (a truncation): either
 * way `length` stays from then on, though the file may be longer (allocated ahead, or cut bytes that nobody reads).
 * File and indexes are got at their first use, and may be dropped again at any time while all bytes are synced
 * (`evict`): whoever looks at bytes over more than one event-loop turn holds on to the file and the view, not to the
 * segment.
 *
 * What can go wrong: a header that does not continue the batch before it is CORRUPT_LOG, and so is any read that touches
 * a range known to be damaged. Once a page could not be read, zeros stand in for it: DISK_FAILED.
 *
 * Indexes are never believed: an entry counts only if the batch that it names is what the entry says. If not, the search
 * begins further back, and the indexes are rebuilt before the next asynchronous read.
 */
import type { SegmentFile } from '../disk/disk.js';
import { VarveError } from '../errors.js';
import {
  BATCH_HEADER_BYTES,
  baseOffsetAt,
  batchSizeAt,
  lastOffsetAt,
  MAGIC,
  magicAt,
  maxTimestampAt,
} from '../record/record-batch.js';
import { hasMaxTimestampAt, headerFault } from './header-fault.js';
import type { SegmentName } from './file-names.js';
import type { Evictable, MappedSegments } from './mapped-segments.js';
import type { SegmentIndexes } from './segment-indexes.js';

/** Bytes [from, to) that were durable once and no longer read back right. */
export interface DamagedRange {
  readonly from: number;
  readonly to: number;
  readonly reason: string;
  /** Offset of the batch that began at `from`, if that is known. */
  readonly startOffset?: number;
  /** Offset of the batch at `to`, if that is known: a search for what lies behind goes on there. */
  readonly endOffset?: number;
}

/** How a segment gets at its files. */
export interface SegmentSource {
  readonly mapped: MappedSegments;
  openFile(segment: Segment): SegmentFile;
  /** What the index files hold; undefined when one is missing or cannot be right. */
  readIndexesSync(segment: Segment): SegmentIndexes | undefined;
  readIndexes(segment: Segment): Promise<SegmentIndexes | undefined>;
  /** Empty ones, to be filled by a walk. */
  emptyIndexes(segment: Segment): SegmentIndexes;
  /** By a scan of the file, off the event loop. Undefined when the scan did not get to the end: then the log is at fault. */
  rebuildIndexes(segment: Segment): Promise<SegmentIndexes | undefined>;
  /** Indexes had to be made anew. */
  onRebuilt(segment: Segment): void;
}

export interface SegmentParts {
  readonly name: SegmentName;
  /** Of the .log file. */
  readonly path: string;
  /** Place of the segment's first byte in the log as a whole. */
  readonly place: number;
  /** Bytes of whole batches. */
  readonly length: number;
  /** Offset after the last record. */
  readonly end: number;
  readonly damaged: readonly DamagedRange[];
  /** It is appended to. */
  readonly isActive: boolean;
  /** Its index files are on disk, and all its bytes. */
  readonly sealed: boolean;
  /** −1: no timestamp; infinite: not known. */
  readonly maxTimestamp: number;
  /** By this machine's clock. */
  readonly firstAppend: number;
  readonly lastAppend: number;
  readonly source: SegmentSource;
  /** If it is known already. */
  readonly file?: SegmentFile | undefined;
  readonly indexes?: SegmentIndexes | undefined;
}

export class Segment implements SegmentName, Evictable {
  readonly base: number;
  readonly tag: number;
  readonly path: string;
  /** Moves when compaction changes the length of a segment before this one. */
  place: number;
  length: number;
  end: number;
  maxTimestamp: number;
  /** When bytes were stored in it, by this machine's clock. */
  firstAppend: number;
  lastAppend: number;
  isActive: boolean;
  /** Its index files are on disk, and it ended: opening the log needs nothing of it but its checkpoint row. */
  sealed: boolean;
  /** Stored bytes that no sync of the file covers yet. */
  dirty = false;
  /** Work under way that needs the file: a sync. */
  pins = 0;
  /** When `length` reaches this, the next bytes are prepared. */
  prepareAt = 0;
  /** Bytes from here on were stored through this mapping: they are in memory, as far as anybody can know. */
  residentFrom: number;
  recentlyUsed = false;
  #damaged: readonly DamagedRange[];
  readonly #source: SegmentSource;
  #file: SegmentFile | undefined;
  #indexes: SegmentIndexes | undefined;
  /** An entry was not what it said. */
  #indexesAreWrong = false;
  /** A scan met a fault in the log itself. */
  #isUnscannable = false;
  #loading: Promise<void> | undefined;
  #isHeld = false;
  #closed = false;
  #bytes: Buffer | undefined;

  constructor(parts: SegmentParts) {
    this.base = parts.name.base;
    this.tag = parts.name.tag;
    this.path = parts.path;
    this.place = parts.place;
    this.length = parts.length;
    this.end = parts.end;
    this.maxTimestamp = parts.maxTimestamp;
    this.firstAppend = parts.firstAppend;
    this.lastAppend = parts.lastAppend;
    this.isActive = parts.isActive;
    this.sealed = parts.sealed;
    this.residentFrom = parts.length;
    this.#damaged = parts.damaged;
    this.#source = parts.source;
    this.#indexes = parts.indexes;
    this.#file = parts.file;
    if (parts.file !== undefined) this.#hold();
  }

  /** Mapped at the first use. */
  get file(): SegmentFile {
    this.recentlyUsed = true;
    return this.#file ?? this.#map();
  }

  get isMapped(): boolean {
    return this.#file !== undefined;
  }

  /** Loaded, or made by a walk over the headers, at the first use. */
  get indexes(): SegmentIndexes {
    this.recentlyUsed = true;
    return this.#indexes ?? this.#loadIndexes();
  }

  get hasUnsavedIndexes(): boolean {
    return this.#indexes?.dirty ?? false;
  }

  /** A page of its mapping was lost. */
  get isPoisoned(): boolean {
    return this.#file?.poisoned ?? false;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get damaged(): readonly DamagedRange[] {
    return this.#damaged;
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
    const { file } = this;
    const view = file.view(position, length);
    checkReadable(file);
    return view;
  }

  /** Undefined when bytes and indexes are at hand; else a promise of that. Failures show again at the use itself. */
  prepareLookup(): Promise<void> | undefined {
    if (this.#indexes !== undefined && (!this.#indexesAreWrong || this.#isUnscannable)) return undefined;
    this.#loading ??= this.#loadIndexesAsync().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  /** For a segment whose largest timestamp is not known; it stays so where the batches cannot be read. */
  async findMaxTimestamp(): Promise<void> {
    if (this.#damaged.length > 0) return;
    await this.prepareLookup();
    if (this.#indexes !== undefined) this.maxTimestamp = this.#indexes.maxTimestamp;
  }

  /** Reads pages off the event loop; undefined when they are in memory as far as anybody can know. */
  warm(position: number, length: number): Promise<void> | undefined {
    const end = Math.min(position + length, this.length);
    if (position >= end || (this.isMapped && position >= this.residentFrom)) return undefined;
    return this.file.touch(position, end - position);
  }

  /** It has ended: what is allocated behind its stored bytes is given back, if it is still mapped as it was appended to. */
  async releaseTail(): Promise<void> {
    if (!this.isActive) await this.#file?.releaseTail();
  }

  evict(): boolean {
    if (this.dirty || this.pins > 0) return false;
    this.#drop();
    if (!this.isActive && this.sealed && !this.hasUnsavedIndexes) this.#indexes = undefined;
    return true;
  }

  /** Drops the engine's reference to the mapping; views that are held stay valid. */
  close(): void {
    this.#closed = true;
    this.#drop();
    this.#source.mapped.remove(this);
  }

  /** The segment ends at `length` = `end` from now on. */
  cut(length: number, end: number): void {
    const { indexes } = this;
    this.length = length;
    this.end = end;
    this.isActive = false;
    this.sealed = false;
    this.#bytes = undefined;
    indexes.truncateTo(end);
    const bytes = this.bytes;
    for (let position = indexes.offsets.lastPosition; position < length; ) {
      const end = this.checkedEnd(bytes, position, -1);
      indexes.addTimestamp(this.maxTimestampIn(bytes, position), lastOffsetAt(bytes, position));
      position = end;
    }
    this.maxTimestamp = indexes.maxTimestamp;
  }

  /** From now on reads of the range are refused. */
  addDamage(ranges: readonly DamagedRange[]): void {
    const known = (range: DamagedRange): boolean =>
      this.#damaged.some((other) => other.from <= range.from && range.to <= other.to);
    this.#damaged = [...this.#damaged, ...ranges.filter((range) => !known(range))].sort((a, b) => a.from - b.from);
  }

  /**
   * Position of the batch that holds `offset`, which lies in this segment.
   * @throws VarveError CORRUPT_LOG
   */
  positionOf(offset: number): number {
    const bytes = this.bytes;
    let position = this.#startFor(bytes, offset);
    let expected = -1;
    while (position < this.length) {
      const damage = this.#damageAt(position);
      if (damage?.endOffset !== undefined && offset >= damage.endOffset) {
        position = damage.to;
        expected = damage.endOffset;
        continue;
      }
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
    if (this.#damaged.length > 0) this.#checkDamage(position);
    const fault = headerFault(bytes, position, this.length, expected);
    if (fault !== undefined) throw this.corrupt(position, fault);
    return position + batchSizeAt(bytes, position);
  }

  /**
   * Of the batch at `position`, whose place was checked.
   * @throws VarveError CORRUPT_LOG
   */
  maxTimestampIn(bytes: Buffer, position: number): number {
    try {
      return maxTimestampAt(bytes, position);
    } catch (error) {
      throw this.corrupt(position, (error as Error).message);
    }
  }

  isDamagedAt(position: number): boolean {
    return this.#damageAt(position) !== undefined;
  }

  corrupt(position: number, what: string): VarveError {
    if (this.#file?.poisoned) return unreadable(this.path);
    return new VarveError(
      'CORRUPT_LOG',
      `${this.path}, position ${position}: ${what}. Nothing was deleted, and offsets outside the damage still read; restore this replica from a peer or a backup`,
    );
  }

  /**
   * An offset in this segment below which no record is as young as `timestamp`.
   * @throws VarveError CORRUPT_LOG
   */
  lookupTimestamp(timestamp: number): number {
    const { times } = this.indexes;
    const bytes = this.bytes;
    for (let entry = times.entryBefore(timestamp); entry >= 0; entry--) {
      const offset = times.offsetAt(entry);
      const position = this.positionOf(offset);
      const youngest = this.maxTimestampIn(bytes, position);
      if (youngest === times.timestampAt(entry) && lastOffsetAt(bytes, position) === offset) {
        return offset;
      }
      this.#indexesAreWrong = true;
    }
    return this.base;
  }

  /** Position from which a walk finds `offset`: that of the last index entry at or below it that is true. */
  #startFor(bytes: Buffer, offset: number): number {
    const { offsets } = this.indexes;
    for (let entry = offsets.entryFor(offset); entry >= 0; entry--) {
      const position = offsets.positionAt(entry);
      // Whatever stands where bytes are damaged says nothing about the index.
      if (this.#damageAt(position) !== undefined) continue;
      if (startsBatch(bytes, position, this.length, offsets.offsetAt(entry))) return position;
      this.#indexesAreWrong = true;
    }
    return 0;
  }

  #map(): SegmentFile {
    if (this.#closed) throw new VarveError('CLOSED', `${this.path}: the segment is closed`);
    const file = this.#source.openFile(this);
    this.#file = file;
    this.residentFrom = this.length;
    this.#hold();
    return file;
  }

  #hold(): void {
    if (this.#isHeld) return;
    this.#isHeld = true;
    this.#source.mapped.add(this);
  }

  #drop(): void {
    this.#isHeld = false;
    this.#bytes = undefined;
    this.#file?.close();
    this.#file = undefined;
  }

  #keepIndexes(indexes: SegmentIndexes): SegmentIndexes {
    this.#indexes = indexes;
    this.#indexesAreWrong = false;
    if (!this.isActive) this.#hold();
    return indexes;
  }

  #loadIndexes(): SegmentIndexes {
    if (this.#closed) throw new VarveError('CLOSED', `${this.path}: the segment is closed`);
    return this.#keepIndexes(this.#source.readIndexesSync(this) ?? this.#walkedIndexes());
  }

  async #loadIndexesAsync(): Promise<void> {
    const { length } = this;
    const indexes = this.#indexesAreWrong ? undefined : await this.#source.readIndexes(this);
    const wanted = indexes ?? (this.#isUnscannable ? undefined : await this.#source.rebuildIndexes(this));
    this.#isUnscannable ||= wanted === undefined && this.length === length;
    // Meanwhile it may have been closed, cut or appended to, or somebody was in a hurry.
    const isNeeded = this.#indexes === undefined || this.#indexesAreWrong;
    this.#indexesAreWrong = false;
    if (this.#closed || this.length !== length || !isNeeded || wanted === undefined) return;
    this.#keepIndexes(wanted);
    if (indexes === undefined) this.#noteRebuilt();
  }

  /**
   * From the headers alone, as far as they join on to each other: what lies behind a fault is found by walking, or not at
   * all.
   */
  #walkedIndexes(): SegmentIndexes {
    const indexes = this.#source.emptyIndexes(this);
    const bytes = this.bytes;
    for (let position = 0, expected = this.base; position < this.length; ) {
      if (headerFault(bytes, position, this.length, expected) !== undefined) break;
      const last = lastOffsetAt(bytes, position);
      if (!hasMaxTimestampAt(bytes, position)) break;
      indexes.add(position, expected, last, maxTimestampAt(bytes, position));
      position += batchSizeAt(bytes, position);
      expected = last + 1;
    }
    this.#noteRebuilt();
    return indexes;
  }

  #noteRebuilt(): void {
    this.sealed = false;
    if (this.length > 0) this.#source.onRebuilt(this);
  }

  #damageAt(position: number): DamagedRange | undefined {
    if (this.#damaged.length === 0) return undefined;
    return this.#damaged.find((range) => position >= range.from && position < range.to);
  }

  #checkDamage(position: number): void {
    const range = this.#damageAt(position);
    if (range !== undefined) throw this.corrupt(range.from, range.reason);
  }
}

/** True when a whole batch that starts at `offset` lies at `position`, as far as its header tells. */
function startsBatch(bytes: Buffer, position: number, length: number, offset: number): boolean {
  if (position + BATCH_HEADER_BYTES > length || magicAt(bytes, position) !== MAGIC) return false;
  const size = batchSizeAt(bytes, position);
  if (size < BATCH_HEADER_BYTES || position + size > length) return false;
  return bytes.readUInt32BE(position) * 2 ** 32 + bytes.readUInt32BE(position + 4) === offset;
}

/**
 * To be called after bytes of a file were looked at, before anybody relies on them.
 * @throws VarveError DISK_FAILED when a page of the file was lost: what was read may be zeros in its place
 */
export function checkReadable(file: SegmentFile): void {
  if (file.poisoned) throw unreadable(file.path);
}

function unreadable(path: string): VarveError {
  return new VarveError(
    'DISK_FAILED',
    `${path}: a page of the file could not be read (the device failed, or somebody shortened the file); check the disk, then open the store again`,
  );
}
