/**
 * Compares what is in the log with what was sent: every record, every byte, in the order of the log.
 *
 * A record is known by (run, producer, sequence), and its bytes follow from these (record-source.ts), so the comparison
 * with what it must be is exact: stronger than a hash, and as cheap.
 */
import { forEachRecord, forEachRecordAsync } from '../src/record/decode.js';
import { BATCH_HEADER_BYTES, baseOffsetAt, codecAt, isControlAt, lastOffsetAt } from '../src/record/record-batch.js';
import { VarveError } from '../src/errors.js';
import type { RecordVisitor } from '../src/record/record-visitor.js';
import type { Ledger } from './ledger.js';
import type { RecordSource } from './payload/record-source.js';

export interface Verification {
  /** Records found whose every byte is right. */
  readonly verified: number;
  /** Acknowledged, and not there. */
  readonly lost: number;
  /** There, and never acknowledged: right after a failure, and worth knowing. */
  readonly unacknowledged: number;
  /** There a second time. */
  readonly duplicates: number;
  /** There, after a later one of the same producer. */
  readonly outOfOrder: number;
  /** There, with other bytes; a batch that does not decode or whose CRC is wrong counts once. */
  readonly corrupt: number;
  /** There, and never sent by this run. */
  readonly foreign: number;
  /** There, at another offset than was acknowledged. */
  readonly misplaced: number;
  /** Offsets between the first and the last that no batch covers. */
  readonly holes: number;
  /** The first few findings in words. */
  readonly findings: readonly string[];
}

const FINDINGS_MAX = 5;

/** A batch decompressed: where the values of its records lie in `section`. */
interface OpenedBatch {
  section: Buffer;
  readonly offsets: number[];
  readonly starts: number[];
  readonly lengths: number[];
}

function isPlain(batch: Buffer): boolean {
  return batch.length < BATCH_HEADER_BYTES || codecAt(batch, 0) === 0;
}

/** Never rejects, so that batches may be opened side by side: what is wrong with one is its own matter. */
async function openBatch(batch: Buffer): Promise<OpenedBatch | VarveError> {
  const opened: OpenedBatch = { section: batch, offsets: [], starts: [], lengths: [] };
  const visit: RecordVisitor = (offset, _time, bytes, _key, _keyLength, start, length) => {
    opened.section = bytes;
    opened.offsets.push(offset);
    opened.starts.push(start);
    opened.lengths.push(length);
  };
  try {
    await forEachRecordAsync(batch, 0, batch.length, visit, { checkCrc: true });
    return opened;
  } catch (error) {
    return error instanceof VarveError ? error : new VarveError('CORRUPT_BATCH', String(error), { cause: error });
  }
}

export class Verifier {
  readonly #ledger: Ledger;
  readonly #source: RecordSource;
  readonly #seen: Uint8Array[];
  readonly #highest: number[];
  readonly #findings: string[] = [];
  #nextOffset: number;
  #verified = 0;
  #unacknowledged = 0;
  #duplicates = 0;
  #outOfOrder = 0;
  #corrupt = 0;
  #foreign = 0;
  #misplaced = 0;
  #holes = 0;
  /** Bytes of the batches as stored, and as they would be without a codec. Control batches don't count. */
  storedBytes = 0;
  plainBytes = 0;

  constructor(ledger: Ledger, source: RecordSource, firstOffset: number) {
    this.#ledger = ledger;
    this.#source = source;
    this.#nextOffset = firstOffset;
    this.#seen = Array.from({ length: ledger.producers }, (_, i) => new Uint8Array(ledger.sentBy(i)));
    this.#highest = this.#seen.map(() => -1);
  }

  /** Where the next batch must begin. */
  get nextOffset(): number {
    return this.#nextOffset;
  }

  /**
   * Whole batches, in the order of the log. Checks their CRCs, then every record. What has to be decompressed is, side
   * by side; what was found in it is looked at in order.
   */
  async addBatches(batches: readonly Buffer[]): Promise<void> {
    const opened = batches.map((batch) => (isPlain(batch) ? undefined : openBatch(batch)));
    for (const [i, batch] of batches.entries()) {
      try {
        this.#addBatch(batch, await opened[i]);
      } catch (error) {
        if (!(error instanceof VarveError)) throw error;
        this.#corrupt += 1;
        this.#note(`a damaged batch from offset ${this.#nextOffset} on: ${error.message}`);
      }
    }
  }

  /** A record of the log. `addBatches` calls this for each record of each batch. */
  addRecord(offset: number, bytes: Buffer, start: number, length: number): void {
    const identity = this.#source.identify(bytes, start, length);
    const seen = identity === undefined ? undefined : this.#seen[identity.producer];
    if (identity === undefined || seen === undefined || identity.sequence >= seen.length) {
      this.#found('foreign', offset);
      return;
    }
    const { producer, sequence } = identity;
    const isRight = this.#source.matches(bytes, start, producer, sequence);
    if (!isRight || seen[sequence] === 1) {
      this.#found(isRight ? 'duplicate' : 'corrupt', offset, producer, sequence);
      return;
    }
    seen[sequence] = 1;
    this.#verified += 1;
    if (sequence < (this.#highest[producer] as number)) this.#found('out of order', offset, producer, sequence);
    else this.#highest[producer] = sequence;
    const expected = this.#ledger.offsetOf(producer, sequence);
    if (expected !== undefined && expected !== offset) this.#found('misplaced', offset, producer, sequence);
    if (expected === undefined && !this.#ledger.isAcknowledged(producer, sequence)) this.#unacknowledged += 1;
  }

  /** Offsets [from, to) are covered by a batch, or by batches. */
  cover(from: number, to: number): void {
    if (from > this.#nextOffset) {
      this.#holes += from - this.#nextOffset;
      this.#note(`a hole: offsets ${this.#nextOffset} to ${from - 1} are in no batch`);
    }
    this.#nextOffset = Math.max(this.#nextOffset, to);
  }

  /** What was found, once everything was given. */
  finish(): Verification {
    let lost = 0;
    for (const [producer, seen] of this.#seen.entries()) {
      for (let sequence = 0; sequence < seen.length; sequence += 1) {
        if (seen[sequence] === 1 || !this.#ledger.isAcknowledged(producer, sequence)) continue;
        lost += 1;
        const offset = this.#ledger.offsetOf(producer, sequence);
        this.#note(
          `lost: record ${sequence} of producer ${producer}${offset === undefined ? '' : `, acknowledged at offset ${offset}`}`,
        );
      }
    }
    return {
      verified: this.#verified,
      lost,
      unacknowledged: this.#unacknowledged,
      duplicates: this.#duplicates,
      outOfOrder: this.#outOfOrder,
      corrupt: this.#corrupt,
      foreign: this.#foreign,
      misplaced: this.#misplaced,
      holes: this.#holes,
      findings: [...this.#findings],
    };
  }

  #addBatch(batch: Buffer, opened: OpenedBatch | VarveError | undefined): void {
    if (opened instanceof VarveError) throw opened;
    const first = baseOffsetAt(batch, 0);
    // A fetch may begin inside a batch that was given before.
    if (first < this.#nextOffset) return;
    this.cover(first, lastOffsetAt(batch, 0) + 1);
    if (isControlAt(batch, 0)) return;
    this.storedBytes += batch.length;
    if (opened === undefined) {
      this.plainBytes += batch.length;
      const visit: RecordVisitor = (offset, _time, bytes, _key, _keyLength, start, length) => {
        this.addRecord(offset, bytes, start, length);
      };
      forEachRecord(batch, 0, batch.length, visit, { checkCrc: true });
      return;
    }
    this.plainBytes += BATCH_HEADER_BYTES + opened.section.length;
    for (const [i, start] of opened.starts.entries()) {
      this.addRecord(opened.offsets[i] as number, opened.section, start, opened.lengths[i] as number);
    }
  }

  #found(
    what: 'foreign' | 'corrupt' | 'duplicate' | 'out of order' | 'misplaced',
    offset: number,
    producer = -1,
    sequence = -1,
  ): void {
    if (what === 'foreign') this.#foreign += 1;
    else if (what === 'corrupt') this.#corrupt += 1;
    else if (what === 'duplicate') this.#duplicates += 1;
    else if (what === 'out of order') this.#outOfOrder += 1;
    else this.#misplaced += 1;
    this.#note(`${what}: at offset ${offset}${producer < 0 ? '' : `, record ${sequence} of producer ${producer}`}`);
  }

  #note(finding: string): void {
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push(finding);
  }
}

/**
 * What is wrong in a run in which nothing failed, in words; undefined when nothing is. acks: 0 promises nothing about
 * what is there, only that what is there is right.
 */
export function findFault(found: Verification, acks: 0 | 1 | 'all'): string | undefined {
  const counts = Object.entries({
    lost: acks === 0 ? 0 : found.lost,
    duplicate: found.duplicates,
    'out of order': found.outOfOrder,
    corrupt: found.corrupt,
    foreign: found.foreign,
    misplaced: found.misplaced,
    'offsets in no batch': found.holes,
  }).filter(([, count]) => count > 0);
  if (counts.length === 0) return undefined;
  return `${counts.map(([what, count]) => `${count} ${what}`).join(', ')} (${found.findings.join('; ')})`;
}
