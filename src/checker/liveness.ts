/** Does it go on once no fault is at work, and do clients give up in the end? */
import type { HistoryState, Partition } from './history-state.js';
import type { Outcome } from './operation.js';

/** Operations of one kind that failed, one after the other, without a success between them. */
interface Failing {
  readonly firstLine: number;
  readonly begin: number;
  isReported: boolean;
}

export class Liveness {
  readonly #state: HistoryState;
  readonly #stuckMs: number;
  readonly #attemptsMax: number;
  /** Since then no fault is at work; undefined while one is. */
  #healthySince: number | undefined = Number.NEGATIVE_INFINITY;
  #healLine = 0;
  readonly #failing = new Map<string, Failing>();

  constructor(state: HistoryState, stuckMs: number, attemptsMax: number) {
    this.#state = state;
    this.#stuckMs = stuckMs;
    this.#attemptsMax = attemptsMax;
  }

  fault(): void {
    this.#failing.clear();
    this.#healthySince = undefined;
  }

  heal(time: number, line: number): void {
    this.#failing.clear();
    this.#healthySince = time;
    this.#healLine = line;
  }

  /** `what` is a plural for people. */
  add(what: string, partition: Partition, outcome: Outcome, begin: number, time: number, line: number): void {
    if (outcome === 'ok' && this.#failing.size === 0) return;
    const key = `${partition.number} ${what}`;
    if (outcome === 'ok') {
      this.#failing.delete(key);
      return;
    }
    if (this.#healthySince === undefined || begin < this.#healthySince) return;
    const failing = this.#failing.get(key);
    const since = failing?.begin ?? begin;
    const firstLine = failing?.firstLine ?? line;
    const isStuck = time - since >= this.#stuckMs;
    this.#failing.set(key, { firstLine, begin: since, isReported: isStuck });
    if (!isStuck || failing?.isReported === true) return;
    this.#state.findings.report(
      'stuck',
      { partition: partition.name },
      [this.#healLine, firstLine, line],
      () => `${what} failed for ${time - since} ms, none succeeded, and no fault was at work`,
    );
  }

  attempts(count: number, partition: Partition, line: number): void {
    if (count <= this.#attemptsMax) return;
    this.#state.findings.report(
      'unbounded-retry',
      { partition: partition.name },
      [line],
      () => `a send was tried ${count} times; at most ${this.#attemptsMax} were expected`,
    );
  }
}
