/**
 * The batches of a sealed segment in order, read from its file in pieces of bounded size, off the event loop and without
 * touching its mapping. Structure, CRC and joints of every batch are checked on the way.
 *
 * What can go wrong: bytes that do not read back right, or a file that is gone (its segment was deleted meanwhile), are
 * CORRUPT_LOG; the caller knows which of the two it is.
 */
import { scanBatches } from '../disk/addon.js';
import { SCAN_STRIDE } from '../disk/batch-scan.js';
import type { Disk } from '../disk/disk.js';
import { VarveError } from '../errors.js';

const PIECE_BYTES = 1024 * 1024;
/** Larger than any batch. */
const MAX_PIECE_BYTES = 16 * 1024 * 1024;
const ALL_BATCHES = 0x7fff_ffff;

export interface BatchExtent {
  readonly path: string;
  readonly base: number;
  /** Offset after the last record. */
  readonly end: number;
  /** Bytes of whole batches. */
  readonly length: number;
}

/** One batch: bytes[position, end) of a piece that is valid until the next one is asked for. */
export interface StoredBatch {
  readonly bytes: Buffer;
  readonly position: number;
  readonly end: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly epoch: number;
  readonly maxTimestamp: number;
}

/** @throws VarveError CORRUPT_LOG, CLOSED */
export async function* segmentBatches(disk: Disk, segment: BatchExtent): AsyncGenerator<StoredBatch> {
  let at = 0;
  let offset = segment.base;
  let epoch = 0;
  let pieceBytes = PIECE_BYTES;
  while (at < segment.length) {
    const wanted = Math.min(pieceBytes, segment.length - at);
    const bytes = await readPiece(disk, segment, at, wanted);
    const { end, validEnd, batches } = scanBatches(bytes, 0, bytes.length, offset, epoch, ALL_BATCHES);
    const isCut = end === 'short' && wanted < segment.length - at;
    if (end !== 'complete' && !isCut) throw faulty(segment, at + validEnd, `a batch is ${end}`);
    if (validEnd === 0) {
      if (pieceBytes >= MAX_PIECE_BYTES) throw faulty(segment, at, `a batch is longer than ${MAX_PIECE_BYTES} bytes`);
      pieceBytes *= 4;
      continue;
    }
    for (let i = 0; i < batches.length; i += SCAN_STRIDE) {
      const position = batches[i]!;
      const lastOffset = batches[i + 3]!;
      epoch = batches[i + 4]!;
      offset = lastOffset + 1;
      yield {
        bytes,
        position,
        end: position + batches[i + 1]!,
        baseOffset: batches[i + 2]!,
        lastOffset,
        epoch,
        maxTimestamp: batches[i + 5]!,
      };
    }
    at += validEnd;
    pieceBytes = PIECE_BYTES;
  }
  if (offset !== segment.end) throw faulty(segment, at, `its batches end at offset ${offset}, not at ${segment.end}`);
}

/**
 * Reading changes nothing: a page that cannot be read is a fault of the segment, not the end of the store.
 * @throws VarveError CORRUPT_LOG, CLOSED
 */
export async function readPiece(disk: Disk, segment: BatchExtent, at: number, length: number): Promise<Buffer> {
  try {
    const bytes = await disk.readFile(segment.path, at, length);
    if (bytes === undefined || bytes.length < length) throw faulty(segment, at, 'the file is gone, or too short');
    return bytes;
  } catch (error) {
    if (!(error instanceof VarveError) || error.code !== 'DISK_FAILED') throw error;
    throw faulty(segment, at, error.message, error);
  }
}

function faulty(segment: BatchExtent, position: number, what: string, cause?: unknown): VarveError {
  return new VarveError(
    'CORRUPT_LOG',
    `${segment.path}, position ${position}: ${what}. Nothing was deleted; restore this replica from a peer or a backup`,
    { cause },
  );
}
