/**
 * One log as compaction sees it (`CompactibleLog`): how far it may go and how far it has got, and the swap that makes a
 * compacted segment count. The swap is journalled before the segments change, so that replay makes it, too.
 */
import { VarveError, invariant } from '../errors.js';
import type { AbortedTransaction } from '../index/txn-index.js';
import { encodeSwap, RecordType } from '../journal/journal-records.js';
import type { LogState } from '../journal/log-state.js';
import type { BatchTail } from './batch-tail.js';
import type { CompactibleLog, SegmentSwap } from './compaction-pass.js';
import type { CompactionReport } from './compaction-report.js';
import type { LogParts } from './log-parts.js';
import type { LogSegments } from './log-segments.js';
import type { LogOptions } from './options.js';

export class LogCompaction implements CompactibleLog {
  readonly #parts: LogParts;
  readonly #tail: BatchTail;
  #compactedTo: number;
  #tombstonesRemovedTo: number;

  constructor(parts: LogParts, tail: BatchTail, { compactedTo = 0, tombstonesRemovedTo = 0 }: LogState) {
    this.#parts = parts;
    this.#tail = tail;
    this.#compactedTo = compactedTo;
    this.#tombstonesRemovedTo = tombstonesRemovedTo;
  }

  get options(): LogOptions {
    return this.#parts.options;
  }

  get segments(): LogSegments {
    return this.#parts.segments;
  }

  get isClosed(): boolean {
    return this.#parts.gate.isClosed;
  }

  get start(): number {
    return this.#parts.cursors.start;
  }

  get compactedTo(): number {
    return this.#compactedTo;
  }

  get compactableTo(): number {
    const { producers, cursors } = this.#parts;
    return Math.min(producers.lastStableOffset, cursors.durable);
  }

  /** Compaction may have removed tombstones below this offset. */
  get tombstonesRemovedTo(): number {
    return this.#tombstonesRemovedTo;
  }

  /** @see Log.compact */
  async run(): Promise<CompactionReport> {
    const { name, gate, host, journal, segments, cursors, options } = this.#parts;
    gate.checkAccepting();
    if (!options.cleanup.includes('compact')) {
      throw new VarveError(
        'INVALID_ARGUMENT',
        `${name}: compact() keeps only the last record of every key, and this log keeps them all (cleanup '${options.cleanup}'): open it with cleanup 'compact' or 'compact,delete' if that is meant`,
      );
    }
    try {
      await host.exclusive(async () => {
        if (!gate.isClosed) segments.roll(cursors.generation);
      });
    } catch (error) {
      // Without space for a new segment, the active one is left out.
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') throw host.fail(error);
    }
    // What was accepted by now is to be compacted, which asks for its being durable.
    await journal.flush();
    return host.compact(this);
  }

  abortedBetween(from: number, to: number): Promise<readonly AbortedTransaction[]> {
    return this.#parts.producers.abortedBetween(from, to);
  }

  knowsProducer(producerId: number): boolean {
    return this.#parts.producers.knows(producerId);
  }

  async swap({ replaced, compacted, tombstonesRemovedTo }: SegmentSwap): Promise<boolean> {
    const { name, gate, host, cursors, journal, segments } = this.#parts;
    return host.exclusive(async () => {
      if (gate.isClosed || host.refusal !== undefined || !segments.list.holds(replaced)) return false;
      const { end } = replaced.at(-1)!;
      const { highWatermark } = cursors;
      invariant(end <= highWatermark, `${name}: compaction above the high watermark ${highWatermark}`);
      const { name: file, length, maxTimestamp } = compacted;
      const names = replaced.map(({ base, tag }) => ({ base, tag }));
      const payload = encodeSwap({ replaced: names, tag: file.tag, length, end, maxTimestamp, tombstonesRemovedTo });
      await journal.record(RecordType.Swap, payload);
      // Meanwhile the log may have gone on, and been cut, but above the high watermark.
      const shift = segments.swap(replaced, compacted, cursors.generation);
      this.#tail.moved(end, shift);
      this.#tombstonesRemovedTo = Math.max(this.#tombstonesRemovedTo, tombstonesRemovedTo);
      return true;
    });
  }

  noteCompacted(to: number): void {
    this.#compactedTo = Math.max(this.#compactedTo, to);
  }
}
