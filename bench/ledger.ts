/**
 * What became of every record that was sent: kept while a load runs, compared afterwards with what is read back.
 * One number per record: the offset it was acknowledged at, or one of the marks below.
 */

/** Sent, and no answer so far. */
const PENDING = -1;
/** Answered with an error that says it was not appended, or that the outcome is unknown. */
const FAILED = -2;
/** Acknowledged without an offset (acks: 0, and the floors). */
const ACKNOWLEDGED = -3;

const INITIAL_RECORDS = 16 * 1024;

class ProducerLedger {
  #marks = new Float64Array(INITIAL_RECORDS);
  sent = 0;

  push(): number {
    if (this.sent === this.#marks.length) {
      const larger = new Float64Array(this.sent * 2);
      larger.set(this.#marks);
      this.#marks = larger;
    }
    this.#marks[this.sent] = PENDING;
    this.sent += 1;
    return this.sent - 1;
  }

  mark(sequence: number, value: number): void {
    this.#marks[sequence] = value;
  }

  markOf(sequence: number): number {
    return this.#marks[sequence] as number;
  }
}

export class Ledger {
  readonly #producers: readonly ProducerLedger[];
  acknowledged = 0;
  failed = 0;
  /** Of the acknowledged records; −1 when none has one. */
  highestOffset = -1;

  constructor(producers: number) {
    this.#producers = Array.from({ length: producers }, () => new ProducerLedger());
  }

  get producers(): number {
    return this.#producers.length;
  }

  /** Takes the producer's next sequence number. */
  send(producer: number): number {
    return this.#of(producer).push();
  }

  /** offset −1: acknowledged without one. */
  acknowledge(producer: number, sequence: number, offset: number): void {
    this.acknowledged += 1;
    if (offset > this.highestOffset) this.highestOffset = offset;
    this.#of(producer).mark(sequence, offset < 0 ? ACKNOWLEDGED : offset);
  }

  fail(producer: number, sequence: number): void {
    this.failed += 1;
    this.#of(producer).mark(sequence, FAILED);
  }

  sentBy(producer: number): number {
    return this.#of(producer).sent;
  }

  get sent(): number {
    return this.#producers.reduce((sum, producer) => sum + producer.sent, 0);
  }

  get pending(): number {
    return this.sent - this.acknowledged - this.failed;
  }

  isAcknowledged(producer: number, sequence: number): boolean {
    const mark = this.#of(producer).markOf(sequence);
    return mark >= 0 || mark === ACKNOWLEDGED;
  }

  /** The offset a record was acknowledged at; undefined when it wasn't, or without an offset. */
  offsetOf(producer: number, sequence: number): number | undefined {
    const mark = this.#of(producer).markOf(sequence);
    return mark >= 0 ? mark : undefined;
  }

  #of(producer: number): ProducerLedger {
    const ledger = this.#producers[producer];
    if (ledger === undefined) throw new RangeError(`no producer ${producer} in this ledger`);
    return ledger;
  }
}
