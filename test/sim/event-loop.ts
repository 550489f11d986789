/**
 * Simulated time: events in the order of their moments, and of their making where moments are equal. Nothing happens
 * between two events. The trace is a hash over all that happened: equal traces, equal runs.
 */

/** What an event is, in the trace. */
export const EventKind = { Timer: 1, Turn: 2, Network: 3, Disk: 4, Control: 5 } as const;
export type EventKind = (typeof EventKind)[keyof typeof EventKind];

/** A process that events belong to: those of a dead one never happen, those of a paused one wait until it goes on. */
export interface EventOwner {
  readonly number: number;
  readonly isDead: boolean;
  readonly isPaused: boolean;
  /** Keeps an event that came while it was paused. */
  defer(event: SimEvent): void;
}

export interface SimEvent {
  at: number;
  sequence: number;
  readonly kind: EventKind;
  readonly owner: EventOwner | undefined;
  readonly task: () => void;
  isCancelled: boolean;
}

/** Two lanes of 32 bits. */
export class TraceHash {
  #a = 0x811c9dc5;
  #b = 0x9e3779b9;

  mix(value: number): void {
    this.#a = Math.imul(this.#a ^ value, 0x01000193);
    this.#b = Math.imul(this.#b ^ value, 0x85ebca6b) ^ (this.#b >>> 15);
  }

  toString(): string {
    return [this.#a, this.#b].map((lane) => (lane >>> 0).toString(16).padStart(8, '0')).join('');
  }
}

export class EventLoop {
  readonly trace = new TraceHash();
  /** Events that happened. */
  count = 0;
  /** Whom the present event belongs to. */
  current: EventOwner | undefined;
  #now = 0;
  #sequence = 0;
  readonly #heap: SimEvent[] = [];

  /** Milliseconds since the simulation began. */
  get now(): number {
    return this.#now;
  }

  /** `task` happens `delayMs` from now; never inside this call. */
  schedule(delayMs: number, kind: EventKind, owner: EventOwner | undefined, task: () => void): SimEvent {
    if (!(delayMs >= 0)) throw new Error(`an event is to happen in ${delayMs} ms`);
    const event = { at: this.#now + delayMs, sequence: 0, kind, owner, task, isCancelled: false };
    this.push(event);
    return event;
  }

  /** Once more, behind those of the same moment. */
  push(event: SimEvent): void {
    event.sequence = ++this.#sequence;
    event.at = Math.max(event.at, this.#now);
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  /** Lets the next event happen. @returns false when there is none */
  step(): boolean {
    for (;;) {
      const event = this.#pop();
      if (event === undefined) return false;
      const { owner } = event;
      if (event.isCancelled || owner?.isDead) continue;
      this.#now = event.at;
      if (owner?.isPaused) {
        owner.defer(event);
        continue;
      }
      this.count++;
      this.trace.mix(Math.round(event.at * 1000));
      this.trace.mix((owner === undefined ? 0 : owner.number * 8) + event.kind);
      this.current = owner;
      event.task();
      return true;
    }
  }

  #pop(): SimEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}
