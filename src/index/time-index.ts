/**
 * Time index of one segment: how far the largest timestamp had grown at which offset.
 *
 *   .timeindex file: entries, big-endian
 *   +----------------+------------------------------+
 *   | timestamp (ms) | offset − segment base offset |
 *   | i64            | u32                          |
 *   +----------------+------------------------------+
 *
 * An entry (t, o) means: no record of this segment below offset o is younger than t − that is, the first record with a
 * timestamp > t lies at or after o. An entry is made from a batch with a new largest timestamp: (max timestamp, its *last*
 * offset). Both columns grow strictly. The layout is Kafka's.
 *
 * It can always be rebuilt from the log: `fromBytes` answers undefined for anything that cannot be right.
 */
import { invariant } from '../errors.js';

export const TIME_INDEX_ENTRY_BYTES = 12;
const INITIAL_ENTRIES = 16;
const NO_TIMESTAMPS = new Float64Array(0);
const NO_OFFSETS = new Uint32Array(0);
const MAX_RELATIVE_OFFSET = 0xffff_ffff;
const TWO_32 = 0x1_0000_0000;

export interface TimeIndexLimits {
  readonly baseOffset: number;
  /** Offset after the segment's last record. */
  readonly endOffset: number;
}

export class TimeIndex {
  readonly baseOffset: number;
  #timestamps = NO_TIMESTAMPS;
  #relativeOffsets = NO_OFFSETS;
  #count = 0;

  constructor(baseOffset: number) {
    this.baseOffset = baseOffset;
  }

  /** Loads a file's bytes; undefined when they are inconsistent in themselves or with the segment. */
  static fromBytes(bytes: Buffer, limits: TimeIndexLimits): TimeIndex | undefined {
    if (bytes.length % TIME_INDEX_ENTRY_BYTES !== 0) return undefined;
    const index = new TimeIndex(limits.baseOffset);
    const span = limits.endOffset - limits.baseOffset;
    for (let pos = 0; pos < bytes.length; pos += TIME_INDEX_ENTRY_BYTES) {
      const timestamp = bytes.readInt32BE(pos) * TWO_32 + bytes.readUInt32BE(pos + 4);
      const relativeOffset = bytes.readUInt32BE(pos + 8);
      if (!Number.isSafeInteger(timestamp) || timestamp <= index.lastTimestamp) return undefined;
      if (relativeOffset >= span || !index.#grows(relativeOffset)) return undefined;
      index.#push(timestamp, relativeOffset);
    }
    return index;
  }

  toBytes(): Buffer {
    const bytes = Buffer.allocUnsafe(this.#count * TIME_INDEX_ENTRY_BYTES);
    for (let i = 0; i < this.#count; i++) {
      const timestamp = this.#timestamps[i]!;
      const high = Math.floor(timestamp / TWO_32);
      const pos = i * TIME_INDEX_ENTRY_BYTES;
      bytes.writeInt32BE(high, pos);
      bytes.writeUInt32BE(timestamp - high * TWO_32, pos + 4);
      bytes.writeUInt32BE(this.#relativeOffsets[i]!, pos + 8);
    }
    return bytes;
  }

  get count(): number {
    return this.#count;
  }

  /** The largest timestamp that has an entry; −∞ when there is none. */
  get lastTimestamp(): number {
    return this.#count === 0 ? Number.NEGATIVE_INFINITY : this.#timestamps[this.#count - 1]!;
  }

  /**
   * Offers the largest timestamp of the segment so far, and the last offset of the batch that brought it; ignored unless it
   * grew since the last entry. May be offered per batch, or (sparsely) whenever the offset index gets an entry.
   */
  append(timestamp: number, offset: number): void {
    if (timestamp <= this.lastTimestamp) return;
    const relativeOffset = offset - this.baseOffset;
    invariant(
      Number.isSafeInteger(timestamp) && relativeOffset <= MAX_RELATIVE_OFFSET && this.#grows(relativeOffset),
      `time index: entry (${timestamp}, ${offset}) does not follow the last one`,
    );
    this.#push(timestamp, relativeOffset);
  }

  /**
   * An offset such that all records below it (in this segment) are older than `timestamp`: scan from the batch that holds
   * it.
   */
  lookup(timestamp: number): number {
    return this.offsetAt(this.entryBefore(timestamp));
  }

  /** Offset of an entry; −1 stands for the segment's beginning. */
  offsetAt(entry: number): number {
    return entry < 0 ? this.baseOffset : this.baseOffset + this.#relativeOffsets[entry]!;
  }

  timestampAt(entry: number): number {
    return this.#timestamps[entry]!;
  }

  /** The last entry that is older than `timestamp`; −1 if there is none. */
  entryBefore(timestamp: number): number {
    let low = 0;
    let high = this.#count;
    // Invariant: entries below `low` are older than the timestamp, those from `high` on are not.
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#timestamps[middle]! < timestamp) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Removes entries at or above `endOffset`. */
  truncateTo(endOffset: number): void {
    while (this.#count > 0 && this.baseOffset + this.#relativeOffsets[this.#count - 1]! >= endOffset) this.#count--;
  }

  #grows(relativeOffset: number): boolean {
    return this.#count === 0 ? relativeOffset >= 0 : relativeOffset > this.#relativeOffsets[this.#count - 1]!;
  }

  #push(timestamp: number, relativeOffset: number): void {
    if (this.#count === this.#timestamps.length) {
      const capacity = Math.max(INITIAL_ENTRIES, 2 * this.#count);
      const timestamps = new Float64Array(capacity);
      timestamps.set(this.#timestamps);
      this.#timestamps = timestamps;
      const relativeOffsets = new Uint32Array(capacity);
      relativeOffsets.set(this.#relativeOffsets);
      this.#relativeOffsets = relativeOffsets;
    }
    this.#timestamps[this.#count] = timestamp;
    this.#relativeOffsets[this.#count] = relativeOffset;
    this.#count++;
  }
}
