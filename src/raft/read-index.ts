/**
 * Linearizable reads without writing to the log (Raft dissertation §6.4): the leader notes its high watermark, and then
 * finds out from a majority that it was still the leader, by an answer to a heartbeat that was sent after the question came.
 * A reader that sees everything below that high watermark sees all that was acknowledged before it asked.
 *
 * One round of heartbeats answers all who asked before it began; who asks meanwhile waits for the next one. Rounds are
 * numbered, every heartbeat names the last one, so a lost heartbeat is made up for by the next. There are no leases: a
 * process that is stopped and goes on would answer from the past.
 *
 * Never before a batch of the leader's term is committed: until then it does not know how far its predecessors had come.
 */
import type { Read } from './types.js';

export interface ReadIndexHost {
  highWatermark(): number;
  /** A batch of this term is committed. */
  mayDecide(): boolean;
  /** The greatest round that a majority has answered. */
  confirmed(): number;
  /** Sends heartbeats that name `round`. */
  heartbeat(): void;
  answer(read: Read): void;
}

export class ReadIndex {
  readonly #host: ReadIndexHost;
  #round = 0;
  /** Who asked since the round that is under way began. */
  #queued: number[] = [];
  #asked: number[] = [];
  #highWatermark = -1;

  constructor(host: ReadIndexHost) {
    this.#host = host;
  }

  /** What heartbeats name; 0: nobody has asked yet. */
  get round(): number {
    return this.#round;
  }

  request(id: number): void {
    this.#queued.push(id);
    this.advance();
  }

  /** An answer arrived, or something was committed. */
  advance(): void {
    for (;;) {
      if (this.#asked.length > 0) {
        if (this.#host.confirmed() < this.#round) return;
        for (const id of this.#asked) this.#host.answer({ id, highWatermark: this.#highWatermark });
        this.#asked = [];
      }
      if (this.#queued.length === 0 || !this.#host.mayDecide()) return;
      this.#asked = this.#queued;
      this.#queued = [];
      this.#round++;
      this.#highWatermark = this.#host.highWatermark();
      this.#host.heartbeat();
    }
  }

  /** The leadership ends: nobody who waits is answered. */
  end(): void {
    for (const id of [...this.#asked, ...this.#queued]) this.#host.answer({ id, highWatermark: -1 });
    this.#asked = [];
    this.#queued = [];
  }
}
