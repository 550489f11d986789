/** Reads that wait for a majority to confirm who leads (Raft dissertation §6.4). */
import type { VarveError } from '../errors.js';
import type { Read } from '../raft/types.js';

interface WaitingRead {
  readonly resolve: (highWatermark: number) => void;
  readonly reject: (error: VarveError) => void;
}

export class WaitingReads {
  readonly #notLeader: () => VarveError;
  readonly #reads = new Map<number, WaitingRead>();
  #lastId = 0;

  /** @param notLeader what is said to those whose leader was none */
  constructor(notLeader: () => VarveError) {
    this.#notLeader = notLeader;
  }

  /** @param ask asks the core, by a new id; resolves with the high watermark to read to */
  wait(ask: (id: number) => void): Promise<number> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#reads.set(id, { resolve, reject });
      ask(id);
    });
  }

  /** The core's answer; a high watermark below 0 is none. */
  answer({ id, highWatermark }: Read): void {
    const read = this.#reads.get(id);
    this.#reads.delete(id);
    if (highWatermark >= 0) read?.resolve(highWatermark);
    else read?.reject(this.#notLeader());
  }

  failAll(): void {
    for (const id of [...this.#reads.keys()]) this.answer({ id, highWatermark: -1 });
  }
}
