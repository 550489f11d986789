/** Rations background work: so many bytes per second, with bursts of at most a tenth of a second. */
import { type Environment, sleep } from '../environment.js';

const BURST_MS = 100;

export class ByteRation {
  readonly #bytesPerMs: number;
  readonly #signal: AbortSignal;
  readonly #environment: Environment;
  /** When everything taken so far is paid for, on the monotonic clock. */
  #paidAt = 0;

  /** @param bytesPerSecond 0: no limit  @param signal ends waiting */
  constructor(bytesPerSecond: number, signal: AbortSignal, environment: Environment) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#signal = signal;
    this.#environment = environment;
  }

  /** Resolves when the bytes may be read or written, or the signal has come. */
  async take(bytes: number): Promise<void> {
    if (this.#bytesPerMs === 0) return;
    const now = this.#environment.monotonic();
    this.#paidAt = Math.max(this.#paidAt, now - BURST_MS) + bytes / this.#bytesPerMs;
    const waitMs = this.#paidAt - now;
    if (waitMs > 0) await sleep(this.#environment, waitMs, this.#signal).catch(() => {});
  }
}
