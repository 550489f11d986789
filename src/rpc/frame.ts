/**
 * Frames on the wire (protocol.ts draws them): encoding into the buffers of one gathered write, decoding from whatever
 * chunks TCP delivers.
 *
 * Contract of the decoder. Lengths are checked before anything is allocated. A frame that lies whole inside one chunk is
 * handed out as views of it; a frame that spans chunks is copied once, straight into memory of its size. Either way
 * nobody else uses the bytes of `header` and `body`: the receiver may write to them, and hold them; but with a
 * `FrameMemory` only until `onFrame` returns.
 *
 * What can go wrong: FRAME_TOO_LARGE and PROTOCOL_ERROR. The stream cannot be resynchronised after either, so the decoder
 * refuses everything that follows.
 */
import { Packr, Unpackr } from 'msgpackr';
import { VarveError } from '../errors.js';
import type { FrameMemory } from './frame-memory.js';
import { MAX_FRAME_BYTES, MAX_HEADER_BYTES } from './protocol.js';

/** Bytes before the header. */
const FRAME_PREFIX_BYTES = 12;

/** Bytes of the prefix that `length` counts: type, header length and correlation id. */
const COUNTED_PREFIX_BYTES = FRAME_PREFIX_BYTES - 4;

export interface Frame {
  readonly type: number;
  readonly correlationId: number;
  /** Packed: see `unpackHeader`. */
  readonly header: Buffer;
  readonly body: Buffer;
}

// Plain arrays and objects only: a peer's record definitions would be compiled into readers.
const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' });

/** msgpackr's RESERVE_START_SPACE: the low byte of the option says how many bytes to leave free before the value. */
const RESERVE_PREFIX = 2048 | FRAME_PREFIX_BYTES;

const packWithPrefix = packr.pack.bind(packr) as unknown as (value: unknown, options: number) => Buffer;

/**
 * The first buffer of a frame: prefix and header. The body's buffers follow it on the wire.
 * @throws VarveError FRAME_TOO_LARGE: nothing was sent
 */
export function encodeFrame(
  type: number,
  correlationId: number,
  header: readonly unknown[],
  bodyBytes: number,
  maxFrameBytes: number = MAX_FRAME_BYTES,
): Buffer {
  const buffer = packWithPrefix(header, RESERVE_PREFIX);
  const headerBytes = buffer.length - FRAME_PREFIX_BYTES;
  const length = COUNTED_PREFIX_BYTES + headerBytes + bodyBytes;
  if (headerBytes > MAX_HEADER_BYTES) {
    throw new VarveError(
      'FRAME_TOO_LARGE',
      `a frame header of ${headerBytes} bytes exceeds the limit of ${MAX_HEADER_BYTES}`,
    );
  }
  if (length > maxFrameBytes) {
    throw new VarveError('FRAME_TOO_LARGE', `a frame of ${length} bytes exceeds the limit of ${maxFrameBytes}`);
  }
  buffer.writeUInt32BE(length, 0);
  buffer.writeUInt32BE(type * 0x1000000 + headerBytes, 4);
  buffer.writeUInt32BE(correlationId, 8);
  return buffer;
}

/** @throws VarveError PROTOCOL_ERROR when the bytes are not one msgpack array. */
export function unpackHeader(header: Buffer): unknown[] {
  let value: unknown;
  try {
    value = unpackr.unpack(header);
  } catch (cause) {
    throw new VarveError('PROTOCOL_ERROR', `a frame header of ${header.length} bytes is not msgpack`, { cause });
  }
  if (!Array.isArray(value)) throw new VarveError('PROTOCOL_ERROR', 'a frame header is not an array');
  return value;
}

const NO_BYTES: Buffer = Buffer.alloc(0);

/** Cuts a byte stream into frames. Holds at most one incomplete frame. */
export class FrameDecoder {
  /** Largest frame accepted, by its length field. May be changed between frames. */
  maxFrameBytes: number;
  readonly #onFrame: (frame: Frame) => void;
  readonly #prefix = Buffer.allocUnsafeSlow(FRAME_PREFIX_BYTES);
  #prefixBytes = 0;
  /** Header and body of a frame that spans chunks; undefined between frames. */
  #partial: Buffer | undefined;
  #partialBytes = 0;
  /** What `#partial` is a part of, if it goes back. */
  #borrowed: Buffer | undefined;
  readonly #memory: FrameMemory | undefined;
  #failed = false;

  constructor(maxFrameBytes: number, onFrame: (frame: Frame) => void, memory?: FrameMemory) {
    this.maxFrameBytes = maxFrameBytes;
    this.#onFrame = onFrame;
    this.#memory = memory;
  }

  /**
   * Takes the next chunk, whose memory becomes the frames'. Calls `onFrame` for each frame it completes.
   * @throws VarveError FRAME_TOO_LARGE, PROTOCOL_ERROR
   */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#failed) {
      if (this.#partial !== undefined) {
        at = this.#fillPartial(this.#partial, chunk, at);
      } else if (this.#prefixBytes === 0 && chunk.length - at >= FRAME_PREFIX_BYTES) {
        at = this.#begin(chunk, at, chunk, at + FRAME_PREFIX_BYTES);
      } else {
        const take = Math.min(FRAME_PREFIX_BYTES - this.#prefixBytes, chunk.length - at);
        chunk.copy(this.#prefix, this.#prefixBytes, at, at + take);
        this.#prefixBytes += take;
        at += take;
        // The length is refused as soon as it is known, not when the rest of the prefix has come.
        if (this.#prefixBytes >= 4) this.#checkLength(this.#prefix.readUInt32BE(0));
        if (this.#prefixBytes === FRAME_PREFIX_BYTES) at = this.#begin(this.#prefix, 0, chunk, at);
      }
    }
  }

  /** True when the stream may end here without cutting a frame. */
  get atBoundary(): boolean {
    return this.#partial === undefined && this.#prefixBytes === 0;
  }

  /** Refuses everything from now on (the connection is closing). */
  stop(): void {
    this.#failed = true;
    this.#partial = undefined;
    this.#borrowed = undefined;
  }

  #checkLength(length: number): void {
    if (length > this.maxFrameBytes) {
      this.stop();
      throw new VarveError('FRAME_TOO_LARGE', `a frame of ${length} bytes exceeds the limit of ${this.maxFrameBytes}`);
    }
    if (length < COUNTED_PREFIX_BYTES) {
      this.stop();
      throw new VarveError('PROTOCOL_ERROR', `a frame declares ${length} bytes, fewer than its own prefix`);
    }
  }

  /** Prefix complete: takes the frame out of the chunk if it is whole, else allocates it. Returns the position reached. */
  #begin(prefix: Buffer, prefixAt: number, chunk: Buffer, at: number): number {
    const length = prefix.readUInt32BE(prefixAt);
    this.#checkLength(length);
    const headerBytes = prefix.readUInt32BE(prefixAt + 4) & 0xffffff;
    const rest = length - COUNTED_PREFIX_BYTES;
    if (headerBytes > rest || headerBytes > MAX_HEADER_BYTES) {
      this.stop();
      throw new VarveError('PROTOCOL_ERROR', `a frame of ${length} bytes declares a header of ${headerBytes} bytes`);
    }
    if (chunk.length - at >= rest) {
      this.#prefixBytes = 0;
      this.#emit(prefix, prefixAt, chunk, at, headerBytes, rest);
      return at + rest;
    }
    if (prefix !== this.#prefix) prefix.copy(this.#prefix, 0, prefixAt, prefixAt + FRAME_PREFIX_BYTES);
    this.#prefixBytes = FRAME_PREFIX_BYTES;
    this.#borrowed = this.#memory?.take(rest);
    this.#partial = this.#borrowed?.subarray(0, rest) ?? Buffer.allocUnsafeSlow(rest);
    this.#partialBytes = chunk.copy(this.#partial, 0, at);
    return chunk.length;
  }

  #fillPartial(partial: Buffer, chunk: Buffer, at: number): number {
    const take = Math.min(partial.length - this.#partialBytes, chunk.length - at);
    chunk.copy(partial, this.#partialBytes, at, at + take);
    this.#partialBytes += take;
    if (this.#partialBytes === partial.length) {
      this.#partial = undefined;
      this.#prefixBytes = 0;
      const borrowed = this.#borrowed;
      this.#borrowed = undefined;
      const headerBytes = this.#prefix.readUInt32BE(4) & 0xffffff;
      this.#emit(this.#prefix, 0, partial, 0, headerBytes, partial.length);
      if (borrowed !== undefined) this.#memory?.give(borrowed);
    }
    return at + take;
  }

  #emit(prefix: Buffer, prefixAt: number, from: Buffer, at: number, headerBytes: number, rest: number): void {
    this.#onFrame({
      type: prefix[prefixAt + 4]!,
      correlationId: prefix.readUInt32BE(prefixAt + 8),
      header: headerBytes === 0 ? NO_BYTES : from.subarray(at, at + headerBytes),
      body: headerBytes === rest ? NO_BYTES : from.subarray(at + headerBytes, at + rest),
    });
  }
}
