/**
 * What a log needs of the store that it belongs to, and so do those parts of the store that look after logs.
 */
import type { Disk, Journal } from '../disk/disk.js';
import type { Environment } from '../environment.js';
import { VarveError } from '../errors.js';
import type { CommitQueue } from './commit-queue.js';
import type { CompactibleLog } from './compaction-pass.js';
import type { CompactionReport } from './compaction-report.js';

export interface LogHost {
  readonly disk: Disk;
  readonly journal: Journal;
  readonly queue: CommitQueue;
  readonly environment: Environment;
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
  compact(log: CompactibleLog): Promise<CompactionReport>;
}

/** @throws VarveError DISK_FAILED, CLOSED */
export function checkAccepting({ refusal }: LogHost): void {
  if (refusal !== undefined) throw refusal;
}

/** What must not fail for want of space, because it frees some or because others wait for it, may use the reserve. */
export function withReserve<T>(host: LogHost, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof VarveError)) throw error;
    if (error.code === 'DISK_FAILED') throw host.fail(error);
    if (error.code !== 'DISK_FULL' || !host.giveUpReserve()) throw error;
    return run();
  }
}
