/**
 * What a scan of stored batches reports. The scan itself is native code (the recovery of a large tail reads gigabytes);
 * the simulator's twin does the same in JavaScript.
 */
export type ScanEnd =
  /** All bytes up to the limit are whole batches. */
  | 'complete'
  /** Zeros, or fewer bytes than a header or than the length it declares. */
  | 'short'
  /** A length, magic or count that cannot be. */
  | 'malformed'
  /** The CRC32C does not match. */
  | 'bad-crc'
  /** Base offset does not follow the batch before it, or the epoch goes back. */
  | 'out-of-order';

/** Doubles per batch in `ScanResult.batches`. */
export const SCAN_STRIDE = 6;

export interface ScanResult {
  readonly end: ScanEnd;
  /** Position after the last good batch. */
  readonly validEnd: number;
  /** Per good batch: position, byte length, base offset, last offset, leader epoch, max timestamp. */
  readonly batches: Float64Array;
}

/**
 * Checks whole batches in bytes[start, limit): structure, CRC32C, and that offsets join on to `expectedOffset` (−1: any)
 * and epochs do not go below `minEpoch`. Stops at the first fault, or after `maxBatches` (then `end` is 'complete' and
 * `validEnd` < limit).
 */
export type ScanBatches = (
  bytes: Uint8Array,
  start: number,
  limit: number,
  expectedOffset: number,
  minEpoch: number,
  maxBatches: number,
) => ScanResult;

/** CRC32C (Castagnoli) of bytes[start, end), continuing from `seed` (0 to begin). */
export type Crc32c = (bytes: Uint8Array, start: number, end: number, seed?: number) => number;
