/**
 * Sparse offset index of one segment: where, about every `indexIntervalBytes`, a batch begins.
 *
 *   .index file: entries, big-endian
 *   +------------------------------+------------------+
 *   | offset − segment base offset | position in .log |
 *   | u32                          | u32              |
 *   +------------------------------+------------------+
 *
 * The offset of an entry is the *base* offset of the batch at its position, so a search that starts there misses nothing.
 * Both columns grow strictly. The layout is Kafka's; the segment's first batch has no entry, since it lies at 0.
 *
 * The index of an active segment lives in memory and is written when the segment is sealed. It can always be rebuilt
 * from the log: `fromBytes` answers undefined for anything that cannot be right, and the caller rebuilds.
 */
import { invariant } from '../errors.js';

export const OFFSET_INDEX_ENTRY_BYTES = 8;
const INITIAL_ENTRIES = 16;
const NO_ENTRIES = new Uint32Array(0);
/** Entries keep offsets relative to the segment's base in 32 bits. */
export const MAX_RELATIVE_OFFSET = 0xffff_ffff;

export interface OffsetIndexLimits {
  readonly baseOffset: number;
  /** Offset after the segment's last record. */
  readonly endOffset: number;
  /** Bytes of the segment. */
  readonly sizeBytes: number;
}

export class OffsetIndex {
  readonly baseOffset: number;
  #relativeOffsets = NO_ENTRIES;
  #positions = NO_ENTRIES;
  #count = 0;

  constructor(baseOffset: number) {
    this.baseOffset = baseOffset;
  }

  /** Loads a file's bytes; undefined when they are inconsistent in themselves or with the segment. */
  static fromBytes(bytes: Buffer, limits: OffsetIndexLimits): OffsetIndex | undefined {
    if (bytes.length % OFFSET_INDEX_ENTRY_BYTES !== 0) return undefined;
    const index = new OffsetIndex(limits.baseOffset);
    const span = limits.endOffset - limits.baseOffset;
    let lastOffset = 0;
    let lastPosition = 0;
    for (let pos = 0; pos < bytes.length; pos += OFFSET_INDEX_ENTRY_BYTES) {
      const relativeOffset = bytes.readUInt32BE(pos);
      const position = bytes.readUInt32BE(pos + 4);
      if (relativeOffset <= lastOffset || position <= lastPosition) return undefined;
      if (relativeOffset >= span || position >= limits.sizeBytes) return undefined;
      index.#push(relativeOffset, position);
      lastOffset = relativeOffset;
      lastPosition = position;
    }
    return index;
  }

  toBytes(): Buffer {
    const bytes = Buffer.allocUnsafe(this.#count * OFFSET_INDEX_ENTRY_BYTES);
    for (let i = 0; i < this.#count; i++) {
      bytes.writeUInt32BE(this.#relativeOffsets[i]!, i * OFFSET_INDEX_ENTRY_BYTES);
      bytes.writeUInt32BE(this.#positions[i]!, i * OFFSET_INDEX_ENTRY_BYTES + 4);
    }
    return bytes;
  }

  get count(): number {
    return this.#count;
  }

  /** Position of the last entry; 0 when there is none: the next entry is due `indexIntervalBytes` after it. */
  get lastPosition(): number {
    return this.#count === 0 ? 0 : this.#positions[this.#count - 1]!;
  }

  /** A batch with this base offset begins at this position. Both must be greater than those of the entry before. */
  append(offset: number, position: number): void {
    const relativeOffset = offset - this.baseOffset;
    const last = this.#count - 1;
    const lastOffset = last < 0 ? 0 : this.#relativeOffsets[last]!;
    invariant(
      relativeOffset > lastOffset && relativeOffset <= MAX_RELATIVE_OFFSET && position > this.lastPosition,
      `offset index: entry (${offset}, ${position}) after (${this.baseOffset + lastOffset}, ${this.lastPosition})`,
    );
    this.#push(relativeOffset, position);
  }

  /** Where to start looking for `offset`: a batch boundary at or before the batch that holds it. 0 without an entry. */
  lookup(offset: number): number {
    return this.positionAt(this.entryFor(offset));
  }

  /** Offset and position of an entry; −1, the segment's first batch, has none and lies at 0. */
  offsetAt(entry: number): number {
    return entry < 0 ? this.baseOffset : this.baseOffset + this.#relativeOffsets[entry]!;
  }

  positionAt(entry: number): number {
    return entry < 0 ? 0 : this.#positions[entry]!;
  }

  /** Removes entries of batches at or above `endOffset`. */
  truncateTo(endOffset: number): void {
    this.#count = this.entryFor(endOffset - 1) + 1;
  }

  /** The first entry that lies behind `position`; −1 if there is none. */
  entryBehind(position: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#positions[middle]! <= position) low = middle + 1;
      else high = middle;
    }
    return low < this.#count ? low : -1;
  }

  /** The last entry at or below `offset`; −1 if there is none. */
  entryFor(offset: number): number {
    const relativeOffset = offset - this.baseOffset;
    let low = 0;
    let high = this.#count;
    // Invariant: entries below `low` are ≤ the offset, those from `high` on are greater.
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#relativeOffsets[middle]! <= relativeOffset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #push(relativeOffset: number, position: number): void {
    if (this.#count === this.#positions.length) {
      this.#relativeOffsets = doubled(this.#relativeOffsets);
      this.#positions = doubled(this.#positions);
    }
    this.#relativeOffsets[this.#count] = relativeOffset;
    this.#positions[this.#count] = position;
    this.#count++;
  }
}

/** A segment that holds little has no entries, and thousands of logs have such a segment: the first one allocates. */
function doubled(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(Math.max(INITIAL_ENTRIES, array.length * 2));
  larger.set(array);
  return larger;
}
