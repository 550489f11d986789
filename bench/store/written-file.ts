/** A file whose blocks were all written before: the yardstick for durable writes, by synchronous calls, so without a thread's hop. */
import { closeSync, fdatasyncSync, fsyncSync, openSync, writeSync, writevSync } from 'node:fs';

const MEBIBYTE = 1024 * 1024;

export class WrittenFile {
  readonly #fd: number;
  readonly #bytes: number;
  #position = 0;

  constructor(path: string, bytes: number) {
    this.#bytes = bytes;
    this.#fd = openSync(path, 'wx');
    const zeros = Buffer.alloc(Math.min(bytes, MEBIBYTE));
    for (let at = 0; at < bytes; at += zeros.length) writeSync(this.#fd, zeros, 0, zeros.length, at);
    fsyncSync(this.#fd);
  }

  /** One gathered write of all pieces behind the one before (from the start again at the end), and one fdatasync. */
  commit(pieces: readonly Buffer[], length: number): void {
    if (this.#position + length > this.#bytes) this.#position = 0;
    const written = writevSync(this.#fd, pieces, this.#position);
    if (written !== length) throw new Error(`a gathered write of ${length} bytes wrote ${written}`);
    fdatasyncSync(this.#fd);
    this.#position += length;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
