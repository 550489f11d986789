/**
 * Arithmetic of majorities over a fixed set of voters. Pure functions.
 *
 * Two majorities of one set always share a member: everything Raft promises rests on that, so there is exactly one
 * definition of a majority and it is here.
 */
export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1;
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
  return cursors[majority(cursors.length) - 1]!;
}

export type BallotResult = 'pending' | 'won' | 'lost';

/** The answers to one request for votes. A voter's first answer stands; a repeated one changes nothing. */
export class Ballot {
  readonly #voters: number;
  readonly #answers = new Map<number, boolean>();

  constructor(voters: number) {
    this.#voters = voters;
  }

  record(voter: number, granted: boolean): void {
    if (!this.#answers.has(voter)) this.#answers.set(voter, granted);
  }

  get result(): BallotResult {
    let granted = 0;
    for (const answer of this.#answers.values()) if (answer) granted++;
    const needed = majority(this.#voters);
    if (granted >= needed) return 'won';
    const refused = this.#answers.size - granted;
    return refused > this.#voters - needed ? 'lost' : 'pending';
  }
}
