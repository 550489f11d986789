/**
 * What opening a log found and did, for those who must know what is left of it. Everything that recovery changes on disk
 * stands in it: bytes cut off, bytes written again, files set aside, indexes rebuilt.
 */
import type { LogState } from '../journal/log-state.js';
import type { DamagedRange } from '../segment/segment.js';

/** A place in a log: in which segment, at which byte of its file, and the offset of the record that begins there. */
export interface LogPosition {
  readonly segmentBaseOffset: number;
  readonly position: number;
  readonly offset: number;
}

/** A torn write: bytes behind the last whole batch of a segment, which are no part of the log any more. */
export interface CutBytes {
  readonly segmentBaseOffset: number;
  readonly position: number;
  /** Up to the last byte that is not zero; space allocated ahead is not counted. */
  readonly bytes: number;
  readonly reason: string;
}

export interface DamageReport {
  readonly segmentBaseOffset: number;
  readonly position: number;
  /** Where the damaged range ends: the next position that is known to be a batch boundary. */
  readonly endPosition: number;
  /** First and last offset of the records in the range, where they are known. */
  readonly baseOffset?: number;
  readonly lastOffset?: number;
  readonly reason: string;
}

export interface RecoveryReport {
  readonly clean: boolean;
  /** After an unclean stop: the machine did not restart since, so what the operating system had cached is still there. */
  readonly pageCacheSurvived: boolean;
  /** Sequence number of the checkpoint that it began with; 0: there was none. */
  readonly checkpoint: number;
  /** Journal groups read behind that checkpoint, for all logs of the data directory; 0 after a clean stop. */
  readonly journalGroups: number;
  /** The log's journal records that said something the checkpoint did not. */
  readonly replayedRecords: number;
  /** Bytes that were written from the journal into the log's segments. */
  readonly replayedBytes: number;
  /**
   * Everything below this was durable before the stop: a fault there is damage, a fault beyond it a torn write. Undefined
   * for a log that held nothing durable.
   */
  readonly durableMark: LogPosition | undefined;
  /** Bytes cut behind the last whole batch (a torn write): the sum of `cuts`. */
  readonly truncatedBytes: number;
  readonly cuts: readonly CutBytes[];
  /** Bytes of whole batches beyond the durable mark, which were kept: read from the segment, written again and synced. */
  readonly rewrittenBytes: number;
  /** Segment files that are no part of the log (removed by a truncation, or outside it), renamed and then deleted. */
  readonly setAside: readonly string[];
  /** Segments whose index files were written anew. */
  readonly rebuiltIndexes: number;
  /** Ranges at or below the durable mark that do not read back right. Kept, not served. */
  readonly damaged: readonly DamageReport[];
  /**
   * Unclean restart of a relaxed partition, or a log that ends below a known high watermark: records that were
   * acknowledged may be gone. With `pageCacheSurvived` under relaxed flush nothing is missing. True until the replica has
   * taken over a leader's log.
   */
  readonly mayHaveForgotten: boolean;
}

/** Of a log that was closed, or never held anything: nothing was done. */
export function cleanReport(state: LogState, checkpoint = 0): RecoveryReport {
  const last = state.segments.at(-1);
  return {
    clean: true,
    pageCacheSurvived: true,
    checkpoint,
    journalGroups: 0,
    replayedRecords: 0,
    replayedBytes: 0,
    durableMark: last && { segmentBaseOffset: last.base, position: last.length, offset: state.end },
    truncatedBytes: 0,
    cuts: [],
    rewrittenBytes: 0,
    setAside: [],
    rebuiltIndexes: 0,
    damaged: damageOf(state),
    mayHaveForgotten: state.forgot !== undefined,
  };
}

export function damageOf(state: LogState): DamageReport[] {
  return state.segments.flatMap(({ base, damaged }) => damageReports(base, damaged ?? []));
}

export function damageReports(segmentBaseOffset: number, damaged: readonly DamagedRange[]): DamageReport[] {
  return damaged.map((range) => {
    const { from, to, reason } = range;
    return { segmentBaseOffset, position: from, endPosition: to, ...offsetsOf(range), reason };
  });
}

/** First and last offset of what lies in the range, as far as they are known. */
export function offsetsOf({ startOffset, endOffset }: Pick<DamagedRange, 'startOffset' | 'endOffset'>): {
  readonly baseOffset?: number;
  readonly lastOffset?: number;
} {
  return {
    ...(startOffset !== undefined && { baseOffset: startOffset }),
    ...(endOffset !== undefined && { lastOffset: endOffset - 1 }),
  };
}
