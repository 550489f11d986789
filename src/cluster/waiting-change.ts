/** Who waits for a change of the replicas: it is done when the new configuration is committed and no joint phase is left. */
import { VarveError } from '../errors.js';
import { isJoint, sameMembers } from '../raft/membership.js';
import type { ProposedMembership } from '../raft/membership-change.js';
import type { Membership } from '../raft/types.js';

export class WaitingChange {
  /** For messages: topic and partition. */
  readonly #name: string;
  #waiting: { readonly wanted: ProposedMembership; readonly done: (error?: VarveError) => void } | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  /** The core has accepted the change; it admits one at a time. */
  wait(wanted: ProposedMembership): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting = { wanted, done: (error) => (error === undefined ? resolve() : reject(error)) };
    });
  }

  settle({ configuration, committed }: Membership): void {
    if (this.#waiting === undefined || !committed || isJoint(configuration)) return;
    const { wanted, done } = this.#waiting;
    if (!sameMembers(configuration.voters, wanted.voters)) return;
    if (!sameMembers(configuration.learners, wanted.learners)) return;
    this.#waiting = undefined;
    done();
  }

  fail(code: 'INVALID_ARGUMENT' | 'OUTCOME_UNKNOWN', why: string): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done(new VarveError(code, `${this.#name}: ${why}`));
  }
}
