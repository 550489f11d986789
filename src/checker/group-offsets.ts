/** Committed offsets of consumer groups: one register per group and partition. */
import type { HistoryState, Partition } from './history-state.js';
import type { CommitOffset, FetchOffset } from './operation.js';

interface Commit {
  readonly offset: number;
  readonly begin: number;
  readonly time: number;
  readonly line: number;
}

/** Of one group in one partition, in the order of the history, which is that of `time`. */
class Commits {
  readonly known: Commit[] = [];
  /** Of the first n, the one that was called last. */
  readonly #newest: Commit[] = [];
  /** The earliest call of a commit of unknown outcome of each offset: it may take effect at any time after that. */
  readonly #unknown = new Map<number, number>();
  /** The earliest call of the nth known one and all behind it. */
  #earliestFrom: Float64Array | undefined;

  add(commit: Commit, isKnown: boolean): void {
    if (!isKnown) {
      this.#unknown.set(commit.offset, Math.min(commit.begin, this.#unknown.get(commit.offset) ?? commit.begin));
      return;
    }
    this.known.push(commit);
    const newest = this.#newest.at(-1);
    this.#newest.push(newest === undefined || commit.begin > newest.begin ? commit : newest);
  }

  /** Of those that were over before `begin`, the one that was called last: it has overwritten all that were over by then. */
  newestBefore(begin: number): Commit | undefined {
    return this.#newest[this.#firstFrom(begin) - 1];
  }

  /** May a fetch that was over at `time` have been given an offset, if what was over before `since` is overwritten? */
  isPossible(offset: number, since: number, time: number): boolean {
    if ((this.#unknown.get(offset) ?? Number.POSITIVE_INFINITY) <= time) return true;
    this.#earliestFrom ??= this.#makeEarliest();
    for (let i = this.#firstFrom(since); i < this.known.length && this.#earliestFrom[i]! <= time; i += 1) {
      const commit = this.known[i]!;
      if (commit.offset === offset && commit.begin <= time) return true;
    }
    return false;
  }

  #makeEarliest(): Float64Array {
    const earliest = new Float64Array(this.known.length);
    let begin = Number.POSITIVE_INFINITY;
    for (let i = this.known.length - 1; i >= 0; i -= 1) {
      begin = Math.min(begin, this.known[i]!.begin);
      earliest[i] = begin;
    }
    return earliest;
  }

  /** The first known one that was not over before `time`. */
  #firstFrom(time: number): number {
    let low = 0;
    let high = this.known.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.known[middle]!.time < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export class GroupOffsets {
  readonly #state: HistoryState;
  readonly #commits = new Map<string, Commits>();
  readonly #fetches: { readonly fetch: FetchOffset; readonly partition: Partition; readonly line: number }[] = [];

  constructor(state: HistoryState) {
    this.#state = state;
  }

  commit(
    { group, offset, outcome = 'ok', time, begin = time }: CommitOffset,
    partition: Partition,
    line: number,
  ): void {
    if (outcome === 'failed') return;
    const key = `${partition.number} ${group}`;
    let commits = this.#commits.get(key);
    if (commits === undefined) {
      commits = new Commits();
      this.#commits.set(key, commits);
    }
    commits.add({ offset, begin, time, line }, outcome === 'ok');
  }

  /** A commit that it was given may end, and be written, after it: judged at the end. */
  fetch(fetch: FetchOffset, partition: Partition, line: number): void {
    this.#fetches.push({ fetch, partition, line });
  }

  judge(): void {
    for (const { fetch, partition, line } of this.#fetches) {
      const commits = this.#commits.get(`${partition.number} ${fetch.group}`);
      if (commits !== undefined) this.#judge(fetch, commits, partition, line);
    }
  }

  #judge(fetch: FetchOffset, commits: Commits, partition: Partition, line: number): void {
    const { time, begin = time, offset, group } = fetch;
    const newest = commits.newestBefore(begin);
    if (newest === undefined) return;
    if (offset !== null && commits.isPossible(offset, newest.begin, time)) return;
    // More than was committed is wrong too, and another matter.
    if (offset !== null && offset >= newest.offset) return;
    this.#state.findings.report(
      'committed-offset-regression',
      { partition: partition.name, ...(offset !== null && { offset }) },
      [newest.line, line],
      () => `group ${group} had committed ${newest.offset}, and got back ${offset === null ? 'nothing' : offset}`,
    );
  }
}
