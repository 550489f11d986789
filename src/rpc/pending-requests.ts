/**
 * The requests of one connection that await a reply, by correlation id, with their deadlines. Each fails once or succeeds
 * once: OUTCOME_UNKNOWN if it left and may have changed something, otherwise TIMEOUT or CONNECTION_LOST.
 */
import type { Environment, Timer } from '../environment.js';
import { type ErrorCode, VarveError } from '../errors.js';
import { FrameType } from './protocol.js';

/** Called once per request: with an error, or with the reply's header and body. */
export type ReplyCallback = (error: VarveError | undefined, header: unknown[], body: Buffer) => void;

export interface PendingRequest {
  readonly type: number;
  /** Number of its frame on the connection, counted from 1. */
  readonly frame: number;
  /** On the environment's monotonic clock; Infinity: none. */
  readonly deadline: number;
  readonly timeoutMs: number;
  readonly done: ReplyCallback;
}

export const NO_HEADER: unknown[] = [];
export const NO_BYTES: Buffer = Buffer.alloc(0);

/** Requests are checked against their deadlines this often. */
const SWEEP_MS = 100;
const MAX_ID = 0xffff_ffff;

const MUTATING: ReadonlySet<number> = new Set<number>([FrameType.Produce, FrameType.DeleteRecords]);

export class PendingRequests {
  readonly #environment: Environment;
  /** For messages. */
  readonly #remote: string;
  readonly #pending = new Map<number, PendingRequest>();
  #lastId = 0;
  #sweep: Timer | undefined;

  constructor(environment: Environment, remote: string) {
    this.#environment = environment;
    this.#remote = remote;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** A correlation id that no request has. 0 is none. */
  nextId(): number {
    do {
      this.#lastId = this.#lastId === MAX_ID ? 1 : this.#lastId + 1;
    } while (this.#pending.has(this.#lastId));
    return this.#lastId;
  }

  /** @param timeoutMs 0: no deadline */
  add(id: number, type: number, frame: number, timeoutMs: number, done: ReplyCallback): void {
    const environment = this.#environment;
    const deadline = timeoutMs > 0 ? environment.monotonic() + timeoutMs : Infinity;
    this.#pending.set(id, { type, frame, deadline, timeoutMs, done });
    if (deadline === Infinity || this.#sweep !== undefined) return;
    this.#sweep = environment.every(SWEEP_MS, () => this.#expire());
    this.#sweep.unref();
  }

  get(id: number): PendingRequest | undefined {
    return this.#pending.get(id);
  }

  delete(id: number): void {
    this.#pending.delete(id);
  }

  /** The connection has ended. @param framesWritten frames up to this one left */
  failAll(reason: VarveError, framesWritten: number): void {
    this.#stopSweep();
    if (this.#pending.size === 0) return;
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const { type, frame, done } of all) {
      const code: ErrorCode = frame <= framesWritten && MUTATING.has(type) ? 'OUTCOME_UNKNOWN' : 'CONNECTION_LOST';
      done(new VarveError(code, reason.message, { cause: reason }), NO_HEADER, NO_BYTES);
    }
  }

  #expire(): void {
    const now = this.#environment.monotonic();
    let waiting = false;
    for (const [id, { type, deadline, timeoutMs, done }] of this.#pending) {
      if (deadline > now) {
        waiting ||= deadline !== Infinity;
        continue;
      }
      this.#pending.delete(id);
      const code = MUTATING.has(type) ? 'OUTCOME_UNKNOWN' : 'TIMEOUT';
      done(new VarveError(code, `no answer from ${this.#remote} within ${timeoutMs} ms`), NO_HEADER, NO_BYTES);
    }
    if (!waiting) this.#stopSweep();
  }

  #stopSweep(): void {
    this.#environment.cancel(this.#sweep);
    this.#sweep = undefined;
  }
}
