/**
 * A produce request between its arrival and its reply, and the queue in which its parts wait for a cursor of their
 * partition. A queue is kept in the order of the offsets that its parts end at, which is the order they come in, but for
 * duplicates: one move of the high watermark completes all that it passed without looking at the rest.
 */
import type { ErrorCode } from '../errors.js';
import type { ProduceReplyHeader } from '../rpc/protocol.js';

type PartResult = ProduceReplyHeader[0][number];

export class ProduceRequest {
  readonly acks: 0 | 1 | -1;
  /** Bytes of batches, which count against the connection's limit until the reply. */
  readonly bytes: number;
  /** Time of the monotonic clock after which the producer no longer waits. */
  readonly deadline: number;
  readonly #results: (PartResult | undefined)[];
  readonly #onSettled: (request: ProduceRequest, results: PartResult[]) => void;
  #open: number;

  constructor(
    acks: 0 | 1 | -1,
    parts: number,
    bytes: number,
    deadline: number,
    onSettled: (request: ProduceRequest, results: PartResult[]) => void,
  ) {
    this.acks = acks;
    this.bytes = bytes;
    this.deadline = deadline;
    this.#results = new Array(parts);
    this.#open = parts;
    this.#onSettled = onSettled;
  }

  succeed(part: number, baseOffset: number, logStart: number): void {
    this.#settle(part, ['', '', baseOffset, logStart]);
  }

  fail(part: number, code: ErrorCode, message: string): void {
    this.#settle(part, [code, message, -1, -1]);
  }

  /** The first word on a part stands: a part that timed out may still be committed later, and stays unknown. */
  #settle(part: number, result: PartResult): void {
    if (this.#results[part] !== undefined) return;
    this.#results[part] = result;
    this.#open--;
    if (this.#open === 0) this.#onSettled(this, this.#results as PartResult[]);
  }
}

interface Waiting {
  /** Offset after the part's last record: the cursor that reaches it completes it. */
  readonly end: number;
  readonly baseOffset: number;
  readonly request: ProduceRequest;
  readonly part: number;
}

/** Freed entries are cut off when there are at least this many of them. */
const COMPACT_AT = 256;

export class ProduceQueue {
  #entries: Waiting[] = [];
  #head = 0;

  get length(): number {
    return this.#entries.length - this.#head;
  }

  push(request: ProduceRequest, part: number, baseOffset: number, end: number): void {
    const entries = this.#entries;
    const entry = { end, baseOffset, request, part };
    let at = entries.length;
    while (at > this.#head && entries[at - 1]!.end > end) at--;
    if (at === entries.length) entries.push(entry);
    else entries.splice(at, 0, entry);
  }

  /** Completes everything that ends at or below `cursor`. */
  completeTo(cursor: number, logStart: number): void {
    const entries = this.#entries;
    let head = this.#head;
    while (head < entries.length && entries[head]!.end <= cursor) {
      const { request, part, baseOffset } = entries[head++]!;
      request.succeed(part, baseOffset, logStart);
    }
    this.#head = head;
    if (head === entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (head >= COMPACT_AT && head * 2 >= entries.length) {
      this.#entries = entries.slice(head);
      this.#head = 0;
    }
  }

  /** The partition can no longer tell what becomes of these. */
  failAll(code: ErrorCode, message: string): void {
    const entries = this.#entries;
    const head = this.#head;
    this.#entries = [];
    this.#head = 0;
    for (let i = head; i < entries.length; i++) entries[i]!.request.fail(entries[i]!.part, code, message);
  }

  /** Answers those whose producer waits no longer. They stay queued until the cursor passes them: order is by offset. */
  expire(now: number, message: string): void {
    for (let i = this.#head; i < this.#entries.length; i++) {
      const { request, part } = this.#entries[i]!;
      if (request.deadline <= now) request.fail(part, 'OUTCOME_UNKNOWN', message);
    }
  }
}
