/**
 * Builds one record batch after another: the core of the Producer's accumulator. Each record is encoded straight into
 * one growing buffer as it comes; nothing is kept per record.
 *
 *   append … append, then finish(), finishInPlace() or finishCompressed(): the batch is handed out and the builder is empty
 *   again.
 *
 * The batch has base offset 0 and leader epoch −1; the leader stamps both (stampBatch). A batch handed out belongs to
 * the caller, who may give its memory back with `BatchBuffers.give` once nobody reads it any more (a socket write may
 * read it long after the call returned).
 *
 * Errors: INVALID_ARGUMENT for a record that cannot be encoded; the batch built so far is unharmed.
 */
import { invariant, VarveError } from '../errors.js';
import type { BatchBuffers } from './batch-buffers.js';
import { shown } from '../shown.js';
import { completeBatch, writeBatchHeader } from './batch-header.js';
import { type BatchProducer, checkBatchProducer } from './batch-producer.js';
import { codecFor } from './codecs.js';
import { ATTRIBUTES_AT, BATCH_HEADER_BYTES, CODEC_MASK, TRANSACTIONAL_BIT } from './record-batch.js';
import { COMPRESSIONS, type Compression, type Header } from './types.js';
import { sizeOfVarint, writeVarint } from './varint.js';

const INITIAL_BYTES = 1024;
/** Batches up to this size are copied out, and the buffer stays with the builder. */
const COPY_OUT_BYTES = 4096;
/** A buffer up to this size stays with the builder after `finishInPlace`. */
const KEPT_BYTES = 4 * 1024 * 1024;
/** Sizes are i32 in the header. The real limit is the log's maxBatchBytes. */
const MAX_BYTES = 0x7fff_ffff;
/** Upper bound of a record's parts besides key, value and headers: six varints and the attributes. */
const RECORD_OVERHEAD_BYTES = 48;

const SHORT_STRING_LENGTH = 24;
/** The last millisecond that a JavaScript Date can name. */
const MAX_TIMESTAMP = 8.64e15;

type Bytes = Uint8Array | string | null | undefined;

export interface BatchBuilderOptions {
  /** First size of the buffer. Default 1 KiB; set it to the expected batch size when that is known. */
  readonly initialBytes?: number;
  /** Where buffers come from; without it they are allocated. */
  readonly buffers?: BatchBuffers;
}

export class BatchBuilder {
  readonly #initialBytes: number;
  readonly #buffers: BatchBuffers | undefined;
  #buf: Buffer | undefined;
  #pos = BATCH_HEADER_BYTES;
  #count = 0;
  #baseTimestamp = 0;
  #maxTimestamp = 0;

  constructor(options: BatchBuilderOptions = {}) {
    this.#initialBytes = Math.max(options.initialBytes ?? INITIAL_BYTES, 2 * BATCH_HEADER_BYTES);
    this.#buffers = options.buffers;
  }

  /** Records so far. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the batch so far, header included, before compression. */
  get sizeBytes(): number {
    return this.#pos;
  }

  /**
   * Encodes one record.
   * @param timestamp milliseconds since the epoch; −1 for none
   * @returns the record's offset delta in its batch: 0, 1, 2 …
   * @throws VarveError INVALID_ARGUMENT
   */
  append(timestamp: number, key: Bytes, value: Bytes, headers?: readonly Header[]): number {
    if (!Number.isInteger(timestamp) || timestamp < -1 || timestamp > MAX_TIMESTAMP) {
      throw new VarveError(
        'INVALID_ARGUMENT',
        `record timestamp ${timestamp}: give whole milliseconds since the epoch`,
      );
    }
    const count = this.#count;
    const timestampDelta = count === 0 ? 0 : timestamp - this.#baseTimestamp;
    const keySize = lengthOf(key, 'key');
    const valueSize = lengthOf(value, 'value');
    const headerBytes = headers === undefined ? 1 : sizeOfHeaders(headers);

    // A string's UTF-8 form is as long as the string if and only if all of it is ASCII. That is assumed; writing it
    // tells, and then the sizes are counted for real.
    let end = this.#encode(timestampDelta, count, key, keySize, value, valueSize, headers, headerBytes);
    if (end === -1) {
      const realKeySize = typeof key === 'string' ? Buffer.byteLength(key) : keySize;
      const realValueSize = typeof value === 'string' ? Buffer.byteLength(value) : valueSize;
      end = this.#encode(timestampDelta, count, key, realKeySize, value, realValueSize, headers, headerBytes);
      invariant(end !== -1, 'a string takes as many bytes as were counted');
    }

    this.#pos = end;
    this.#count = count + 1;
    if (count === 0) {
      this.#baseTimestamp = timestamp;
      this.#maxTimestamp = timestamp;
    } else if (timestamp > this.#maxTimestamp) {
      this.#maxTimestamp = timestamp;
    }
    return count;
  }

  /** @returns the position after the record; −1 when a string did not take the bytes that `keySize` or `valueSize` say */
  #encode(
    timestampDelta: number,
    offsetDelta: number,
    key: Bytes,
    keySize: number,
    value: Bytes,
    valueSize: number,
    headers: readonly Header[] | undefined,
    headerBytes: number,
  ): number {
    const keyBytes = Math.max(0, keySize);
    const valueBytes = Math.max(0, valueSize);
    const bodySize =
      1 +
      sizeOfVarint(timestampDelta) +
      sizeOfVarint(offsetDelta) +
      sizeOfVarint(keySize) +
      keyBytes +
      sizeOfVarint(valueSize) +
      valueBytes +
      headerBytes;
    const buf = this.#room(bodySize + RECORD_OVERHEAD_BYTES);
    let pos = writeVarint(buf, this.#pos, bodySize);
    buf[pos++] = 0; // record attributes: none are defined
    pos = writeVarint(buf, pos, timestampDelta);
    pos = writeVarint(buf, pos, offsetDelta);
    pos = writeVarint(buf, pos, keySize);
    if (key != null) {
      if (writeBytes(buf, pos, key, keySize) !== keySize) return -1;
      pos += keySize;
    }
    pos = writeVarint(buf, pos, valueSize);
    if (value != null) {
      if (writeBytes(buf, pos, value, valueSize) !== valueSize) return -1;
      pos += valueSize;
    }
    if (headers === undefined || headers.length === 0) {
      buf[pos++] = 0;
      return pos;
    }
    return writeHeaders(buf, pos, headers);
  }

  /**
   * Completes an uncompressed batch and empties the builder.
   * @param producer of an idempotent producer (KIP-98): `log.appendProduced` stores such a batch once, however often it
   *   is given it. Default: none.
   * @throws VarveError INVALID_ARGUMENT when no record was appended, or for a producer that no header can name; the
   *   records stay
   */
  finish(producer?: BatchProducer): Buffer {
    const { buf, end } = this.#seal('none', producer);
    return this.#complete(buf, end);
  }

  /**
   * Completes an uncompressed batch as `finish` does, in the builder's own buffer, which is used again: the batch is there
   * until the next `append`, for a caller that copies it at once.
   * @throws VarveError INVALID_ARGUMENT as `finish` does
   */
  finishInPlace(producer?: BatchProducer): Buffer {
    const { buf, end } = this.#seal('none', producer);
    if (buf.length > KEPT_BYTES) this.#buf = undefined;
    return completeBatch(buf.subarray(0, end));
  }

  /**
   * Completes a batch whose records are compressed; the builder is empty, and may be used again, as soon as this has
   * been called. Where compression gains nothing the batch is left uncompressed.
   * @param producer as with `finish`
   * @throws VarveError INVALID_ARGUMENT as `finish` does
   */
  async finishCompressed(compression: Compression, producer?: BatchProducer): Promise<Buffer> {
    if (compression === 'none') return this.finish(producer);
    const codec = codecFor(compression);
    const { buf, end } = this.#seal(compression, producer);
    const packed = await codec.compress(buf.subarray(BATCH_HEADER_BYTES, end));
    const packedEnd = BATCH_HEADER_BYTES + packed.length;
    if (packedEnd >= end) {
      buf.writeInt16BE(buf.readInt16BE(ATTRIBUTES_AT) & ~CODEC_MASK, ATTRIBUTES_AT);
      return completeBatch(buf.subarray(0, end));
    }
    const batch = Buffer.allocUnsafe(packedEnd);
    buf.copy(batch, 0, 0, BATCH_HEADER_BYTES);
    packed.copy(batch, BATCH_HEADER_BYTES);
    this.#buffers?.give(buf);
    return completeBatch(batch);
  }

  /** Drops what was appended. */
  clear(): void {
    this.#pos = BATCH_HEADER_BYTES;
    this.#count = 0;
  }

  /** Writes the header (without length and CRC), and empties the builder but for its buffer. */
  #seal(compression: Compression, producer: BatchProducer | undefined): { buf: Buffer; end: number } {
    const buf = this.#buf;
    const end = this.#pos;
    if (this.#count === 0 || buf === undefined) {
      throw new VarveError('INVALID_ARGUMENT', 'a record batch without records cannot be finished: append one first');
    }
    if (producer !== undefined) checkBatchProducer(producer);
    const transactional = producer?.transactional ? TRANSACTIONAL_BIT : 0;
    writeBatchHeader(buf, {
      baseOffset: 0,
      epoch: -1,
      attributes: COMPRESSIONS.indexOf(compression) | transactional,
      lastOffsetDelta: this.#count - 1,
      baseTimestamp: this.#baseTimestamp,
      maxTimestamp: this.#maxTimestamp,
      recordCount: this.#count,
      producer,
    });
    this.clear();
    if (compression !== 'none') this.#buf = undefined;
    return { buf, end };
  }

  #complete(buf: Buffer, end: number): Buffer {
    if (end <= COPY_OUT_BYTES) {
      const batch = Buffer.allocUnsafe(end);
      buf.copy(batch, 0, 0, end);
      return completeBatch(batch);
    }
    this.#buf = undefined;
    return completeBatch(buf.subarray(0, end));
  }

  /** The buffer, with room for `bytes` more. */
  #room(bytes: number): Buffer {
    const needed = this.#pos + bytes;
    const buf = this.#buf;
    if (buf !== undefined && needed <= buf.length) return buf;
    return this.#grow(needed);
  }

  #grow(needed: number): Buffer {
    if (needed > MAX_BYTES) {
      throw new VarveError('INVALID_ARGUMENT', `a record batch of ${needed} bytes: the format ends at ${MAX_BYTES}`);
    }
    const old = this.#buf;
    let size = old === undefined ? this.#initialBytes : 2 * old.length;
    while (size < needed) size *= 2;
    const buf = this.#buffers?.take(size) ?? Buffer.allocUnsafeSlow(size);
    if (old !== undefined) {
      old.copy(buf, 0, 0, this.#pos);
      this.#buffers?.give(old);
    }
    this.#buf = buf;
    return buf;
  }
}

/** Bytes of a key or value if it is ASCII; −1 for null. */
function lengthOf(bytes: Bytes, what: string): number {
  if (typeof bytes === 'string' || bytes instanceof Uint8Array) return bytes.length;
  if (bytes == null) return -1;
  throw new VarveError('INVALID_ARGUMENT', `record ${what}: give a Uint8Array, a string or null, not ${typeof bytes}`);
}

/** @returns bytes written; for a string that is not ASCII this differs from its length, and less than all may be written */
function writeBytes(buf: Buffer, pos: number, bytes: Uint8Array | string, size: number): number {
  if (typeof bytes !== 'string') {
    buf.set(bytes, pos);
    return size;
  }
  // Short strings, as keys are, take less time here than the call into native code.
  if (bytes.length <= SHORT_STRING_LENGTH) {
    let i = 0;
    for (; i < bytes.length; i++) {
      const code = bytes.charCodeAt(i);
      if (code >= 0x80) break;
      buf[pos + i] = code;
    }
    if (i === bytes.length) return i;
  }
  return buf.write(bytes, pos, buf.length - pos, 'utf8');
}

function sizeOfHeaders(headers: readonly Header[]): number {
  if (!Array.isArray(headers)) {
    throw new VarveError('INVALID_ARGUMENT', `record headers ${shown(headers)}: give an array of { key, value }`);
  }
  let size = sizeOfVarint(headers.length);
  for (const header of headers as readonly Header[]) {
    const { key, value } = header ?? {};
    if (typeof key !== 'string' || !(value === null || value instanceof Uint8Array)) {
      throw new VarveError('INVALID_ARGUMENT', 'record header: the key is a string, the value a Uint8Array or null');
    }
    const keySize = Buffer.byteLength(key);
    size += sizeOfVarint(keySize) + keySize;
    size += value === null ? 1 : sizeOfVarint(value.length) + value.length;
  }
  return size;
}

function writeHeaders(buf: Buffer, start: number, headers: readonly Header[]): number {
  let pos = writeVarint(buf, start, headers.length);
  for (const { key, value } of headers) {
    const keySize = Buffer.byteLength(key);
    pos = writeVarint(buf, pos, keySize);
    pos += writeBytes(buf, pos, key, keySize);
    if (value === null) {
      pos = writeVarint(buf, pos, -1);
    } else {
      pos = writeVarint(buf, pos, value.length);
      pos += writeBytes(buf, pos, value, value.length);
    }
  }
  return pos;
}
