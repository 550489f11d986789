// The scan of stored batches, from the page about the format (docs/FORMAT.md) alone: it shares nothing with src/ or native/.
export interface ReferenceScan {
  readonly end: 'complete' | 'short' | 'malformed' | 'bad-crc' | 'out-of-order';
  readonly validEnd: number;
  /** Position, bytes, base offset, last offset, epoch, max timestamp. */
  readonly batches: readonly (readonly number[])[];
}

const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

export function referenceCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff]!;
  return ~crc >>> 0;
}

export function referenceScan(
  bytes: Buffer,
  start: number,
  limit: number,
  expectedOffset: number,
  minEpoch: number,
): ReferenceScan {
  const batches: number[][] = [];
  let at = start;
  let expected = BigInt(expectedOffset);
  let lowest = minEpoch;
  const stop = (end: ReferenceScan['end']): ReferenceScan => ({ end, validEnd: at, batches });
  while (at < limit) {
    const left = limit - at;
    if (left < 61 || bytes.subarray(at, at + 61).every((byte) => byte === 0)) return stop('short');
    const size = bytes.readInt32BE(at + 8) + 12;
    if (bytes[at + 16] !== 2 || size < 61) return stop('malformed');
    if (size > left) return stop('short');
    const base = bytes.readBigInt64BE(at);
    const delta = bytes.readInt32BE(at + 23);
    const count = bytes.readInt32BE(at + 57);
    if (delta < 0 || count < 0 || count > delta + 1) return stop('malformed');
    if (base < 0n || base + BigInt(delta) > 2n ** 53n - 1n) return stop('malformed');
    if (referenceCrc(bytes.subarray(at + 21, at + size)) !== bytes.readUInt32BE(at + 17)) return stop('bad-crc');
    const epoch = bytes.readInt32BE(at + 12);
    if ((expected >= 0n && base !== expected) || epoch < lowest) return stop('out-of-order');
    const last = base + BigInt(delta);
    batches.push([at, size, Number(base), Number(last), epoch, Number(bytes.readBigInt64BE(at + 35))]);
    at += size;
    expected = last + 1n;
    lowest = epoch;
  }
  return stop('complete');
}
