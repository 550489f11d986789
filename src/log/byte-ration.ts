/** Rations background work: so many bytes per second, with bursts of at most a tenth of a second. */
import { setTimeout as sleep } from 'node:timers/promises';

const BURST_MS = 100;

export class ByteRation {
  readonly #bytesPerMs: number;
  readonly #signal: AbortSignal;
  /** When everything taken so far is paid for, on the clock of `performance.now`. */
  #paidAt = 0;

  /** @param bytesPerSecond 0: no limit  @param signal ends waiting */
  constructor(bytesPerSecond: number, signal: AbortSignal) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#signal = signal;
  }

  /** Resolves when the bytes may be read or written, or the signal has come. */
  async take(bytes: number): Promise<void> {
    if (this.#bytesPerMs === 0) return;
    const now = performance.now();
    this.#paidAt = Math.max(this.#paidAt, now - BURST_MS) + bytes / this.#bytesPerMs;
    const waitMs = this.#paidAt - now;
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: this.#signal }).catch(() => {});
  }
}
