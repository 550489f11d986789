/**
 * Collects connections with frames to send, and lets each write once per event-loop turn: all the frames that one turn
 * produced for one peer go out in one gathered write. An owner that has a last step of its own in each turn (a node's
 * pass) flushes there, and asks for no turn besides.
 */
import { type Environment, systemEnvironment } from '../environment.js';

export interface Flushable {
  flush(): void;
}

/** Sees to it that `flush` is called at the end of this turn. */
export type RequestFlush = (flush: () => void) => void;

export class WriteScheduler {
  readonly #request: RequestFlush;
  #dirty: Flushable[] = [];

  /** @param request called when there is something to write. Default: a turn of the process for it */
  constructor(request: RequestFlush = inNextTurn(systemEnvironment)) {
    this.#request = request;
  }

  /** True while something waits to be written. */
  get isPending(): boolean {
    return this.#dirty.length > 0;
  }

  /** Once per target and turn; the target keeps track of that. */
  add(target: Flushable): void {
    this.#dirty.push(target);
    if (this.#dirty.length === 1) this.#request(this.#flush);
  }

  /** Writes everything collected so far, now. */
  flush(): void {
    if (this.#dirty.length === 0) return;
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const target of dirty) target.flush();
  }

  readonly #flush = (): void => this.flush();
}

export function inNextTurn(environment: Environment): RequestFlush {
  let isRequested = false;
  return (flush) => {
    if (isRequested) return;
    isRequested = true;
    environment.nextTurn(() => {
      isRequested = false;
      flush();
    });
  };
}

/** For connections whose owner has no scheduler of its own. */
export const sharedWriteScheduler = new WriteScheduler();
