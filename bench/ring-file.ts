/**
 * A file of really written zeros that is overwritten from the start again and again: the cheapest durable write there is,
 * since `fdatasync` on blocks that were written before has no metadata to commit. What the floors and the bare writes of
 * bench:store write into. It can't be read back as a log, and isn't meant to be.
 */
import { closeSync, fdatasync, fdatasyncSync, fsyncSync, openSync, writeSync, writev, writevSync } from 'node:fs';

const MEBIBYTE = 1024 * 1024;

export class RingFile {
  readonly #fd: number;
  readonly #bytes: number;
  #position = 0;

  /** Creates the file (which must not exist) and writes all of it once. Blocks while it does. */
  constructor(path: string, bytes: number) {
    this.#bytes = bytes;
    this.#fd = openSync(path, 'wx');
    const zeros = Buffer.alloc(Math.min(bytes, MEBIBYTE));
    for (let at = 0; at < bytes; at += zeros.length)
      writeSync(this.#fd, zeros, 0, Math.min(zeros.length, bytes - at), at);
    fsyncSync(this.#fd);
  }

  /** One gathered write and one `fdatasync`; `done` runs when the bytes are on disk. One call at a time. */
  commit(chunks: readonly Buffer[], length: number, done: (error: Error | null) => void): void {
    this.#write(chunks, length, this.#take(length), done);
  }

  /** The same by synchronous calls, so without a thread's hop. */
  commitSync(chunks: readonly Buffer[], length: number): void {
    const written = writevSync(this.#fd, chunks, this.#take(length));
    if (written !== length) throw new Error(`a gathered write of ${length} bytes wrote ${written}`);
    fdatasyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** The place of the next `length` bytes: behind the ones before, from the start again at the end. */
  #take(length: number): number {
    if (length > this.#bytes) throw new RangeError(`${length} bytes do not fit a ring file of ${this.#bytes}`);
    if (this.#position + length > this.#bytes) this.#position = 0;
    const position = this.#position;
    this.#position += length;
    return position;
  }

  #write(chunks: readonly Buffer[], length: number, position: number, done: (error: Error | null) => void): void {
    writev(this.#fd, chunks, position, (error, written) => {
      if (error) done(error);
      else if (written < length) this.#write(dropBytes(chunks, written), length - written, position + written, done);
      else fdatasync(this.#fd, done);
    });
  }
}

/** The chunks without their first `count` bytes. */
function dropBytes(chunks: readonly Buffer[], count: number): Buffer[] {
  const left: Buffer[] = [];
  let skip = count;
  for (const chunk of chunks) {
    if (skip >= chunk.length) skip -= chunk.length;
    else {
      left.push(skip === 0 ? chunk : chunk.subarray(skip));
      skip = 0;
    }
  }
  return left;
}
