/**
 * Reads stored batches again, in order, to derive from them what was not kept: producer state, aborted transactions.
 * Every batch is checked (CRC, order). What no longer reads back right was reported by recovery or the scrubber; here it
 * is passed over, and the replay goes on behind it.
 */
import { scanBatches } from '../disk/addon.js';
import { SCAN_STRIDE } from '../disk/batch-scan.js';
import type { Disk } from '../disk/disk.js';
import { VarveError } from '../errors.js';
import type { Segment } from '../segment/segment.js';

/** Larger than any batch, so that a batch always fits in one piece. */
const PIECE_BYTES = 16 * 1024 * 1024;
const ALL_BATCHES = 0x7fff_ffff;
const ANY = -1;

/**
 * Calls `visit` for the batches that begin in [from, to); `segments` are those of the log.
 * @returns false when a file was gone: retention or compaction took its segment meanwhile, or it is lost
 */
export async function replayBatches(
  disk: Disk,
  segments: readonly Segment[],
  from: number,
  to: number,
  visit: (bytes: Buffer, position: number) => void,
): Promise<boolean> {
  let isWhole = true;
  for (const segment of [...segments]) {
    if (segment.end <= from || segment.base >= to) continue;
    const start = from <= segment.base ? 0 : await positionOf(segment, from);
    const found = await replaySegment(disk, segment, start, (bytes, position, baseOffset) => {
      if (baseOffset >= from && baseOffset < to) visit(bytes, position);
    });
    isWhole &&= found;
  }
  return isWhole;
}

/** Where the batch that holds `offset` begins; 0 when damage keeps that from being known. */
async function positionOf(segment: Segment, offset: number): Promise<number> {
  try {
    await segment.prepareLookup();
    return segment.positionOf(offset);
  } catch (error) {
    if (!(error instanceof VarveError) || error.code !== 'CORRUPT_LOG') throw error;
    return 0;
  }
}

async function replaySegment(
  disk: Disk,
  segment: Segment,
  start: number,
  visit: (bytes: Buffer, position: number, baseOffset: number) => void,
): Promise<boolean> {
  const { length } = segment;
  let position = start;
  let offset = ANY;
  while (position < length) {
    const bytes = await disk.readFile(segment.path, position, Math.min(PIECE_BYTES, length - position));
    if (bytes === undefined) return false;
    const { validEnd, batches } = scanBatches(bytes, 0, bytes.length, offset, ANY, ALL_BATCHES);
    for (let i = 0; i < batches.length; i += SCAN_STRIDE) {
      visit(bytes, batches[i]!, batches[i + 2]!);
      offset = batches[i + 3]! + 1;
    }
    position += validEnd;
    if (validEnd > 0) continue;
    const fault = position;
    const damage = segment.damaged.find((range) => fault >= range.from && fault < range.to);
    if (damage === undefined) break;
    position = damage.to;
    offset = ANY;
  }
  return true;
}
