/**
 * How far a batch may grow when it is decompressed. Compressed bytes come from producers, so a few of them must not
 * become a full memory: an absolute bound, and a ratio that only counts above a size that is harmless anyway (a
 * megabyte of equal bytes compresses ten-thousandfold, and is a fair thing to send).
 */
import { VarveError } from '../errors.js';
import type { Compression } from './types.js';

export interface DecompressionLimits {
  /** Bytes after decompression. Default 64 MiB. */
  readonly maxBytes: number;
  /** Output ÷ input. Default 1000. */
  readonly maxRatio: number;
  /** Outputs up to this size are allowed whatever their ratio. Default 8 MiB. */
  readonly ratioFreeBytes: number;
}

export const DEFAULT_DECOMPRESSION_LIMITS: DecompressionLimits = Object.freeze({
  maxBytes: 64 * 1024 * 1024,
  maxRatio: 1000,
  ratioFreeBytes: 8 * 1024 * 1024,
});

/** The largest record batch that readers accept, whoever wrote it (maxBatchBytes may be lower). */
export const MAX_STORED_BATCH_BYTES = 4 * 1024 * 1024;

/** The largest output allowed for `packedBytes` of input. */
export function outputBoundBytes(limits: DecompressionLimits, packedBytes: number): number {
  return Math.min(limits.maxBytes, Math.max(limits.ratioFreeBytes, packedBytes * limits.maxRatio));
}

export function outputTooLarge(compression: Compression, packedBytes: number, boundBytes: number): VarveError {
  return new VarveError(
    'BATCH_TOO_LARGE',
    `${compression}: ${packedBytes} bytes of records would decompress to more than the ${boundBytes} allowed; raise the decompression limits if the producer is to be trusted`,
  );
}

export function undecodable(compression: Compression, what: string, cause?: unknown): VarveError {
  const options = cause === undefined ? undefined : { cause };
  return new VarveError('UNSUPPORTED_CODEC', `${compression}: the records do not decompress: ${what}`, options);
}
