/**
 * What a Zstandard frame (RFC 8878) says about its size, read without decompressing it.
 *
 *   +------------+------------+-----------+------------+--------------+----------------------------+----------+
 *   | magic      | descriptor | window    | dictionary | content size | blocks: u24 = last (bit 0),| checksum |
 *   | 0xFD2FB528 | u8         | u8, if …  | id, 0–4    | 0, 1, 2, 4   | type (1–2), size (3–23);   | u32, if …|
 *   | u32        |            |           | bytes      | or 8 bytes   | data                       |          |
 *   +------------+------------+-----------+------------+--------------+----------------------------+----------+
 *
 * Stream writers (Kafka's Java client among them) leave the content size out. Then the blocks tell: a raw or repeated
 * block says what it becomes, and a compressed one becomes at most 128 KiB.
 */
import { type DecompressionLimits, outputBoundBytes, outputTooLarge, undecodable } from './limits.js';

const MAGIC = 0xfd2fb528;
const BLOCK_MAX_BYTES = 128 * 1024;

/**
 * Walks one frame, which must fill `packed`, and refuses it if it could decompress to more than the limits allow.
 * @returns the most bytes it decompresses to
 * @throws VarveError UNSUPPORTED_CODEC, BATCH_TOO_LARGE
 */
export function checkZstdFrame(packed: Buffer, limits: DecompressionLimits): number {
  const boundBytes = outputBoundBytes(limits, packed.length);
  const header = readHeader(packed);
  if (header.contentBytes !== undefined && header.contentBytes > boundBytes) {
    throw outputTooLarge('zstd', packed.length, boundBytes);
  }
  // Decoders allocate the window, unless the whole content is smaller.
  if (Math.min(header.windowBytes, header.contentBytes ?? header.windowBytes) > limits.maxBytes) {
    throw outputTooLarge('zstd', packed.length, limits.maxBytes);
  }
  const blockMaxBytes = Math.min(BLOCK_MAX_BYTES, header.windowBytes);
  let pos = header.end;
  let mostBytes = 0;
  let last = false;
  while (!last) {
    need(packed, pos, 3);
    const word = packed.readUIntLE(pos, 3);
    pos += 3;
    last = (word & 1) === 1;
    const type = (word >> 1) & 3;
    const size = word >> 3;
    if (type === 3 || size > blockMaxBytes)
      throw undecodable('zstd', `no block can begin as the one at ${pos - 3} does`);
    const isCompressed = type === 2;
    const isRepeated = type === 1;
    mostBytes += isCompressed ? blockMaxBytes : size;
    // One block more than the bound is let pass, since the last compressed block seldom becomes its most.
    if (mostBytes > boundBytes + BLOCK_MAX_BYTES) throw outputTooLarge('zstd', packed.length, boundBytes);
    const dataBytes = isRepeated ? 1 : size;
    need(packed, pos, dataBytes);
    pos += dataBytes;
  }
  if (header.hasChecksum) {
    need(packed, pos, 4);
    pos += 4;
  }
  if (pos !== packed.length) throw undecodable('zstd', 'bytes follow the end of the frame');
  return mostBytes;
}

interface FrameHeader {
  readonly end: number;
  readonly windowBytes: number;
  readonly contentBytes: number | undefined;
  readonly hasChecksum: boolean;
}

function readHeader(packed: Buffer): FrameHeader {
  if (packed.length < 6 || packed.readUInt32LE(0) !== MAGIC)
    throw undecodable('zstd', 'no Zstandard frame begins here');
  const descriptor = packed[4]!;
  if ((descriptor & 0x08) !== 0) throw undecodable('zstd', 'a reserved bit of the frame descriptor is set');
  const isSingleSegment = (descriptor & 0x20) !== 0;
  let pos = 5;
  let windowBytes = 0;
  if (!isSingleSegment) {
    const window = packed[pos++]!;
    const base = 2 ** (10 + (window >> 3));
    windowBytes = base + (base / 8) * (window & 7);
  }
  const dictionaryIdBytes = [0, 1, 2, 4][descriptor & 3]!;
  need(packed, pos, dictionaryIdBytes);
  for (let i = 0; i < dictionaryIdBytes; i++) {
    if (packed[pos + i] !== 0) throw undecodable('zstd', 'it needs a dictionary');
  }
  pos += dictionaryIdBytes;
  const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  need(packed, pos, contentSizeBytes);
  const contentBytes = readContentSize(packed, pos, contentSizeBytes);
  return {
    end: pos + contentSizeBytes,
    windowBytes: isSingleSegment ? contentBytes! : windowBytes,
    contentBytes,
    hasChecksum: (descriptor & 0x04) !== 0,
  };
}

function readContentSize(packed: Buffer, pos: number, bytes: number): number | undefined {
  switch (bytes) {
    case 0:
      return undefined;
    case 1:
      return packed[pos]!;
    case 2:
      return packed.readUInt16LE(pos) + 256;
    case 4:
      return packed.readUInt32LE(pos);
    default:
      return packed.readUInt32LE(pos) + packed.readUInt32LE(pos + 4) * 0x1_0000_0000;
  }
}

function need(packed: Buffer, pos: number, bytes: number): void {
  if (pos + bytes > packed.length) throw undecodable('zstd', `the frame is cut off after ${packed.length} bytes`);
}
