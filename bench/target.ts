/** What a load is offered to: a cell of the matrix, or a floor. */
import type { SendCallback } from '../src/client/options.js';

/** One producer. `send` never waits: the load keeps to its window. */
export interface TargetProducer {
  /**
   * Sends a record. The bytes must not be touched until `done` was called, which happens once, with an error or with the
   * offset (−1 where the target gives none).
   */
  send(value: Buffer, done: SendCallback): void;
  close(): Promise<void>;
}
