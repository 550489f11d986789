/**
 * When may a learner vote? If it were far behind, the group would be short of one voter until it has caught up. So it is
 * given rounds (Raft dissertation §4.2.1): a round replicates what the leader's log held when it began. Each is shorter
 * than the one before as long as the learner is faster than the load; once one took less than an election timeout, the
 * learner is close enough. After ten rounds it is too slow. One that makes no progress at all ends the attempt, too.
 *
 * Time is counted in ticks. Several learners make their rounds together: the slowest one counts.
 */
const ROUNDS_MAX = 10;
/** In election timeouts. */
const SILENCE_MAX = 10;

export class CatchUp {
  readonly #electionTicks: number;
  #round = 1;
  #end: number;
  #ticks = 0;
  #match = 0;
  #silence = 0;

  constructor(logEnd: number, electionTicks: number) {
    this.#end = logEnd;
    this.#electionTicks = electionTicks;
  }

  tick(): void {
    this.#ticks++;
    this.#silence++;
  }

  /** @param match what the slowest learner has; @returns what came of it, a sentence if it failed */
  check(match: number, logEnd: number): 'pending' | 'caught-up' | { readonly failed: string } {
    if (match > this.#match) {
      this.#match = match;
      this.#silence = 0;
    }
    if (match < this.#end) {
      if (this.#silence <= SILENCE_MAX * this.#electionTicks) return 'pending';
      return { failed: `the new voters made no progress for ${SILENCE_MAX} election timeouts` };
    }
    if (this.#ticks < this.#electionTicks) return 'caught-up';
    if (this.#round >= ROUNDS_MAX) {
      return { failed: `the new voters did not catch up in ${ROUNDS_MAX} rounds: they are slower than the load` };
    }
    this.#round++;
    this.#end = logEnd;
    this.#ticks = 0;
    return 'pending';
  }
}
