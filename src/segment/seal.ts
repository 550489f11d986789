/**
 * The seal of a segment that has ended: what its batches' own CRCs leave out, so that rot there, or another segment's
 * bytes in its place, is found.
 *
 *   .seal file, little-endian
 *   0          8          12         16       24           32       40              48
 *   | VARVSEAL | version  | checksum | length | end offset | batch  | max timestamp | CRC32C of |
 *   |          | u32      | u32      | u64    | u64        | count  | i64, −1: none | [0, 48)   |
 *   |          |          |          |        |            | u64    |               | u32       |
 *
 * The checksum is the CRC32C of topic id (16 bytes), partition (u32), base offset (u64) and then the header (61 bytes) of
 * every batch, in order. A seal can always be made anew from a segment whose batches all check out.
 */
import { crc32c } from '../disk/addon.js';
import { BATCH_HEADER_BYTES } from '../record/record-batch.js';

/** Which segment it is. */
export interface SealIdentity {
  /** 32 hex digits. */
  readonly topicId: string;
  readonly partition: number;
  readonly base: number;
}

export interface SegmentSeal {
  /** Bytes of whole batches. */
  readonly length: number;
  /** Offset after the last record. */
  readonly end: number;
  readonly batches: number;
  /** −1: no timestamp. */
  readonly maxTimestamp: number;
  readonly checksum: number;
}

const MAGIC = 'VARVSEAL';
const VERSION = 1;
const CRC_AT = 48;
const SEAL_BYTES = 52;

/** Takes the headers of a segment's batches, in order. */
export class SealBuilder {
  #checksum: number;
  #batches = 0;
  #end: number;
  #length = 0;
  #maxTimestamp = -1;

  constructor({ topicId, partition, base }: SealIdentity) {
    const identity = Buffer.alloc(28);
    identity.write(topicId, 0, 'hex');
    identity.writeUInt32LE(partition, 16);
    identity.writeBigUInt64LE(BigInt(base), 20);
    this.#checksum = crc32c(identity, 0, identity.length);
    this.#end = base;
  }

  add(bytes: Uint8Array, headerAt: number, size: number, lastOffset: number, maxTimestamp: number): void {
    this.#checksum = crc32c(bytes, headerAt, headerAt + BATCH_HEADER_BYTES, this.#checksum);
    this.#batches++;
    this.#length += size;
    this.#end = lastOffset + 1;
    this.#maxTimestamp = Math.max(this.#maxTimestamp, maxTimestamp);
  }

  seal(): SegmentSeal {
    return {
      length: this.#length,
      end: this.#end,
      batches: this.#batches,
      maxTimestamp: this.#maxTimestamp,
      checksum: this.#checksum,
    };
  }
}

export function encodeSeal(seal: SegmentSeal): Buffer {
  const bytes = Buffer.alloc(SEAL_BYTES);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(seal.checksum, 12);
  bytes.writeBigUInt64LE(BigInt(seal.length), 16);
  bytes.writeBigUInt64LE(BigInt(seal.end), 24);
  bytes.writeBigUInt64LE(BigInt(seal.batches), 32);
  bytes.writeBigInt64LE(BigInt(seal.maxTimestamp), 40);
  bytes.writeUInt32LE(crc32c(bytes, 0, CRC_AT), CRC_AT);
  return bytes;
}

/** Undefined for anything that is not a seal as it was written. */
export function decodeSeal(bytes: Buffer): SegmentSeal | undefined {
  if (bytes.length !== SEAL_BYTES || bytes.toString('latin1', 0, 8) !== MAGIC) return undefined;
  if (bytes.readUInt32LE(8) !== VERSION || bytes.readUInt32LE(CRC_AT) !== crc32c(bytes, 0, CRC_AT)) return undefined;
  return {
    checksum: bytes.readUInt32LE(12),
    length: Number(bytes.readBigUInt64LE(16)),
    end: Number(bytes.readBigUInt64LE(24)),
    batches: Number(bytes.readBigUInt64LE(32)),
    maxTimestamp: Number(bytes.readBigInt64LE(40)),
  };
}

export function sameSeal(a: SegmentSeal, b: SegmentSeal): boolean {
  return (
    a.checksum === b.checksum &&
    a.length === b.length &&
    a.end === b.end &&
    a.batches === b.batches &&
    a.maxTimestamp === b.maxTimestamp
  );
}
