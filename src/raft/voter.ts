/**
 * Whom this node votes for. One vote per term, durable before it is told (outbox.ts), for a candidate that holds everything
 * that may be committed, as far as this node can know (abstention.ts).
 */
import type { Abstention } from './abstention.js';
import { sameMember } from './membership.js';
import type { Outbox } from './outbox.js';
import type { Member, VoteRequest } from './types.js';

export class Voter {
  readonly #outbox: Outbox;
  readonly #abstention: Abstention;
  /** Whom the vote of this term went to. Unknown after a restart, and then it is given to nobody again. */
  #votedFor: Member | undefined;

  constructor(outbox: Outbox, abstention: Abstention) {
    this.#outbox = outbox;
    this.#abstention = abstention;
  }

  /** Enters a term without a vote. */
  enter(term: number): void {
    this.#outbox.setState({ ...this.#outbox.state, term, vote: 0 });
    this.#votedFor = undefined;
  }

  /** Enters the next term with a vote for ourselves. */
  campaign(self: Member): void {
    this.#outbox.setState({ ...this.#outbox.state, term: this.#outbox.term + 1, vote: self.id });
    this.#votedFor = self;
  }

  /** A pre-vote is for the term asked for, which may be the present one, and binds to nothing. */
  wouldVote(request: VoteRequest, hasLeader: boolean): boolean {
    if (!this.#abstention.approves(request)) return false;
    return request.term > this.#outbox.term || this.#isFreeFor(request.from, hasLeader);
  }

  vote(request: VoteRequest, hasLeader: boolean): boolean {
    if (!this.#isFreeFor(request.from, hasLeader) || !this.#abstention.approves(request)) return false;
    this.#outbox.setState({ ...this.#outbox.state, vote: request.from.id });
    this.#votedFor = request.from;
    return true;
  }

  #isFreeFor(candidate: Member, hasLeader: boolean): boolean {
    if (this.#outbox.vote === 0) return !hasLeader;
    return this.#votedFor !== undefined && sameMember(this.#votedFor, candidate);
  }
}
