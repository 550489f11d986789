/**
 * One partition's log on one node (the contract is in log.ts): its parts put together, and what concerns all of them at
 * once: a move of the high watermark, closing.
 *
 *   log-cursors      where everything stands            log-journal      what was submitted, and is it durable
 *   log-appender     batches in                         log-reader       batches out
 *   log-deletion     the oldest part goes               log-compaction   segments are swapped
 *   log-cut          the newest part goes               log-gate         what is accepted at present
 *   checkpoint-row   what a checkpoint says of it
 *
 * An append is checked, stamped, copied once into the mapped segment, and handed to the journal; the journal's ticket
 * goes into the store's commit queue, which moves `durable` when the ticket is on disk. Nothing on this path waits.
 *
 * Invariants besides those of the cursors: segments join end to end; bytes of a segment are written once; a truncation's
 * record is in the journal before any byte of the new history.
 *
 * What can go wrong: DISK_FULL refuses one append and changes nothing; anything else below fails the whole store
 * (DISK_FAILED): appends are refused from then on, reads go on.
 */
import { invariant, VarveError } from '../errors.js';
import type { Configuration } from '../journal/configuration-history.js';
import { encodeHardState, RecordType } from '../journal/journal-records.js';
import type { LogState } from '../journal/log-state.js';
import type { EpochEnd, HardState } from '../raft/types.js';
import type { TransactionResult } from '../record/transaction-marker.js';
import type { Compression, RecordInput } from '../record/types.js';
import { BatchLocator } from './batch-locator.js';
import { checkHardState } from './batch-run.js';
import { BatchTail } from './batch-tail.js';
import { checkpointKey, checkpointRow, type LogIdentity } from './checkpoint-row.js';
import type { CommitTarget } from './commit-queue.js';
import type { CompactionReport } from './compaction-report.js';
import { EmbeddedAppends } from './embedded-appends.js';
import type {
  AbortedRange,
  AppendedRange,
  ControlKind,
  Log,
  ReadLimit,
  ReadOptions,
  ReadResult,
  ReadViewsResult,
  RecoveryReport,
  VerifyOptions,
  VerifyReport,
} from './log.js';
import { LogAppender } from './log-appender.js';
import { LogCompaction } from './log-compaction.js';
import { LogCursors } from './log-cursors.js';
import { LogCut } from './log-cut.js';
import { LogDeletion } from './log-deletion.js';
import { LogGate } from './log-gate.js';
import type { LogHost } from './log-host.js';
import { LogJournal } from './log-journal.js';
import type { LogParts } from './log-parts.js';
import { LogReader } from './log-reader.js';
import type { LogSegments } from './log-segments.js';
import { verifyLog } from './log-verification.js';
import type { LogOptions } from './options.js';
import type { PartitionProducers, SnapshotWork } from './partition-producers.js';

export interface PartitionLogParts {
  readonly host: LogHost;
  readonly state: LogState;
  readonly directory: string;
  readonly segments: LogSegments;
  readonly producers: PartitionProducers;
  readonly options: LogOptions;
  readonly replicated: boolean;
  readonly recovery: RecoveryReport;
  /** Makes everything of the log durable in its own files and takes its state over. */
  readonly close: (log: PartitionLog) => Promise<void>;
}

export class PartitionLog implements Log, CommitTarget {
  readonly topic: string;
  readonly partition: number;
  readonly topicId: string;
  readonly name: string;
  readonly directory: string;
  readonly options: LogOptions;
  readonly segments: LogSegments;
  readonly producers: PartitionProducers;
  readonly compaction: LogCompaction;
  onProgress: (() => void) | undefined;
  listedForCommit = false;

  readonly #identity: LogIdentity;
  readonly #parts: LogParts;
  readonly #host: LogHost;
  readonly #gate: LogGate;
  readonly #cursors: LogCursors;
  readonly #journal: LogJournal;
  readonly #tail = new BatchTail();
  readonly #locator: BatchLocator;
  readonly #reader: LogReader;
  readonly #appender: LogAppender;
  readonly #embedded: EmbeddedAppends;
  readonly #cut: LogCut;
  readonly #deletion: LogDeletion;
  readonly #recovery: RecoveryReport;
  readonly #close: (log: PartitionLog) => Promise<void>;
  /** It is its own majority: what is durable (`flush: 'sync'`) or written (otherwise) is committed. */
  readonly #commits: 'durable' | 'written' | undefined;
  #hardState: HardState;

  constructor({
    host,
    state,
    directory,
    segments,
    producers,
    options,
    replicated,
    recovery,
    close,
  }: PartitionLogParts) {
    const { topic, partition, topicId, term, vote, forgot } = state;
    this.topic = topic;
    this.partition = partition;
    this.topicId = topicId;
    this.name = `${topic}-${partition}`;
    this.directory = directory;
    this.options = options;
    this.segments = segments;
    this.producers = producers;
    const { name } = this;
    this.#identity = { topic, partition, topicId, relaxed: options.flush !== 'sync' };
    this.#host = host;
    this.#gate = new LogGate(name, host);
    this.#cursors = new LogCursors(name, state, producers.highWatermark);
    this.#journal = new LogJournal(host, state, this.#cursors, this);
    this.#parts = {
      name,
      options,
      replicated,
      host,
      gate: this.#gate,
      cursors: this.#cursors,
      journal: this.#journal,
      segments,
      producers,
    };
    this.#locator = new BatchLocator(segments.list, this.#tail);
    this.#locator.hasDamage = segments.list.all.some((segment) => segment.damaged.length > 0);
    this.#reader = new LogReader(this, segments.list, this.#locator, host.environment);
    this.#appender = new LogAppender(
      this.#parts,
      this.#tail,
      () => this.#stored(),
      () => this.committed(),
    );
    this.#embedded = new EmbeddedAppends({
      name,
      options,
      queue: host.queue,
      environment: host.environment,
      append: (batch) => this.#appender.appendBuilt(batch),
    });
    this.#cut = new LogCut(this.#parts, {
      tail: this.#tail,
      locator: this.#locator,
      onCut: (offset) => {
        this.#embedded.truncate(offset);
        this.#reader.wakeAll();
      },
      onDurable: () => this.committed(),
    });
    this.#deletion = new LogDeletion(this.#parts, () => this.#reader.wakeAll());
    this.compaction = new LogCompaction(this.#parts, this.#tail, state);
    this.#recovery = recovery;
    this.#close = close;
    this.#commits = replicated ? undefined : options.flush === 'sync' ? 'durable' : 'written';
    this.#hardState = { term, vote, ...(forgot !== undefined && { forgot }) };
  }

  get recovery(): RecoveryReport {
    const { rebuiltIndexes } = this.segments;
    if (rebuiltIndexes === 0) return this.#recovery;
    return { ...this.#recovery, rebuiltIndexes: this.#recovery.rebuiltIndexes + rebuiltIndexes };
  }

  // ---- cursors ----

  get start(): number {
    return this.#cursors.start;
  }

  get end(): number {
    return this.#cursors.end;
  }

  get written(): number {
    return this.#cursors.written;
  }

  get durable(): number {
    return this.#cursors.durable;
  }

  get generation(): number {
    return this.#cursors.generation;
  }

  get highWatermark(): number {
    return this.#cursors.highWatermark;
  }

  get lastStableOffset(): number {
    return Math.max(this.producers.lastStableOffset, this.#cursors.start);
  }

  get lastEpoch(): number {
    return this.#cursors.lastEpoch;
  }

  get configurations(): readonly Configuration[] {
    return this.#cursors.configurations.entries;
  }

  // ---- Raft's view ----

  get hardState(): HardState {
    return this.#hardState;
  }

  get physicalStart(): number {
    const { start, end } = this.#cursors;
    const { list } = this.segments;
    return start < end ? list.all[list.indexOf(start)]!.base : end;
  }

  baseOf(offset: number): number {
    return this.#locator.baseOf(offset);
  }

  epochAt(offset: number): number {
    return this.#cursors.epochs.epochAt(offset);
  }

  endForEpoch(epoch: number): EpochEnd {
    const { epochs, start, end } = this.#cursors;
    return epochs.endForEpoch(epoch, start, end);
  }

  span(start: number, maxBytes: number): { readonly end: number; readonly bytes: number } {
    this.#locator.extend(start, maxBytes, this.#cursors.end);
    return { end: this.#locator.next, bytes: this.#locator.to - this.#locator.from };
  }

  // ---- replication ----

  saveHardState(state: HardState, done: () => void): void {
    this.#gate.checkAccepting();
    checkHardState(state, done, this.name);
    const { term, vote } = this.#hardState;
    invariant(
      state.term > term || (state.term === term && (vote === 0 || vote === state.vote)),
      `${this.name}: hard state goes from term ${term}, vote ${vote} to term ${state.term}, vote ${state.vote}`,
    );
    this.#hardState = {
      term: state.term,
      vote: state.vote,
      ...(state.forgot !== undefined && { forgot: state.forgot }),
    };
    this.#journal.submit(RecordType.HardState, encodeHardState(state), (error) => {
      if (error === undefined) done();
    });
  }

  appendProduced(bytes: Uint8Array, start: number, end: number, epoch?: number): AppendedRange {
    return this.#appender.appendProduced(bytes, start, end, epoch);
  }

  appendControl(kind: ControlKind, value: Uint8Array, epoch: number): AppendedRange {
    return this.#appender.appendControl(kind, value, epoch);
  }

  appendMarker(
    producerId: number,
    producerEpoch: number,
    result: TransactionResult,
    coordinatorEpoch: number,
    epoch?: number,
  ): AppendedRange {
    return this.#appender.appendMarker(producerId, producerEpoch, result, coordinatorEpoch, epoch);
  }

  appendReplicated(bytes: Buffer, start: number, end: number, maxEpoch: number): AppendedRange {
    return this.#appender.appendReplicated(bytes, start, end, maxEpoch);
  }

  truncate(to: number): void {
    this.#cut.truncate(to);
  }

  reset(logStart: number, prevEpoch: number, configuration: Configuration | undefined): void {
    this.#cut.reset(logStart, prevEpoch, configuration);
  }

  advanceHighWatermark(to: number): void {
    if (!this.#cursors.advanceHighWatermark(to)) return;
    this.producers.commit(to);
    this.#reader.wake();
  }

  deleteBefore(offset: number): Promise<void> {
    return this.#deletion.deleteBefore(offset);
  }

  retentionPoint(): number {
    return this.#deletion.retentionPoint();
  }

  get throttled(): boolean {
    return this.#host.queue.throttledFor(this.options.flush);
  }

  whenWritable(): Promise<void> {
    return this.#host.queue.whenWritable(this.options.flush);
  }

  // ---- reading ----

  viewsFrom(offset: number, maxBytes: number, limit: ReadLimit = 'committed'): ReadViewsResult {
    this.checkOpen();
    return this.#reader.viewsFrom(offset, maxBytes, limit);
  }

  warm(offset: number, maxBytes: number): Promise<void> | undefined {
    this.checkOpen();
    return this.#reader.warm(offset, maxBytes, 'end');
  }

  async readViews(offset: number, options?: ReadOptions): Promise<ReadViewsResult> {
    this.checkOpen();
    return this.#reader.readViews(offset, options);
  }

  async read(offset: number, options?: ReadOptions): Promise<ReadResult> {
    this.checkOpen();
    return this.#reader.read(offset, options);
  }

  async offsetForTimestamp(
    timestamp: number,
  ): Promise<{ readonly offset: number; readonly timestamp: number } | undefined> {
    this.checkOpen();
    return this.#reader.offsetForTimestamp(timestamp);
  }

  async verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    this.checkOpen();
    const { epochs } = this.#cursors;
    return verifyLog(this.segments, options, {
      environment: this.#host.environment,
      disk: this.#host.disk,
      epochAt: (offset) => (offset < this.start ? undefined : epochs.epochAt(offset)),
      checkOpen: () => this.checkOpen(),
      onDamage: () => {
        this.#locator.hasDamage = true;
      },
    });
  }

  // ---- embedded use ----

  append(records: readonly RecordInput[], options?: { readonly compression?: Compression }): Promise<AppendedRange> {
    return this.#embedded.append(records, options);
  }

  async flush(): Promise<void> {
    this.#gate.checkAccepting();
    await this.#journal.flush();
  }

  compact(): Promise<CompactionReport> {
    return this.compaction.run();
  }

  async close(): Promise<void> {
    if (this.#gate.isClosed) return;
    this.#gate.close();
    const error = new VarveError('CLOSED', `${this.name}: the log was closed`);
    this.#reader.wakeAll(error);
    try {
      await this.#close(this);
    } finally {
      this.#embedded.fail(error);
    }
  }

  // ---- for the store ----

  get isClosed(): boolean {
    return this.#gate.isClosed;
  }

  /** The journal was given nothing of this log since it was opened. */
  get isUntouched(): boolean {
    return this.#journal.lastTicket === 0;
  }

  /** @see ReadableLog.abortedBetween */
  abortedBetween(from: number, to: number): Promise<readonly AbortedRange[]> {
    return this.producers.abortedBetween(from, to);
  }

  checkOpen(): void {
    this.#gate.checkOpen();
  }

  /** @see LogJournal.record */
  record(type: number, payload: Uint8Array): Promise<void> {
    return this.#journal.record(type, payload);
  }

  /**
   * Rolls an old segment of an idle log. True when there is something for a checkpoint to do that no journal record tells
   * of.
   */
  rollIfDue(): boolean {
    // Its state may have been taken over already, and the next opening would know nothing of the new segment.
    if (this.isClosed) return false;
    try {
      this.segments.rollIfDue(this.generation);
    } catch (error) {
      // Tried again at the next turn.
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') throw error;
    }
    return this.segments.writeback.hasNews;
  }

  /** @see LogDeletion.enforceRetention */
  enforceRetention(): Promise<void> {
    return this.#deletion.enforceRetention();
  }

  /** @see checkpointKey */
  get stateKey(): string {
    return checkpointKey(this.#parts, this.compaction);
  }

  /** @see checkpointRow */
  state(): LogState {
    return checkpointRow(this.#identity, this.#parts, this.compaction, this.#hardState);
  }

  /** Forgets producers that were idle for too long. @returns the snapshot that is due */
  captureProducers(need: 'roll' | 'now'): SnapshotWork | undefined {
    this.producers.expire(this.#host.environment.now(), this.options.producerIdExpirationMs);
    return this.producers.capture(need);
  }

  epochFile(): Buffer {
    return this.#cursors.epochs.toBytes();
  }

  durableUpTo(end: number, generation: number): boolean {
    return this.#cursors.durableUpTo(end, generation);
  }

  committed(): void {
    if (this.#commits === 'durable') {
      this.advanceHighWatermark(this.#cursors.durable);
      this.#embedded.resolveUpTo(this.#cursors.durable);
    }
    this.onProgress?.();
  }

  #stored(): void {
    if (this.#commits === 'written') this.advanceHighWatermark(this.#cursors.written);
  }

  /** The store was closed, after everything accepted became durable. */
  storeClosed(error: Error): void {
    this.#gate.close();
    this.#reader.wakeAll(error);
    this.#embedded.fail(error);
    this.segments.close();
  }

  /** The store failed: appends that wait learn it; reads go on. */
  storeFailed(error: Error): void {
    this.#embedded.fail(error);
  }
}
