/**
 * What a checkpoint says of one log: its row, and a key by which a checkpoint knows without taking it whether the row may
 * say something else than last time.
 */
import type { LogState } from '../journal/log-state.js';
import type { HardState } from '../raft/types.js';
import type { LogCompaction } from './log-compaction.js';
import type { LogParts } from './log-parts.js';

/** What never changes while the log is open. */
export type LogIdentity = Pick<LogState, 'topic' | 'partition' | 'topicId' | 'relaxed'>;

/** True of the disk once all records submitted so far are durable and the segments are synced. */
export function checkpointRow(
  identity: LogIdentity,
  { cursors, segments, producers }: LogParts,
  compaction: LogCompaction,
  hardState: HardState,
): LogState {
  return {
    ...identity,
    ...hardState,
    logStart: cursors.startSubmitted,
    end: cursors.end,
    hwFloor: Math.min(cursors.highWatermark, cursors.end),
    generation: cursors.generation,
    compactedTo: compaction.compactedTo,
    tombstonesRemovedTo: compaction.tombstonesRemovedTo,
    segments: segments.writeback.rows(),
    epochs: cursors.epochs.entries.map(({ epoch, startOffset }) => [epoch, startOffset] as const),
    configurations: cursors.configurations.rows(),
    producersEmptyBelow: producers.emptyBelow,
  };
}

/**
 * Another text whenever the row may say something else, or the segments have work for a checkpoint. Cheap: logs that did
 * not change cost a checkpoint no more than this.
 */
export function checkpointKey({ cursors, journal, segments, producers }: LogParts, compaction: LogCompaction): string {
  const versions = `${cursors.configurations.version} ${segments.writeback.version}`;
  return `${journal.lastTicket} ${cursors.highWatermark} ${compaction.compactedTo} ${producers.emptyBelow} ${versions}`;
}
