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
import type { RecordIdentity, RecordSource } from './payload/record-source.js';

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

/** A load whose records lie in the log: what it sent, and what its records must be. */
export interface SentRun {
  readonly ledger: Ledger;
  readonly source: RecordSource;
}

/** What is found of one run's records. */
class RunTally {
  readonly source: RecordSource;
  readonly #ledger: Ledger;
  readonly #seen: Uint8Array[];
  readonly #highest: number[];
  readonly findings: string[] = [];
  verified = 0;
  unacknowledged = 0;
  duplicates = 0;
  outOfOrder = 0;
  corrupt = 0;
  misplaced = 0;

  constructor({ ledger, source }: SentRun) {
    this.#ledger = ledger;
    this.source = source;
    this.#seen = Array.from({ length: ledger.producers }, (_, i) => new Uint8Array(ledger.sentBy(i)));
    this.#highest = this.#seen.map(() => -1);
  }

  /** False when this run never sent such a record. */
  add(offset: number, bytes: Buffer, start: number, { producer, sequence }: RecordIdentity): boolean {
    const seen = this.#seen[producer];
    if (seen === undefined || sequence >= seen.length) return false;
    const at = `at offset ${offset}, record ${sequence} of producer ${producer}`;
    if (!this.source.matches(bytes, start, producer, sequence)) {
      this.corrupt += 1;
      this.note(`corrupt: ${at}`);
      return true;
    }
    if (seen[sequence] === 1) {
      this.duplicates += 1;
      this.note(`duplicate: ${at}`);
      return true;
    }
    seen[sequence] = 1;
    this.verified += 1;
    if (sequence < (this.#highest[producer] as number)) {
      this.outOfOrder += 1;
      this.note(`out of order: ${at}`);
    } else {
      this.#highest[producer] = sequence;
    }
    const expected = this.#ledger.offsetOf(producer, sequence);
    if (expected !== undefined && expected !== offset) {
      this.misplaced += 1;
      this.note(`misplaced: ${at}, acknowledged at offset ${expected}`);
    }
    if (expected === undefined && !this.#ledger.isAcknowledged(producer, sequence)) this.unacknowledged += 1;
    return true;
  }

  countLost(): number {
    let lost = 0;
    for (const [producer, seen] of this.#seen.entries()) {
      for (let sequence = 0; sequence < seen.length; sequence += 1) {
        if (seen[sequence] === 1 || !this.#ledger.isAcknowledged(producer, sequence)) continue;
        lost += 1;
        const offset = this.#ledger.offsetOf(producer, sequence);
        const where = offset === undefined ? '' : `, acknowledged at offset ${offset}`;
        this.note(`lost: record ${sequence} of producer ${producer}${where}`);
      }
    }
    return lost;
  }

  note(finding: string): void {
    if (this.findings.length < FINDINGS_MAX) this.findings.push(finding);
  }
}

/** Takes a log from an offset on, in order, and holds it against everything that was sent to it since. */
export class Verifier {
  readonly #runs: readonly RunTally[];
  /** The run of the last record: the next one is most likely of the same. */
  #latest = 0;
  #nextOffset: number;
  #foreign = 0;
  #damaged = 0;
  #holes = 0;
  readonly #findings: string[] = [];
  /** Bytes of the batches as stored, and as they would be without a codec. Control batches don't count. */
  storedBytes = 0;
  plainBytes = 0;

  constructor(runs: readonly SentRun[], firstOffset: number) {
    this.#runs = runs.map((run) => new RunTally(run));
    this.#nextOffset = firstOffset;
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
        this.#damaged += 1;
        this.#note(`a damaged batch from offset ${this.#nextOffset} on: ${error.message}`);
      }
    }
  }

  /** A record of the log. `addBatches` calls this for each record of each batch. */
  addRecord(offset: number, bytes: Buffer, start: number, length: number): void {
    const count = this.#runs.length;
    for (let i = 0; i < count; i += 1) {
      const index = (this.#latest + i) % count;
      const run = this.#runs[index] as RunTally;
      const identity = run.source.identify(bytes, start, length);
      if (identity === undefined) continue;
      this.#latest = index;
      if (run.add(offset, bytes, start, identity)) return;
      break;
    }
    this.#foreign += 1;
    this.#note(`foreign: at offset ${offset}`);
  }

  /** Offsets [from, to) are covered by a batch, or by batches. */
  cover(from: number, to: number): void {
    if (from > this.#nextOffset) {
      this.#holes += from - this.#nextOffset;
      this.#note(`a hole: offsets ${this.#nextOffset} to ${from - 1} are in no batch`);
    }
    this.#nextOffset = Math.max(this.#nextOffset, to);
  }

  /** What was found, for each run, once everything was given. What is wrong with the log itself is told with each. */
  finish(): Verification[] {
    return this.#runs.map((run) => ({
      lost: run.countLost(),
      verified: run.verified,
      unacknowledged: run.unacknowledged,
      duplicates: run.duplicates,
      outOfOrder: run.outOfOrder,
      corrupt: run.corrupt + this.#damaged,
      foreign: this.#foreign,
      misplaced: run.misplaced,
      holes: this.#holes,
      findings: [...this.#findings, ...run.findings].slice(0, FINDINGS_MAX),
    }));
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
