/**
 * Snappy as Kafka uses it: the stream format of the Java library xerial/snappy-java. Integers are big-endian.
 *
 *   +-------------------------------+---------+------------+-------------------------------------------+
 *   | magic 82 'S' 'N' 'A' 'P' 'P'  | version | compatible | blocks: size i32, raw snappy data         |
 *   | 'Y' 00                        | i32 = 1 | i32 = 1    |                                           |
 *   +-------------------------------+---------+------------+-------------------------------------------+
 *
 * Some clients send one raw snappy block without the frame; that is read as well. Raw snappy data begins with the size
 * of its output, so everything is known before anything is allocated.
 */
import { compress, compressSync, uncompress, uncompressSync } from 'snappy';
import { type DecompressionLimits, outputBoundBytes, outputTooLarge, undecodable } from './limits.js';

const HEADER = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
const MAGIC_BYTES = 8;
const COMPATIBLE_AT = 12;
/** Snappy itself works in pieces of this size: larger blocks gain nothing. */
const BLOCK_BYTES = 64 * 1024;
/** Snappy's best case is a copy of 64 bytes named by 3. */
const MAX_RATIO = 22;
/** Blocks below this size are not worth a trip to another thread. */
const SYNC_BLOCK_BYTES = 4096;

export async function compressSnappyStream(plain: Buffer): Promise<Buffer> {
  return join(await Promise.all(split(plain).map((block) => compress(block))));
}

export function compressSnappyStreamSync(plain: Buffer): Buffer {
  return join(split(plain).map((block) => compressSync(block)));
}

/** @throws VarveError UNSUPPORTED_CODEC, BATCH_TOO_LARGE */
export async function decompressSnappyStream(packed: Buffer, limits: DecompressionLimits): Promise<Buffer> {
  const plain: Buffer[] = [];
  for (const block of blocksOf(packed, limits)) {
    plain.push(
      block.length < SYNC_BLOCK_BYTES ? uncompressBlock(block) : ((await uncompress(block).catch(fail)) as Buffer),
    );
  }
  return Buffer.concat(plain);
}

/** @throws VarveError UNSUPPORTED_CODEC, BATCH_TOO_LARGE */
export function decompressSnappyStreamSync(packed: Buffer, limits: DecompressionLimits): Buffer {
  return Buffer.concat(blocksOf(packed, limits).map(uncompressBlock));
}

function split(plain: Buffer): Buffer[] {
  const blocks: Buffer[] = [];
  for (let pos = 0; pos < plain.length; pos += BLOCK_BYTES) blocks.push(plain.subarray(pos, pos + BLOCK_BYTES));
  return blocks;
}

function join(blocks: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [HEADER];
  for (const block of blocks) {
    const size = Buffer.alloc(4);
    size.writeInt32BE(block.length);
    parts.push(size, block);
  }
  return Buffer.concat(parts);
}

/** The raw blocks of a stream, after their sizes and what they will become have been checked. */
function blocksOf(packed: Buffer, limits: DecompressionLimits): Buffer[] {
  const boundBytes = outputBoundBytes(limits, packed.length);
  const blocks: Buffer[] = [];
  if (packed.length < HEADER.length || packed.compare(HEADER, 0, MAGIC_BYTES, 0, MAGIC_BYTES) !== 0) {
    blocks.push(packed);
  } else {
    const compatible = packed.readInt32BE(COMPATIBLE_AT);
    if (compatible !== 1) throw undecodable('snappy', `stream version ${compatible} is not supported`);
    let pos = HEADER.length;
    while (pos < packed.length) {
      const size = pos + 4 <= packed.length ? packed.readInt32BE(pos) : -1;
      if (size <= 0 || size > packed.length - pos - 4) throw undecodable('snappy', `the stream is cut off at ${pos}`);
      blocks.push(packed.subarray(pos + 4, pos + 4 + size));
      pos += 4 + size;
    }
  }
  let total = 0;
  for (const block of blocks) {
    const plainBytes = plainBytesOf(block);
    if (plainBytes > block.length * MAX_RATIO) {
      throw undecodable('snappy', `a block of ${block.length} bytes cannot hold the ${plainBytes} it claims`);
    }
    total += plainBytes;
    if (total > boundBytes) throw outputTooLarge('snappy', packed.length, boundBytes);
  }
  return blocks;
}

/** The varint (of unsigned 32 bits) that a raw block begins with. */
function plainBytesOf(block: Buffer): number {
  let value = 0;
  for (let i = 0; i < 5 && i < block.length; i++) {
    const byte = block[i]!;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value;
  }
  throw undecodable('snappy', 'a block does not begin with a size');
}

function uncompressBlock(block: Buffer): Buffer {
  try {
    return uncompressSync(block) as Buffer;
  } catch (cause) {
    return fail(cause);
  }
}

function fail(cause: unknown): never {
  throw undecodable('snappy', cause instanceof Error ? cause.message : String(cause), cause);
}
