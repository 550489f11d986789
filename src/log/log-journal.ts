/**
 * One log's share of the journal: what it submits, and how it learns that it is durable. Every record says the generation
 * that it belongs to. A journal that takes nothing any more fails the store.
 */
import type { FlushMode } from '../disk/disk.js';
import type { LogState } from '../journal/log-state.js';
import type { Segment } from '../segment/segment.js';
import type { CommitTarget } from './commit-queue.js';
import type { LogCursors } from './log-cursors.js';
import type { LogHost } from './log-host.js';

export class LogJournal {
  readonly #host: LogHost;
  readonly #cursors: LogCursors;
  readonly #target: CommitTarget;
  /** The journal's number for this log. */
  readonly #log: number;
  #lastTicket = 0;

  /** @param target is told how far batches are durable */
  constructor(host: LogHost, { topicId, partition }: LogState, cursors: LogCursors, target: CommitTarget) {
    this.#host = host;
    this.#cursors = cursors;
    this.#target = target;
    this.#log = host.journal.registerLog({ topicId: Buffer.from(topicId, 'hex'), partition });
  }

  /** Of the last record of this log; 0 before the first since it was opened. */
  get lastTicket(): number {
    return this.#lastTicket;
  }

  /** Makes everything durable that any log has submitted so far. */
  flush(): Promise<void> {
    return this.#host.journal.flush();
  }

  /**
   * Submits a small record, synced. `done` runs once: without an error when it is durable, with one when the store
   * failed.
   */
  submit(type: number, payload: Uint8Array, done: (error?: Error) => void): void {
    const { journal, queue } = this.#host;
    const { generation, lastEpoch } = this.#cursors;
    try {
      this.#lastTicket = journal.append(this.#log, type, generation, Math.max(lastEpoch, 0), payload, 'sync');
    } catch (error) {
      throw this.#host.fail(error);
    }
    queue.addRecord(this.#lastTicket, done);
  }

  /** As `submit`; resolves when the record is durable. */
  record(type: number, payload: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.submit(type, payload, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  /** Submits batches that were stored at `position` of a segment, and end where the log ends now. */
  submitBatches(segment: Segment, position: number, length: number, mode: FlushMode): void {
    const { end, lastEpoch, generation, highWatermark, durable } = this.#cursors;
    try {
      this.#lastTicket = this.#host.journal.appendStored(
        this.#log,
        segment.file,
        segment.base,
        position,
        length,
        end - 1,
        lastEpoch,
        generation,
        Math.min(highWatermark, durable),
        mode,
      );
    } catch (error) {
      throw this.#host.fail(error);
    }
    this.#host.queue.addAppend(this.#lastTicket, this.#target, end, generation, length, mode);
  }
}
