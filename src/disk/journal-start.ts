/**
 * The promise that a journal's first file is on disk. It may reject with nobody listening: a failure is told in other ways
 * as well.
 */
import { VarveError } from '../errors.js';

export class JournalStart {
  readonly promise: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: Error) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.promise.catch(() => undefined);
  }

  /** Told of all progress; the first word counts. */
  settle(started: boolean, error: Error | undefined, stopped: boolean): void {
    if (started) this.#resolve();
    else if (error !== undefined) this.#reject(error);
    else if (stopped) this.#reject(new VarveError('CLOSED', 'the journal was closed before its first file was there'));
  }
}
