/** What a compaction did, as users see it. */

/** Why it ended. */
export type CompactionEnd =
  /** Everything that may be compacted was. */
  | 'complete'
  /** The buffer for keys was full (`compactionBufferBytes`): the next one goes on from there. */
  | 'buffer-full'
  /** No sealed segment lies below the high watermark and outside `minCompactionLagMs`. */
  | 'nothing-to-do'
  /** A segment does not read back right: nothing is removed from a log while something of it may have to be repaired. */
  | 'damaged'
  /** No space for the new segments. What was replaced before counts. */
  | 'disk-full'
  /** The log or the store was closed, or its segments were deleted meanwhile. What was replaced before counts. */
  | 'interrupted';

export interface CompactionReport {
  readonly end: CompactionEnd;
  /** Latest records of keys were looked for in [from, to). */
  readonly from: number;
  readonly to: number;
  readonly recordsKept: number;
  readonly recordsRemoved: number;
  /** Of the segments that were replaced, and of those in their place. */
  readonly segmentsBefore: number;
  readonly segmentsAfter: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Said of 'damaged' and 'disk-full'. */
  readonly reason?: string;
}

/** Over all logs since the store was opened. */
export interface CompactionStats {
  readonly passes: number;
  readonly recordsRemoved: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Bytes by which segments became smaller. */
  readonly bytesFreed: number;
  /** Passes that ended with 'damaged' or 'disk-full'. */
  readonly failures: number;
}
