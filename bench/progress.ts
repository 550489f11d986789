/**
 * What a person sees while a run goes on. On a terminal: one line that is rewritten, with the time that is left. Else:
 * a plain line per step, so that a log stays readable.
 */
import { duration } from './report/format.js';

const CLEAR_LINE = '\r\u001b[2K';
const BAR_WIDTH = 24;

export interface ProgressOutput {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Steps of one kind take about the same time. */
export interface StepKind {
  readonly count: number;
  /** Until one of them was seen. */
  readonly expectedSeconds: number;
}

export type StepKinds = Readonly<Record<string, StepKind>>;

export class Progress {
  readonly #output: ProgressOutput;
  readonly #kinds: StepKinds;
  readonly #seen = new Map<string, { count: number; seconds: number }>();
  #beganMs = performance.now();
  #live = '';

  constructor(output: ProgressOutput, kinds: StepKinds) {
    this.#output = output;
    this.#kinds = kinds;
  }

  get secondsLeft(): number {
    return Object.entries(this.#kinds).reduce((sum, [kind, { count, expectedSeconds }]) => {
      const seen = this.#seen.get(kind);
      const each = seen === undefined ? expectedSeconds : seen.seconds / seen.count;
      return sum + Math.max(0, count - (seen?.count ?? 0)) * each;
    }, 0);
  }

  /** A line that stays. */
  say(text: string): void {
    this.#output.write(this.#output.isTTY ? `${CLEAR_LINE}${text}\n${this.#live}` : `${text}\n`);
  }

  /** A step begins. */
  begin(what: string): void {
    this.#beganMs = performance.now();
    if (!this.#output.isTTY) return;
    const filled = Math.round((BAR_WIDTH * this.#done) / this.#total);
    const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled);
    const line = `${bar} ${this.#done}/${this.#total}  ${duration(this.secondsLeft)} left  ${what}`;
    this.#live = CLEAR_LINE + line.slice(0, Math.max(20, (this.#output.columns ?? 100) - 1));
    this.#output.write(this.#live);
  }

  /** The step is over, with what came of it. */
  end(kind: string, what: string, outcome: string): void {
    const seen = this.#seen.get(kind) ?? { count: 0, seconds: 0 };
    seen.count += 1;
    seen.seconds += (performance.now() - this.#beganMs) / 1000;
    this.#seen.set(kind, seen);
    if (this.#output.isTTY) return;
    this.#output.write(`[${this.#done}/${this.#total}, ${duration(this.secondsLeft)} left] ${what}: ${outcome}\n`);
  }

  /** Takes the live line away. */
  close(): void {
    if (this.#output.isTTY) this.#output.write(CLEAR_LINE);
    this.#live = '';
  }

  get #done(): number {
    return [...this.#seen.values()].reduce((sum, { count }) => sum + count, 0);
  }

  get #total(): number {
    return Object.values(this.#kinds).reduce((sum, { count }) => sum + count, 0);
  }
}
