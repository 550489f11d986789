/**
 * What the clients, nodes and faults of a simulation saw, as a history that the checker judges at the end (docs/HISTORY.md).
 * The clock is simulated time: nothing is uncertain about what came first.
 *
 * What a single answer says of high watermark and log start is left out: a leader that was replaced and does not know it yet
 * may say less than was known before.
 */
import { HistoryChecker } from '../../src/checker/history-checker.js';
import type { Operation, TimedOperation } from '../../src/checker/operation.js';
import type { FlushMode } from '../../src/disk/disk.js';
import { forEachRecord } from '../../src/record/decode.js';
import { batchSizeAt, epochAt, isControlAt } from '../../src/record/record-batch.js';

const ABOUT_ORDER: ReadonlySet<string> = new Set(['nonmonotonic-send', 'epoch-regression']);

type Untimed<T> = T extends { readonly time: number } ? Omit<T, 'time'> : never;

export class SimHistory {
  readonly #checker = new HistoryChecker({ name: 'the history of the simulation', keep: 1000 });
  #lines = 0;
  /** Sends with acks 1: the next leader need not have them. */
  readonly #leadersWord = new Set<number>();
  readonly #now: () => number;

  /** @param now simulated time */
  constructor(now: () => number, partitions: readonly string[], flush: FlushMode, nodes: readonly number[]) {
    this.#now = now;
    this.#add({ op: 'history', version: 1 });
    for (const partition of partitions) this.#add({ op: 'partition', partition, flush, replicas: nodes });
  }

  get now(): number {
    return this.#now();
  }

  /** It is over now. */
  add(operation: Untimed<TimedOperation>): void {
    this.#add({ ...operation, time: this.#now() } as Operation);
    if (operation.op === 'send' && operation.acks === 1) this.#leadersWord.add(this.#lines);
  }

  #add(operation: Operation): void {
    this.#lines++;
    this.#checker.add(operation);
  }

  /** @throws what is wrong with it */
  judge(): void {
    const { anomalies } = this.#checker.finish();
    // Where the log start has gone past it, the checker cannot know that a leader's word was lost with the leader.
    const wrong = anomalies.filter(({ anomaly, lines }) => {
      return !ABOUT_ORDER.has(anomaly) || !lines.some((line) => this.#leadersWord.has(line));
    });
    if (wrong.length === 0) return;
    throw new Error(
      wrong
        .slice(0, 10)
        .map((one) => JSON.stringify(one))
        .join('\n'),
    );
  }

  get length(): number {
    return this.#lines;
  }
}

/** What records are known by: the first word of their value. */
export function readRecords(views: readonly Buffer[], from: number): [offset: number, value: string, epoch: number][] {
  const found: [number, string, number][] = [];
  for (const view of views) {
    for (let at = 0; at < view.length; at += batchSizeAt(view, at)) {
      if (isControlAt(view, at)) continue;
      const epoch = epochAt(view, at);
      forEachRecord(view, at, view.length, (offset, _timestamp, bytes, _key, _keyLength, valueStart, valueLength) => {
        if (offset < from) return;
        const value = bytes.toString('latin1', valueStart, valueStart + valueLength);
        found.push([offset, value.slice(0, value.indexOf(' ')), epoch]);
      });
    }
  }
  return found;
}
