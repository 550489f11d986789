/** What a store counts, as `store.stats()` shows it. */
import type { JournalStats, SegmentStats } from '../disk/disk.js';
import type { CompactionStats } from './compaction-report.js';

export interface StoreStats {
  readonly journal: JournalStats;
  readonly openLogs: number;
  /** Bytes accepted under 'sync' that are not durable yet. */
  readonly pendingBytes: number;
  /** Journal records that are not durable yet, whatever their mode. */
  readonly pendingRecords: number;
  readonly checkpoints: number;
  /** Logs in which these checkpoints found something changed, summed up. */
  readonly checkpointedLogs: number;
  /** Journal bytes that no checkpoint covers yet (estimated). */
  readonly uncoveredJournalBytes: number;
  readonly segments: SegmentStats & {
    /** Mapped, or with loaded indexes. */
    readonly mapped: number;
    /** How often a segment was mapped since the store was opened. */
    readonly mappings: number;
    /** How often one was dropped because there were more than `maxMappedSegments`. */
    readonly evictions: number;
  };
  readonly compaction: CompactionStats;
  /** Appends are refused with DISK_FULL at present, or the last one that needed space was. */
  readonly full: boolean;
}
