/**
 * One partition's log on one node (the contract is in log.ts).
 *
 * An append is checked, stamped, copied once into the mapped segment, and handed to the journal; the journal's ticket
 * goes into the store's commit queue, which moves `durable` when the ticket is on disk. Nothing on this path waits.
 *
 * Invariants: start ≤ highWatermark ≤ end; durable ≤ written ≤ end; segments join end to end; bytes of a segment are
 * written once; a truncation's record is in the journal before any byte of the new history, and until that record is
 * durable nothing above the cut counts as written.
 *
 * What can go wrong: DISK_FULL refuses one append and changes nothing; anything else below fails the whole store
 * (DISK_FAILED): appends are refused from then on, reads go on.
 */
import { checkKeys, checkRecordKeys } from '../compaction/key-check.js';
import type { Disk, FlushMode, Journal } from '../disk/disk.js';
import { isMapped } from '../disk/mapped-buffers.js';
import { invariant, VarveError } from '../errors.js';
import { EpochIndex } from '../index/epoch-index.js';
import type { AbortedTransaction } from '../index/txn-index.js';
import { type Configuration, ConfigurationHistory, holdsConfiguration } from '../journal/configuration-history.js';
import {
  encodeHardState,
  encodeLogStart,
  encodeSwap,
  encodeTruncation,
  RecordType,
} from '../journal/journal-records.js';
import type { LogState } from '../journal/log-state.js';
import { checkOptionNames } from '../option-names.js';
import type { EpochEnd, HardState } from '../raft/types.js';
import { encodeControlBatch } from '../record/control-batch.js';
import {
  baseOffsetAt,
  batchSizeAt,
  epochAt,
  hasProducerAt,
  lastOffsetDeltaAt,
  maxTimestampAt,
} from '../record/record-batch.js';
import { encodeMarker, type TransactionResult } from '../record/transaction-marker.js';
import type { Compression, RecordInput } from '../record/types.js';
import type { Segment } from '../segment/segment.js';
import { BatchLocator } from './batch-locator.js';
import {
  checkEpoch,
  checkHardState,
  checkMarkerArguments,
  checkProduced,
  checkReplicated,
  checkRunArguments,
  checkRunSize,
  stampProduced,
} from './batch-run.js';
import { BatchTail } from './batch-tail.js';
import type { CommitQueue, CommitTarget } from './commit-queue.js';
import type { CompactibleLog, SegmentSwap } from './compaction-pass.js';
import type { CompactionReport } from './compaction-report.js';
import { EmbeddedAppends } from './embedded-appends.js';
import type {
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
import { LogReader } from './log-reader.js';
import type { LogSegments } from './log-segments.js';
import { verifyLog } from './log-verification.js';
import type { LogOptions } from './options.js';
import type { PartitionProducers, SnapshotWork } from './partition-producers.js';
import { checkOffset } from './read-arguments.js';
import { retentionPoint } from './retention.js';

/** So that deletions do not crowd out a checkpoint, which waits for them. */
const MAX_DELETED_SEGMENTS_PER_TURN = 32;
const APPEND_OPTIONS = ['compression'];

/** What a log needs of its store. */
export interface LogHost {
  readonly disk: Disk;
  readonly journal: Journal;
  readonly queue: CommitQueue;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Why nothing is accepted any more: the first failure, or CLOSED. */
  readonly refusal: Error | undefined;
  /** Why no records are taken at present, though everything else is: the disk is full. */
  readonly full: VarveError | undefined;
  /** Gives up the space that is kept for a full disk. False: there was none. */
  giveUpReserve(): boolean;
  /** Files were deleted. */
  spaceFreed(): void;
  /** An append was refused because its segment could not grow. */
  noteFull(): void;
  /** Latches the store. */
  fail(error: unknown): Error;
  /** Runs alone: not beside a checkpoint or another file operation of this kind. */
  exclusive<T>(run: () => Promise<T>): Promise<T>;
  /** Compacts the log now, after what is being compacted. */
  compact(log: PartitionLog): Promise<CompactionReport>;
  /** Makes everything of the log durable in its own files and takes its state over. */
  closeLog(log: PartitionLog): Promise<void>;
}

export interface PartitionLogParts {
  readonly host: LogHost;
  readonly state: LogState;
  readonly directory: string;
  readonly segments: LogSegments;
  readonly producers: PartitionProducers;
  readonly options: LogOptions;
  readonly replicated: boolean;
  readonly recovery: RecoveryReport;
}

export class PartitionLog implements Log, CommitTarget, CompactibleLog {
  readonly topic: string;
  readonly partition: number;
  readonly topicId: string;
  readonly name: string;
  readonly directory: string;
  readonly options: LogOptions;
  onProgress: (() => void) | undefined;
  listedForCommit = false;

  readonly #recovery: RecoveryReport;
  readonly #host: LogHost;
  readonly #queue: CommitQueue;
  readonly #journal: Journal;
  readonly #journalLog: number;
  readonly #flush: FlushMode;
  readonly #replicated: boolean;
  readonly #relaxed: boolean;
  /** Of the last journal record of this log; 0 before the first. */
  #lastTicket = 0;
  readonly #compacted: boolean;
  readonly #segments: LogSegments;
  readonly #producers: PartitionProducers;
  readonly #tail = new BatchTail();
  readonly #locator: BatchLocator;
  readonly #reader: LogReader;
  readonly #epochs: EpochIndex;
  readonly #configurations: ConfigurationHistory;

  #start: number;
  /** The start that the journal was told of: what is below it is being deleted. */
  #startSubmitted: number;
  #end: number;
  #lastEpoch: number;
  #durable: number;
  #highWatermark: number;
  #generation: number;
  #hardState: HardState;
  #compactedTo: number;
  #tombstonesRemovedTo: number;
  /** Until the last truncation is durable, nothing above it counts as written; −1 otherwise. */
  #writtenLimit = -1;
  #closed = false;
  readonly #appends: EmbeddedAppends;

  constructor(parts: PartitionLogParts) {
    const { host, state, options, segments } = parts;
    this.topic = state.topic;
    this.partition = state.partition;
    this.topicId = state.topicId;
    this.name = `${state.topic}-${state.partition}`;
    this.directory = parts.directory;
    this.options = options;
    this.#recovery = parts.recovery;
    this.#host = host;
    this.#queue = host.queue;
    this.#journal = host.journal;
    this.#journalLog = host.journal.registerLog({
      topicId: Buffer.from(state.topicId, 'hex'),
      partition: state.partition,
    });
    this.#flush = options.flush;
    this.#replicated = parts.replicated;
    this.#relaxed = options.flush !== 'sync';
    this.#compacted = options.cleanup.includes('compact');
    this.#segments = segments;
    this.#producers = parts.producers;
    this.#locator = new BatchLocator(segments.list, this.#tail);
    this.#locator.hasDamage = segments.list.all.some((segment) => segment.damaged.length > 0);
    this.#reader = new LogReader(this, segments.list, this.#locator);
    this.#epochs = EpochIndex.fromEntries(state.epochs.map(([epoch, startOffset]) => ({ epoch, startOffset })));
    this.#configurations = ConfigurationHistory.fromRows(state.configurations);
    this.#configurations.trimStart(state.logStart);
    this.#appends = new EmbeddedAppends(
      (batch) => {
        this.#checkAccepting();
        return this.#produce(batch, 0, batch.length, Math.max(this.#lastEpoch, 0));
      },
      options.flush === 'sync',
      host.now,
    );
    this.#start = state.logStart;
    this.#startSubmitted = state.logStart;
    this.#end = state.end;
    this.#lastEpoch = this.#epochs.lastEpoch;
    this.#durable = state.end;
    this.#generation = state.generation;
    this.#hardState = { term: state.term, vote: state.vote };
    this.#compactedTo = state.compactedTo ?? 0;
    this.#tombstonesRemovedTo = state.tombstonesRemovedTo ?? 0;
    this.#highWatermark = parts.producers.highWatermark;
  }

  get recovery(): RecoveryReport {
    const { rebuiltIndexes } = this.#segments;
    if (rebuiltIndexes === 0) return this.#recovery;
    return { ...this.#recovery, rebuiltIndexes: this.#recovery.rebuiltIndexes + rebuiltIndexes };
  }

  // ---- cursors ----

  get start(): number {
    return this.#start;
  }

  get end(): number {
    return this.#end;
  }

  get written(): number {
    return this.#writtenLimit < 0 ? this.#end : this.#writtenLimit;
  }

  get durable(): number {
    return this.#durable;
  }

  get generation(): number {
    return this.#generation;
  }

  get highWatermark(): number {
    return this.#highWatermark;
  }

  get lastStableOffset(): number {
    return Math.max(this.#producers.lastStableOffset, this.#start);
  }

  get lastEpoch(): number {
    return this.#lastEpoch;
  }

  get hardState(): HardState {
    return this.#hardState;
  }

  get configurations(): readonly Configuration[] {
    return this.#configurations.entries;
  }

  // ---- Raft's view ----

  epochAt(offset: number): number {
    return this.#epochs.epochAt(offset);
  }

  endForEpoch(epoch: number): EpochEnd {
    return this.#epochs.endForEpoch(epoch, this.#start, this.#end);
  }

  span(start: number, maxBytes: number): { readonly end: number; readonly bytes: number } {
    this.#locator.extend(start, maxBytes, this.#end);
    return { end: this.#locator.next, bytes: this.#locator.to - this.#locator.from };
  }

  // ---- replication ----

  saveHardState(state: HardState, done: () => void): void {
    this.#checkAccepting();
    checkHardState(state, done, this.name);
    const { term, vote } = this.#hardState;
    invariant(
      state.term > term || (state.term === term && (vote === 0 || vote === state.vote)),
      `${this.name}: hard state goes from term ${term}, vote ${vote} to term ${state.term}, vote ${state.vote}`,
    );
    this.#hardState = { term: state.term, vote: state.vote };
    this.#submitRecord(RecordType.HardState, encodeHardState(state), (error) => {
      if (error === undefined) done();
    });
  }

  appendProduced(given: Uint8Array, start: number, end: number, epoch = Math.max(this.#lastEpoch, 0)): AppendedRange {
    this.#checkAccepting();
    const bytes = checkRunArguments(given, start, end, this.name);
    checkEpoch(epoch, this.#lastEpoch, this.name);
    if (this.#queue.overloaded) {
      throw new VarveError(
        'OVERLOADED',
        `${this.name}: ${this.#queue.pendingBytes} bytes wait for the disk, twice the limit (pendingMaxBytes); wait for whenWritable() before appending`,
      );
    }
    if (!isMapped(bytes)) return this.#produce(bytes, start, end, epoch);
    // A view that a read returned cannot be stamped in place.
    const copy = Buffer.from(bytes.subarray(start, end));
    return this.#produce(copy, 0, copy.length, epoch);
  }

  #produce(bytes: Buffer, start: number, end: number, epoch: number): AppendedRange {
    this.#checkSpace();
    checkRunSize(start, end, this.name);
    invariant(epoch >= this.#lastEpoch, `${this.name}: epoch ${epoch} after epoch ${this.#lastEpoch}`);
    if (checkProduced(bytes, start, end, this.options.maxBatchBytes)) {
      const duplicate = this.#producers.check(bytes, start, end, this.name);
      if (duplicate !== undefined) return duplicate;
    }
    const baseOffset = this.#end;
    if (this.#compacted) checkKeys(bytes, start, end, this.name);
    const endOffset = stampProduced(bytes, start, end, baseOffset, epoch);
    this.#store(bytes, start, end, endOffset, this.#flush);
    return { baseOffset, lastOffset: endOffset - 1 };
  }

  appendControl(kind: ControlKind, value: Uint8Array, epoch: number): AppendedRange {
    this.#checkAccepting();
    invariant(epoch >= this.#lastEpoch, `${this.name}: epoch ${epoch} after epoch ${this.#lastEpoch}`);
    const baseOffset = this.#end;
    const batch = encodeControlBatch(kind, value, baseOffset, epoch, this.#host.now());
    this.#withReserve(() => this.#storeControl(batch, 0, batch.length, baseOffset + 1));
    return { baseOffset, lastOffset: baseOffset };
  }

  appendMarker(
    producerId: number,
    producerEpoch: number,
    result: TransactionResult,
    coordinatorEpoch: number,
    epoch = Math.max(this.#lastEpoch, 0),
  ): AppendedRange {
    this.#checkAccepting();
    checkMarkerArguments(producerId, producerEpoch, result, coordinatorEpoch, this.name);
    checkEpoch(epoch, this.#lastEpoch, this.name);
    this.#producers.checkMarker(producerId, producerEpoch, coordinatorEpoch, this.name);
    const baseOffset = this.#end;
    const marker = { result, coordinatorEpoch };
    const batch = encodeMarker(producerId, producerEpoch, marker, baseOffset, epoch, this.#host.now());
    this.#store(batch, 0, batch.length, baseOffset + 1, 'sync');
    return { baseOffset, lastOffset: baseOffset };
  }

  appendReplicated(bytes: Buffer, start: number, end: number, maxEpoch: number): AppendedRange {
    this.#checkAccepting();
    this.#checkSpace();
    checkRunSize(start, end, this.name);
    const baseOffset = this.#end;
    const { endOffset, hasControl } = checkReplicated(
      bytes,
      start,
      end,
      baseOffset,
      this.#lastEpoch,
      maxEpoch,
      this.name,
    );
    if (hasControl) this.#storeControl(bytes, start, end, endOffset);
    else this.#store(bytes, start, end, endOffset, this.#flush);
    return { baseOffset, lastOffset: endOffset - 1 };
  }

  truncate(to: number): void {
    this.#checkAccepting();
    if (to >= this.#end) return;
    invariant(to >= this.#start, `${this.name}: truncation at ${to} below the log start ${this.#start}`);
    const cut = this.#locator.baseOf(to);
    invariant(
      cut >= this.#highWatermark,
      `${this.name}: truncation at ${cut} below the high watermark ${this.#highWatermark}`,
    );
    const truncation = this.#withReserve(() => this.#segments.truncate(cut, this.#generation + 1));
    this.#generation++;
    this.#tail.truncate(cut);
    this.#epochs.truncateTo(cut);
    this.#configurations.truncateTo(cut);
    this.#producers.truncate(cut);
    this.#lastEpoch = this.#epochs.lastEpoch;
    this.#end = cut;
    this.#durable = Math.min(this.#durable, cut);
    // An earlier truncation that is not durable yet still holds down what lies above its own cut.
    this.#writtenLimit = this.#writtenLimit < 0 ? cut : Math.min(this.#writtenLimit, cut);
    const generation = this.#generation;
    this.#submitRecord(RecordType.Truncation, encodeTruncation(truncation), (error) => {
      if (error !== undefined || generation !== this.#generation) return;
      // Completions of what precedes the cut carry an older generation and were ignored; this one speaks for them.
      this.durableUpTo(cut, generation);
      this.#writtenLimit = -1;
      this.committed();
    });
    this.#appends.truncate(cut, this.name);
    this.#reader.wakeAll();
  }

  advanceHighWatermark(to: number): void {
    if (to <= this.#highWatermark) return;
    invariant(to <= this.#end, `${this.name}: high watermark ${to} above the log end ${this.#end}`);
    this.#highWatermark = to;
    this.#producers.commit(to);
    this.#reader.wake();
  }

  async deleteBefore(offset: number): Promise<void> {
    this.#checkAccepting();
    checkOffset(offset, this.name);
    if (!Number.isInteger(offset) || offset < 0 || offset > this.#highWatermark) {
      throw new VarveError(
        'OFFSET_OUT_OF_RANGE',
        `${this.name}: deleteBefore(${offset}): give an offset from ${this.#start} to the high watermark ${this.#highWatermark}`,
      );
    }
    if (offset <= this.#start) return;
    // A replica's order against the high watermark counts: its record is submitted in this turn.
    if (!this.#replicated) {
      await this.#host.exclusive(async () => {
        this.checkOpen();
        await this.#saveProducersBefore(offset);
      });
      this.checkOpen();
    }
    this.#startSubmitted = Math.max(this.#startSubmitted, offset);
    await this.record(RecordType.LogStart, encodeLogStart(offset));
    await this.#host.exclusive(async () => {
      // What was closed meanwhile is left as its checkpoint row says it is; the next opening deletes.
      this.checkOpen();
      if (offset <= this.#start) return;
      if (this.#replicated) await this.#saveProducersBefore(offset);
      this.#start = offset;
      this.#epochs.trimStart(offset);
      this.#configurations.trimStart(offset);
      this.#reader.wakeAll();
      await this.#segments.removeBelow(offset);
      await this.#producers.removeBelow(this.#segments.list.all[0]!.base);
    });
    this.#host.spaceFreed();
  }

  retentionPoint(): number {
    return this.#retentionPoint();
  }

  #retentionPoint(maxSegments?: number): number {
    const log = { start: this.#start, highWatermark: this.#highWatermark };
    return retentionPoint(this.#segments.list.all, this.options, log, this.#host.now(), maxSegments);
  }

  get throttled(): boolean {
    return this.#queue.throttledFor(this.#flush);
  }

  whenWritable(): Promise<void> {
    return this.#queue.whenWritable(this.#flush);
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
    return verifyLog(this.#segments, options, {
      disk: this.#host.disk,
      epochAt: (offset) => (offset < this.#start ? undefined : this.#epochs.epochAt(offset)),
      checkOpen: () => this.checkOpen(),
      onDamage: () => {
        this.#locator.hasDamage = true;
      },
    });
  }

  // ---- embedded use ----

  append(records: readonly RecordInput[], options?: { readonly compression?: Compression }): Promise<AppendedRange> {
    return new Promise((resolve, reject) => {
      if (options !== undefined) checkOptionNames(options, APPEND_OPTIONS);
      if (this.#compacted && Array.isArray(records)) checkRecordKeys(records, this.name);
      this.#queue.runWhenWritable(
        this.#flush,
        () => this.#appends.append(records, options?.compression ?? 'none').then(resolve, reject),
        reject,
      );
    });
  }

  async flush(): Promise<void> {
    this.#checkAccepting();
    await this.#journal.flush();
  }

  async compact(): Promise<CompactionReport> {
    this.#checkAccepting();
    try {
      await this.#host.exclusive(async () => {
        if (!this.#closed) this.#segments.roll(this.#generation);
      });
    } catch (error) {
      // Without space for a new segment, the active one is left out.
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') throw this.#host.fail(error);
    }
    // What was accepted by now is to be compacted, which asks for its being durable.
    await this.#journal.flush();
    return this.#host.compact(this);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const error = new VarveError('CLOSED', `${this.name}: the log was closed`);
    this.#reader.wakeAll(error);
    try {
      await this.#host.closeLog(this);
    } finally {
      this.#appends.fail(error);
    }
  }

  // ---- for the store ----

  get segments(): LogSegments {
    return this.#segments;
  }

  /** Aborted transactions with records in [from, to). */
  abortedBetween(from: number, to: number): Promise<readonly AbortedTransaction[]> {
    return this.#producers.abortedBetween(from, to);
  }

  get producers(): PartitionProducers {
    return this.#producers;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Rolls an old segment of an idle log. True when there is something for a checkpoint to do that no journal record tells of. */
  rollIfDue(): boolean {
    // Its state may have been taken over already, and the next opening would know nothing of the new segment.
    if (this.#closed) return false;
    try {
      this.#segments.rollIfDue(this.#generation);
    } catch (error) {
      // Tried again at the next turn.
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') throw error;
    }
    return this.#segments.hasNews;
  }

  /** Deletes what is not to be kept, a bounded number of segments a turn; a replicated log is told by its leader. */
  async enforceRetention(): Promise<void> {
    if (this.#replicated || this.#closed) return;
    const point = this.#retentionPoint(MAX_DELETED_SEGMENTS_PER_TURN);
    if (point <= this.#start) return;
    await this.deleteBefore(point).catch((error: unknown) => {
      if (!(error instanceof VarveError) || error.code !== 'CLOSED') throw error;
    });
  }

  /**
   * Another text whenever `state()` may say something else, or the segments have work for a checkpoint. Cheap: logs that did
   * not change cost a checkpoint no more than this.
   */
  get stateKey(): string {
    const { emptyBelow } = this.#producers;
    const versions = `${this.#configurations.version} ${this.#segments.version}`;
    return `${this.#lastTicket} ${this.#highWatermark} ${this.#compactedTo} ${emptyBelow} ${versions}`;
  }

  /** The journal was given nothing of this log since it was opened. */
  get isUntouched(): boolean {
    return this.#lastTicket === 0;
  }

  /** What a checkpoint says of the log; true of the disk once all records submitted so far are durable and segments synced. */
  state(): LogState {
    return {
      topic: this.topic,
      partition: this.partition,
      topicId: this.topicId,
      term: this.#hardState.term,
      vote: this.#hardState.vote,
      logStart: this.#startSubmitted,
      end: this.#end,
      hwFloor: Math.min(this.#highWatermark, this.#end),
      generation: this.#generation,
      relaxed: this.#relaxed,
      compactedTo: this.#compactedTo,
      tombstonesRemovedTo: this.#tombstonesRemovedTo,
      segments: this.#segments.states(),
      epochs: this.#epochs.entries.map(({ epoch, startOffset }) => [epoch, startOffset] as const),
      configurations: this.#configurations.rows(),
      producersEmptyBelow: this.#producers.emptyBelow,
    };
  }

  // ---- for compaction ----

  get compactedTo(): number {
    return this.#compactedTo;
  }

  get compactableTo(): number {
    return Math.min(this.#producers.lastStableOffset, this.#durable);
  }

  knowsProducer(producerId: number): boolean {
    return this.#producers.knows(producerId);
  }

  async swap({ replaced, compacted, tombstonesRemovedTo }: SegmentSwap): Promise<boolean> {
    return this.#host.exclusive(async () => {
      if (this.#closed || this.#host.refusal !== undefined || !this.#segments.list.holds(replaced)) return false;
      const { end } = replaced.at(-1)!;
      invariant(end <= this.#highWatermark, `${this.name}: compaction above the high watermark ${this.#highWatermark}`);
      const { name, length, maxTimestamp } = compacted;
      const names = replaced.map(({ base, tag }) => ({ base, tag }));
      const payload = encodeSwap({ replaced: names, tag: name.tag, length, end, maxTimestamp, tombstonesRemovedTo });
      await this.record(RecordType.Swap, payload);
      // Meanwhile the log may have gone on, and been cut, but above the high watermark.
      const shift = this.#segments.swap(replaced, compacted, this.#generation);
      this.#tail.moved(end, shift);
      this.#tombstonesRemovedTo = Math.max(this.#tombstonesRemovedTo, tombstonesRemovedTo);
      return true;
    });
  }

  noteCompacted(to: number): void {
    this.#compactedTo = Math.max(this.#compactedTo, to);
  }

  /** Forgets producers that were idle for too long. @returns the snapshot that is due */
  captureProducers(need: 'roll' | 'now'): SnapshotWork | undefined {
    this.#producers.expire(this.#host.now(), this.options.producerIdExpirationMs);
    return this.#producers.capture(need);
  }

  epochFile(): Buffer {
    return this.#epochs.toBytes();
  }

  durableUpTo(end: number, generation: number): boolean {
    if (generation !== this.#generation || end <= this.#durable) return false;
    this.#durable = end;
    return true;
  }

  committed(): void {
    if (!this.#replicated && this.#flush === 'sync') {
      this.advanceHighWatermark(this.#durable);
      this.#appends.resolveUpTo(this.#durable);
    }
    this.onProgress?.();
  }

  /** Journals a record of the log, synced; resolves when it is durable. */
  record(type: number, payload: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#submitRecord(type, payload, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  /** The store was closed, after everything accepted became durable. */
  storeClosed(error: Error): void {
    this.#closed = true;
    this.#reader.wakeAll(error);
    this.#appends.fail(error);
    this.#segments.close();
  }

  /** The store failed: appends that wait learn it; reads go on. */
  storeFailed(error: Error): void {
    this.#appends.fail(error);
  }

  // ---- inside ----

  /** Stores a run that has a control batch: synced, whatever the flush mode. */
  #storeControl(bytes: Buffer, start: number, end: number, endOffset: number): void {
    const isConfiguration = holdsConfiguration(bytes, start, end);
    // Replay learns configurations from the journalled copy, since the segment may be deleted before a checkpoint. What
    // follows a record of the log is not flushed directly; saying again where the log starts is such a record.
    if (isConfiguration) this.#submitRecord(RecordType.LogStart, encodeLogStart(this.#startSubmitted), () => {});
    this.#store(bytes, start, end, endOffset, 'sync');
    if (isConfiguration) this.#configurations.noteBatches(bytes, start, end);
  }

  /** Stores a run of stamped, checked batches that starts at the log end; all or nothing. */
  #store(bytes: Buffer, start: number, end: number, endOffset: number, mode: FlushMode): void {
    const length = end - start;
    const { segment, position } = this.#storeBytes(bytes, start, end, endOffset);
    invariant(position === segment.length, `${segment.path}: stored at ${position}, expected ${segment.length}`);
    this.#note(segment, bytes, start, end);
    segment.end = endOffset;
    this.#end = endOffset;
    const generation = this.#generation;
    let ticket: number;
    try {
      ticket = this.#journal.appendStored(
        this.#journalLog,
        segment.file,
        segment.base,
        position,
        length,
        endOffset - 1,
        this.#lastEpoch,
        generation,
        Math.min(this.#highWatermark, this.#durable),
        mode,
      );
    } catch (error) {
      throw this.#host.fail(error);
    }
    this.#lastTicket = ticket;
    this.#queue.addAppend(ticket, this, endOffset, generation, length, mode);
    if (!this.#replicated && this.#flush !== 'sync') this.advanceHighWatermark(this.written);
  }

  /** @throws VarveError DISK_FULL (nothing changed) */
  #storeBytes(
    bytes: Buffer,
    start: number,
    end: number,
    endOffset: number,
  ): { readonly segment: Segment; readonly position: number } {
    try {
      const segment = this.#segments.roomFor(end - start, endOffset, this.#generation);
      return { segment, position: segment.file.append(bytes, start, end) };
    } catch (error) {
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') throw this.#host.fail(error);
      this.#host.noteFull();
      throw error;
    }
  }

  /** Indexes the batches of a run that was stored at the end of the segment. */
  #note(segment: Segment, bytes: Buffer, start: number, end: number): void {
    let position = segment.length;
    for (let pos = start; pos < end; ) {
      const size = batchSizeAt(bytes, pos);
      const baseOffset = baseOffsetAt(bytes, pos);
      const epoch = epochAt(bytes, pos);
      if (epoch !== this.#lastEpoch) {
        this.#epochs.append(epoch, baseOffset);
        this.#lastEpoch = epoch;
      }
      this.#tail.push(baseOffset, segment.place + position);
      if (hasProducerAt(bytes, pos)) this.#producers.apply(bytes, pos);
      segment.indexes.add(position, baseOffset, baseOffset + lastOffsetDeltaAt(bytes, pos), maxTimestampAt(bytes, pos));
      position += size;
      pos += size;
    }
    segment.length = position;
    segment.maxTimestamp = segment.indexes.maxTimestamp;
    segment.dirty = true;
  }

  /** What the segments below `offset` say of producers must be in a snapshot before they go. */
  async #saveProducersBefore(offset: number): Promise<void> {
    const { list } = this.#segments;
    try {
      await this.#producers.saveBefore(list.all[list.indexOf(offset)]!.base, this.#journal);
    } catch (error) {
      // Deleting is what helps; until the next checkpoint a crash would forget producers that wrote only there.
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') throw this.#host.fail(error);
    }
  }

  #submitRecord(type: number, payload: Uint8Array, done: (error?: Error) => void): void {
    let ticket: number;
    try {
      ticket = this.#journal.append(
        this.#journalLog,
        type,
        this.#generation,
        Math.max(this.#lastEpoch, 0),
        payload,
        'sync',
      );
    } catch (error) {
      throw this.#host.fail(error);
    }
    this.#lastTicket = ticket;
    this.#queue.addRecord(ticket, done);
  }

  /** What must not fail for want of space, because it frees some or because others wait for it, may use the reserve. */
  #withReserve<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
      if (error.code === 'DISK_FAILED') throw this.#host.fail(error);
      if (error.code !== 'DISK_FULL' || !this.#host.giveUpReserve()) throw error;
      return run();
    }
  }

  #checkSpace(): void {
    const full = this.#host.full;
    if (full !== undefined) throw full;
  }

  checkOpen(): void {
    if (this.#closed) throw new VarveError('CLOSED', `${this.name}: the log was closed`);
  }

  #checkAccepting(): void {
    if (this.#closed) this.checkOpen();
    const refusal = this.#host.refusal;
    if (refusal !== undefined) throw refusal;
  }
}
