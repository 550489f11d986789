/**
 * Leadership transfer (Raft dissertation §3.10): the leader takes no more records, waits until the target has all there are,
 * and tells it to campaign at once. The target's request for votes says so, and then nobody refuses it for hearing a leader.
 *
 * Aborted after an election timeout: the leader goes on. A `timeout-now` that arrives later than that costs one election.
 */
import type { Member } from './types.js';

export interface TransferHost {
  readonly electionTicks: number;
  /** The target holds the whole log. */
  hasEverything(target: Member): boolean;
  sendTimeoutNow(target: Member): void;
  failed(reason: string): void;
}

export class Transfer {
  readonly target: Member;
  readonly #host: TransferHost;
  #ticks = 0;
  #told = false;

  constructor(host: TransferHost, target: Member) {
    this.#host = host;
    this.target = target;
  }

  /** @returns false when it is over */
  tick(): boolean {
    if (++this.#ticks < this.#host.electionTicks) return true;
    const why = this.#told ? 'it was not elected' : 'it did not catch up';
    this.#host.failed(`node ${this.target.id} did not take over within an election timeout: ${why}`);
    return false;
  }

  /** The target may have come further. Told once a heartbeat, since the message can be lost. */
  advance(again = false): void {
    if ((this.#told && !again) || !this.#host.hasEverything(this.target)) return;
    this.#told = true;
    this.#host.sendTimeoutNow(this.target);
  }
}
