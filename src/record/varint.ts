/**
 * Zigzag varints as Protocol Buffers and Kafka write them: value ≥ 0 becomes 2 × value, value < 0 becomes
 * −2 × value − 1, and that goes out in groups of seven bits, lowest first, with the top bit set on all but the last.
 *
 * Values are safe integers. Those of up to 30 bits take the fast path in 32-bit arithmetic; larger ones (time
 * differences) are taken apart by division, since JavaScript's shifts stop at 32 bits.
 */
import { VarveError } from '../errors.js';

/** The longest encoding of an i64. */
export const MAX_VARINT_BYTES = 10;

const FAST_LIMIT = 0x4000_0000;

/** Encoded size in bytes. */
export function sizeOfVarint(value: number): number {
  if (value >= -FAST_LIMIT && value < FAST_LIMIT) {
    const zigzag = (value << 1) ^ (value >> 31);
    return zigzag < 0x80 ? 1 : ((38 - Math.clz32(zigzag)) / 7) | 0;
  }
  let rest = Math.floor((value < 0 ? -value - 1 : value) / 64);
  let size = 1;
  while (rest > 0) {
    size++;
    rest = Math.floor(rest / 128);
  }
  return size;
}

/** Writes a value at `pos`, where there must be room. @returns the position after it */
export function writeVarint(buf: Uint8Array, pos: number, value: number): number {
  if (value >= -FAST_LIMIT && value < FAST_LIMIT) {
    let zigzag = (value << 1) ^ (value >> 31);
    while (zigzag >= 0x80) {
      buf[pos++] = (zigzag & 0x7f) | 0x80;
      zigzag >>= 7;
    }
    buf[pos++] = zigzag;
    return pos;
  }
  // The lowest seven bits of the zigzag form are the sign and six bits of the magnitude; doubling the whole magnitude
  // first could leave the range of exact integers.
  const magnitude = value < 0 ? -value - 1 : value;
  let group = (magnitude % 64) * 2 + (value < 0 ? 1 : 0);
  let rest = Math.floor(magnitude / 64);
  while (rest > 0) {
    buf[pos++] = group | 0x80;
    group = rest % 128;
    rest = Math.floor(rest / 128);
  }
  buf[pos++] = group;
  return pos;
}

/** Reads varints in sequence from bytes[pos, limit). One object serves a whole batch: no allocation per value. */
export class VarintReader {
  constructor(
    readonly bytes: Uint8Array,
    public pos: number,
    readonly limit: number,
  ) {}

  /** @throws VarveError CORRUPT_BATCH at the limit, after ten bytes, or for a value that is no safe integer */
  next(): number {
    const { bytes, limit } = this;
    let pos = this.pos;
    let zigzag = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      if (pos >= limit) throw this.#cut();
      const byte = bytes[pos++]!;
      zigzag |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.pos = pos;
        return (zigzag >>> 1) ^ -(zigzag & 1);
      }
    }
    // 28 bits are in `zigzag`: the sign and 27 bits of the magnitude.
    let magnitude = zigzag >>> 1;
    let weight = 0x800_0000;
    for (let size = 4; size < MAX_VARINT_BYTES; size++) {
      if (pos >= limit) throw this.#cut();
      const byte = bytes[pos++]!;
      magnitude += (byte & 0x7f) * weight;
      weight *= 128;
      if (byte < 0x80) {
        if (magnitude > Number.MAX_SAFE_INTEGER) break;
        this.pos = pos;
        return (zigzag & 1) === 0 ? magnitude : -magnitude - 1;
      }
    }
    throw new VarveError('CORRUPT_BATCH', `records: the varint at position ${this.pos} is too long or too large`);
  }

  #cut(): VarveError {
    return new VarveError('CORRUPT_BATCH', `records: the varint at position ${this.pos} is cut off at ${this.limit}`);
  }
}
