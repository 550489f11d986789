/**
 * A leader's appends on their way to its peers: the core names a span of the log, here it gets its bytes. Batches that are
 * not in memory are read off the event loop first; later appends to the same peer wait their turn, so that all of them
 * travel in order. Heartbeats do not wait.
 */
import type { Log } from '../log/log.js';
import type { Message, NodeId } from '../raft/types.js';

export type AppendMessage = Extract<Message, { readonly type: 'append' }>;

const NO_BODIES: readonly Buffer[] = [];

export class AppendSender {
  readonly #log: Log;
  readonly #send: (message: AppendMessage, bodies: readonly Buffer[], bytes: number) => void;
  readonly #later: (run: () => void) => void;
  /** Per peer: what is read from the disk for it. */
  readonly #reading = new Map<NodeId, Promise<void>>();

  /** @param later runs what a later turn of the event loop has to do, if it is still to be done */
  constructor(
    log: Log,
    send: (message: AppendMessage, bodies: readonly Buffer[], bytes: number) => void,
    later: (run: () => void) => void,
  ) {
    this.#log = log;
    this.#send = send;
    this.#later = later;
  }

  send(message: AppendMessage): void {
    const to = message.to.id;
    const before = this.#reading.get(to);
    const cold = before ?? this.#warm(message);
    if (cold === undefined) {
      this.#sendNow(message);
      return;
    }
    const turn = cold
      .then(() => (before === undefined ? undefined : this.#warm(message)))
      .catch(() => undefined)
      .then(() => {
        if (this.#reading.get(to) === turn) this.#reading.delete(to);
        this.#later(() => this.#sendNow(message));
      });
    this.#reading.set(to, turn);
  }

  #warm({ start, end, bytes }: AppendMessage): Promise<void> | undefined {
    return end === start ? undefined : this.#log.warm(start, bytes);
  }

  #sendNow(message: AppendMessage): void {
    if (message.end === message.start) {
      this.#send(message, NO_BODIES, 0);
      return;
    }
    const { views, nextOffset } = this.#log.viewsFrom(message.start, message.bytes, 'end');
    let bytes = 0;
    for (const view of views) bytes += view.length;
    // The log was cut since the core named the span: the message is as good as lost, which Raft is made for.
    if (nextOffset !== message.end || bytes !== message.bytes) return;
    this.#send(message, views, bytes);
  }
}
