/**
 * Sealing a segment that has ended: its index files, then its seal. Done by a checkpoint, before its row says so; the walk
 * over the headers gives the event loop its turn again and again.
 *
 * A fault met on the way is no matter of the checkpoint: the segment stays without a seal, reads of the fault are told,
 * and `Log.verify` says where it is.
 */
import type { Disk } from '../disk/disk.js';
import { type Environment, turn } from '../environment.js';
import { VarveError } from '../errors.js';
import { lastOffsetAt, maxTimestampAt } from '../record/record-batch.js';
import { encodeSeal, SealBuilder, type SealIdentity, type SegmentSeal } from '../segment/seal.js';
import type { Segment } from '../segment/segment.js';

const BATCHES_PER_TURN = 2000;
const BYTES_PER_TURN = 4 * 1024 * 1024;

export function sealPath(segment: Pick<Segment, 'stem'>): string {
  return `${segment.stem}.seal`;
}

/** Nothing happens to a segment that is cut or closed meanwhile. */
export async function sealSegment(
  disk: Disk,
  segment: Segment,
  identity: SealIdentity,
  environment: Environment,
): Promise<void> {
  const { length } = segment;
  const isGone = (): boolean => segment.isClosed || segment.length !== length;
  try {
    await segment.prepareLookup();
    if (isGone()) return;
    if (segment.hasUnsavedIndexes) await segment.indexes.save(disk, segment.stem);
    const seal = await walk(segment, identity, isGone, environment);
    if (seal !== undefined && !isGone()) await disk.replaceFile(sealPath(segment), encodeSeal(seal));
  } catch (error) {
    const isFault = error instanceof VarveError && (error.code === 'CORRUPT_LOG' || segment.isPoisoned);
    if (!isFault && !isGone()) throw error;
  }
}

/** Undefined when the segment changed meanwhile. */
async function walk(
  segment: Segment,
  identity: SealIdentity,
  isGone: () => boolean,
  environment: Environment,
): Promise<SegmentSeal | undefined> {
  const builder = new SealBuilder(identity);
  const { length } = segment;
  let expected = segment.base;
  for (let position = 0; position < length; ) {
    await segment.warm(position, BYTES_PER_TURN);
    if (isGone()) return undefined;
    const { bytes } = segment;
    const turnEnd = position + BYTES_PER_TURN;
    for (let count = 0; count < BATCHES_PER_TURN && position < length && position < turnEnd; count++) {
      const end = segment.checkedEnd(bytes, position, expected);
      const last = lastOffsetAt(bytes, position);
      builder.add(bytes, position, end - position, last, maxTimestampAt(bytes, position));
      expected = last + 1;
      position = end;
    }
    await turn(environment);
  }
  if (isGone() || segment.isPoisoned) return undefined;
  return builder.seal();
}
