import type { FlushMode } from '../disk/disk.js';
import type { Trace } from '../disk/trace.js';

/** Settings of a store (one data directory). All optional where given to `openStore`. */
export interface StoreOptions {
  /** Format the directory if it does not exist or is empty. Default false: then DIRECTORY_MISSING. */
  readonly create: boolean;
  /** Checked against meta.json when given; written into it when formatting (default there: a random id). */
  readonly clusterId?: string;
  readonly nodeId?: number;
  /** Bytes of one journal file. Default 64 MiB. */
  readonly journalFileBytes: number;
  /**
   * Journal bytes not yet covered by a checkpoint at which appends wait; at half of it checkpointing speeds up. Default 1
   * GiB.
   */
  readonly journalMaxBytes: number;
  /** Largest journal group. Default 4 MiB. */
  readonly journalGroupMaxBytes: number;
  /** Bound of `flush: 'async'`. Defaults 50 ms, 8 MiB. */
  readonly asyncMaxMs: number;
  readonly asyncMaxBytes: number;
  /**
   * Batches of at most two segments that wait for a sync and are together at least this long are made durable in those
   * segments, without a copy in the journal (docs/STORE.md, "Direct flush"). 0: never. Default 0.
   */
  readonly directFlushBytes: number;
  /**
   * How long such batches may lack their durable mark in the journal, in milliseconds. They survive a power cut at once;
   * but until the mark is there, rot in them would be taken for a torn write. Default 50.
   */
  readonly directMarkMaxMs: number;
  /** Bytes accepted and not yet durable (under 'sync') at which `append` waits. Default 64 MiB. */
  readonly pendingMaxBytes: number;
  /** Descriptors of segment files that stay open while nobody uses them. A mapped segment needs none. Default 1024. */
  readonly maxOpenFiles: number;
  /** Time between checkpoints. Default 5,000 ms. */
  readonly checkpointIntervalMs: number;
  /** Memory for the keys of one compaction; one log is compacted at a time. 32 bytes per key. Default 64 MiB. */
  readonly compactionBufferBytes: number;
  /** What compaction may read and write per second, together; 0: no limit. Default 0. */
  readonly compactionBytesPerSecond: number;
  /** A testing tool: records what the store does to its files, and makes calls fail. Default: none. See the class. */
  readonly trace?: Trace;
  /**
   * Segments, over all logs, that stay mapped: the least recently used ones beyond it are mapped anew at their next use.
   * Default 1,024.
   */
  readonly maxMappedSegments: number;
  /**
   * Space kept allocated for a full disk (checkpoint, one journal file, segments of truncations): appends get DISK_FULL
   * before any of it is used. Where more than this may be pending (pendingMaxBytes), the rest of it waits until there is
   * space. 0: none. Default journalFileBytes + 2 MiB.
   */
  readonly reserveBytes: number;
}

/**
 * What happens to old records: 'delete' by retention, 'compact' keeps the last record of every key, and both do both.
 * Where options are given, 'compact+delete' says both too, as in a topic's flag; `log.options` has 'compact,delete'.
 */
export type Cleanup = 'delete' | 'compact' | 'compact,delete' | 'compact+delete';

/** Settings of one partition's log. */
export interface LogOptions {
  /** When acknowledged appends are on disk: docs/DURABILITY.md. Default 'sync'. */
  readonly flush: FlushMode;
  /** A segment is rolled at this size. Default 256 MiB, at least 1 MiB, at most 1 GiB. */
  readonly segmentBytes: number;
  /** … or this long after its first append. Default 7 days. */
  readonly segmentMs: number;
  /**
   * … minus up to this, by a fixed choice per segment, so that many logs do not roll at once. Default 0, at most
   * `segmentMs`.
   */
  readonly segmentJitterMs: number;
  /** Segments whose records are all older are deleted. Default −1: none. */
  readonly retentionMs: number;
  /** The oldest segments are deleted while the others hold at least this much. Default −1: none. */
  readonly retentionBytes: number;
  /** Distance of sparse index entries in bytes. Default 4096. */
  readonly indexIntervalBytes: number;
  /** Largest record batch. Default 1 MiB, at most 4 MiB. */
  readonly maxBatchBytes: number;
  /** A producer id that wrote nothing for so long is forgotten. Default 86,400,000 ms (one day), at least one minute. */
  readonly producerIdExpirationMs: number;
  /** Default 'delete'. With 'compact', records without a key are refused. */
  readonly cleanup: Cleanup;
  /** Compaction begins when this share of the compactable bytes has not been compacted yet. Default 0.5. */
  readonly minCleanableDirtyRatio: number;
  /** Segments with a record younger than this are not compacted. Default 0. */
  readonly minCompactionLagMs: number;
  /** How long tombstones (records with a null value) stay after their first compaction. Default 24 hours. */
  readonly deleteRetentionMs: number;
}
