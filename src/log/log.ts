/**
 * One partition's log on one node, as the layers above see it. `PartitionLog` (partition-log.ts) implements it over a
 * `Disk`; src/cluster replicates it; embedded users get it from `Store.openLog`.
 *
 * Cursors, each the end of a gap-free prefix: durable ≤ written ≤ end. With mapped segments bytes are written (in the
 * page cache) as soon as they are accepted, so written = end.
 */
import type { Configuration } from '../journal/configuration-history.js';
import type { HardState, LogView } from '../raft/types.js';
import type { ControlKind } from '../record/control-batch.js';
import type { TransactionResult } from '../record/transaction-marker.js';
import type { Compression, Record, RecordInput } from '../record/types.js';
import type { CompactionReport } from './compaction-report.js';
import type { LogOptions } from './options.js';
import type { DamageReport, RecoveryReport } from './recovery-report.js';

export type { Configuration } from '../journal/configuration-history.js';
export { ControlKind } from '../record/control-batch.js';
export type { CutBytes, DamageReport, LogPosition, RecoveryReport } from './recovery-report.js';

export interface AppendedRange {
  readonly baseOffset: number;
  readonly lastOffset: number;
  /** An idempotent producer sent it again: this is where the log has had it since. It is acknowledged when that is. */
  readonly duplicate?: true;
}

export interface ReadOptions {
  /** At least one whole batch is returned even if it is larger. Default 1 MiB. */
  readonly maxBytes?: number;
  /** Wait until this many bytes are there; 0: answer at once. Default: 1 when `maxWaitMs` is given, 0 otherwise. */
  readonly minBytes?: number;
  /** … but no longer than this. Default 0; Infinity waits for ever. */
  readonly maxWaitMs?: number;
  /**
   * 'read_committed' ends at the last stable offset, and `read` leaves records of aborted transactions out. Default
   * 'read_uncommitted': to the high watermark, whatever became of the transactions.
   */
  readonly isolation?: Isolation;
}

/** 'committed': the high watermark (default); 'stable': the last stable offset; 'end': the log end, for replication. */
export type ReadLimit = 'committed' | 'stable' | 'end';

export type Isolation = 'read_uncommitted' | 'read_committed';

/** A transaction that was aborted: the producer's transactional records from `firstOffset` to its next abort marker. */
export interface AbortedRange {
  readonly producerId: number;
  readonly firstOffset: number;
}

export interface ReadViewsResult {
  /** Zero-copy views of whole, consecutive batches; the first may begin below the offset asked for. Never write to them. */
  readonly views: readonly Buffer[];
  readonly nextOffset: number;
  readonly highWatermark: number;
  /** With 'read_committed': what a consumer has to leave out, by first offset, as in Kafka's fetch. */
  readonly abortedTransactions?: readonly AbortedRange[];
}

export interface ReadResult {
  /** Copies, control batches left out, from exactly the offset asked for. */
  readonly records: readonly Record[];
  /** Where to read on; moves over control batches even when `records` is empty. */
  readonly nextOffset: number;
  readonly highWatermark: number;
}

export interface VerifyOptions {
  readonly signal?: AbortSignal;
  /** Reads no faster than this. Default: as fast as the disk gives. */
  readonly bytesPerSecond?: number;
}

export interface VerifyReport {
  /** What was looked at, and is no damage. Segments that were deleted meanwhile are left out. */
  readonly segments: number;
  readonly batches: number;
  readonly bytes: number;
  /** Found now: what opening the log or an earlier call found already is left out. */
  readonly damaged: readonly DamageReport[];
  /** Base offsets of segments that had no readable seal: every batch checked out, and they have one now. */
  readonly resealed: readonly number[];
}

export interface Log extends Omit<LogView, 'logStart'> {
  readonly topic: string;
  readonly partition: number;
  /** UUID, 32 hex digits without dashes. */
  readonly topicId: string;
  readonly options: LogOptions;
  readonly recovery: RecoveryReport;
  /** The first offset that readers see. */
  readonly start: number;
  /** Where what is kept begins: a batch boundary, at or below `start`. The log end if there is nothing. */
  readonly physicalStart: number;
  readonly written: number;
  readonly durable: number;
  /** Raised by every truncation; completions of an older generation count for nothing. */
  readonly generation: number;
  readonly highWatermark: number;
  /**
   * The high watermark, or the first offset of a transaction that has not ended below it: nothing below it will be
   * decided any more. Compaction goes no further.
   */
  readonly lastStableOffset: number;
  /**
   * The membership history: control batches of kind Configuration, oldest first. The last one is in effect from its append
   * on, committed or not; a truncation that removes it brings the one before back, at once (Raft dissertation §4.1).
   * The first one may lie below `start`: it is the one that the log begins with. Empty: none was ever appended. Every
   * change makes a new array.
   */
  readonly configurations: readonly Configuration[];

  // ---- replication ----

  /** Term and vote as last persisted. */
  readonly hardState: HardState;
  /**
   * Journals term and vote (always synced); `done` runs when durable.
   * @throws VarveError INVALID_ARGUMENT, DISK_FAILED, CLOSED
   */
  saveHardState(state: HardState, done: () => void): void;
  /**
   * The producer path: bytes[start, end) is a run of whole batches. Checks each one (magic 2, CRC, no control bit,
   * record count, size), stamps base offset and epoch *in place*, stores and journals them. All or nothing. Views that a
   * read returned are copied first.
   * Batches of an idempotent producer that are among its last five here are not stored again: the range says where they
   * are (KIP-98). A run that mixes such batches with others is refused.
   * @param epoch leader epoch, from that of the last record on. Default: `Math.max(log.lastEpoch, 0)`, which is what
   *   embedded users want.
   * @throws VarveError INVALID_ARGUMENT, CORRUPT_BATCH, INVALID_BATCH, OUT_OF_ORDER_SEQUENCE, PRODUCER_FENCED,
   *   BATCH_TOO_LARGE, DISK_FULL, DISK_FAILED, CLOSED, OVERLOADED
   */
  appendProduced(bytes: Uint8Array, start: number, end: number, epoch?: number): AppendedRange;
  /** Appends a control batch; always synced. */
  appendControl(kind: ControlKind, value: Uint8Array, epoch: number): AppendedRange;
  /**
   * Ends the producer's transaction in this partition with a control batch; always synced. The transaction coordinator
   * calls it; sent again, it is appended again, which changes nothing.
   * @param epoch leader epoch; default: that of the last record
   * @throws VarveError PRODUCER_FENCED, COORDINATOR_FENCED, INVALID_ARGUMENT, DISK_FULL, DISK_FAILED, CLOSED
   */
  appendMarker(
    producerId: number,
    producerEpoch: number,
    result: TransactionResult,
    coordinatorEpoch: number,
    epoch?: number,
  ): AppendedRange;
  /**
   * The follower path: whole batches stamped by the leader, the first of which starts at `end`. Checks structure, CRC,
   * that offsets join and epochs neither exceed `maxEpoch` nor go back.
   */
  appendReplicated(bytes: Buffer, start: number, end: number, maxEpoch: number): AppendedRange;
  /**
   * Removes everything from `to` on. Refused (INVARIANT_BROKEN) below the high watermark. Journalled before any new byte
   * is stored.
   */
  truncate(to: number): void;
  /**
   * Empties the log, whatever it holds: it starts and ends at `logStart` now, which may lie inside a batch; the next append
   * brings that whole. What it says of epochs and members begins with what is given. For a replica that lacks what the
   * others have deleted. Journalled before any file is touched.
   * @param logStart at or above the high watermark, which moves there
   * @param prevEpoch of the record before it; −1: not known
   */
  reset(logStart: number, prevEpoch: number, configuration: Configuration | undefined): void;
  /** Monotone. Wakes waiting reads. */
  advanceHighWatermark(to: number): void;
  /**
   * The log start moves up to `offset` (≤ high watermark); whole segments below it are deleted.
   * @throws VarveError OFFSET_OUT_OF_RANGE, DISK_FAILED, CLOSED
   */
  deleteBefore(offset: number): Promise<void>;
  /**
   * Offset up to which `retentionMs` and `retentionBytes` allow deletion: whole segments below the high watermark; the
   * log start when there is nothing to delete. An embedded log acts on it by itself; of a replicated one the leader does.
   */
  retentionPoint(): number;
  /** Called whenever `durable` moved or `generation` changed; at most once per group commit. */
  onProgress: (() => void) | undefined;
  /** True while producers should be held back (pendingMaxBytes, the async bound, or the journal limit is reached). */
  readonly throttled: boolean;
  /** Resolves when `throttled` is false. */
  whenWritable(): Promise<void>;

  // ---- reading ----

  /** Views of [offset, …) below `limit`. Synchronous, no waiting. */
  viewsFrom(offset: number, maxBytes: number, limit?: ReadLimit): ReadViewsResult;
  /**
   * Reads what `viewsFrom` would look at from the disk, off the event loop. Undefined when it is in memory as far as
   * anybody can know: go ahead. A failure shows at the read itself.
   */
  warm(offset: number, maxBytes: number): Promise<void> | undefined;
  /**
   * Zero-copy read below the high watermark, with long poll. Views stay valid for as long as they are held, also after
   * deletion and close; writing to one is forbidden.
   * @throws VarveError INVALID_ARGUMENT, OFFSET_OUT_OF_RANGE, CORRUPT_LOG for a damaged range, DISK_FAILED, CLOSED
   */
  readViews(offset: number, options?: ReadOptions): Promise<ReadViewsResult>;
  /**
   * Decoded copies below the high watermark, with long poll.
   * @throws VarveError INVALID_ARGUMENT, OFFSET_OUT_OF_RANGE, CORRUPT_LOG for a damaged range, DISK_FAILED, CLOSED
   */
  read(offset: number, options?: ReadOptions): Promise<ReadResult>;
  /**
   * First offset below the high watermark whose record timestamp is ≥ `timestamp`; undefined if there is none.
   * @throws VarveError INVALID_ARGUMENT
   */
  offsetForTimestamp(timestamp: number): Promise<{ readonly offset: number; readonly timestamp: number } | undefined>;

  /**
   * Reads every segment that has ended from its file and checks each batch, and all of them against the segment's seal.
   * Damage is reported, remembered (reads of the range fail with CORRUPT_LOG from now on, also after a restart), and never
   * cut off. Appends and reads go on meanwhile.
   * @throws VarveError CLOSED, INVALID_ARGUMENT; the signal's reason when it is aborted
   */
  verify(options?: VerifyOptions): Promise<VerifyReport>;

  // ---- embedded use: one replica, the high watermark follows durable (sync) or written (async, none) ----

  /**
   * Encodes and appends one batch; resolves when the log's flush mode says it is acknowledged (docs/DURABILITY.md).
   * @throws VarveError INVALID_ARGUMENT for records that cannot be encoded, BATCH_TOO_LARGE, DISK_FULL (nothing was
   *   appended), DISK_FAILED, LOG_TRUNCATED, CLOSED
   */
  append(records: readonly RecordInput[], options?: { readonly compression?: Compression }): Promise<AppendedRange>;
  /** Syncs everything accepted so far, whatever the flush mode. @throws VarveError DISK_FAILED, CLOSED */
  flush(): Promise<void>;
  /**
   * Compacts the log now: of every key only the last record stays, for everything that lies below the high watermark. The
   * active segment is ended first. Waits for a compaction that is going on in the store.
   * @throws VarveError INVALID_ARGUMENT when the log's `cleanup` has no 'compact', DISK_FAILED, CLOSED
   */
  compact(): Promise<CompactionReport>;
  close(): Promise<void>;
}
