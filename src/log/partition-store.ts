/**
 * A store: one data directory with one journal, and the logs in it. It opens (recovering after a crash), hands out logs,
 * writes checkpoints in the background, and closes cleanly.
 *
 * Order at opening, each step durable before the next: lock, meta.json, removal of the clean mark, recovery, a checkpoint
 * of what was found, a new journal file, the checkpoint once more, which now says that the journal has begun. Only then is
 * a log handed out.
 *
 * What can go wrong: DIRECTORY_MISSING, DIRECTORY_MISMATCH, DIRECTORY_LOCKED, CORRUPT_CHECKPOINT, CORRUPT_JOURNAL,
 * CORRUPT_LOG (files gone) at opening. Later, the first failed write or sync latches the store: `failed` is set, appends
 * are refused with DISK_FAILED, reads go on, nothing is tried again. Reopening finds out what is really on disk.
 */
import { randomBytes } from 'node:crypto';
import type { Disk, Journal, JournalStats, SegmentStats } from '../disk/disk.js';
import { VarveError } from '../errors.js';
import { CHECKPOINT_FILE, type Checkpoint, encodeCheckpoint } from '../journal/checkpoint.js';
import { encodeRelaxed, RecordType } from '../journal/journal-records.js';
import { type LogState, logKey, newLogState } from '../journal/log-state.js';
import { MappedSegments } from '../segment/mapped-segments.js';
import { checkPartition, checkTopicId, checkTopicName, partitionDirectory } from '../segment/file-names.js';
import { MAX_RUN_BYTES } from './batch-run.js';
import { Checkpointer } from './checkpointer.js';
import { CommitQueue } from './commit-queue.js';
import type { CompactionStats } from './compaction-report.js';
import { Compactor } from './compactor.js';
import {
  checkMeta,
  checkOwner,
  type DirectoryMeta,
  JOURNAL_DIRECTORY,
  neverFormatted,
  readMeta,
  takeCleanMark,
  writeCleanMark,
  writeMeta,
} from './data-directory.js';
import { checkFits, DiskReserve, makeRoomForOpening } from './disk-reserve.js';
import type { Log } from './log.js';
import { LogSegments } from './log-segments.js';
import type { LogOptions, StoreOptions } from './options.js';
import type { LogHost } from './log-host.js';
import { PartitionLog } from './partition-log.js';
import { PartitionProducers, type ProducersGround } from './partition-producers.js';
import { cleanReport, type RecoveryReport } from './recovery-report.js';
import { checkLogOptionNames, resolveLogOptions, resolveStoreOptions } from './resolved-options.js';
import { recoverStore, type StoreRecovery } from './store-recovery.js';

/** What a store stands on. Real directories: store.ts; the simulator brings its own. */
export interface StoreGround {
  readonly disk: Disk;
  /** For messages. */
  readonly path: string;
  /** Changes with every boot of the machine; '' if unknown. */
  readonly bootId: string;
  /** Wall clock, milliseconds since 1970: for timestamps, rolling and retention. Default: the system's. */
  readonly now?: () => number;
}

export interface OpenLogOptions extends Partial<LogOptions> {
  /** 32 hex digits. Default: that of the topic's logs in this directory, or a new one. */
  readonly topicId?: string;
  /** The high watermark is moved by whoever replicates the log; without it, the log is its own majority. Default false. */
  readonly replicated?: boolean;
}

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

export class Store {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly directoryId: string;
  /** New with every opening. */
  readonly incarnationId: string;
  readonly options: StoreOptions;
  /** Called once, when the store fails. */
  onFailure: ((error: Error) => void) | undefined;

  readonly #ground: StoreGround;
  readonly #queue: CommitQueue;
  readonly #journal: Journal;
  readonly #checkpointer: Checkpointer;
  readonly #compactor: Compactor;
  readonly #reserve: DiskReserve;
  readonly #timer: NodeJS.Timeout;
  readonly #host: LogHost;
  readonly #mapped: MappedSegments;
  readonly #logs = new Map<string, PartitionLog>();
  readonly #opening = new Map<string, LogState>();
  readonly #states: Map<string, LogState>;
  readonly #reports: Map<string, RecoveryReport>;
  #failed: VarveError | undefined;
  /** When the store failed, not everything that it had accepted was known to be durable. */
  #lost = false;
  #refusal: Error | undefined;
  #closing: Promise<void> | undefined;
  #checkpointQueued = false;
  /** While the first file of the journal is awaited. */
  #noSpaceToStart: (() => void) | undefined;
  #running: Promise<unknown> = Promise.resolve();

  private constructor(ground: StoreGround, options: StoreOptions, meta: DirectoryMeta, found: StoreRecovery) {
    this.#ground = ground;
    this.options = options;
    this.clusterId = meta.clusterId;
    this.nodeId = meta.nodeId;
    this.directoryId = meta.directoryId;
    this.incarnationId = randomBytes(16).toString('hex');
    this.#states = found.states;
    this.#reports = found.reports;
    this.#queue = new CommitQueue(options);
    this.#mapped = new MappedSegments(options.maxMappedSegments);
    this.#reserve = new DiskReserve({
      disk: ground.disk,
      path: ground.path,
      bytes: options.reserveBytes,
      onFailure: (error) => this.#fail(error),
      // Its older files may have become free.
      onLack: () => this.#queueCheckpoint(),
    });
    this.#journal = ground.disk.openJournal({
      path: JOURNAL_DIRECTORY,
      directoryId: Buffer.from(meta.directoryId, 'hex'),
      firstFileNumber: found.nextJournalFile,
      startLsn: found.journalEnd.lsn,
      previousChecksum: found.journalEnd.checksum,
      fileBytes: options.journalFileBytes,
      maxGroupBytes: options.journalGroupMaxBytes,
      // The journal begins to sync at half of the bounds, so that appends need not wait while the disk keeps up.
      asyncMaxMs: Math.max(1, Math.floor(options.asyncMaxMs / 2)),
      asyncMaxBytes: Math.floor(options.asyncMaxBytes / 2),
      directFlushBytes: options.directFlushBytes,
      directMarkMaxMs: options.directMarkMaxMs,
      spareFiles: found.journalFiles,
      onDurable: (ticket, directBytes) => this.#queue.onDurable(ticket, directBytes),
      onFailure: (error) => this.#fail(error),
      onSpace: (space) => {
        if (this.#noSpaceToStart !== undefined && space !== 'enough') this.#noSpaceToStart();
        else this.#reserve.journalSpace = space;
      },
    });
    this.#checkpointer = new Checkpointer({
      disk: ground.disk,
      journal: this.#journal,
      queue: this.#queue,
      directoryId: meta.directoryId,
      bootId: ground.bootId,
      journalMaxBytes: options.journalMaxBytes,
      journalLsn: found.journalEnd.lsn,
      journalChecksum: found.journalEnd.checksum,
      sequence: found.sequence,
      journalFile: found.nextJournalFile,
      logs: this.#logs,
      states: this.#states,
    });
    this.#compactor = new Compactor({
      disk: ground.disk,
      options,
      logs: () => [...this.#logs.values()].map((log) => log.compaction),
      now: ground.now ?? Date.now,
      fail: (error) => this.#fail(error),
    });
    this.#host = this.#makeHost();
    this.#queue.onAlarm = () => this.#watchJournal();
    this.#watchJournal();
    this.#timer = setInterval(() => this.#maintain(), options.checkpointIntervalMs);
    this.#timer.unref();
  }

  /** Opens the data directory that `ground.disk` has locked. The disk is closed when that fails. */
  static async open(ground: StoreGround, given: Partial<StoreOptions> = {}): Promise<Store> {
    try {
      const options = resolveStoreOptions(given);
      await checkFits(ground.disk, ground.path, options);
      const meta = await openDirectory(ground, options);
      await makeRoomForOpening(ground.disk, options);
      const cleanMark = await takeCleanMark(ground.disk);
      const found = await recoverStore(ground.disk, ground.path, meta, cleanMark, ground.bootId);
      const sequence = found.sequence + 1;
      const checkpoint: Checkpoint = {
        sequence,
        directoryId: meta.directoryId,
        bootId: ground.bootId,
        journalFile: found.nextJournalFile,
        journalLsn: found.journalEnd.lsn,
        journalChecksum: found.journalEnd.checksum,
        logs: [...found.states.values()],
      };
      // Twice, so that the one before is of this opening as well. An older one would be of no use: the files that its part
      // of the journal names may be gone, and after an unclean stop the generations went up without a record. The second one
      // says that the journal has begun, before anything is acknowledged: a journal that is not there then was lost.
      const replace = (bytes: Buffer): Promise<void> =>
        ground.disk.replaceFile(CHECKPOINT_FILE, bytes, { keepPrevious: true });
      await replace(encodeCheckpoint(checkpoint));
      await ground.disk.removeFiles(found.setAside);
      const store = new Store(ground, options, meta, { ...found, sequence });
      await store.#start(() => replace(encodeCheckpoint({ ...checkpoint, journalStarted: true })));
      await store.#reserve.restore();
      return store;
    } catch (error) {
      await ground.disk.close().catch(() => undefined);
      throw error;
    }
  }

  /** Waits for the journal's first file, and marks that it is there. @throws VarveError DISK_FULL, DISK_FAILED */
  async #start(mark: () => Promise<void>): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#noSpaceToStart = () => reject(noSpaceToStart(this.#ground.path, this.options));
        this.#journal.started.then(resolve, reject);
      });
      this.#noSpaceToStart = undefined;
      await this.#exclusive(mark);
    } catch (error) {
      this.#fail(error);
      await this.close().catch(() => undefined);
      throw error;
    }
  }

  /** Why the store accepts nothing any more; undefined while it does. */
  get failed(): Error | undefined {
    return this.#failed;
  }

  /**
   * Opens the log of a partition, creating it if there is none.
   * @throws VarveError INVALID_TOPIC, INVALID_ARGUMENT, DISK_FULL, DISK_FAILED, CLOSED
   */
  async openLog(topic: string, partition: number, given: OpenLogOptions = {}): Promise<Log> {
    checkTopicName(topic);
    checkPartition(partition);
    checkLogOptionNames(given);
    if (given.topicId !== undefined) checkTopicId(given.topicId);
    const options = resolveLogOptions(given);
    this.#checkAccepting();
    const topicId = given.topicId ?? this.#topicIdOf(topic, partition);
    const key = logKey(topicId, partition);
    if (this.#logs.get(key)?.isClosed) {
      throw new VarveError(
        'INVALID_ARGUMENT',
        `${topic}-${partition} is still being closed: await that close() before opening it again`,
      );
    }
    if (this.#logs.has(key) || this.#opening.has(key)) {
      throw new VarveError(
        'INVALID_ARGUMENT',
        `${topic}-${partition} is open already: share its handle, or close it first`,
      );
    }
    this.#opening.set(key, newLogState(topic, partition, topicId));
    try {
      // Before and after its turn, so that logs which are opened side by side share their syncs.
      if (!this.#states.has(key)) await this.#makeDirectory(key, newLogState(topic, partition, topicId));
      const { log, wasRelaxed } = await this.#exclusive(() =>
        this.#openLog(key, topic, partition, topicId, options, given.replicated ?? false),
      );
      // Durable before the first acknowledgement from memory, and taken back only once nothing is in memory alone.
      const relaxed = options.flush !== 'sync';
      if (relaxed !== wasRelaxed) await log.record(RecordType.Relaxed, encodeRelaxed(relaxed));
      return log;
    } finally {
      this.#opening.delete(key);
    }
  }

  stats(): StoreStats {
    return {
      journal: this.#journal.stats(),
      openLogs: this.#logs.size,
      pendingBytes: this.#queue.pendingBytes,
      pendingRecords: this.#queue.pendingTickets,
      checkpoints: this.#checkpointer.count,
      checkpointedLogs: this.#checkpointer.takenCount,
      uncoveredJournalBytes: this.#checkpointer.uncoveredBytes,
      segments: {
        ...this.#ground.disk.stats(),
        mapped: this.#mapped.count,
        mappings: this.#mapped.mappings,
        evictions: this.#mapped.evictions,
      },
      compaction: this.#compactor.stats(),
      full: this.#reserve.isFull,
    };
  }

  /** Writes a checkpoint now. */
  async checkpoint(): Promise<void> {
    this.#checkAccepting();
    this.#rollOldSegments();
    await this.#exclusive(() => this.#runCheckpoint());
    this.#checkAccepting();
    await this.#enforceRetention();
  }

  /**
   * Resolves when there is space again after a DISK_FULL: what was refused may be tried again.
   * @throws VarveError DISK_FAILED, CLOSED
   */
  whenSpace(): Promise<void> {
    this.#checkAccepting();
    return this.#reserve.whenSpace();
  }

  /** From now on nothing waits for space on a full disk: the store fails instead. Closing begins with it. */
  stopWaiting(): void {
    this.#journal.stopWaiting();
  }

  /**
   * Makes everything accepted durable, leaves the clean mark, releases the directory. Idempotent.
   * @throws VarveError `failed`, mostly DISK_FAILED, when not everything could be made durable: on a full disk, or because
   *   the store had failed before. Then there is no mark, and the directory is released all the same
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #openLog(
    key: string,
    topic: string,
    partition: number,
    topicId: string,
    options: LogOptions,
    replicated: boolean,
  ): Promise<{ readonly log: PartitionLog; readonly wasRelaxed: boolean }> {
    this.#checkAccepting();
    const { disk } = this.#ground;
    const state = this.#states.get(key) ?? newLogState(topic, partition, topicId);
    if (state.topic !== topic) {
      throw new VarveError(
        'INVALID_ARGUMENT',
        `topic id ${topicId} belongs to topic '${state.topic}', not to '${topic}'`,
      );
    }
    const directory = partitionDirectory(topic, partition, topicId);
    const mapped = this.#mapped;
    const { now } = this.#host;
    const parts = { disk, directory, options, maxRunBytes: MAX_RUN_BYTES, mapped, now };
    const segments = await LogSegments.open(parts, state);
    const ground = { disk, directory, state, segments: segments.list, replicated, now: now() };
    const producers = await openProducers(ground, segments).catch((error: unknown) => {
      segments.close();
      throw error;
    });
    const report = this.#reports.get(key) ?? cleanReport(state);
    this.#reports.delete(key);
    const log = new PartitionLog({
      host: this.#host,
      state,
      directory,
      segments,
      producers,
      options,
      replicated,
      recovery: report,
      close: (closing) => this.#exclusive(() => this.#closeLog(closing)),
    });
    this.#logs.set(key, log);
    return { log, wasRelaxed: state.relaxed };
  }

  /** From here on the store knows the log, also if opening it fails: the directory is there, and its name says the topic id. */
  async #makeDirectory(key: string, state: LogState): Promise<void> {
    await this.#ground.disk.makeDirectory(partitionDirectory(state.topic, state.partition, state.topicId));
    this.#states.set(key, state);
  }

  #topicIdOf(topic: string, partition: number): string {
    const known = new Map([...this.#opening, ...this.#states]);
    const states = [...known.values()].filter((state) => state.topic === topic);
    const same = states.filter((state) => state.partition === partition);
    if (same.length > 1) {
      throw new VarveError(
        'INVALID_ARGUMENT',
        `${topic}-${partition} exists under several topic ids: say which (topicId)`,
      );
    }
    return (same[0] ?? states[0])?.topicId ?? randomBytes(16).toString('hex');
  }

  #makeHost(): LogHost {
    const store = this;
    return {
      disk: this.#ground.disk,
      journal: this.#journal,
      queue: this.#queue,
      now: this.#ground.now ?? Date.now,
      get refusal() {
        return store.#refusal;
      },
      get full() {
        return store.#reserve.refusal;
      },
      giveUpReserve: () => this.#reserve.giveUp(),
      spaceFreed: () => this.#reserve.noteFreed(),
      noteFull: () => this.#reserve.noteLack(),
      fail: (error) => this.#fail(error),
      exclusive: (run) => this.#exclusive(run),
      compact: (log) => this.#compactor.compact(log),
    };
  }

  async #closeLog(log: PartitionLog): Promise<void> {
    const key = logKey(log.topicId, log.partition);
    if (this.#logs.get(key) !== log) return;
    try {
      if (this.#failed === undefined) {
        await this.#withReserve(async () => {
          // Names of set-aside files are free only once a checkpoint stands that does not need them.
          if (log.segments.hasSetAside) await this.#checkpointer.run();
          this.#states.set(key, await this.#checkpointer.closeLog(log));
        });
      }
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#logs.delete(key);
      log.segments.close();
    }
  }

  /** What is done at every turn of the clock: rolling, a checkpoint if anything happened, deletions. */
  #maintain(): void {
    if (this.#refusal !== undefined) return;
    try {
      if (this.#rollOldSegments() || !this.#checkpointer.isIdle) this.#queueCheckpoint();
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#enforceRetention().catch((error) => {
      if (this.#refusal === undefined) this.#fail(error);
    });
  }

  /** @returns whether a checkpoint has something to do even if nothing was appended */
  #rollOldSegments(): boolean {
    let hasWork = false;
    for (const log of this.#logs.values()) hasWork = log.rollIfDue() || hasWork;
    return hasWork;
  }

  async #enforceRetention(): Promise<void> {
    for (const log of [...this.#logs.values()]) await log.enforceRetention();
  }

  /** Checkpoints at half of what the journal may hold; at all of it appends wait. */
  #watchJournal(): void {
    const max = this.options.journalMaxBytes;
    const uncovered = this.#checkpointer.uncoveredBytes;
    const covered = this.#queue.journalledBytes - uncovered;
    this.#queue.alarmAtBytes = uncovered < max / 2 ? covered + max / 2 : uncovered < max ? covered + max : Infinity;
    if (uncovered >= max / 2) this.#queueCheckpoint();
    this.#queue.journalFull = uncovered >= max;
  }

  #queueCheckpoint(): void {
    if (this.#checkpointQueued || this.#refusal !== undefined) return;
    this.#checkpointQueued = true;
    this.#exclusive(async () => {
      this.#checkpointQueued = false;
      if (this.#refusal === undefined) await this.#runCheckpoint();
    }).catch((error) => this.#fail(error));
  }

  async #runCheckpoint(): Promise<void> {
    try {
      await this.#withReserve(() => this.#checkpointer.run());
    } catch (error) {
      // The old checkpoint still stands: no space is tried again when the timer says so.
      if (!isFull(error)) this.#fail(error);
      return;
    }
    this.#mapped.trim();
    this.#watchJournal();
    this.#compactor.wake();
    void this.#reserve.restore();
  }

  /** A checkpoint frees files of the journal: it may use the reserve. So may closing a log, which would fail the store. */
  async #withReserve(run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      if (!isFull(error) || !this.#reserve.giveUp()) throw error;
      await run();
    }
  }

  /** The first failure counts; the store never gets better. */
  #fail(cause: unknown): Error {
    if (this.#failed !== undefined) return this.#failed;
    const message = cause instanceof Error ? cause.message : String(cause);
    const error =
      cause instanceof VarveError && cause.code === 'INVARIANT_BROKEN'
        ? cause
        : new VarveError(
            'DISK_FAILED',
            `${this.#ground.path}: ${message}. Nothing is accepted any more, reads go on; check the disk, then open the store again`,
            { cause },
          );
    this.#failed = error;
    this.#lost = this.#queue.pendingTickets > 0 || [...this.#logs.values()].some((log) => log.durable < log.end);
    this.#refusal ??= error;
    clearInterval(this.#timer);
    this.#compactor.halt();
    this.#queue.fail(error);
    this.#reserve.fail(error);
    for (const log of this.#logs.values()) log.storeFailed(error);
    this.onFailure?.(error);
    return error;
  }

  /** One file operation after the other: opening, closing and deleting parts of logs, checkpoints. */
  #exclusive<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#running.then(run);
    this.#running = turn.catch(() => undefined);
    return turn;
  }

  #checkAccepting(): void {
    if (this.#refusal !== undefined) throw this.#refusal;
  }

  async #close(): Promise<void> {
    const closed = new VarveError('CLOSED', `${this.#ground.path}: the store was closed`);
    const accepting = this.#refusal === undefined;
    this.#refusal ??= closed;
    clearInterval(this.#timer);
    // Whoever has the turn may be waiting for a journal that waits for space.
    if (this.#reserve.refusal !== undefined) this.#reserve.giveUp();
    this.stopWaiting();
    await this.#compactor.stop();
    this.#reserve.fail(closed);
    await this.#reserve.stop();
    await this.#exclusive(async () => {
      try {
        if (accepting) {
          await this.#withReserve(() => this.#checkpointer.run({ closing: true }));
          await this.#journal.close();
          if (this.#failed === undefined) await writeCleanMark(this.#ground.disk, this.#checkpointer.sequence);
        }
      } catch (error) {
        throw this.#fail(error);
      } finally {
        for (const log of this.#logs.values()) log.storeClosed(closed);
        this.#logs.clear();
        this.#queue.fail(closed);
        await this.#ground.disk.close().catch((error: unknown) => {
          if (this.#failed === undefined) throw error;
        });
      }
      if (this.#lost) throw this.#failed!;
    });
  }
}

async function openProducers(ground: ProducersGround, segments: LogSegments): Promise<PartitionProducers> {
  const producers = await PartitionProducers.open(ground);
  // A deletion that closing overtook.
  await segments.removeBelow(ground.state.logStart);
  await producers.removeBelow(segments.list.all[0]!.base);
  return producers;
}

function noSpaceToStart(path: string, { journalFileBytes }: StoreOptions): VarveError {
  return new VarveError(
    'DISK_FULL',
    `${path}: the disk is full: the journal's first file (journalFileBytes: ${journalFileBytes}) does not fit. Nothing is lost; free some space, then open it again`,
  );
}

function isFull(error: unknown): boolean {
  return error instanceof VarveError && error.code === 'DISK_FULL';
}

/** Reads meta.json, or formats the directory when that is asked for. */
async function openDirectory(ground: StoreGround, options: StoreOptions): Promise<DirectoryMeta> {
  checkOwner(options);
  const { disk, path } = ground;
  const meta = await readMeta(disk, path);
  if (meta !== undefined) {
    checkMeta(meta, options, path);
    return meta;
  }
  if (!options.create) throw neverFormatted(path);
  return writeMeta(disk, path, {
    clusterId: options.clusterId ?? randomBytes(16).toString('hex'),
    nodeId: options.nodeId ?? 1,
    directoryId: randomBytes(16).toString('hex'),
  });
}
