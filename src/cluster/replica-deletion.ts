/**
 * Deleting the oldest part of a replicated log. The leader appends a control batch that says where the log starts; on every
 * replica it takes effect just before the high watermark passes it, so that in the journal, which is one ordered stream,
 * the one never appears without the other.
 */
import { VarveError } from '../errors.js';
import { ControlKind, type Log } from '../log/log.js';
import { type ControlTracker, decodeLogStart, encodeLogStart, scanControls } from './control-batches.js';
import type { ReceivedAppend } from './raft-codec.js';

interface WaitingDelete {
  /** The log start asked for. */
  readonly offset: number;
  /** Of its control batch. */
  readonly end: number;
  readonly done: (error?: VarveError) => void;
}

export class ReplicaDeletion {
  readonly #log: Log;
  /** For messages: topic and partition. */
  readonly #name: string;
  readonly #onFailure: (error: unknown) => void;
  readonly #controls: ControlTracker;
  #waiting: WaitingDelete[] = [];
  #running: Promise<void> = Promise.resolve();

  /** @param onFailure a deletion that is committed could not be done here */
  constructor(log: Log, name: string, onFailure: (error: unknown) => void) {
    this.#log = log;
    this.#name = name;
    this.#onFailure = onFailure;
    this.#controls = scanControls(log);
  }

  /** Somebody waits for a deletion to be committed. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Appends the control batch, as the leader. @returns a promise that resolves once it is committed and done here */
  append(offset: number, term: number): Promise<void> {
    const start = this.#log.end;
    const { lastOffset } = this.#log.appendControl(ControlKind.LogStart, encodeLogStart(offset), term);
    const end = lastOffset + 1;
    this.#controls.add({ start, end, logStart: offset });
    return new Promise((resolve, reject) => {
      const done = (error?: VarveError): void => (error === undefined ? resolve() : reject(error));
      this.#waiting.push({ offset, end, done });
    });
  }

  /** The batches of an append from offset `from` on were stored. */
  noteStored({ body, batches }: Pick<ReceivedAppend, 'body' | 'batches'>, from: number): void {
    for (const { isControl, position, start, end } of batches) {
      if (!isControl || start < from) continue;
      const logStart = decodeLogStart(body, position);
      if (logStart !== undefined) this.#controls.add({ start, end, logStart });
    }
  }

  truncate(to: number): void {
    this.#controls.truncate(to);
  }

  /** The high watermark is about to move to `to`: what lies below it takes effect. */
  apply(to: number): void {
    const log = this.#log;
    for (const { start, logStart } of this.#controls.takeTo(to)) {
      log.advanceHighWatermark(start);
      const done = log.deleteBefore(Math.min(logStart, start));
      this.#running = Promise.all([this.#running, done]).then(() => {}, this.#onFailure);
    }
  }

  /** The high watermark is at `to`. */
  complete(to: number): void {
    while (this.#waiting.length > 0 && this.#waiting[0]!.end <= to) {
      const { offset, done } = this.#waiting.shift()!;
      void this.#running.then(() => {
        if (this.#log.start >= offset) done();
        else
          done(new VarveError('OUTCOME_UNKNOWN', `${this.#name}: the deletion is committed, but failed on this disk`));
      });
    }
  }

  /** Nobody knows what becomes of those that wait. */
  failWaiting(why: string): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { done } of waiting) done(new VarveError('OUTCOME_UNKNOWN', `${this.#name}: ${why}`));
  }

  /** Resolves when deletions that were begun are done. */
  async idle(): Promise<void> {
    await this.#running;
  }
}
