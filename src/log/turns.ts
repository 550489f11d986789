/** Operations that must not overlap: each begins when the one before it has ended, whether well or not. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(operation: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(operation);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Resolves when all that were begun or wait now have ended. */
  async ended(): Promise<void> {
    await this.#last;
  }
}
