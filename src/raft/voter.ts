/**
 * Whom this node votes for. One vote per term, durable before it is told (outbox.ts), for a candidate whose log holds
 * everything that may be committed in ours.
 */
import { upToDate } from './election.js';
import { sameMember } from './membership.js';
import type { Outbox } from './outbox.js';
import type { LogView, Member, VoteRequest } from './types.js';

export class Voter {
  readonly #outbox: Outbox;
  readonly #log: LogView;
  /** Whom the vote of this term went to. Unknown after a restart, and then it is given to nobody again. */
  #votedFor: Member | undefined;

  constructor(outbox: Outbox, log: LogView) {
    this.#outbox = outbox;
    this.#log = log;
  }

  /** Enters a term without a vote. */
  enter(term: number): void {
    this.#outbox.setState({ term, vote: 0 });
    this.#votedFor = undefined;
  }

  /** Enters the next term with a vote for ourselves. */
  campaign(self: Member): void {
    this.#outbox.setState({ term: this.#outbox.term + 1, vote: self.id });
    this.#votedFor = self;
  }

  /** A pre-vote is for the term asked for, which may be the present one, and binds to nothing. */
  wouldVote(request: VoteRequest, hasLeader: boolean): boolean {
    if (!upToDate(request, this.#log)) return false;
    return request.term > this.#outbox.term || this.#isFreeFor(request.from, hasLeader);
  }

  vote(request: VoteRequest, hasLeader: boolean): boolean {
    if (!this.#isFreeFor(request.from, hasLeader) || !upToDate(request, this.#log)) return false;
    this.#outbox.setState({ term: this.#outbox.term, vote: request.from.id });
    this.#votedFor = request.from;
    return true;
  }

  #isFreeFor(candidate: Member, hasLeader: boolean): boolean {
    if (this.#outbox.vote === 0) return !hasLeader;
    return this.#votedFor !== undefined && sameMember(this.#votedFor, candidate);
  }
}
