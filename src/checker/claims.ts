/**
 * Claims: every offset of a partition at which a record is known, or said, to be, in the order of the log; and which polls
 * went past one without being given the record. Made once, when the whole history is known.
 */
import { Integers, Numbers } from './columns.js';
import { FAILED, type HistoryState, type Missed, type Partition } from './history-state.js';
import type { Transactions } from './transactions.js';

/** Acknowledged there, and nobody was given it. */
export const ACKNOWLEDGED = 0;
/** A reader was given it there. */
export const SEEN = 1;
/** It must be there, because another record of its batch was seen. */
export const EXPECTED = 2;

export class Claims {
  readonly partition: Partition;
  readonly #state: HistoryState;
  readonly #transactions: Transactions;
  readonly offset = new Numbers();
  readonly record = new Integers();
  readonly kind = new Integers();
  /** The send that was acknowledged with this offset; −1: none. */
  readonly send = new Integers();
  /** The first poll that went past it and was not given it, though nothing excuses that; −1: none. */
  readonly missedBy = new Integers();
  /** The last claim of each key, in compacted partitions. */
  readonly highestOfKey = new Map<number, number>();
  #order: Uint32Array = new Uint32Array(0);

  constructor(state: HistoryState, partition: Partition, transactions: Transactions) {
    this.#state = state;
    this.partition = partition;
    this.#transactions = transactions;
  }

  get length(): number {
    return this.#order.length;
  }

  /** The claim at a place in the order of offsets. */
  inOrder(place: number): number {
    return this.#order[place] as number;
  }

  addSeen(record: number, offset: number): void {
    this.#add(record, offset, SEEN, -1);
  }

  addAcknowledged(record: number, offset: number, send: number): void {
    this.#add(record, offset, ACKNOWLEDGED, send);
  }

  addExpected(record: number, offset: number): void {
    this.#add(record, offset, EXPECTED, -1);
  }

  #add(record: number, offset: number, kind: number, send: number): void {
    this.offset.push(offset);
    this.record.push(record);
    this.kind.push(kind);
    this.send.push(send);
    this.missedBy.push(-1);
    if (!this.partition.settings.compacted || kind === EXPECTED) return;
    const key = this.#state.records.key.at(record);
    if (key >= 0 && offset > (this.highestOfKey.get(key) ?? -1)) this.highestOfKey.set(key, offset);
  }

  /** Call once, when all are added. */
  sort(): void {
    this.#order = Uint32Array.from({ length: this.offset.length }, (_, i) => i);
    let isSorted = true;
    for (let i = 1; i < this.#order.length && isSorted; i += 1) isSorted = this.offset.at(i - 1) <= this.offset.at(i);
    if (!isSorted) this.#order.sort((a, b) => this.offset.at(a) - this.offset.at(b) || a - b);
  }

  /** Place of the first claim at or above an offset. */
  lowerBound(offset: number): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.offset.at(this.#order[middle] as number) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The claim of a record at an offset; −1: none. */
  find(record: number, offset: number): number {
    for (let place = this.lowerBound(offset); place < this.length; place += 1) {
      const claim = this.inOrder(place);
      if (this.offset.at(claim) !== offset) return -1;
      if (this.record.at(claim) === record) return claim;
    }
    return -1;
  }

  /** A poll went past this place of a record, or was given another record there. */
  isProvenMissing(record: number, offset: number): boolean {
    if (this.isExcused(record, offset)) return false;
    const other = this.partition.readAt.get(offset);
    if (other >= 0 && other !== record) return true;
    const claim = this.find(record, offset);
    return claim >= 0 && this.missedBy.at(claim) >= 0;
  }

  /** Goes through the polls that went past claims; returns what each skipped although others were given it. */
  markMissed(): { readonly missed: Missed; readonly claim: number; readonly count: number }[] {
    const skips: { missed: Missed; claim: number; count: number }[] = [];
    for (const [number, missed] of this.partition.missed.entries()) {
      let skip: { missed: Missed; claim: number; count: number } | undefined;
      for (let place = this.lowerBound(missed.from); place < this.length; place += 1) {
        const claim = this.inOrder(place);
        if (this.offset.at(claim) >= missed.to) break;
        if (!this.#mustBeGiven(claim, missed)) continue;
        if (this.kind.at(claim) === SEEN && this.#lastBegin(claim) > missed.begin) {
          if (skip === undefined) skip = { missed, claim, count: 1 };
          else skip.count += 1;
        } else if (this.missedBy.at(claim) < 0) {
          this.missedBy.set(claim, number);
        }
      }
      if (skip !== undefined) skips.push(skip);
    }
    return skips;
  }

  /** Offsets of a range at which nothing is known to be. */
  countUnclaimed(from: number, to: number): { readonly count: number; readonly first: number } {
    let count = 0;
    let first = -1;
    let next = from;
    const gap = (until: number): void => {
      if (until > next && first < 0) first = next;
      count += until - next;
    };
    for (let place = this.lowerBound(from); place < this.length; place += 1) {
      const offset = this.offset.at(this.inOrder(place));
      if (offset >= to) break;
      if (offset < next) continue;
      gap(offset);
      next = offset + 1;
    }
    if (to > next) gap(to);
    return { count, first };
  }

  #mustBeGiven(claim: number, missed: Missed): boolean {
    const record = this.record.at(claim);
    const offset = this.offset.at(claim);
    if (offset < this.partition.highestLogStart) {
      // Deleted at some time: only a reader that had it later says that it was still there.
      if (this.kind.at(claim) !== SEEN || this.#lastBegin(claim) <= missed.time) return false;
    }
    return this.#mayBeVisible(record, missed.isCommitted) && !this.#isCompactedAway(record, offset);
  }

  /** Below the log start, or removed by compaction. */
  isExcused(record: number, offset: number): boolean {
    return offset < this.partition.highestLogStart || this.#isCompactedAway(record, offset);
  }

  #isCompactedAway(record: number, offset: number): boolean {
    if (!this.partition.settings.compacted) return false;
    const { records, sends } = this.#state;
    const key = records.key.at(record);
    if (key >= 0 && this.highestOfKey.get(key)! > offset) return true;
    return records.send.at(record) >= 0 && sends.tombstone.at(records.send.at(record)) === 1;
  }

  #mayBeVisible(record: number, isCommitted: boolean): boolean {
    const { records, sends } = this.#state;
    const first = records.send.at(record);
    if (first < 0) return true;
    if (!records.moreSends.has(record)) {
      if (sends.outcome.at(first) === FAILED) return false;
      return !isCommitted || this.#transactions.endOf(first) === 'committed';
    }
    for (const { send } of records.sendsOf(record)) {
      if (sends.outcome.at(send) === FAILED) continue;
      if (!isCommitted || this.#transactions.endOf(send) === 'committed') return true;
    }
    return false;
  }

  #lastBegin(claim: number): number {
    const { records } = this.#state;
    const record = this.record.at(claim);
    const offset = this.offset.at(claim);
    if (records.offset.at(record) === offset) return records.lastBegin.at(record);
    return records.moreSightings.get(record)!.find((one) => one.offset === offset)!.lastBegin;
  }
}

/** The claims of every partition. */
export function collectClaims(state: HistoryState, transactions: Transactions): Claims[] {
  const all = state.partitions.map((partition) => new Claims(state, partition, transactions));
  const { records } = state;
  for (let record = 0; record < records.length; record += 1) {
    const claims = all[records.partition.at(record)] as Claims;
    if (records.offset.at(record) >= 0) {
      claims.addSeen(record, records.offset.at(record));
      for (const { offset } of records.moreSightings.get(record) ?? []) claims.addSeen(record, offset);
    }
    addAcknowledged(state, claims, record);
  }
  for (let send = 0; send < state.sends.length; send += 1) {
    if (state.sends.count.at(send) > 1) addExpected(state, all[state.sends.partition.at(send)] as Claims, send);
  }
  for (const claims of all) claims.sort();
  return all;
}

function addAcknowledged({ records, sends }: HistoryState, claims: Claims, record: number): void {
  let added: number[] | undefined;
  for (const { send, index } of records.sendsOf(record)) {
    if (sends.offset.at(send) < 0) continue;
    const offset = sends.offset.at(send) + index;
    if (records.sightingsOf(record).some((one) => one.offset === offset)) continue;
    added ??= [];
    if (added.includes(offset)) continue;
    added.push(offset);
    claims.addAcknowledged(record, offset, send);
  }
}

function addExpected(state: HistoryState, claims: Claims, send: number): void {
  for (const base of batchBases(state, send)) {
    for (let index = 0; index < state.sends.count.at(send); index += 1) {
      const record = state.sends.record(send, index);
      if (base + index < 0 || state.records.sightingsOf(record).some((one) => one.offset === base + index)) continue;
      claims.addExpected(record, base + index);
    }
  }
}

/** Where the batch of a send begins, as each of its records that readers had says. */
export function batchBases({ sends, records }: HistoryState, send: number): readonly number[] {
  const bases = new Set<number>();
  for (let index = 0; index < sends.count.at(send); index += 1) {
    const record = sends.record(send, index);
    if (records.offset.at(record) < 0) continue;
    for (const { offset } of records.sightingsOf(record)) bases.add(offset - index);
  }
  return [...bases].sort((a, b) => a - b);
}
