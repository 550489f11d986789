/**
 * Collects connections with frames to send, and lets each write once per event-loop turn: all the frames that one turn
 * produced for one peer go out in one gathered write. An owner that has a last step of its own in each turn (a node's
 * pass, a producer's batch) calls `flush` at its end instead of waiting for the next turn.
 */
import { type Environment, systemEnvironment } from '../environment.js';

export interface Flushable {
  flush(): void;
}

export class WriteScheduler {
  readonly #environment: Environment;
  #dirty: Flushable[] = [];
  #isScheduled = false;

  constructor(environment: Environment = systemEnvironment) {
    this.#environment = environment;
  }

  /** Once per target and turn; the target keeps track of that. */
  add(target: Flushable): void {
    this.#dirty.push(target);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#environment.nextTurn(() => {
      this.#isScheduled = false;
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
