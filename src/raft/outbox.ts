/**
 * The gate between a decision and the network: nothing leaves while the (term, vote) it was decided under is not durable.
 *
 * A message is tagged with the hard state of the moment it was made and waits until that state, or a later one, is
 * durable. Order is kept: a message never overtakes an earlier one. What is held is dropped when the term moves on (to
 * drop a message is always safe: networks do it), and a held message is replaced by a later one that says the same and
 * more, so a stuck disk cannot make the queue grow without bound.
 */
import { invariant } from './invariant.js';
import { sameMember } from './membership.js';
import type { HardState, Message } from './types.js';

interface Held {
  readonly message: Message;
  readonly state: HardState;
}

const NONE: readonly Message[] = [];

export class Outbox {
  #state: HardState;
  #durable: HardState;
  #emitted: HardState;
  #held: Held[] = [];
  #ready: Message[] = [];

  constructor(durable: HardState) {
    this.#state = durable;
    this.#durable = durable;
    this.#emitted = durable;
  }

  get term(): number {
    return this.#state.term;
  }

  get vote(): number {
    return this.#state.vote;
  }

  /** Everything decided so far is durable. */
  get settled(): boolean {
    return covers(this.#durable, this.#state);
  }

  /** Moves to a later term, or votes in the present one. */
  setState(state: HardState): void {
    const { term, vote } = this.#state;
    // One vote per term, and terms never go back: what a restart must never make us forget.
    invariant(
      state.term > term || (state.term === term && (vote === 0 || vote === state.vote)),
      () => `hard state would go from (term ${term}, vote ${vote}) to (term ${state.term}, vote ${state.vote})`,
    );
    if (state.term > term) this.#held = [];
    this.#state = state;
  }

  send(message: Message): void {
    if (this.settled) {
      invariant(this.#held.length === 0, () => 'a message would overtake others that wait for a durable hard state');
      this.#ready.push(message);
      return;
    }
    const replaced = this.#held.findIndex(({ message: earlier }) => supersedes(message, earlier));
    if (replaced >= 0) this.#held.splice(replaced, 1);
    this.#held.push({ message, state: this.#state });
  }

  /** `state` and everything before it is on disk: releases what waited for it. */
  durable(state: HardState): void {
    invariant(
      covers(this.#emitted, state),
      () => `hard state of term ${state.term} became durable but was never issued`,
    );
    if (!covers(state, this.#durable)) return;
    this.#durable = state;
    let released = 0;
    while (released < this.#held.length && covers(state, this.#held[released]!.state)) released++;
    for (const { message } of this.#held.splice(0, released)) this.#ready.push(message);
  }

  /** The state to persist, once. */
  takeState(): HardState | undefined {
    if (covers(this.#emitted, this.#state)) return undefined;
    this.#emitted = this.#state;
    return this.#state;
  }

  takeMessages(): readonly Message[] {
    if (this.#ready.length === 0) return NONE;
    const messages = this.#ready;
    this.#ready = [];
    return messages;
  }

  get hasOutput(): boolean {
    return this.#ready.length > 0 || !covers(this.#emitted, this.#state);
  }
}

/** Whether having `later` on disk implies everything `earlier` promised. */
function covers(later: HardState, earlier: HardState): boolean {
  if (later.term !== earlier.term) return later.term > earlier.term;
  return later.vote === earlier.vote || earlier.vote === 0;
}

/** A later answer or request of the same kind says all that the earlier one did; rejections answer a request each. */
function supersedes(later: Message, earlier: Message): boolean {
  if (!sameMember(later.to, earlier.to) || later.type !== earlier.type) return false;
  return later.type !== 'append-reply' || (later.rejectedStart < 0 && (earlier as typeof later).rejectedStart < 0);
}
