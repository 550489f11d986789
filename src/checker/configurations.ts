/** Committed memberships of a partition: one at each offset, and any two neighbours have majorities that must meet. */
import type { HistoryState, Partition } from './history-state.js';
import type { Config } from './operation.js';
import { majorityOf } from './settings.js';

interface Membership {
  readonly offset: number;
  readonly line: number;
  /** The voters, and the outgoing ones while it is joint: a decision needs a majority of each. */
  readonly sets: readonly (readonly string[])[];
  readonly text: string;
}

export class Configurations {
  readonly #state: HistoryState;
  readonly #memberships = new Map<Partition, Map<number, Membership>>();

  constructor(state: HistoryState) {
    this.#state = state;
  }

  add({ offset, voters, outgoing }: Config, partition: Partition, line: number): void {
    const sets = [voters, ...(outgoing === undefined ? [] : [outgoing])].map((set) => set.map(String).sort());
    const membership = { offset, line, sets, text: sets.map((set) => `{${set.join(', ')}}`).join(' from ') };
    let known = this.#memberships.get(partition);
    if (known === undefined) {
      known = new Map();
      this.#memberships.set(partition, known);
    }
    const other = known.get(offset);
    if (other === undefined) {
      known.set(offset, membership);
    } else if (other.text !== membership.text) {
      this.#report(
        partition,
        other,
        membership,
        `offset ${offset} is ${membership.text} to one, and ${other.text} to another`,
      );
    }
  }

  judge(): void {
    for (const [partition, known] of this.#memberships) {
      const ordered = [...known.values()].sort((a, b) => a.offset - b.offset);
      for (let i = 1; i < ordered.length; i += 1) {
        const before = ordered[i - 1]!;
        const after = ordered[i]!;
        if (before.sets.some((a) => after.sets.some((b) => mustMeet(a, b)))) continue;
        this.#report(
          partition,
          before,
          after,
          `${before.text} was followed by ${after.text}: their majorities need not meet`,
        );
      }
    }
  }

  #report(partition: Partition, before: Membership, after: Membership, message: string): void {
    const { findings } = this.#state;
    findings.report(
      'config-fork',
      { partition: partition.name, offset: after.offset },
      [before.line, after.line],
      () => message,
    );
  }
}

/** Has every majority of one a member of every majority of the other? */
function mustMeet(a: readonly string[], b: readonly string[]): boolean {
  const common = a.filter((voter) => b.includes(voter)).length;
  // The least that each majority has to take from the common ones.
  const fromA = Math.max(0, majorityOf(a.length) - (a.length - common));
  const fromB = Math.max(0, majorityOf(b.length) - (b.length - common));
  return fromA + fromB > common;
}
