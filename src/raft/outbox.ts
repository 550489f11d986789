/**
 * The gate between a decision and the network: nothing leaves while the hard state it was decided under is not durable.
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
  readonly version: number;
}

const NONE: readonly Message[] = [];

export class Outbox {
  #state: HardState;
  /** Counts the changes of the state; those up to `#issued` were given out, those up to `#durable` are on disk. */
  #version = 0;
  #durable = 0;
  #issued: { readonly state: HardState; readonly version: number }[] = [];
  #issuedVersion = 0;
  #held: Held[] = [];
  #ready: Message[] = [];

  constructor(durable: HardState) {
    this.#state = durable;
  }

  get state(): HardState {
    return this.#state;
  }

  get term(): number {
    return this.#state.term;
  }

  get vote(): number {
    return this.#state.vote;
  }

  /** Everything decided so far is durable. */
  get settled(): boolean {
    return this.#durable === this.#version;
  }

  /** Moves to a later term, votes in the present one, or remembers that it forgot. */
  setState(state: HardState): void {
    const { term, vote } = this.#state;
    // One vote per term, and terms never go back: what a restart must never make us forget.
    invariant(
      state.term > term || (state.term === term && (vote === 0 || vote === state.vote)),
      () => `hard state would go from (term ${term}, vote ${vote}) to (term ${state.term}, vote ${state.vote})`,
    );
    if (same(state, this.#state)) return;
    if (state.term > term) this.#held = [];
    this.#state = state;
    this.#version++;
  }

  send(message: Message): void {
    if (this.settled) {
      invariant(this.#held.length === 0, () => 'a message would overtake others that wait for a durable hard state');
      this.#ready.push(message);
      return;
    }
    const replaced = this.#held.findIndex(({ message: earlier }) => supersedes(message, earlier));
    if (replaced >= 0) this.#held.splice(replaced, 1);
    this.#held.push({ message, version: this.#version });
  }

  /** `state` and everything before it is on disk: releases what waited for it. */
  durable(state: HardState): void {
    const at = this.#issued.findLastIndex((issued) => same(issued.state, state));
    invariant(at >= 0, () => `hard state of term ${state.term} became durable but was never issued`);
    this.#durable = this.#issued[at]!.version;
    this.#issued.splice(0, at + 1);
    let released = 0;
    while (released < this.#held.length && this.#held[released]!.version <= this.#durable) released++;
    for (const { message } of this.#held.splice(0, released)) this.#ready.push(message);
  }

  /** The state to persist, once. */
  takeState(): HardState | undefined {
    if (this.#issuedVersion === this.#version) return undefined;
    this.#issuedVersion = this.#version;
    this.#issued.push({ state: this.#state, version: this.#version });
    return this.#state;
  }

  takeMessages(): readonly Message[] {
    if (this.#ready.length === 0) return NONE;
    const messages = this.#ready;
    this.#ready = [];
    return messages;
  }

  get hasOutput(): boolean {
    return this.#ready.length > 0 || this.#issuedVersion !== this.#version;
  }
}

function same(a: HardState, b: HardState): boolean {
  return a.term === b.term && a.vote === b.vote && a.forgot === b.forgot;
}

/** A later answer or request of the same kind says all that the earlier one did; rejections answer a request each. */
function supersedes(later: Message, earlier: Message): boolean {
  if (!sameMember(later.to, earlier.to) || later.type !== earlier.type) return false;
  return later.type !== 'append-reply' || (later.rejectedStart < 0 && (earlier as typeof later).rejectedStart < 0);
}
