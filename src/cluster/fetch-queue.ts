/**
 * Fetches that wait: for bytes below the high watermark (long poll), for a new leader's first commit, or for their own
 * connection to take what it was already given. Nothing here polls: a wait ends by an event or at its deadline.
 */
export interface WaitingFetch {
  readonly offset: number;
  readonly maxBytes: number;
  readonly minBytes: number;
  /** Time of the monotonic clock at which it is answered with what there is. */
  readonly deadline: number;
  /** Answers if it can; `final`: with whatever there is. Returns false to wait on. */
  attempt(final: boolean): boolean;
}

export class FetchQueue {
  #waiting: WaitingFetch[] = [];

  get length(): number {
    return this.#waiting.length;
  }

  add(fetch: WaitingFetch): void {
    this.#waiting.push(fetch);
  }

  /** The high watermark or the role changed: everybody tries again. */
  wake(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const fetch of waiting) if (!fetch.attempt(false)) this.#waiting.push(fetch);
  }

  expire(now: number): void {
    if (!this.#waiting.some((fetch) => fetch.deadline <= now)) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const fetch of waiting) if (!fetch.attempt(fetch.deadline <= now)) this.#waiting.push(fetch);
  }
}
