/**
 * Calls of one kind on the same thing at the same time become one: whoever asks while a call is under way waits for the
 * next one, which all of them share, since only a call that begins after the asking covers what the asker did before.
 */
export class SharedCalls {
  readonly #call: (name: string) => Promise<void>;
  readonly #running = new Map<string, Promise<void>>();
  readonly #next = new Map<string, Promise<void>>();

  constructor(call: (name: string) => Promise<void>) {
    this.#call = call;
  }

  run(name: string): Promise<void> {
    const running = this.#running.get(name);
    if (running === undefined) return this.#start(name);
    let next = this.#next.get(name);
    if (next === undefined) {
      next = running.then(
        () => this.#startNext(name),
        () => this.#startNext(name),
      );
      this.#next.set(name, next);
    }
    return next;
  }

  #startNext(name: string): Promise<void> {
    this.#next.delete(name);
    return this.#start(name);
  }

  #start(name: string): Promise<void> {
    const call = this.#call(name).finally(() => {
      if (this.#running.get(name) === call) this.#running.delete(name);
    });
    this.#running.set(name, call);
    return call;
  }
}
