/**
 * A bounded stock of buffers that record batches are built in. A buffer taken from it may be given back (as itself or
 * as any view that begins where it begins) once nothing reads it any more; whatever was not taken from this stock is
 * ignored, so callers need not know where a batch came from. Giving back a buffer that is still being read corrupts
 * what is read: the CRC tells, but late.
 */
export class BatchBuffers {
  readonly #maxBytes: number;
  readonly #stock: Buffer[] = [];
  /** Those handed out: only they are accepted, and only once. */
  readonly #lent = new WeakSet<ArrayBufferLike>();
  #stockBytes = 0;

  /** @param maxBytes memory kept for reuse. Default 8 MiB */
  constructor(maxBytes = 8 * 1024 * 1024) {
    this.#maxBytes = maxBytes;
  }

  /** A buffer of at least `bytes`; its contents are arbitrary. */
  take(bytes: number): Buffer {
    // The newest is the one most likely to be in the processor's cache.
    for (let i = this.#stock.length - 1; i >= 0; i--) {
      const buf = this.#stock[i]!;
      if (buf.length >= bytes && buf.length <= 4 * bytes) {
        this.#stock.splice(i, 1);
        this.#stockBytes -= buf.length;
        this.#lent.add(buf.buffer);
        return buf;
      }
    }
    const buf = Buffer.allocUnsafeSlow(bytes);
    this.#lent.add(buf.buffer);
    return buf;
  }

  give(view: Buffer): void {
    if (!this.#lent.delete(view.buffer)) return;
    if (this.#stockBytes + view.buffer.byteLength > this.#maxBytes) return;
    this.#stock.push(Buffer.from(view.buffer, 0, view.buffer.byteLength));
    this.#stockBytes += view.buffer.byteLength;
  }

  /** Bytes kept for reuse at present. */
  get stockBytes(): number {
    return this.#stockBytes;
  }
}
