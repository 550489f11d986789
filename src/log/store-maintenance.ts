/**
 * What a store does by itself: at every turn of the clock it rolls old segments, writes a checkpoint if anything happened,
 * and deletes what is not to be kept; and it writes checkpoints in part, one after the other, while the journal holds
 * half of what it may hold or more. At all of it appends wait.
 */
import type { Timer } from '../environment.js';
import { VarveError } from '../errors.js';
import type { MappedSegments } from '../segment/mapped-segments.js';
import type { Checkpointer } from './checkpointer.js';
import type { Compactor } from './compactor.js';
import type { DiskReserve } from './disk-reserve.js';
import { checkAccepting, type LogHost } from './log-host.js';
import type { StoreOptions } from './options.js';
import type { PartitionLog } from './partition-log.js';

export interface StoreMaintenanceParts {
  readonly host: LogHost;
  readonly options: StoreOptions;
  /** Those that are open. */
  readonly logs: ReadonlyMap<string, PartitionLog>;
  readonly checkpointer: Checkpointer;
  readonly compactor: Compactor;
  readonly reserve: DiskReserve;
  readonly mapped: MappedSegments;
}

export class StoreMaintenance {
  readonly #parts: StoreMaintenanceParts;
  readonly #timer: Timer;
  /** The checkpoint that waits for its turn. */
  #queued: 'none' | 'in part' | 'whole' = 'none';

  constructor(parts: StoreMaintenanceParts) {
    this.#parts = parts;
    parts.host.queue.onAlarm = () => this.#watchJournal();
    this.#watchJournal();
    const { checkpointIntervalMs } = parts.options;
    this.#timer = parts.host.environment.every(checkpointIntervalMs, () => this.#maintain());
    this.#timer.unref();
  }

  /** The clock makes no further turn. */
  stop(): void {
    this.#parts.host.environment.cancel(this.#timer);
  }

  /** One turn of the clock, now, with a checkpoint whatever has happened. @throws VarveError DISK_FAILED, CLOSED */
  async checkpoint(): Promise<void> {
    const { host } = this.#parts;
    checkAccepting(host);
    this.#rollOldSegments();
    await host.exclusive(() => this.#runCheckpoint(false));
    checkAccepting(host);
    await this.#enforceRetention();
  }

  /** A checkpoint is to be written soon; `in part` will do when that frees the oldest files of the journal. */
  queueCheckpoint(extent: 'in part' | 'whole' = 'whole'): void {
    const { host } = this.#parts;
    if (host.refusal !== undefined) return;
    const isQueued = this.#queued !== 'none';
    if (this.#queued !== 'whole') this.#queued = extent;
    if (isQueued) return;
    host
      .exclusive(async () => {
        const inPart = this.#queued === 'in part';
        this.#queued = 'none';
        if (host.refusal === undefined) await this.#runCheckpoint(inPart);
      })
      .catch((error) => host.fail(error));
  }

  #maintain(): void {
    const { host, checkpointer } = this.#parts;
    if (host.refusal !== undefined) return;
    try {
      if (this.#rollOldSegments() || !checkpointer.isIdle) this.queueCheckpoint();
    } catch (error) {
      host.fail(error);
      return;
    }
    this.#enforceRetention().catch((error) => {
      if (host.refusal === undefined) host.fail(error);
    });
  }

  /** @returns whether a checkpoint has something to do even if nothing was appended */
  #rollOldSegments(): boolean {
    let hasWork = false;
    for (const log of this.#parts.logs.values()) hasWork = log.rollIfDue() || hasWork;
    return hasWork;
  }

  async #enforceRetention(): Promise<void> {
    for (const log of [...this.#parts.logs.values()]) await log.enforceRetention();
  }

  #watchJournal(): void {
    const { host, checkpointer, options } = this.#parts;
    const { queue } = host;
    const max = options.journalMaxBytes;
    const uncovered = checkpointer.uncoveredBytes;
    const covered = queue.journalledBytes - uncovered;
    queue.alarmAtBytes = uncovered < max / 2 ? covered + max / 2 : uncovered < max ? covered + max : Infinity;
    if (uncovered >= max / 2) this.queueCheckpoint('in part');
    queue.journalFull = uncovered >= max;
  }

  async #runCheckpoint(inPart: boolean): Promise<void> {
    const { host, checkpointer, reserve, mapped, compactor } = this.#parts;
    try {
      await reserve.lend(() => checkpointer.run({ inPart }));
    } catch (error) {
      // The old checkpoint still stands: no space is tried again when the timer says so.
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') host.fail(error);
      return;
    }
    mapped.trim();
    this.#watchJournal();
    compactor.wake();
    void reserve.restore();
  }
}
