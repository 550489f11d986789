/**
 * A segment file of the twin. It grows by the chunks of native/src/mapped_segment.cc, so that files are equally long, and
 * all its views share the ArrayBuffer of the file's page cache.
 */
import type { SegmentFile } from '../../src/disk/disk.js';
import { noteMapped } from '../../src/disk/mapped-buffers.js';
import { VarveError } from '../../src/errors.js';
import { PAGE_BYTES, type TwinFile } from './twin-file.js';
import { TwinDirectory } from './twin-file-system.js';
import type { TwinProcess } from './twin-process.js';

const MIN_CHUNK_BYTES = 64 * 1024;
const MAX_CHUNK_BYTES = 16 * 1024 * 1024;

export interface TwinSegmentParts {
  readonly process: TwinProcess;
  /** True once the disk was closed: no thread takes work any more. */
  readonly isDiskClosed: () => boolean;
  readonly onClose: (segment: TwinSegment) => void;
  readonly path: string;
  /** As the caller gave it. */
  readonly reserveBytes: number;
  readonly file: TwinFile;
  readonly size: number;
  readonly writable: boolean;
  /** The file had more bytes than `size`, and they stayed. */
  readonly hasKeptTail: boolean;
}

export class TwinSegment implements SegmentFile {
  readonly path: string;
  readonly reserveBytes: number;
  readonly file: TwinFile;
  readonly #process: TwinProcess;
  readonly #isDiskClosed: () => boolean;
  readonly #onClose: (segment: TwinSegment) => void;
  readonly #writable: boolean;
  readonly #hasKeptTail: boolean;
  #size: number;
  #allocated: number;
  #nextChunk = MIN_CHUNK_BYTES;
  #prepareTarget = 0;
  #preparePosted = false;
  #closed = false;
  #ended = false;
  #entryIsDurable = false;

  constructor(parts: TwinSegmentParts) {
    this.path = parts.path;
    this.reserveBytes = parts.reserveBytes;
    this.file = parts.file;
    this.#process = parts.process;
    this.#isDiskClosed = parts.isDiskClosed;
    this.#onClose = parts.onClose;
    this.#writable = parts.writable;
    this.#hasKeptTail = parts.hasKeptTail;
    this.#size = parts.size;
    this.#allocated = parts.size;
    this.file.reserve(roundUp(parts.writable ? parts.reserveBytes : parts.size));
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get allocatedBytes(): number {
    return this.#allocated;
  }

  get isWritable(): boolean {
    return this.#writable;
  }

  get size(): number {
    return this.#size;
  }

  get poisoned(): boolean {
    if (this.file.size < this.#size) return true;
    for (const page of this.file.unreadable) if (page * PAGE_BYTES < this.#size) return true;
    return false;
  }

  append(source: Uint8Array, start: number, end: number): number {
    if (this.#closed) throw new VarveError('CLOSED', `${this.path} is closed`);
    if (!isNatural(start) || !isNatural(end) || start > end || end > source.length) {
      throw new VarveError('INVALID_ARGUMENT', 'append: [start, end) lies outside the source');
    }
    if (!this.#writable) throw new VarveError('INVARIANT_BROKEN', `${this.path} was opened read-only`);
    if (this.#ended) throw new VarveError('INVARIANT_BROKEN', `${this.path} has ended`);
    this.#process.checkHealth();
    const position = this.#size;
    const required = position + (end - start);
    if (required > this.reserveBytes) {
      throw new VarveError(
        'INVARIANT_BROKEN',
        `append of ${end - start} bytes to ${this.path} at ${position} exceeds its ${this.reserveBytes} reserved bytes`,
      );
    }
    if (required > this.#allocated) this.#grow(required);
    if (this.#process.isDead) throw new VarveError('CLOSED', `${this.path}: the process is dead`);
    if (this.poisoned) throw new VarveError('DISK_FAILED', `a page of ${this.path} could not be written (SIGBUS)`);
    this.file.write(position, source, start, end);
    this.#size = required;
    return position;
  }

  view(position: number, length: number): Buffer {
    this.#checkRange('view', position, length);
    const buffer = this.file.bytes.buffer as ArrayBuffer;
    noteMapped(buffer);
    return Buffer.from(buffer, position, length);
  }

  async touch(position: number, length: number): Promise<void> {
    this.#checkRange('touch', position, length);
    if (!isNatural(position) || !isNatural(length)) {
      throw new VarveError('INVALID_ARGUMENT', 'position and length must be whole numbers');
    }
    this.#refuseClosedDisk();
    await this.#process.call('touch', this.path, length, () => {
      if (this.#isDiskClosed()) this.#refuseClosedDisk();
    });
  }

  prepare(bytes: number): void {
    if (this.#closed) return;
    if (!isNatural(bytes)) throw new VarveError('INVALID_ARGUMENT', 'bytes must be a whole number from 0 to 2^53 - 1');
    const target = Math.min(this.reserveBytes, this.#size + Math.min(bytes, this.reserveBytes));
    if (!this.#writable || target <= this.#prepareTarget) return;
    this.#prepareTarget = target;
    if (this.#preparePosted || this.#isDiskClosed()) return;
    this.#preparePosted = true;
    // Nobody waits for it: append meets the failure again.
    void this.#process.call('touch', this.path, bytes, () => this.#prepare()).catch(() => {});
  }

  async releaseTail(): Promise<void> {
    if (this.#closed) return;
    this.#ended = true;
    this.#refuseClosedDisk();
    // It only gives back: what fails stays allocated.
    await this.#process.call('touch', this.path, 0, () => this.#releaseTail()).catch(() => {});
  }

  async sync(): Promise<void> {
    if (this.#closed) throw new VarveError('CLOSED', `${this.path} is closed`);
    this.#refuseClosedDisk();
    await this.syncNow();
  }

  /** Also for the journal's thread, whether or not the engine has closed the segment. */
  async syncNow(): Promise<void> {
    this.#process.checkHealth();
    try {
      await this.#process.syncFile(this.path, this.file);
    } catch (error) {
      const failure = this.#process.finalFailure('msync', this.path, error);
      this.#process.fail(failure);
      throw failure;
    }
    // A failure elsewhere ends all promises, this one included.
    this.#process.checkHealth();
  }

  /** Makes the file's name durable, once. False when its directory cannot be opened. */
  async syncEntry(): Promise<boolean> {
    if (this.#entryIsDurable) return true;
    const path = this.path.slice(0, Math.max(0, this.path.lastIndexOf('/')));
    const directory = this.#process.fileSystem.find(path, 'open');
    if (!(directory instanceof TwinDirectory)) return false;
    try {
      await this.#process.syncDirectory(path, directory);
    } catch (error) {
      const failure = this.#process.finalFailure('fsync', path, error);
      this.#process.fail(failure);
      throw failure;
    }
    this.#entryIsDurable = true;
    return true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose(this);
  }

  #releaseTail(): void {
    if (!this.#writable || this.#hasKeptTail || this.#process.failure !== undefined) return;
    this.file.release(roundUp(this.#size));
  }

  #prepare(): void {
    this.#preparePosted = false;
    if (this.#ended || this.#isDiskClosed()) return;
    while (this.#allocated < this.#prepareTarget) {
      this.#grow(Math.min(this.#prepareTarget, this.#allocated + MAX_CHUNK_BYTES));
    }
  }

  #grow(required: number): void {
    const wanted = Math.max(required, this.#allocated + this.#nextChunk);
    let to = Math.min(roundUp(wanted), roundUp(this.reserveBytes));
    try {
      this.#take(to);
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOSPC' || roundUp(required) >= to) {
        throw this.#process.systemFailure('fallocate', this.path, error);
      }
      to = roundUp(required);
      try {
        this.#take(to);
      } catch (again) {
        throw this.#process.systemFailure('fallocate', this.path, again);
      }
    }
    this.file.allocate(to);
    this.#allocated = to;
    this.#nextChunk = Math.min(2 * this.#nextChunk, MAX_CHUNK_BYTES);
  }

  #take(to: number): void {
    this.#process.callNow('allocate', this.path, to - this.#allocated);
    this.#process.fileSystem.takeSpace(to - this.#allocated, 'fallocate');
  }

  #refuseClosedDisk(): void {
    if (this.#isDiskClosed()) throw new VarveError('CLOSED', `the data directory ${this.#process.root} was closed`);
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

export function isNatural(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}
