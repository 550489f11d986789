/**
 * Leader-epoch index of one partition: which epoch begins at which offset. Raft's conflict search runs on it, and Kafka
 * clients ask it where an epoch ended (KIP-101, KIP-279).
 *
 *   leader-epoch-checkpoint file, text, Kafka's layout
 *     0                  version
 *     2                  number of entries
 *     4 0                epoch, start offset
 *     7 1500
 *
 * Invariant: epochs and start offsets both grow strictly. An epoch ends where the next one begins; the last one ends at
 * the log end, which the callers know.
 *
 * It can always be rebuilt from the batches: `fromBytes` answers undefined for anything that cannot be right.
 */
import { invariant } from '../errors.js';

export interface EpochStart {
  readonly epoch: number;
  readonly startOffset: number;
}

const VERSION = '0';
const UNKNOWN_EPOCH = -1;
const MAX_EPOCH = 0x7fff_ffff;

export class EpochIndex {
  #entries: EpochStart[] = [];

  static fromEntries(entries: Iterable<EpochStart>): EpochIndex {
    const index = new EpochIndex();
    for (const { epoch, startOffset } of entries) index.append(epoch, startOffset);
    return index;
  }

  /** Loads a file's bytes; undefined when they are inconsistent, or an epoch begins beyond `endOffset`. */
  static fromBytes(bytes: Buffer, limits: { readonly endOffset: number }): EpochIndex | undefined {
    const lines = bytes.toString('latin1').split('\n');
    if (lines.pop() !== '' || lines[0] !== VERSION || lines[1] !== String(lines.length - 2)) return undefined;
    const index = new EpochIndex();
    for (const line of lines.slice(2)) {
      const match = /^(\d{1,10}) (\d{1,16})$/.exec(line);
      if (match === null) return undefined;
      const epoch = Number(match[1]);
      const startOffset = Number(match[2]);
      const last = index.#entries.at(-1);
      if (epoch > MAX_EPOCH || startOffset > limits.endOffset || !Number.isSafeInteger(startOffset)) return undefined;
      if (last !== undefined && (epoch <= last.epoch || startOffset <= last.startOffset)) return undefined;
      index.#entries.push({ epoch, startOffset });
    }
    return index;
  }

  toBytes(): Buffer {
    const lines = [VERSION, String(this.#entries.length)];
    for (const { epoch, startOffset } of this.#entries) lines.push(`${epoch} ${startOffset}`);
    return Buffer.from(`${lines.join('\n')}\n`, 'latin1');
  }

  get entries(): readonly EpochStart[] {
    return this.#entries;
  }

  /** −1 when there is none. */
  get lastEpoch(): number {
    return this.#entries.at(-1)?.epoch ?? UNKNOWN_EPOCH;
  }

  /** A batch of `epoch` was appended at `startOffset`. Nothing happens unless the epoch is new. */
  append(epoch: number, startOffset: number): void {
    const last = this.#entries.at(-1);
    if (last !== undefined && epoch === last.epoch) {
      invariant(startOffset >= last.startOffset, `epoch index: offset ${startOffset} before its epoch ${epoch} began`);
      return;
    }
    invariant(
      epoch >= 0 && (last === undefined || (epoch > last.epoch && startOffset > last.startOffset)),
      `epoch index: epoch ${epoch} at ${startOffset} after epoch ${last?.epoch} at ${last?.startOffset}`,
    );
    this.#entries.push({ epoch, startOffset });
  }

  /** Epoch of the record at `offset` (if the log is that long); −1 before the first epoch known. */
  epochAt(offset: number): number {
    return this.#entries[this.#lastAtOrBelow((entry) => entry.startOffset <= offset)]?.epoch ?? UNKNOWN_EPOCH;
  }

  /** The largest epoch ≤ the one asked for, and where it ends; epoch −1 and the log start where there is none. */
  endForEpoch(epoch: number, logStart: number, logEnd: number): { readonly epoch: number; readonly end: number } {
    const found = this.#lastAtOrBelow((entry) => entry.epoch <= epoch);
    if (found < 0) return { epoch: UNKNOWN_EPOCH, end: logStart };
    return { epoch: this.#entries[found]!.epoch, end: this.#entries[found + 1]?.startOffset ?? logEnd };
  }

  /** The log now ends at `end`: epochs that begin at or after it are gone. */
  truncateTo(end: number): void {
    this.#entries.length = this.#lastAtOrBelow((entry) => entry.startOffset < end) + 1;
  }

  /**
   * The log now starts at `start`: epochs that ended before are forgotten. The epoch of record start − 1 is kept, since
   * Raft asks for it when it replicates from `start` (what a snapshot's last term is elsewhere).
   */
  trimStart(start: number): void {
    const first = this.#lastAtOrBelow((entry) => entry.startOffset <= start - 1);
    if (first > 0) this.#entries.splice(0, first);
  }

  /** The log was emptied: this is all that is known of its past. */
  reset(entries: Iterable<EpochStart>): void {
    this.#entries = [];
    for (const { epoch, startOffset } of entries) this.append(epoch, startOffset);
  }

  /** The first batch turned out to begin at `offset`, below where the log had been taken to start. */
  extendBack(offset: number): void {
    const first = this.#entries[0];
    if (first !== undefined && first.startOffset > offset) {
      this.#entries[0] = { epoch: first.epoch, startOffset: offset };
    }
  }

  /** Index of the last entry for which a condition holds that is true up to some entry and false from there on; −1: none. */
  #lastAtOrBelow(holds: (entry: EpochStart) => boolean): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (holds(this.#entries[middle]!)) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
