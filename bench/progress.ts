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

export class Progress {
  readonly #output: ProgressOutput;
  readonly #startMs = performance.now();
  readonly #stepsTotal: number;
  #stepsDone = 0;
  /** Before anything was measured. */
  #secondsPerStep: number;
  #live = '';

  constructor(output: ProgressOutput, stepsTotal: number, expectedSecondsPerStep: number) {
    this.#output = output;
    this.#stepsTotal = stepsTotal;
    this.#secondsPerStep = expectedSecondsPerStep;
  }

  /** A line that stays. */
  say(text: string): void {
    this.#output.write(this.#output.isTTY ? `${CLEAR_LINE}${text}\n${this.#live}` : `${text}\n`);
  }

  /** A step begins. */
  begin(what: string): void {
    if (!this.#output.isTTY) return;
    const filled = Math.round((BAR_WIDTH * this.#stepsDone) / this.#stepsTotal);
    const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled);
    const left = duration((this.#stepsTotal - this.#stepsDone) * this.#secondsPerStep);
    const line = `${bar} ${this.#stepsDone}/${this.#stepsTotal}  ${left} left  ${what}`;
    this.#live = CLEAR_LINE + line.slice(0, Math.max(20, (this.#output.columns ?? 100) - 1));
    this.#output.write(this.#live);
  }

  /** The step is over, with what came of it. */
  end(what: string, outcome: string): void {
    this.#stepsDone += 1;
    this.#secondsPerStep = (performance.now() - this.#startMs) / 1000 / this.#stepsDone;
    if (!this.#output.isTTY) {
      const left = duration((this.#stepsTotal - this.#stepsDone) * this.#secondsPerStep);
      this.#output.write(`[${this.#stepsDone}/${this.#stepsTotal}, ${left} left] ${what}: ${outcome}\n`);
    }
  }

  /** Takes the live line away. */
  close(): void {
    if (this.#output.isTTY) this.#output.write(CLEAR_LINE);
    this.#live = '';
  }
}
