/**
 * The configuration history of this node's log, as far as it can still matter. A configuration is in effect from the
 * moment it is appended, committed or not; cutting the log brings the one before back (Raft dissertation §4.1). Nothing is
 * cut below the high watermark, so one committed configuration is kept, and all above it.
 *
 * Invariant: offsets grow strictly; the first entry is committed, and always there.
 */
import { invariant } from './invariant.js';
import { isVoter } from './membership.js';
import type { Configuration, LoggedConfiguration, Member } from './types.js';

export class Configurations {
  #entries: LoggedConfiguration[];

  constructor(entries: readonly LoggedConfiguration[]) {
    invariant(entries.length > 0, () => 'a core was given no configuration');
    this.#entries = [...entries];
  }

  get last(): LoggedConfiguration {
    return this.#entries.at(-1)!;
  }

  get current(): Configuration {
    return this.last.configuration;
  }

  /**
   * Whether this member may ask for votes. A voter that is removed by a configuration which is not committed yet still may:
   * it can be the only one that holds it, and then nobody else can be elected (dissertation §4.2.2).
   */
  mayCampaign(member: Member): boolean {
    return this.#entries.some(({ configuration }) => isVoter(configuration, member));
  }

  /** The last committed one. */
  get committed(): LoggedConfiguration {
    return this.#entries[0]!;
  }

  /** The log was emptied, and begins with this. */
  reset(entry: LoggedConfiguration): void {
    this.#entries = [entry];
  }

  /** The first one above `offset`, if there is one. */
  firstFrom(offset: number): LoggedConfiguration | undefined {
    return this.#entries.find((entry) => entry.offset >= offset);
  }

  /** @returns whether it is new */
  add(entry: LoggedConfiguration): boolean {
    if (entry.offset <= this.last.offset) return false;
    this.#entries.push(entry);
    return true;
  }

  /** The log ends at `end` now. @returns whether another configuration is in effect */
  truncateTo(end: number): boolean {
    const kept = this.#entries.filter(({ offset }, i) => i === 0 || offset < end);
    if (kept.length === this.#entries.length) return false;
    this.#entries = kept;
    return true;
  }

  /** What is below the committed one can't come back. */
  committedTo(highWatermark: number): void {
    while (this.#entries.length > 1 && this.#entries[1]!.offset < highWatermark) this.#entries.shift();
  }
}
