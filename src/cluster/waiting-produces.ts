/**
 * Produced batches of one partition that wait for their acknowledgement: under acks 1 for the leader's own log to have
 * them, under acks all for the high watermark.
 */
import type { AppendedRange, Log } from '../log/log.js';
import { ProduceQueue, type ProduceRequest } from './produce-request.js';

export class WaitingProduces {
  readonly #log: Log;
  readonly #forLeader = new ProduceQueue();
  readonly #forAll = new ProduceQueue();

  constructor(log: Log) {
    this.#log = log;
  }

  get length(): number {
    return this.#forLeader.length + this.#forAll.length;
  }

  /** `part` of the request was appended: it is settled when its acks are met. */
  add(request: ProduceRequest, part: number, range: AppendedRange, highWatermark: number): void {
    const { baseOffset, lastOffset, duplicate } = range;
    const { acks } = request;
    const end = lastOffset + 1;
    // A duplicate waits for what its original waits for, which may have happened long ago.
    if (acks === 0 || (duplicate && end <= (acks === 1 ? this.#storedEnd : highWatermark))) {
      request.succeed(part, baseOffset, this.#log.start);
    } else {
      (acks === 1 ? this.#forLeader : this.#forAll).push(request, part, baseOffset, end);
    }
  }

  /** The leader's log may have come further. */
  completeStored(): void {
    this.#forLeader.completeTo(this.#storedEnd, this.#log.start);
  }

  completeCommitted(highWatermark: number): void {
    this.#forAll.completeTo(highWatermark, this.#log.start);
  }

  expire(now: number): void {
    this.#forLeader.expire(now, 'the leader did not store it in time');
    this.#forAll.expire(now, 'it was not replicated to a majority in time; it may still be');
  }

  /** Nobody knows what becomes of them. */
  fail(why: string): void {
    this.#forLeader.failAll('OUTCOME_UNKNOWN', why);
    this.#forAll.failAll('OUTCOME_UNKNOWN', why);
  }

  /** Under acks 1 everything below this is acknowledged. */
  get #storedEnd(): number {
    const { options, durable, written } = this.#log;
    return options.flush === 'sync' ? durable : written;
  }
}
