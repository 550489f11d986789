/**
 * Who may lead: the election clock, and the rules by which votes are given. Pure; the conversation itself is in raft.ts.
 *
 * Randomised timeouts make split votes rare. Pre-votes (Raft dissertation §9.6) ask "would you vote for me?" without
 * raising anybody's term, and a node that hears a leader answers neither kind of request, so a node that was cut off
 * cannot depose a live leader by coming back.
 */
import type { LogView, VoteRequest } from './types.js';

export class ElectionTimer {
  readonly #electionTicks: number;
  readonly #random: () => number;
  #elapsed = 0;
  #timeout = 0;

  constructor(electionTicks: number, random: () => number) {
    this.#electionTicks = electionTicks;
    this.#random = random;
    this.reset();
  }

  /** Starts over with a new timeout in [electionTicks, 2 × electionTicks). */
  reset(): void {
    this.#elapsed = 0;
    this.#timeout = this.#electionTicks + Math.floor(this.#random() * this.#electionTicks);
  }

  /** True when the timeout has passed. */
  tick(): boolean {
    this.#elapsed++;
    return this.#elapsed >= this.#timeout;
  }

  /** No node can have been elected against us yet: the shortest possible timeout has not passed. */
  get withinLease(): boolean {
    return this.#elapsed < this.#electionTicks;
  }
}

/**
 * The candidate's log holds everything that may be committed in ours: a later last epoch wins, then the longer log
 * (Raft paper §5.4.1). This is what keeps committed records, so it compares whole accepted logs, never high watermarks.
 */
export function upToDate(request: VoteRequest, log: LogView): boolean {
  if (request.lastEpoch !== log.lastEpoch) return request.lastEpoch > log.lastEpoch;
  return request.end >= log.end;
}
