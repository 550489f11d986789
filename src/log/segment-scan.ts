/**
 * Reads a segment file that is not mapped and checks every batch in it, in pieces of bounded size. Recovery and the
 * rebuilding of indexes use it; nothing here decides what a fault means.
 */

import { scanBatches } from '../disk/addon.js';
import { SCAN_STRIDE, type ScanEnd } from '../disk/batch-scan.js';
import type { Disk } from '../disk/disk.js';

/** Larger than any batch, so that a batch always fits in one piece. */
const PIECE_BYTES = 16 * 1024 * 1024;
const ALL_BATCHES = 0x7fff_ffff;

export interface ScanStart {
  readonly position: number;
  /** Offset that the first batch must have. */
  readonly offset: number;
  /** No batch may have an older epoch. */
  readonly epoch: number;
}

/** Called for each good batch, in order. */
export type BatchVisitor = (
  position: number,
  size: number,
  baseOffset: number,
  lastOffset: number,
  epoch: number,
  maxTimestamp: number,
  /** The batch as it was read: bytes from `at` on. */
  bytes: Buffer,
  at: number,
) => void;

export interface SegmentScan {
  /** 'complete': the limit was reached at a batch boundary. */
  readonly end: ScanEnd;
  /** Where the good batches end: position, offset, epoch. */
  readonly at: ScanStart;
  /** Of the bytes behind them, those up to the last one that is not zero. Allocated but unwritten bytes are zero. */
  readonly trailingBytes: number;
}

/**
 * Scans [start, limit) of a file; a limit beyond its end is its end. A missing file is an empty one. `pieceBytes` are read
 * at a time, unless one batch is larger.
 */
export async function scanSegment(
  disk: Pick<Disk, 'readFile'>,
  path: string,
  start: ScanStart,
  limit: number,
  visit: BatchVisitor,
  pieceBytes = PIECE_BYTES,
): Promise<SegmentScan> {
  let { position, offset, epoch } = start;
  let atOnce = pieceBytes;
  for (;;) {
    const wanted = Math.min(atOnce, limit - position);
    if (wanted <= 0) return { end: 'complete', at: { position, offset, epoch }, trailingBytes: 0 };
    const bytes = (await disk.readFile(path, position, wanted)) ?? Buffer.alloc(0);
    const { end, validEnd, batches } = scanBatches(bytes, 0, bytes.length, offset, epoch, ALL_BATCHES);
    for (let i = 0; i < batches.length; i += SCAN_STRIDE) {
      const lastOffset = batches[i + 3]!;
      epoch = batches[i + 4]!;
      const at = batches[i]!;
      visit(position + at, batches[i + 1]!, batches[i + 2]!, lastOffset, epoch, batches[i + 5]!, bytes, at);
      offset = lastOffset + 1;
    }
    position += validEnd;
    const isLastPiece = bytes.length < wanted || position - validEnd + bytes.length >= limit;
    if (end === 'complete' && !isLastPiece) continue;
    // A batch that the piece cut in two is read again from its start, unless nothing at all fitted.
    if (end === 'short' && !isLastPiece && (validEnd > 0 || atOnce < PIECE_BYTES)) {
      atOnce = validEnd > 0 ? pieceBytes : PIECE_BYTES;
      continue;
    }
    const at = { position, offset, epoch };
    if (validEnd === bytes.length)
      return { end: bytes.length < wanted && limit !== Infinity ? 'short' : 'complete', at, trailingBytes: 0 };
    return { end: end === 'complete' ? 'short' : end, at, trailingBytes: lastNonZero(bytes, validEnd) + 1 - validEnd };
  }
}

function lastNonZero(bytes: Buffer, from: number): number {
  let at = bytes.length - 1;
  while (at >= from && bytes[at] === 0) at--;
  return at;
}

/** What a scan met, in words. */
export function faultText(end: ScanEnd): string {
  switch (end) {
    case 'short':
      return 'a batch is missing or cut short';
    case 'malformed':
      return 'a batch header cannot be right';
    case 'bad-crc':
      return "a batch's CRC32C does not match";
    default:
      return 'a batch does not continue the one before it';
  }
}
