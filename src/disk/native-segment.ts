/**
 * A segment file of the native store. The bytes and the mapping are native (mapped_segment.h says how they live and die);
 * this class keeps the size and the one ArrayBuffer, so that making a view crosses no border.
 */
import { VarveError } from '../errors.js';
import { addon, type NativeSegmentHandle } from './addon.js';
import type { SegmentFile } from './disk.js';
import { noteMapped } from './mapped-buffers.js';

export class NativeSegment implements SegmentFile {
  readonly path: string;
  readonly reserveBytes: number;
  readonly #native = addon();
  readonly #handle: NativeSegmentHandle;
  #size: number;
  #buffer: ArrayBuffer | undefined;
  #closed = false;

  constructor(path: string, reserveBytes: number, handle: NativeSegmentHandle) {
    this.path = path;
    this.reserveBytes = reserveBytes;
    this.#handle = handle;
    this.#size = this.#native.segmentSize(handle);
  }

  /** For the journal, which reads the bytes from the mapping. */
  get handle(): NativeSegmentHandle {
    return this.#handle;
  }

  get size(): number {
    return this.#size;
  }

  /** True once a page could not be read or written: whatever was read since may be zeros instead of data. */
  get poisoned(): boolean {
    return this.#native.segmentPoisoned(this.#handle);
  }

  append(source: Uint8Array, start: number, end: number): number {
    const position = this.#native.appendSegment(this.#handle, source, start, end);
    this.#size = position + (end - start);
    return position;
  }

  view(position: number, length: number): Buffer {
    this.#checkRange('view', position, length);
    this.#buffer ??= this.#map();
    return Buffer.from(this.#buffer, position, length);
  }

  async touch(position: number, length: number): Promise<void> {
    this.#checkRange('touch', position, length);
    await this.#native.touchSegment(this.#handle, position, length);
  }

  prepare(bytes: number): void {
    if (!this.#closed) this.#native.prepareSegment(this.#handle, bytes);
  }

  async releaseTail(): Promise<void> {
    if (!this.#closed) await this.#native.releaseSegmentTail(this.#handle);
  }

  async sync(): Promise<void> {
    await this.#native.syncSegment(this.#handle);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#buffer = undefined;
    this.#native.closeSegment(this.#handle);
  }

  #map(): ArrayBuffer {
    const buffer = this.#native.segmentBuffer(this.#handle);
    noteMapped(buffer);
    return buffer;
  }

  #checkRange(what: string, position: number, length: number): void {
    if (this.#closed) throw new VarveError('CLOSED', `${this.path} is closed`);
    if (position >= 0 && length >= 0 && position + length <= this.#size) return;
    throw new VarveError(
      'INVALID_ARGUMENT',
      `${what} [${position}, ${position + length}) lies outside the ${this.#size} bytes of ${this.path}`,
    );
  }
}
