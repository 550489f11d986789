/**
 * Memory for frames that span chunks, used again as soon as each frame was handled.
 *
 * V8 counts buffers against a limit that grows with the JavaScript heap, which is small here: with a fresh buffer for each
 * frame a node that receives 50 MB/s collects its whole heap ten times a second, some 10 ms each. Sizes are powers of
 * two; what is kept is bounded, so idle connections hold nothing.
 */
const SMALLEST_BYTES = 64 * 1024;
const KEPT_BYTES = 32 * 1024 * 1024;

export class FrameMemory {
  readonly #free = new Map<number, Buffer[]>();
  #keptBytes = 0;

  /** At least `bytes` long; the contents are whatever was there. */
  take(bytes: number): Buffer {
    const size = sizeClass(bytes);
    const buffer = this.#free.get(size)?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(size);
    this.#keptBytes -= size;
    return buffer;
  }

  /** Gives back what `take` returned. Nobody may look at it any more. */
  give(buffer: Buffer): void {
    if (this.#keptBytes + buffer.length > KEPT_BYTES) return;
    this.#keptBytes += buffer.length;
    const free = this.#free.get(buffer.length);
    if (free === undefined) this.#free.set(buffer.length, [buffer]);
    else free.push(buffer);
  }
}

function sizeClass(bytes: number): number {
  let size = SMALLEST_BYTES;
  while (size < bytes) size *= 2;
  return size;
}
