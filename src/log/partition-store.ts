/**
 * A store: one data directory with one journal, and the logs in it. Here its parts are put together, and what concerns all
 * of them at once: the begin, the first failure, the end.
 *
 *   store-opening       up to the first checkpoint      log-registry   which logs there are
 *   store-maintenance   what it does by itself          checkpointer   one checkpoint
 *   commit-queue        who waits for the journal       compactor      compactions, one after the other
 *   disk-reserve        what is kept for a full disk    turns          file operations, one after the other
 *
 * What can go wrong: DIRECTORY_MISSING, DIRECTORY_MISMATCH, DIRECTORY_LOCKED, CORRUPT_CHECKPOINT, CORRUPT_JOURNAL,
 * CORRUPT_LOG (files gone) at opening. Later, the first failed write or sync latches the store: `failed` is set, appends
 * are refused with DISK_FAILED, reads go on, nothing is tried again. Reopening finds out what is really on disk.
 */
import type { Journal } from '../disk/disk.js';
import { systemEnvironment } from '../environment.js';
import { VarveError } from '../errors.js';
import type { LogState } from '../journal/log-state.js';
import { MappedSegments } from '../segment/mapped-segments.js';
import { Checkpointer } from './checkpointer.js';
import { CommitQueue } from './commit-queue.js';
import { Compactor } from './compactor.js';
import { JOURNAL_DIRECTORY, writeCleanMark } from './data-directory.js';
import { DiskReserve } from './disk-reserve.js';
import type { Log } from './log.js';
import { checkAccepting, type LogHost } from './log-host.js';
import { LogRegistry, type OpenLogOptions } from './log-registry.js';
import type { StoreOptions } from './options.js';
import type { PartitionLog } from './partition-log.js';
import { resolveStoreOptions } from './resolved-options.js';
import { SideFiles } from './side-files.js';
import { StoreMaintenance } from './store-maintenance.js';
import { type OpenedDirectory, openDirectory, type ResolvedGround, type StoreGround } from './store-opening.js';
import type { StoreStats } from './store-stats.js';
import { Turns } from './turns.js';

export type { OpenLogOptions } from './log-registry.js';
export type { StoreGround } from './store-opening.js';
export type { StoreStats } from './store-stats.js';

export class Store {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly directoryId: string;
  /** New with every opening. */
  readonly incarnationId: string;
  readonly options: StoreOptions;
  /** Called once, when the store fails. */
  onFailure: ((error: Error) => void) | undefined;

  readonly #ground: ResolvedGround;
  readonly #turns = new Turns();
  readonly #queue: CommitQueue;
  readonly #mapped: MappedSegments;
  readonly #reserve: DiskReserve;
  readonly #journal: Journal;
  readonly #compactor: Compactor;
  readonly #host: LogHost;
  readonly #registry: LogRegistry;
  readonly #checkpointer: Checkpointer;
  readonly #maintenance: StoreMaintenance;
  /** Of the layer above. */
  readonly sideFiles: SideFiles;
  #failed: VarveError | undefined;
  /** When the store failed, not everything that it had accepted was known to be durable. */
  #lost = false;
  #refusal: Error | undefined;
  #closing: Promise<void> | undefined;
  /** While the first file of the journal is awaited. */
  #noSpaceToStart: (() => void) | undefined;

  private constructor(ground: ResolvedGround, options: StoreOptions, { meta, found }: OpenedDirectory) {
    const { disk, environment } = ground;
    this.#ground = ground;
    this.options = options;
    this.clusterId = meta.clusterId;
    this.nodeId = meta.nodeId;
    this.directoryId = meta.directoryId;
    this.incarnationId = environment.randomBytes(16).toString('hex');
    this.#queue = new CommitQueue(options, environment.monotonic);
    this.#mapped = new MappedSegments(options.maxMappedSegments);
    this.#reserve = new DiskReserve({
      environment,
      disk,
      path: ground.path,
      bytes: options.reserveBytes,
      onFailure: (error) => this.#fail(error),
      // Its older files may have become free.
      onLack: () => this.#maintenance.queueCheckpoint(),
    });
    this.sideFiles = new SideFiles(disk, this.#turns, this.#reserve);
    this.#journal = disk.openJournal({
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
    this.#compactor = new Compactor({
      environment,
      disk,
      options,
      logs: () => [...this.#registry.logs.values()].map((log) => log.compaction),
      fail: (error) => this.#fail(error),
    });
    this.#host = this.#makeHost();
    this.#registry = new LogRegistry(
      {
        disk,
        host: this.#host,
        mapped: this.#mapped,
        opened: (log, state) => this.#checkpointer.opened(log, state),
        makeDurable: (log) => this.#makeDurable(log),
      },
      found,
    );
    this.#checkpointer = new Checkpointer({
      environment,
      disk,
      journal: this.#journal,
      queue: this.#queue,
      directoryId: meta.directoryId,
      bootId: ground.bootId,
      journalLsn: found.journalEnd.lsn,
      journalChecksum: found.journalEnd.checksum,
      sequence: found.sequence,
      journalFile: found.nextJournalFile,
      logs: this.#registry.logs,
      states: this.#registry.states,
    });
    this.#maintenance = new StoreMaintenance({
      host: this.#host,
      options,
      logs: this.#registry.logs,
      checkpointer: this.#checkpointer,
      compactor: this.#compactor,
      reserve: this.#reserve,
      mapped: this.#mapped,
    });
  }

  /** Opens the data directory that `disk` has locked. The disk is closed when that fails. */
  static async open(standsOn: StoreGround, given: Partial<StoreOptions> = {}): Promise<Store> {
    const ground = { environment: systemEnvironment, ...standsOn };
    try {
      const options = resolveStoreOptions(given);
      const opened = await openDirectory(ground, options);
      const store = new Store(ground, options, opened);
      await store.#start(opened.markStarted);
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
      await this.#turns.run(mark);
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
  openLog(topic: string, partition: number, options: OpenLogOptions = {}): Promise<Log> {
    return this.#registry.open(topic, partition, options);
  }

  stats(): StoreStats {
    return {
      journal: this.#journal.stats(),
      openLogs: this.#registry.logs.size,
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

  /** Writes a checkpoint now. @throws VarveError DISK_FAILED, CLOSED */
  checkpoint(): Promise<void> {
    return this.#maintenance.checkpoint();
  }

  /**
   * Resolves when there is space again after a DISK_FULL: what was refused may be tried again.
   * @throws VarveError DISK_FAILED, CLOSED
   */
  whenSpace(): Promise<void> {
    checkAccepting(this.#host);
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

  #makeHost(): LogHost {
    const store = this;
    return {
      disk: this.#ground.disk,
      journal: this.#journal,
      queue: this.#queue,
      environment: this.#ground.environment,
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
      exclusive: (run) => this.#turns.run(run),
      compact: (log) => this.#compactor.compact(log),
    };
  }

  async #makeDurable(log: PartitionLog): Promise<LogState | undefined> {
    if (this.#failed !== undefined) return undefined;
    let state: LogState | undefined;
    // It may use the reserve: otherwise it would fail the store.
    await this.#reserve.lend(async () => {
      // Names of set-aside files are free only once a checkpoint stands that does not need them.
      if (log.segments.writeback.hasSetAside) await this.#checkpointer.run();
      state = await this.#checkpointer.closeLog(log);
    });
    return state;
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
    this.#lost =
      this.#queue.pendingTickets > 0 || [...this.#registry.logs.values()].some((log) => log.durable < log.end);
    this.#refusal ??= error;
    this.#maintenance.stop();
    this.#compactor.halt();
    this.#queue.fail(error);
    this.#reserve.fail(error);
    for (const log of this.#registry.logs.values()) log.storeFailed(error);
    this.onFailure?.(error);
    return error;
  }

  async #close(): Promise<void> {
    const closed = new VarveError('CLOSED', `${this.#ground.path}: the store was closed`);
    const accepting = this.#refusal === undefined;
    this.#refusal ??= closed;
    this.#maintenance.stop();
    // Whoever has the turn may be waiting for a journal that waits for space.
    if (this.#reserve.refusal !== undefined) this.#reserve.giveUp();
    this.stopWaiting();
    await this.#compactor.stop();
    this.#reserve.fail(closed);
    await this.#reserve.stop();
    await this.#turns.run(async () => {
      try {
        if (accepting) {
          await this.#reserve.lend(() => this.#checkpointer.run({ closing: true }));
          await this.#journal.close();
          if (this.#failed === undefined) await writeCleanMark(this.#ground.disk, this.#checkpointer.sequence);
        }
      } catch (error) {
        throw this.#fail(error);
      } finally {
        this.#registry.closed(closed);
        this.#queue.fail(closed);
        await this.#ground.disk.close().catch((error: unknown) => {
          if (this.#failed === undefined) throw error;
        });
      }
      if (this.#lost) throw this.#failed!;
    });
  }
}

function noSpaceToStart(path: string, { journalFileBytes }: StoreOptions): VarveError {
  return new VarveError(
    'DISK_FULL',
    `${path}: the disk is full: the journal's first file (journalFileBytes: ${journalFileBytes}) does not fit. Nothing is lost; free some space, then open it again`,
  );
}
