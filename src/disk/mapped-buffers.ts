/**
 * Which ArrayBuffers are mappings of segments. JavaScript sees these read-only: a write through one kills the process, so
 * whoever stamps bytes in place asks first.
 */
const mapped = new WeakSet<ArrayBufferLike>();

/** Every segment file names its buffer here before it hands out the first view of it. */
export function noteMapped(buffer: ArrayBufferLike): void {
  mapped.add(buffer);
}

/** True for a view of a segment, whoever made it, of whichever store. */
export function isMapped(bytes: Uint8Array): boolean {
  return mapped.has(bytes.buffer);
}
