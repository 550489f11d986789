/**
 * Majorities. Pure.
 *
 * Two majorities of one set share a member, and in a joint phase a decision needs a majority of both sets: everything Raft
 * promises rests on that, so there is exactly one definition of a majority and it is here.
 */
import { includes, sameMember } from './membership.js';
import type { Configuration, Member } from './types.js';

export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/** The sets of which each must have a majority: one, or two in a joint phase. None has a majority of nobody. */
export function votingSets({ voters, outgoing }: Configuration): readonly (readonly Member[])[] {
  return outgoing.length > 0 ? [voters, outgoing] : [voters];
}

/**
 * The greatest end that a majority has reached, given one cursor per voter (0 for a voter of which nothing is known).
 * Sorts `cursors` in place: it is called for every acknowledgement.
 */
export function majorityCursor(cursors: number[]): number {
  // Voter sets are tiny; an insertion sort makes no garbage and no comparator calls.
  for (let i = 1; i < cursors.length; i++) {
    const cursor = cursors[i]!;
    let j = i;
    for (; j > 0 && cursors[j - 1]! < cursor; j--) cursors[j] = cursors[j - 1]!;
    cursors[j] = cursor;
  }
  return cursors[majority(cursors.length) - 1] ?? 0;
}

export type BallotResult = 'pending' | 'won' | 'lost';

/** The answers to one request for votes. A voter's first answer stands; a repeated one changes nothing. */
export class Ballot {
  readonly #sets: readonly (readonly Member[])[];
  readonly #granted: Member[] = [];
  readonly #refused: Member[] = [];

  constructor(configuration: Configuration) {
    this.#sets = votingSets(configuration);
  }

  /** Whoever is no voter is not counted. */
  record(voter: Member, granted: boolean): void {
    const answered = [...this.#granted, ...this.#refused].some((other) => sameMember(other, voter));
    if (!answered) (granted ? this.#granted : this.#refused).push(voter);
  }

  get result(): BallotResult {
    let result: BallotResult = 'won';
    for (const voters of this.#sets) {
      const count = (answers: Member[]): number => voters.filter((voter) => includes(answers, voter)).length;
      const needed = majority(voters.length);
      if (count(this.#granted) >= needed) continue;
      if (count(this.#refused) > voters.length - needed) return 'lost';
      result = 'pending';
    }
    return result;
  }
}
