/**
 * LZ4 frames as Kafka uses them: independent blocks. All integers are little-endian.
 *
 *   +------------+-----+-----+--------------+--------+----------------------------------------+---------+----------+
 *   | magic      | FLG | BD  | content size | header | blocks:                                | end mark| content  |
 *   | 0x184D2204 | u8  | u8  | u64, if FLG  | check- | size u32 (top bit: stored as it is),   | u32 = 0 | checksum |
 *   | u32        |     |     | says so      | sum u8 | data, checksum u32 if FLG says so      |         | u32, if …|
 *   +------------+-----+-----+--------------+--------+----------------------------------------+---------+----------+
 *
 * Written: content size, no checksums (the batch has a CRC), and the smallest block size that holds everything in one
 * block, up to 4 MiB. Read: any frame with independent blocks; checksums that are there are verified.
 *
 * The blocks are framed here, since the library's own frame decoder takes no bound for its output. Its block functions
 * put a u32 in front of a block: the size of the output, which on reading is the most it will write.
 */
import lz4 from 'lz4-napi';
import { type DecompressionLimits, outputBoundBytes, outputTooLarge, undecodable } from './limits.js';
import { xxhash32 } from './xxhash32.js';

const MAGIC = 0x184d2204;
const VERSION = 0x40;
const VERSION_MASK = 0xc0;
const INDEPENDENT_BIT = 0x20;
const BLOCK_CHECKSUM_BIT = 0x10;
const CONTENT_SIZE_BIT = 0x08;
const CONTENT_CHECKSUM_BIT = 0x04;
const DICTIONARY_BIT = 0x01;
const STORED_BIT = 0x8000_0000;

const WRITTEN_HEADER_BYTES = 15;
const PREFIX_BYTES = 4;
/** No LZ4 block expands more than this (255 bytes per extra length byte), … */
const MAX_BLOCK_RATIO = 255;
/** … but for a last few bytes. */
const BLOCK_SLACK_BYTES = 64;
/** Blocks below this size are not worth a trip to another thread. */
const SYNC_BLOCK_BYTES = 4096;

/** Block sizes by their number in BD. */
const BLOCK_BYTES: ReadonlyMap<number, number> = new Map([
  [4, 64 * 1024],
  [5, 256 * 1024],
  [6, 1024 * 1024],
  [7, 4 * 1024 * 1024],
]);

export async function compressLz4Frame(plain: Buffer): Promise<Buffer> {
  const { code, bytes } = blockSizeFor(plain.length);
  const blocks: Buffer[] = [];
  for (let pos = 0; pos < plain.length; pos += bytes) {
    const block = plain.subarray(pos, pos + bytes);
    blocks.push(block, await lz4.compress(block));
  }
  return writeFrame(plain.length, code, blocks);
}

export function compressLz4FrameSync(plain: Buffer): Buffer {
  const { code, bytes } = blockSizeFor(plain.length);
  const blocks: Buffer[] = [];
  for (let pos = 0; pos < plain.length; pos += bytes) {
    const block = plain.subarray(pos, pos + bytes);
    blocks.push(block, lz4.compressSync(block));
  }
  return writeFrame(plain.length, code, blocks);
}

/** @throws VarveError UNSUPPORTED_CODEC, BATCH_TOO_LARGE */
export async function decompressLz4Frame(packed: Buffer, limits: DecompressionLimits): Promise<Buffer> {
  const reader = new FrameReader(packed, limits);
  for (let block = reader.next(); block !== undefined; block = reader.next()) {
    if (block.stored) reader.take(block.bytes);
    else if (block.bytes.length < SYNC_BLOCK_BYTES) reader.take(reader.attempt(() => lz4.uncompressSync(block.bytes)));
    else reader.take(await lz4.uncompress(block.bytes).catch((cause) => reader.fail(cause)));
  }
  return reader.finish();
}

/** @throws VarveError UNSUPPORTED_CODEC, BATCH_TOO_LARGE */
export function decompressLz4FrameSync(packed: Buffer, limits: DecompressionLimits): Buffer {
  const reader = new FrameReader(packed, limits);
  for (let block = reader.next(); block !== undefined; block = reader.next()) {
    const { bytes, stored } = block;
    reader.take(stored ? bytes : reader.attempt(() => lz4.uncompressSync(bytes)));
  }
  return reader.finish();
}

function blockSizeFor(plainBytes: number): { code: number; bytes: number } {
  let chosen = { code: 7, bytes: BLOCK_BYTES.get(7)! };
  for (const [code, bytes] of BLOCK_BYTES) {
    if (plainBytes <= bytes && bytes < chosen.bytes) chosen = { code, bytes };
  }
  return chosen;
}

/** @param blocks plain bytes and their prefixed compressed form, in turn */
function writeFrame(plainBytes: number, blockSizeCode: number, blocks: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(WRITTEN_HEADER_BYTES);
  header.writeUInt32LE(MAGIC, 0);
  header[4] = VERSION | INDEPENDENT_BIT | CONTENT_SIZE_BIT;
  header[5] = blockSizeCode << 4;
  header.writeUInt32LE(plainBytes % 0x1_0000_0000, 6);
  header.writeUInt32LE(Math.floor(plainBytes / 0x1_0000_0000), 10);
  header[14] = (xxhash32(header, 4, 14) >>> 8) & 0xff;
  const parts: Buffer[] = [header];
  for (let i = 0; i < blocks.length; i += 2) {
    const plain = blocks[i]!;
    const packed = blocks[i + 1]!.subarray(PREFIX_BYTES);
    const size = Buffer.alloc(4);
    if (packed.length < plain.length) {
      size.writeUInt32LE(packed.length);
      parts.push(size, packed);
    } else {
      size.writeUInt32LE(plain.length + STORED_BIT);
      parts.push(size, plain);
    }
  }
  parts.push(Buffer.alloc(4));
  return Buffer.concat(parts);
}

/** Takes a frame apart and its contents together again; the caller decompresses the blocks in between. */
class FrameReader {
  readonly #packed: Buffer;
  readonly #boundBytes: number;
  readonly #flags: number;
  readonly #blockBytes: number;
  readonly #contentBytes: number | undefined;
  readonly #output: Buffer[] = [];
  #outputBytes = 0;
  #blockMaxBytes = 0;
  #pos: number;

  constructor(packed: Buffer, limits: DecompressionLimits) {
    this.#packed = packed;
    this.#boundBytes = outputBoundBytes(limits, packed.length);
    if (packed.length < 7 || packed.readUInt32LE(0) !== MAGIC) throw undecodable('lz4', 'no LZ4 frame begins here');
    const flags = packed[4]!;
    const blockDescriptor = packed[5]!;
    const blockBytes = BLOCK_BYTES.get(blockDescriptor >> 4);
    if ((flags & VERSION_MASK) !== VERSION || blockBytes === undefined || (flags & DICTIONARY_BIT) !== 0) {
      throw undecodable(
        'lz4',
        `frame descriptor ${flags.toString(16)} ${blockDescriptor.toString(16)} is not supported`,
      );
    }
    if ((flags & INDEPENDENT_BIT) === 0) {
      throw undecodable('lz4', 'its blocks depend on each other; Kafka allows independent blocks only');
    }
    this.#flags = flags;
    this.#blockBytes = blockBytes;
    let pos = 6;
    if ((flags & CONTENT_SIZE_BIT) !== 0) {
      this.#need(pos, 9);
      this.#contentBytes = packed.readUInt32LE(pos) + packed.readUInt32LE(pos + 4) * 0x1_0000_0000;
      if (this.#contentBytes > this.#boundBytes) throw outputTooLarge('lz4', packed.length, this.#boundBytes);
      pos += 8;
    }
    if (packed[pos] !== ((xxhash32(packed, 4, pos) >>> 8) & 0xff)) {
      throw undecodable('lz4', 'the header checksum does not match');
    }
    this.#pos = pos + 1;
  }

  /** The next block: a copy when stored, else ready for the library's block decoder. Undefined at the end mark. */
  next(): { bytes: Buffer; stored: boolean } | undefined {
    const packed = this.#packed;
    this.#need(this.#pos, 4);
    const word = packed.readUInt32LE(this.#pos);
    this.#pos += 4;
    if (word === 0) return undefined;
    const stored = word >= STORED_BIT;
    const size = stored ? word - STORED_BIT : word;
    if (size > this.#blockBytes)
      throw undecodable('lz4', `a block of ${size} bytes, the frame says ${this.#blockBytes}`);
    const start = this.#pos;
    const end = start + size;
    this.#need(start, size);
    this.#pos = end;
    if ((this.#flags & BLOCK_CHECKSUM_BIT) !== 0) this.#checksum(start, end);
    // A wrong claim of the content is found before the bytes are, and the bound holds whatever is claimed.
    const left = (this.#contentBytes ?? this.#boundBytes) - this.#outputBytes;
    this.#blockMaxBytes = Math.min(this.#blockBytes, stored ? size : size * MAX_BLOCK_RATIO + BLOCK_SLACK_BYTES, left);
    if (this.#blockMaxBytes <= 0 || (stored && size > left)) throw this.#overflow();
    if (stored) return { bytes: Buffer.from(packed.subarray(start, end)), stored };
    const bytes = Buffer.allocUnsafe(PREFIX_BYTES + size);
    bytes.writeUInt32LE(this.#blockMaxBytes, 0);
    packed.copy(bytes, PREFIX_BYTES, start, end);
    return { bytes, stored };
  }

  take(plain: Buffer): void {
    // No writer makes empty blocks, and a frame full of them would cost time for nothing.
    if (plain.length === 0) throw undecodable('lz4', 'a block decompresses to nothing');
    this.#output.push(plain);
    this.#outputBytes += plain.length;
  }

  attempt(decompress: () => Buffer): Buffer {
    try {
      return decompress();
    } catch (cause) {
      return this.fail(cause);
    }
  }

  fail(cause: unknown): never {
    const message = cause instanceof Error ? cause.message : String(cause);
    // The decoder says so when the block would write more than it was allowed.
    if (/too small/.test(message) && this.#blockMaxBytes < this.#blockBytes) throw this.#overflow(cause);
    throw undecodable('lz4', message, cause);
  }

  finish(): Buffer {
    const plain = this.#output.length === 1 ? this.#output[0]! : Buffer.concat(this.#output);
    if (this.#contentBytes !== undefined && plain.length !== this.#contentBytes) {
      throw undecodable('lz4', `${plain.length} bytes, the frame says ${this.#contentBytes}`);
    }
    if ((this.#flags & CONTENT_CHECKSUM_BIT) !== 0) {
      this.#need(this.#pos, 4);
      if (xxhash32(plain, 0, plain.length) !== this.#packed.readUInt32LE(this.#pos)) {
        throw undecodable('lz4', 'the content checksum does not match');
      }
      this.#pos += 4;
    }
    if (this.#pos !== this.#packed.length) throw undecodable('lz4', 'bytes follow the end of the frame');
    return plain;
  }

  #checksum(start: number, end: number): void {
    this.#need(end, 4);
    if (xxhash32(this.#packed, start, end) !== this.#packed.readUInt32LE(end)) {
      throw undecodable('lz4', `the checksum of the block at ${start} does not match`);
    }
    this.#pos = end + 4;
  }

  #need(pos: number, bytes: number): void {
    if (pos + bytes > this.#packed.length)
      throw undecodable('lz4', `the frame is cut off after ${this.#packed.length} bytes`);
  }

  #overflow(cause?: unknown): Error {
    if (this.#contentBytes === undefined) return outputTooLarge('lz4', this.#packed.length, this.#boundBytes);
    return undecodable('lz4', `more than the ${this.#contentBytes} bytes that the frame says`, cause);
  }
}
