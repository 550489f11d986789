/**
 * The referee of the simulation: it sees every node from outside, also what no node can know, and checks the properties of
 * Raft (paper, figure 3) whenever something changed. It shares no code with the core.
 *
 * Each batch gets an identity from all that precedes it (a hash chain, with exact comparison instead of a hash), so
 * "the logs are equal up to here" is one comparison.
 */
import assert from 'node:assert/strict';
import type { Configuration, LoggedConfiguration, Member, Message } from '../../src/raft/types.js';
import type { MemoryStore, StoredBatch } from './memory-store.js';

/** A node as the referee sees it. */
export interface Holder {
  readonly id: number;
  readonly directory: string;
  readonly store: MemoryStore;
}

export class Referee {
  readonly #countBy: 'durable' | 'written';
  /** By node id: what its present directory holds. */
  readonly #stores: ReadonlyMap<number, Holder>;
  readonly #lost: Holder[] = [];
  /** Identity of a batch: its own content and the identity of the batch before it. */
  readonly #chains = new Map<string, number>();
  /** Log matching: (epoch, start) → identity. */
  readonly #identities = new Map<string, number>();
  readonly #leaders = new Map<number, string>();
  /** Every batch that was ever committed, in order. */
  readonly committed: StoredBatch[] = [];
  readonly #committedAt = new Map<number, StoredBatch>();
  /** Batch → term of the leader that committed it. */
  readonly #committedIn = new Map<number, number>();

  constructor(stores: ReadonlyMap<number, Holder>, countBy: 'durable' | 'written') {
    this.#stores = stores;
    this.#countBy = countBy;
  }

  get committedEnd(): number {
    return this.committed.at(-1)?.end ?? 0;
  }

  /** Log matching: a batch of one (start, epoch) has one content and one past, on whichever node. */
  stored(node: number, batch: StoredBatch, previous: StoredBatch | undefined): void {
    const past = previous === undefined ? (batch.start === 0 ? 0 : undefined) : this.#identity(previous);
    // The batch before is gone by retention: its identity is known by position only.
    if (past === undefined) return;
    const chain = `${past}|${batch.start}|${batch.end}|${batch.epoch}|${batch.value}`;
    let identity = this.#chains.get(chain);
    if (identity === undefined) {
      identity = this.#chains.size + 1;
      this.#chains.set(chain, identity);
    }
    const key = `${batch.epoch}:${batch.start}`;
    const known = this.#identities.get(key);
    if (known === undefined) this.#identities.set(key, identity);
    else assert.equal(identity, known, `log matching: node ${node} has another batch or past at ${key}`);
  }

  #identity(batch: StoredBatch): number | undefined {
    return this.#identities.get(`${batch.epoch}:${batch.start}`);
  }

  /** Election safety and leader completeness. */
  elected(node: number, incarnation: number, term: number): void {
    const who = `${node}.${incarnation}`;
    const other = this.#leaders.get(term);
    assert(other === undefined || other === who, `election safety: ${other} and ${who} both lead term ${term}`);
    this.#leaders.set(term, who);
    const { store } = this.#stores.get(node)!;
    // Of what was committed in earlier terms: a slow candidate may still win a term that others have left behind.
    const last = this.committed.findLast(({ start }) => this.#committedIn.get(start)! < term);
    if (last === undefined || last.end <= store.logStart) return;
    assert(
      store.batches.some((batch) => same(batch, last)),
      `leader completeness: node ${node} leads term ${term} without the committed batch at ${last.start}`,
    );
  }

  /** State-machine safety for followers; for leaders also that the commit was allowed. */
  committedTo(node: number, leads: Configuration | undefined, term: number, from: number, to: number): void {
    assert(to >= from, `node ${node}: high watermark went back from ${from} to ${to}`);
    const { store } = this.#stores.get(node)!;
    assert(to <= store.end, `node ${node}: high watermark ${to} is above the log end ${store.end}`);
    const batches = store.slice(from, to);
    assert(to <= store.start || batches.at(-1)?.end === to, `node ${node}: high watermark ${to} is inside a batch`);
    for (const batch of batches) {
      if (batch.start < this.committedEnd) {
        const known = this.#committedAt.get(batch.start);
        assert(
          known !== undefined && same(known, batch),
          `state-machine safety: node ${node} committed another batch at ${batch.start}`,
        );
        continue;
      }
      assert(leads !== undefined, `node ${node}, no leader, committed ${batch.start} before any leader did`);
      assert.equal(batch.start, this.committedEnd);
      this.committed.push(batch);
      this.#committedAt.set(batch.start, batch);
      this.#committedIn.set(batch.start, term);
      if (batch.end === to) this.#checkCommit(node, term, batch, leads);
    }
  }

  #checkCommit(node: number, term: number, last: StoredBatch, { voters, outgoing }: Configuration): void {
    assert.equal(last.epoch, term, `node ${node} of term ${term} committed a batch of epoch ${last.epoch} by count`);
    for (const set of outgoing.length > 0 ? [voters, outgoing] : [voters]) {
      const holders = set.filter((voter) => this.#holds(voter, last));
      assert(
        holders.length > set.length / 2,
        `node ${node} committed up to ${last.end}, which ${holders.length} of ${set.length} voters hold (${this.#countBy})`,
      );
    }
  }

  #holds({ id, directory }: Member, last: StoredBatch): boolean {
    // What a disk held that was replaced later was acknowledged in good faith.
    const holder = [...this.#lost, this.#stores.get(id)!].find(
      (each) => each.id === id && each.directory === directory,
    );
    if (holder === undefined) return false;
    // Who the voters are is on disk in every mode.
    const fromDisk = this.#countBy === 'durable' || last.configuration !== undefined;
    const batches = fromDisk ? holder.store.image.batches : holder.store.batches;
    if (holder.store.logStart >= last.end) return true;
    // It may have held and acknowledged this before it forgot: the reference model knows.
    if (holder.store.image.state.forgot !== undefined) return true;
    const held = batches.findLast((batch) => batch.start <= last.start);
    return held !== undefined && same(held, last);
  }

  /** A log is emptied only below what is committed, which others still hold. */
  reset(node: number, logStart: number): void {
    assert(
      logStart <= this.committedEnd,
      `node ${node} is reset to ${logStart}, beyond the committed ${this.committedEnd}`,
    );
  }

  /** The disk of this node is about to be replaced. */
  lost({ id, directory, store }: Holder): void {
    this.#lost.push({ id, directory, store });
  }

  /** One change at a time, by way of a joint phase, after a commit in the leader's own term. */
  configured(node: number, term: number, before: LoggedConfiguration, next: Configuration): void {
    const what = `node ${node} wrote a configuration in term ${term}`;
    assert(before.offset < this.committedEnd, `${what} while the one at ${before.offset} was not committed`);
    // Others may have committed more since, in later terms.
    const hasCommitted = this.committed.findLast(({ epoch }) => epoch <= term)?.epoch === term;
    assert(hasCommitted, `${what} before it had committed anything`);
    const previous = before.configuration;
    const sameVoters = names(next.voters) === names(previous.voters);
    if (previous.outgoing.length > 0) assert(sameVoters && next.outgoing.length === 0, `${what} in a joint phase`);
    else if (next.outgoing.length > 0)
      assert.equal(names(next.outgoing), names(previous.voters), `${what}: who leaves`);
    else assert(sameVoters, `${what} with other voters and without a joint phase`);
    for (const voter of next.voters) {
      const known = [...previous.voters, ...previous.learners].map(nameOf);
      assert(known.includes(nameOf(voter)), `${what}: ${nameOf(voter)} was no learner before`);
    }
  }

  /** The hard state behind a message is on disk before the message leaves. */
  sent(message: Message): void {
    const { state } = this.#stores.get(message.from.id)!.store.image;
    const asksOnly = message.type === 'pre-vote' || (message.type === 'pre-vote-reply' && message.granted);
    if (asksOnly) return;
    assert(
      message.term <= state.term,
      `node ${message.from.id} sent a ${message.type} of term ${message.term} while term ${state.term} is on its disk`,
    );
    if (message.term !== state.term) return;
    const vote =
      message.type === 'vote' ? message.from.id : message.type === 'vote-reply' && message.granted ? message.to.id : 0;
    assert(
      vote === 0 || state.vote === vote,
      `node ${message.from.id} sent a ${message.type} to ${message.to.id} while its vote on disk is ${state.vote}`,
    );
  }
}

function nameOf({ id, directory }: Member): string {
  return `${id}/${directory}`;
}

function names(members: readonly Member[]): string {
  return members.map(nameOf).sort().join(' ');
}

export function same(a: StoredBatch, b: StoredBatch): boolean {
  return a.start === b.start && a.end === b.end && a.epoch === b.epoch && a.value === b.value;
}
