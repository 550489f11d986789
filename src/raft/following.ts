/**
 * The follower's side of replication: does an append fit our log, and what has to change so that it does?
 *
 * Two logs that hold a record of the same (offset, epoch) are equal up to it (log matching, Raft paper §5.3). So it is
 * enough to compare the record before the append, and then to look for the first batch that differs. Messages may be
 * late, doubled or out of order: an append that says nothing new changes nothing, and nothing is cut that does not
 * contradict the leader.
 */
import type { Cursors } from './cursors.js';
import { invariant } from './invariant.js';
import type { AppendReply, AppendRequest, EpochEnd, LogView, Member, Sender } from './types.js';

const NOT_REJECTED = -1;
const NO_HINT: EpochEnd = { epoch: -1, end: 0 };

/** What a follower has learned from the leader of one term, and told it. */
export class Following {
  readonly #cursors: Cursors;
  /** Our log equals the leader's up to here; 0 before its first append. */
  verified = 0;
  /** The cursors that the leader was told last. */
  #reportedCounted = 0;
  #reportedDurable = 0;

  constructor(cursors: Cursors) {
    this.#cursors = cursors;
  }

  /** How far this log counts for a commit of this leader. What lies beyond `verified` may be another history. */
  get counted(): number {
    return Math.min(this.#cursors.counted, this.verified);
  }

  /** Under the relaxed modes the durable cursor is told only while somebody waits for it. */
  hasNews(durableCounts: boolean): boolean {
    if (this.counted > this.#reportedCounted) return true;
    return durableCounts && Math.min(this.#cursors.durable, this.verified) > this.#reportedDurable;
  }

  noteReported(): void {
    this.#reportedCounted = this.counted;
    this.#reportedDurable = Math.min(this.#cursors.durable, this.verified);
  }

  reply(from: Sender, to: Member, term: number, forgetful: boolean): AppendReply {
    const { written, durable, generation } = this.#cursors;
    return {
      type: 'append-reply',
      from,
      to,
      term,
      rejectedStart: NOT_REJECTED,
      hint: NO_HINT,
      written: Math.min(written, this.verified),
      durable: Math.min(durable, this.verified),
      generation,
      forgetful,
    };
  }
}

export type AppendPlan =
  /** The record before `start` is missing or another one. */
  | { readonly fits: false; readonly hint: EpochEnd }
  /** Cut at `truncateTo` and store the batches from `from` on; −1: nothing to do. */
  | { readonly fits: true; readonly truncateTo: number; readonly from: number };

export function planAppend(log: LogView, highWatermark: number, message: AppendRequest): AppendPlan {
  if (!fits(log, highWatermark, message)) return { fits: false, hint: log.endForEpoch(message.prevEpoch) };
  for (const batch of message.batches) {
    // What retention has deleted here was committed, so it was the same.
    if (batch.end <= log.start) continue;
    // A log that was emptied at its start ends inside this batch. Whoever holds any, holds whole ones.
    if (batch.start < log.start && log.start === log.end) return { fits: true, truncateTo: -1, from: batch.start };
    if (batch.start < log.start) continue;
    const present =
      batch.end <= log.end && log.epochAt(batch.start) === batch.epoch && log.epochAt(batch.end - 1) === batch.epoch;
    if (present) continue;
    invariant(
      batch.start >= highWatermark,
      () =>
        `append of epoch ${batch.epoch} at ${batch.start} contradicts the log below high watermark ${highWatermark}`,
    );
    return { fits: true, truncateTo: log.end > batch.start ? batch.start : -1, from: batch.start };
  }
  return { fits: true, truncateTo: -1, from: -1 };
}

/** Our log holds the record before `start`, and it is the leader's. */
export function fits(
  log: LogView,
  highWatermark: number,
  { start, prevEpoch }: Pick<AppendRequest, 'start' | 'prevEpoch'>,
): boolean {
  if (start > log.end) return false;
  if (start > highWatermark) return log.epochAt(start - 1) === prevEpoch;
  // Every leader holds what is committed (leader completeness), so this fits; the epochs can only confirm it.
  const epoch = start > log.start ? log.epochAt(start - 1) : -1;
  invariant(
    epoch === -1 || prevEpoch === -1 || epoch === prevEpoch,
    () => `committed record ${start - 1} has epoch ${epoch} here and ${prevEpoch} on the leader`,
  );
  return true;
}
