/**
 * Replicas that forgot. Under the relaxed flush modes a power cut can take what a replica acknowledged, in sync mode a
 * disk that lies can: then a majority that acknowledged is no majority that knows. So a forgetful replica abstains: it
 * keeps its place in the denominator and keeps check-quorum alive, but counts for no commit and no read, and does not
 * campaign.
 *
 * - The flag is durable, with the term it stood in when it forgot. A further cut while forgetful leaves that.
 * - It votes only for a candidate that led a term ≥ that one and has neither restarted nor forgotten since: such a leader
 *   holds everything that was counted. Its log is not compared: what the voter appended since counted for nothing. The
 *   stored term, not the present one: refused vote requests raise the present one, and would lock a sound leader out.
 * - It is over when the replica holds, durably and verified by the leader's appends, the log end (not the high watermark)
 *   that a leader reported after it had seen this incarnation.
 * - `longest-log` is an operator's word: then forgetful replicas vote by their logs, as sound ones do, and campaign if no
 *   leader has come up for some time. What was acknowledged and is in none of the logs that voted is lost.
 *
 * A replica that never was in a term has acknowledged nothing, and nothing to forget. A sole voter goes on with what it has.
 */
import type { Cursors } from './cursors.js';
import { upToDate } from './election.js';
import type { Outbox } from './outbox.js';
import type { LogView, Recovery, Sender, VoteRequest } from './types.js';

/** Election timeouts without a leader after which a forgetful replica may campaign, if that is allowed at all. */
const PATIENCE = 3;

export interface AbstentionParts {
  readonly self: Sender;
  readonly outbox: Outbox;
  readonly log: LogView;
  readonly cursors: Cursors;
  readonly uncleanRecovery: 'never' | 'longest-log';
}

export class Abstention {
  readonly #parts: AbstentionParts;
  /** Highest term led since this process started, or forgot; 0: none. */
  #led = 0;
  /** The log end that the leader of this term reported; −1: none yet. */
  #recoverTo = -1;
  #timeouts = 0;

  constructor(parts: AbstentionParts) {
    this.#parts = parts;
  }

  get isForgetful(): boolean {
    return this.#parts.outbox.state.forgot !== undefined;
  }

  /** What vote requests say. */
  get led(): number {
    return this.#led;
  }

  noteLed(term: number): void {
    this.#led = term;
  }

  /** Something that was acknowledged is gone. */
  mark(): void {
    this.#led = 0;
    const { outbox } = this.#parts;
    if (!this.isForgetful && outbox.term > 0) outbox.setState({ ...outbox.state, forgot: outbox.term });
  }

  end(): void {
    const { term, vote } = this.#parts.outbox.state;
    this.#parts.outbox.setState({ term, vote });
    this.#recoverTo = -1;
  }

  newTerm(): void {
    this.#recoverTo = -1;
  }

  /** A leader speaks: nobody needs an unclean recovery. */
  noteLeader(): void {
    this.#timeouts = 0;
  }

  /** The leader knows this incarnation, and how far its log goes. The first report of a term asks the least. */
  noteReport(recovery: Recovery | undefined): void {
    if (recovery?.incarnation !== this.#parts.self.incarnation || this.#recoverTo >= 0) return;
    this.#recoverTo = recovery.end;
  }

  /** @param verified up to here our log equals the leader's */
  recoverIfWhole(verified: number): void {
    if (!this.isForgetful || this.#recoverTo < 0) return;
    if (Math.min(verified, this.#parts.cursors.durable) >= this.#recoverTo) this.end();
  }

  /** The election clock ran out. */
  mayCampaign(): boolean {
    this.#timeouts++;
    return !this.isForgetful || (this.#allowsUnclean && this.#timeouts >= PATIENCE);
  }

  /** Whether the candidate is fit to lead, as far as this voter can judge. */
  approves(request: VoteRequest): boolean {
    const { outbox, log } = this.#parts;
    const { forgot } = outbox.state;
    if (forgot === undefined) return upToDate(request, log);
    return (request.led > 0 && request.led >= forgot) || (this.#allowsUnclean && upToDate(request, log));
  }

  get #allowsUnclean(): boolean {
    return this.#parts.uncleanRecovery === 'longest-log';
  }
}
