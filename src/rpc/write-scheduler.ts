/**
 * Collects connections with frames to send, and lets each write once per event-loop turn: all the frames that one turn
 * produced for one peer go out in one gathered write. An owner that has a last step of its own in each turn (a node's
 * pass, a producer's batch) calls `flush` at its end instead of waiting for the next turn.
 */
export interface Flushable {
  flush(): void;
}

export class WriteScheduler {
  #dirty: Flushable[] = [];
  #immediate: NodeJS.Immediate | undefined;

  /** Once per target and turn; the target keeps track of that. */
  add(target: Flushable): void {
    this.#dirty.push(target);
    this.#immediate ??= setImmediate(() => {
      this.#immediate = undefined;
      this.flush();
    });
  }

  /** Writes everything collected so far, now. */
  flush(): void {
    if (this.#dirty.length === 0) return;
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const target of dirty) target.flush();
  }
}

/** For connections whose owner has no scheduler of its own. */
export const sharedWriteScheduler = new WriteScheduler();
