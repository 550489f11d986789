/**
 * Deleting the oldest part of one log: because somebody asks for it, or because retention says so.
 *
 *   1. What the doomed segments say of producers is in a snapshot.
 *   2. A record in the journal says where the log starts: durable before anything goes.
 *   3. The log start moves, whole segments below it are deleted. Views of them stay valid.
 *
 * An embedded log takes step 1 first. A replicated log takes step 2 first, in the turn of the call: its order against the
 * high watermark counts.
 */
import { VarveError } from '../errors.js';
import { encodeLogStart, RecordType } from '../journal/journal-records.js';
import type { LogParts } from './log-parts.js';
import { checkOffset } from './read-arguments.js';
import { retentionPoint } from './retention.js';

/** So that deletions do not crowd out a checkpoint, which waits for them. */
const MAX_DELETED_SEGMENTS_PER_TURN = 32;

export class LogDeletion {
  readonly #parts: LogParts;
  readonly #onMoved: () => void;

  /** @param onMoved called when the log start has moved */
  constructor(parts: LogParts, onMoved: () => void) {
    this.#parts = parts;
    this.#onMoved = onMoved;
  }

  /** @see Log.deleteBefore */
  async deleteBefore(offset: number): Promise<void> {
    const { name, gate, host, cursors, journal, segments, producers, replicated } = this.#parts;
    gate.checkAccepting();
    checkOffset(offset, name);
    const { start, highWatermark } = cursors;
    if (!Number.isInteger(offset) || offset < 0 || offset > highWatermark) {
      throw new VarveError(
        'OFFSET_OUT_OF_RANGE',
        `${name}: deleteBefore(${offset}): give an offset from ${start} to the high watermark ${highWatermark}`,
      );
    }
    if (offset <= start) return;
    if (!replicated) {
      await host.exclusive(async () => {
        gate.checkOpen();
        await this.#saveProducersBefore(offset);
      });
      gate.checkOpen();
    }
    cursors.startSubmitted = Math.max(cursors.startSubmitted, offset);
    await journal.record(RecordType.LogStart, encodeLogStart(offset));
    await host.exclusive(async () => {
      // What was closed meanwhile is left as its checkpoint row says it is; the next opening deletes.
      gate.checkOpen();
      if (offset <= cursors.start) return;
      if (replicated) await this.#saveProducersBefore(offset);
      const { list } = segments;
      cursors.moveStart(offset, list.all[list.indexOf(offset)]!.base);
      this.#onMoved();
      await segments.removeBelow(offset);
      await producers.removeBelow(segments.list.all[0]!.base);
    });
    host.spaceFreed();
  }

  /** @see Log.retentionPoint */
  retentionPoint(maxSegments?: number): number {
    const { segments, options, cursors, host } = this.#parts;
    return retentionPoint(segments.list.all, options, cursors, host.environment.now(), maxSegments);
  }

  /** Deletes what is not to be kept, a bounded number of segments a turn; a replicated log is told by its leader. */
  async enforceRetention(): Promise<void> {
    const { replicated, gate, cursors } = this.#parts;
    if (replicated || gate.isClosed) return;
    const point = this.retentionPoint(MAX_DELETED_SEGMENTS_PER_TURN);
    if (point <= cursors.start) return;
    await this.deleteBefore(point).catch((error: unknown) => {
      if (!(error instanceof VarveError) || error.code !== 'CLOSED') throw error;
    });
  }

  /** What the segments below `offset` say of producers must be in a snapshot before they go. */
  async #saveProducersBefore(offset: number): Promise<void> {
    const { host, segments, producers } = this.#parts;
    const { list } = segments;
    try {
      await producers.saveBefore(list.all[list.indexOf(offset)]!.base, host.journal);
    } catch (error) {
      // Deleting is what helps; until the next checkpoint a crash would forget producers that wrote only there.
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') throw host.fail(error);
    }
  }
}
