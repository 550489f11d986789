/**
 * What a partition knows of its idempotent and transactional producers (KIP-98, KIP-360): per producer id the epoch, the
 * last five batches, the epoch of the last transaction coordinator, and the first offset of the open transaction.
 *
 * It is derived from the batches of the log and nothing else, so every replica comes to the same. Pure: no IO, no clock,
 * no randomness; `now` comes from outside and only decides which idle producers are forgotten.
 *
 * Entries are never changed, only replaced. For every change above the high watermark the entry before it is kept, so a
 * truncation, which never goes below the high watermark, is undone in memory and at once; and the state *at* the high
 * watermark, which is what a snapshot holds, can be told at any time. A batch without a producer id costs nothing.
 *
 * Invariants: undo entries and transactions are in offset order; all undo entries lie at or above the high watermark.
 */
import { REMEMBERED_BATCHES } from '../compaction/producer-batches.js';
import { invariant, VarveError } from '../errors.js';
import type { AbortedTransaction } from '../index/txn-index.js';
import {
  baseOffsetAt,
  baseSequenceAt,
  batchSizeAt,
  hasProducerAt,
  isControlAt,
  isTransactionalAt,
  lastOffsetDeltaAt,
  maxTimestampAt,
  producerEpochAt,
  producerIdAt,
} from '../record/record-batch.js';
import { decodeMarker, type TransactionMarker } from '../record/transaction-marker.js';
import type { AppendedRange } from './log.js';

const MAX_SEQUENCE = 0x7fff_ffff;
const NO_SEQUENCE = -1;
export const NO_OFFSET = -1;
const NO_EPOCH = -1;
const NOT_YET = Number.POSITIVE_INFINITY;
/** Freed undo entries are cut off when there are at least this many of them. */
const COMPACT_AT = 256;

export interface ProducerBatch {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly timestamp: number;
}

export interface ProducerEntry {
  readonly producerId: number;
  readonly epoch: number;
  /** −1: no marker was seen yet. */
  readonly coordinatorEpoch: number;
  /** Of the last batch or marker. */
  readonly timestamp: number;
  /** −1: none is open. */
  readonly txnFirstOffset: number;
  /** At most five, the newest last; none when a marker began the epoch. */
  readonly batches: readonly ProducerBatch[];
  /** Time of the first `expire` after it was written: an idle producer is forgotten by this clock. ∞: not yet. */
  readonly seenAt: number;
}

interface Undo {
  readonly offset: number;
  readonly producerId: number;
  /** undefined: the producer was not known. */
  readonly before: ProducerEntry | undefined;
}

interface Transaction {
  readonly producerId: number;
  readonly firstOffset: number;
  /** Offset of the marker that ended it; ∞: open. */
  endOffset: number;
}

export class ProducerState {
  readonly #entries = new Map<number, ProducerEntry>();
  #undo: Undo[] = [];
  #undoHead = 0;
  /** Open ones, and those whose end lies at or above the high watermark; by first offset. */
  #transactions: Transaction[] = [];
  /** How many of them have ended. */
  #ended = 0;
  #now: number;

  /** @param entries as of a high watermark: nothing of them can be undone */
  constructor(now: number, entries: readonly ProducerEntry[] = []) {
    this.#now = now;
    for (const entry of entries) {
      this.#entries.set(entry.producerId, entry);
      if (entry.txnFirstOffset < 0) continue;
      this.#transactions.push({
        producerId: entry.producerId,
        firstOffset: entry.txnFirstOffset,
        endOffset: Number.POSITIVE_INFINITY,
      });
    }
    this.#transactions.sort((a, b) => a.firstOffset - b.firstOffset);
  }

  /** Forgets everything; nothing of it can be undone. */
  clear(): void {
    this.#entries.clear();
    this.#undo = [];
    this.#undoHead = 0;
    this.#transactions = [];
    this.#ended = 0;
  }

  /** Producers known. */
  get size(): number {
    return this.#entries.size;
  }

  /** True when nothing is known, and nothing was known at the high watermark. */
  get isEmpty(): boolean {
    return this.#entries.size === 0 && this.#undo.length === 0;
  }

  get(producerId: number): ProducerEntry | undefined {
    return this.#entries.get(producerId);
  }

  /**
   * Judges a run of checked batches before it is stored. All of its batches are new, or all of them are in the log already,
   * one behind the other; a mix is refused, since one range of offsets could not answer it.
   * @returns where the log has them; undefined when they are new
   * @throws VarveError OUT_OF_ORDER_SEQUENCE, PRODUCER_FENCED, INVALID_BATCH
   */
  check(bytes: Buffer, start: number, end: number, name: string): AppendedRange | undefined {
    let fresh = 0;
    let first: ProducerBatch | undefined;
    let last: ProducerBatch | undefined;
    let contiguous = true;
    /** Producers as they will be after the batches looked at so far. */
    let ahead: Map<number, ProducerEntry> | undefined;
    for (let pos = start; pos < end; pos += batchSizeAt(bytes, pos)) {
      if (!hasProducerAt(bytes, pos)) {
        fresh++;
        continue;
      }
      const producerId = producerIdAt(bytes, pos);
      const entry = ahead?.get(producerId) ?? this.#entries.get(producerId);
      const found = judge(entry, bytes, pos, name);
      if (found === undefined) {
        fresh++;
        // Base offsets are not stamped yet; nobody looks at them.
        if (pos + batchSizeAt(bytes, pos) < end) {
          ahead ??= new Map();
          ahead.set(producerId, withBatch(entry, bytes, pos, 0));
        }
      } else {
        contiguous &&= last === undefined || found.baseOffset === last.lastOffset + 1;
        first ??= found;
        last = found;
      }
    }
    if (first === undefined || last === undefined) return undefined;
    if (fresh > 0 || !contiguous) {
      const what = fresh > 0 ? 'some are new' : 'others lie between them';
      throw new VarveError(
        'INVALID_BATCH',
        `${name}: of a run of batches some are in the log already (from offset ${first.baseOffset} on), and ${what}: send them one by one`,
      );
    }
    return { baseOffset: first.baseOffset, lastOffset: last.lastOffset, duplicate: true };
  }

  /**
   * Judges a marker before it is stored.
   * @throws VarveError PRODUCER_FENCED, COORDINATOR_FENCED
   */
  checkMarker(producerId: number, producerEpoch: number, coordinatorEpoch: number, name: string): void {
    const entry = this.#entries.get(producerId);
    if (entry === undefined) return;
    if (producerEpoch < entry.epoch) throw fenced(name, producerId, producerEpoch, entry.epoch);
    if (coordinatorEpoch < entry.coordinatorEpoch) {
      throw new VarveError(
        'COORDINATOR_FENCED',
        `${name}: a marker for producer ${producerId} of coordinator epoch ${coordinatorEpoch}; epoch ${entry.coordinatorEpoch} has written here: this coordinator was replaced`,
      );
    }
  }

  /**
   * Takes in a stamped batch with a producer id that was stored at the log end. Nothing is refused: whoever led the
   * partition has judged it.
   * @returns the transaction that it aborts, if it does
   */
  apply(bytes: Buffer, pos: number): AbortedTransaction | undefined {
    const producerId = producerIdAt(bytes, pos);
    const before = this.#entries.get(producerId);
    if (isControlAt(bytes, pos)) {
      const marker = decodeMarker(bytes, pos);
      return marker === undefined ? undefined : this.#end(producerId, before, marker, bytes, pos);
    }
    const baseOffset = baseOffsetAt(bytes, pos);
    const after = withBatch(before, bytes, pos, baseOffset);
    this.#replace(baseOffset, producerId, before, after);
    if (after.txnFirstOffset === baseOffset) {
      this.#transactions.push({ producerId, firstOffset: baseOffset, endOffset: Number.POSITIVE_INFINITY });
    }
    return undefined;
  }

  /** The log was cut at `offset`, at or above the high watermark. */
  truncate(offset: number): void {
    const undo = this.#undo;
    while (undo.length > this.#undoHead && undo.at(-1)!.offset >= offset) {
      const { producerId, before } = undo.pop()!;
      if (before === undefined) this.#entries.delete(producerId);
      else this.#entries.set(producerId, before);
    }
    this.#trimUndo();
    const transactions = this.#transactions;
    while (transactions.length > 0 && transactions.at(-1)!.firstOffset >= offset) {
      if (transactions.pop()!.endOffset !== Number.POSITIVE_INFINITY) this.#ended--;
    }
    if (this.#ended === 0) return;
    for (const transaction of transactions) {
      if (transaction.endOffset < offset || transaction.endOffset === Number.POSITIVE_INFINITY) continue;
      transaction.endOffset = Number.POSITIVE_INFINITY;
      this.#ended--;
    }
  }

  /** The high watermark moved: what lies below it can't be undone any more. */
  commit(highWatermark: number): void {
    const undo = this.#undo;
    if (undo.length > 0) {
      while (this.#undoHead < undo.length && undo[this.#undoHead]!.offset < highWatermark) this.#undoHead++;
      this.#trimUndo();
    }
    if (this.#ended === 0) return;
    this.#transactions = this.#transactions.filter(({ endOffset }) => endOffset >= highWatermark);
    this.#ended = 0;
    for (const { endOffset } of this.#transactions) if (endOffset !== Number.POSITIVE_INFINITY) this.#ended++;
  }

  /** First offset of a transaction whose end does not lie below the high watermark; ∞ if there is none. */
  get firstUnstableOffset(): number {
    return this.#transactions.length === 0 ? Number.POSITIVE_INFINITY : this.#transactions[0]!.firstOffset;
  }

  /** The state at the high watermark, by producer id. */
  committedEntries(): ProducerEntry[] {
    const before = new Map<number, ProducerEntry | undefined>();
    for (let i = this.#undoHead; i < this.#undo.length; i++) {
      const undo = this.#undo[i]!;
      if (!before.has(undo.producerId)) before.set(undo.producerId, undo.before);
    }
    const entries: ProducerEntry[] = [];
    for (const entry of this.#entries.values()) if (!before.has(entry.producerId)) entries.push(entry);
    for (const entry of before.values()) if (entry !== undefined) entries.push(entry);
    const seen = entries.map((entry) => (entry.seenAt === NOT_YET ? { ...entry, seenAt: this.#now } : entry));
    return seen.sort((a, b) => a.producerId - b.producerId);
  }

  /** Forgets producers that wrote nothing for so long; never one with an open transaction. */
  expire(now: number, idleMs: number): void {
    this.#now = now;
    for (const [producerId, entry] of this.#entries) {
      if (entry.seenAt === NOT_YET) this.#entries.set(producerId, { ...entry, seenAt: now });
      else if (entry.txnFirstOffset < 0 && now - entry.seenAt >= idleMs) this.#entries.delete(producerId);
    }
  }

  #end(
    producerId: number,
    before: ProducerEntry | undefined,
    { result, coordinatorEpoch }: TransactionMarker,
    bytes: Buffer,
    pos: number,
  ): AbortedTransaction | undefined {
    const offset = baseOffsetAt(bytes, pos);
    const epoch = producerEpochAt(bytes, pos);
    const firstOffset = before?.txnFirstOffset ?? NO_OFFSET;
    this.#replace(offset, producerId, before, {
      producerId,
      epoch,
      coordinatorEpoch,
      timestamp: maxTimestampAt(bytes, pos),
      txnFirstOffset: NO_OFFSET,
      // A marker of a newer epoch fences the older one; sequences begin anew.
      batches: before?.epoch === epoch ? before.batches : [],
      seenAt: NOT_YET,
    });
    if (firstOffset < 0) return undefined;
    const transaction = this.#transactions.find((each) => each.firstOffset === firstOffset);
    invariant(transaction !== undefined, `producer ${producerId}: its transaction at ${firstOffset} is not listed`);
    transaction.endOffset = offset;
    this.#ended++;
    if (result === 'commit') return undefined;
    const open = this.#transactions.find(({ endOffset }) => endOffset === Number.POSITIVE_INFINITY);
    return { producerId, firstOffset, lastOffset: offset, lastStableOffset: open?.firstOffset ?? offset + 1 };
  }

  #replace(offset: number, producerId: number, before: ProducerEntry | undefined, after: ProducerEntry): void {
    this.#undo.push({ offset, producerId, before });
    this.#entries.set(producerId, after);
  }

  #trimUndo(): void {
    const head = this.#undoHead;
    if (head === this.#undo.length) this.#undo = [];
    else if (head >= COMPACT_AT && head * 2 >= this.#undo.length) this.#undo = this.#undo.slice(head);
    else return;
    this.#undoHead = 0;
  }
}

/** The sequence `count` after this one; they wrap at 2^31 − 1. */
export function sequenceAfter(sequence: number, count: number): number {
  const after = sequence + count;
  return after > MAX_SEQUENCE ? after - MAX_SEQUENCE - 1 : after;
}

/** @returns the batch of the log that this one repeats; undefined when it is the producer's next one */
function judge(entry: ProducerEntry | undefined, bytes: Buffer, pos: number, name: string): ProducerBatch | undefined {
  // KIP-360: the log may have lost what this producer wrote (retention, expiry), so it may begin anywhere.
  if (entry === undefined) return undefined;
  const epoch = producerEpochAt(bytes, pos);
  const sequence = baseSequenceAt(bytes, pos);
  if (epoch < entry.epoch) throw fenced(name, entry.producerId, epoch, entry.epoch);
  if (epoch === entry.epoch) {
    const duplicate = findBatch(entry, sequence, sequenceAfter(sequence, lastOffsetDeltaAt(bytes, pos)));
    if (duplicate !== undefined) return duplicate;
  }
  const last = epoch === entry.epoch ? (entry.batches.at(-1)?.lastSequence ?? NO_SEQUENCE) : NO_SEQUENCE;
  const expected = sequenceAfter(last, 1);
  if (sequence !== expected) {
    const after = last === NO_SEQUENCE ? 'an epoch begins with 0' : `the last one here is ${last}`;
    throw new VarveError(
      'OUT_OF_ORDER_SEQUENCE',
      `${name}: producer ${entry.producerId}, epoch ${epoch}: a batch begins with sequence ${sequence} instead of ${expected} (${after})`,
    );
  }
  if (entry.txnFirstOffset >= 0 && !isTransactionalAt(bytes, pos)) {
    throw new VarveError(
      'INVALID_BATCH',
      `${name}: producer ${entry.producerId} has an open transaction (from offset ${entry.txnFirstOffset} on), and a batch of it is not transactional`,
    );
  }
  return undefined;
}

function findBatch(entry: ProducerEntry, firstSequence: number, lastSequence: number): ProducerBatch | undefined {
  const { batches } = entry;
  for (let i = batches.length - 1; i >= 0; i--) {
    const batch = batches[i]!;
    if (batch.firstSequence === firstSequence && batch.lastSequence === lastSequence) return batch;
  }
  return undefined;
}

/** The entry after one more batch. */
function withBatch(before: ProducerEntry | undefined, bytes: Buffer, pos: number, baseOffset: number): ProducerEntry {
  const epoch = producerEpochAt(bytes, pos);
  const firstSequence = baseSequenceAt(bytes, pos);
  const delta = lastOffsetDeltaAt(bytes, pos);
  const timestamp = maxTimestampAt(bytes, pos);
  const batch: ProducerBatch = {
    firstSequence,
    lastSequence: sequenceAfter(firstSequence, delta),
    baseOffset,
    lastOffset: baseOffset + delta,
    timestamp,
  };
  const open = before?.txnFirstOffset ?? NO_OFFSET;
  return {
    producerId: before?.producerId ?? producerIdAt(bytes, pos),
    epoch,
    coordinatorEpoch: before?.coordinatorEpoch ?? NO_EPOCH,
    timestamp,
    txnFirstOffset: open < 0 && isTransactionalAt(bytes, pos) ? baseOffset : open,
    batches: before?.epoch === epoch ? [...before.batches.slice(1 - REMEMBERED_BATCHES), batch] : [batch],
    seenAt: NOT_YET,
  };
}

function fenced(name: string, producerId: number, epoch: number, current: number): VarveError {
  return new VarveError(
    'PRODUCER_FENCED',
    `${name}: producer ${producerId} writes with epoch ${epoch}; epoch ${current} has written here: another instance took its place`,
  );
}
