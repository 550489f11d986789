/** Schedulers for tests. The simulator of a cluster has its own. */
import type { TwinCall, TwinScheduler } from './twin-process.js';

/** Completes each call as soon as the running code is done, in order. Its clock moves only by `advance`. */
export class PromptScheduler implements TwinScheduler {
  #now = 0;
  #timers: { readonly at: number; readonly task: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  complete(_call: TwinCall, task: () => void): void {
    queueMicrotask(task);
  }

  after(ms: number, task: () => void): void {
    this.#timers.push({ at: this.#now + ms, task });
  }

  advance(ms: number): void {
    this.#now += ms;
    const due = this.#timers.filter((timer) => timer.at <= this.#now).sort((a, b) => a.at - b.at);
    this.#timers = this.#timers.filter((timer) => timer.at > this.#now);
    for (const { task } of due) task();
  }
}

/** Completes nothing by itself: `step` completes one call, of whose choice is `pick`'s. */
export class SteppedScheduler implements TwinScheduler {
  readonly #pick: (count: number) => number;
  #now = 0;
  #pending: { readonly call: TwinCall; readonly task: () => void }[] = [];
  #timers: { readonly at: number; readonly task: () => void }[] = [];

  /** @param pick which of `count` pending calls completes next */
  constructor(pick: (count: number) => number = () => 0) {
    this.#pick = pick;
  }

  now(): number {
    return this.#now;
  }

  complete(call: TwinCall, task: () => void): void {
    this.#pending.push({ call, task });
  }

  after(ms: number, task: () => void): void {
    this.#timers.push({ at: this.#now + ms, task });
  }

  get pending(): readonly TwinCall[] {
    return this.#pending.map(({ call }) => call);
  }

  /** Completes one call; when there is none, the clock moves on to the next timer. @returns false when there is nothing at all */
  step(): boolean {
    if (this.#pending.length > 0) {
      const [next] = this.#pending.splice(this.#pick(this.#pending.length), 1);
      next!.task();
      return true;
    }
    if (this.#timers.length === 0) return false;
    const next = this.#timers.reduce((a, b) => (b.at < a.at ? b : a));
    this.#timers.splice(this.#timers.indexOf(next), 1);
    this.#now = Math.max(this.#now, next.at);
    next.task();
    return true;
  }
}
