/**
 * The leader's side of a change of membership, for one term.
 *
 *   present voters ──request──> (learners catch up) ──> joint: old and new ──committed──> new ──committed──> done
 *
 * A change of learners alone is one step. The rules that keep two majorities from deciding apart:
 * - nothing before a batch of this term is committed: an earlier leader's unfinished change may be unknown to the group,
 *   and this one's would not share a majority with it (Ongaro 2015, "bug in single-server membership changes")
 * - one change at a time: the configuration in effect is committed, and not joint
 * - a new leader that finds a joint configuration leaves the joint phase, whoever began it
 * - voters come from the voters and learners there are; a learner must have caught up (catch-up.ts)
 *
 * What can go wrong: a change that waits for its learners ends with the leadership or when they are too slow; nothing was
 * changed then. One that is joint is finished by this leader or the next, or undone by a truncation.
 */
import { CatchUp } from './catch-up.js';
import type { Configurations } from './configurations.js';
import { describeMembers, impossible, includes, isJoint, isMember, sameMembers } from './membership.js';
import type { Configuration, LogView, Member } from './types.js';

/** What is asked for: everybody, not a difference. */
export type ProposedMembership = Pick<Configuration, 'voters' | 'learners'>;

export interface MembershipHost {
  readonly log: LogView;
  readonly configurations: Configurations;
  readonly electionTicks: number;
  /** A batch of this term is committed. */
  mayDecide(): boolean;
  highWatermark(): number;
  /** What counts of a follower. */
  matchOf(member: Member): number;
  append(configuration: Configuration): void;
  failed(reason: string): void;
}

interface Waiting {
  readonly proposed: ProposedMembership;
  readonly newcomers: readonly Member[];
  readonly catchUp: CatchUp;
}

export class MembershipChange {
  readonly #host: MembershipHost;
  #waiting: Waiting | undefined;

  constructor(host: MembershipHost) {
    this.#host = host;
  }

  /** @returns why it is refused, a sentence; undefined: it has begun */
  request(proposed: ProposedMembership): string | undefined {
    const { configurations, log, electionTicks } = this.#host;
    const { current } = configurations;
    const refusal = this.#refusal(proposed);
    if (refusal !== undefined) return refusal;
    const newcomers = proposed.voters.filter((member) => !includes(current.voters, member));
    if (newcomers.length === 0) {
      this.#begin(proposed);
      return undefined;
    }
    this.#waiting = { proposed, newcomers, catchUp: new CatchUp(log.end, electionTicks) };
    this.advance();
    return undefined;
  }

  tick(): void {
    this.#waiting?.catchUp.tick();
    this.advance();
  }

  /** A follower or the high watermark moved. */
  advance(): void {
    const { configurations, log } = this.#host;
    if (this.#waiting !== undefined) {
      const { proposed, newcomers, catchUp } = this.#waiting;
      const slowest = Math.min(...newcomers.map((member) => this.#host.matchOf(member)));
      const result = catchUp.check(slowest, log.end);
      if (result === 'pending') return;
      this.#waiting = undefined;
      if (result === 'caught-up') this.#begin(proposed);
      else this.#host.failed(result.failed);
      return;
    }
    if (isJoint(configurations.current) && this.#isSettled && this.#host.mayDecide()) {
      this.#host.append({ ...configurations.current, outgoing: [] });
    }
  }

  get #isSettled(): boolean {
    return this.#host.configurations.last.offset < this.#host.highWatermark();
  }

  #refusal({ voters, learners }: ProposedMembership): string | undefined {
    const { current } = this.#host.configurations;
    const problem = impossible({ voters, outgoing: [], learners });
    if (problem !== undefined) return problem;
    if (voters.length === 0) return 'a group without voters could never decide anything again';
    if (!this.#host.mayDecide()) return 'this leader has not committed anything in its term yet: ask again';
    if (this.#waiting !== undefined) return 'another change waits for its learners to catch up';
    if (isJoint(current)) return 'another change is in its joint phase';
    if (!this.#isSettled) return 'the configuration in effect is not committed yet';
    const strangers = voters.filter((member) => !isMember(current, member));
    if (strangers.length > 0) {
      return `${describeMembers(strangers)} can't vote at once: add it as a learner first, so that it can catch up`;
    }
    return undefined;
  }

  #begin({ voters, learners }: ProposedMembership): void {
    const { current } = this.#host.configurations;
    const outgoing = sameMembers(voters, current.voters) ? [] : current.voters;
    this.#host.append({ voters, outgoing, learners });
  }
}
