/**
 * Compacts the logs of a store: one log at a time, after a checkpoint, the one with the largest share of bytes that no
 * pass has judged first; or when somebody asks for it (`log.compact`).
 *
 * What can go wrong: a pass that cannot go on ends, and says why in its report; the log is left alone until something
 * asks for it again or the store is reopened; where there was no space, until the next checkpoint. A failed write fails the
 * store.
 */
import type { Disk } from '../disk/disk.js';
import type { Environment } from '../environment.js';
import { VarveError } from '../errors.js';
import { ByteRation } from './byte-ration.js';
import { type CompactibleLog, CompactionPass, dirtyRatio } from './compaction-pass.js';
import type { CompactionReport, CompactionStats } from './compaction-report.js';
import type { StoreOptions } from './options.js';
import { Turns } from './turns.js';

export interface CompactorParts {
  readonly environment: Environment;
  readonly disk: Disk;
  readonly options: StoreOptions;
  /** Those that are open. */
  readonly logs: () => Iterable<CompactibleLog>;
  /** Latches the store. */
  readonly fail: (error: unknown) => Error;
}

export class Compactor {
  readonly #parts: CompactorParts;
  readonly #stop = new AbortController();
  readonly #ration: ByteRation;
  /** Logs whose last pass could not go on: not tried again until somebody asks. */
  readonly #damaged = new WeakSet<CompactibleLog>();
  /** Logs whose last pass found no space: tried again after the next checkpoint. */
  readonly #full = new Set<CompactibleLog>();
  readonly #turns = new Turns();
  #isBusy = false;
  #passes = 0;
  #recordsRemoved = 0;
  #bytesRead = 0;
  #bytesWritten = 0;
  #bytesFreed = 0;
  #failures = 0;

  constructor(parts: CompactorParts) {
    this.#parts = parts;
    this.#ration = new ByteRation(parts.options.compactionBytesPerSecond, this.#stop.signal, parts.environment);
  }

  /** A checkpoint was written: segments may have been sealed since the last one. */
  wake(): void {
    this.#full.clear();
    this.#next();
  }

  /** Compacts the log now, however little there is to gain. */
  compact(log: CompactibleLog): Promise<CompactionReport> {
    return this.#turns.run(() => this.#pass(log));
  }

  /** The store has failed: the pass that is running ends soon, and none is begun any more. */
  halt(): void {
    this.#stop.abort();
  }

  /** As `halt`; resolves when the pass has ended. */
  async stop(): Promise<void> {
    this.halt();
    await this.#turns.ended();
  }

  stats(): CompactionStats {
    return {
      passes: this.#passes,
      recordsRemoved: this.#recordsRemoved,
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
      bytesFreed: this.#bytesFreed,
      failures: this.#failures,
    };
  }

  #next(): void {
    if (this.#isBusy || this.#stop.signal.aborted) return;
    const log = this.#dirtiest();
    if (log === undefined) return;
    this.#isBusy = true;
    this.compact(log)
      // The store has failed then, and says so itself.
      .catch(() => this.#stop.abort())
      .finally(() => {
        this.#isBusy = false;
        this.#next();
      });
  }

  #dirtiest(): CompactibleLog | undefined {
    const now = this.#parts.environment.now();
    let found: CompactibleLog | undefined;
    let highest = 0;
    for (const log of this.#parts.logs()) {
      if (!log.options.cleanup.includes('compact') || log.isClosed) continue;
      if (this.#damaged.has(log) || this.#full.has(log)) continue;
      const ratio = dirtyRatio(log, now);
      if (ratio > highest && ratio >= log.options.minCleanableDirtyRatio) {
        highest = ratio;
        found = log;
      }
    }
    return found;
  }

  async #pass(log: CompactibleLog): Promise<CompactionReport> {
    const { environment, disk, options, fail } = this.#parts;
    const pass = new CompactionPass(log, {
      disk,
      bufferBytes: options.compactionBufferBytes,
      ration: this.#ration,
      signal: this.#stop.signal,
      environment,
    });
    try {
      const report = await pass.run();
      this.#passes++;
      this.#recordsRemoved += report.recordsRemoved;
      this.#bytesFreed += Math.max(0, report.bytesBefore - report.bytesAfter);
      this.#damaged.delete(log);
      if (report.end === 'damaged') this.#damaged.add(log);
      if (report.end === 'disk-full') this.#full.add(log);
      if (report.reason !== undefined) this.#failures++;
      return report;
    } catch (error) {
      throw error instanceof VarveError && error.code === 'CLOSED' ? error : fail(error);
    } finally {
      this.#bytesRead += pass.bytesRead;
      this.#bytesWritten += pass.bytesWritten;
    }
  }
}
