/**
 * Cutting one log: a truncation at an offset, or a reset to a log that is empty and starts elsewhere. Either begins a new
 * generation. Its record is in the journal before any byte of the new history, and until it is durable nothing above the cut
 * counts as written (log-cursors.ts).
 */
import { invariant } from '../errors.js';
import type { Configuration } from '../journal/configuration-history.js';
import { encodeReset, encodeTruncation, RecordType } from '../journal/journal-records.js';
import type { BatchLocator } from './batch-locator.js';
import type { BatchTail } from './batch-tail.js';
import { withReserve } from './log-host.js';
import type { LogParts } from './log-parts.js';

export interface LogCutParts {
  readonly tail: BatchTail;
  readonly locator: BatchLocator;
  /** What lies from the offset on is gone. */
  readonly onCut: (offset: number) => void;
  /** The cut is durable, and with it all that is left. */
  readonly onDurable: () => void;
}

export class LogCut {
  readonly #log: LogParts;
  readonly #parts: LogCutParts;

  constructor(log: LogParts, parts: LogCutParts) {
    this.#log = log;
    this.#parts = parts;
  }

  /** @see Log.truncate */
  truncate(to: number): void {
    const { name, host, gate, cursors, segments, producers } = this.#log;
    gate.checkAccepting();
    const { start, end, highWatermark } = cursors;
    if (to >= end) return;
    invariant(to >= start, `${name}: truncation at ${to} below the log start ${start}`);
    const cut = this.#parts.locator.baseOf(to);
    invariant(cut >= highWatermark, `${name}: truncation at ${cut} below the high watermark ${highWatermark}`);
    const truncation = withReserve(host, () => segments.truncate(cut, cursors.generation + 1));
    cursors.truncate(cut);
    this.#parts.tail.truncate(cut);
    producers.truncate(cut);
    this.#submit(RecordType.Truncation, encodeTruncation(truncation), cut);
    this.#parts.onCut(cut);
  }

  /** @see Log.reset */
  reset(logStart: number, prevEpoch: number, configuration: Configuration | undefined): void {
    const { name, host, gate, cursors, segments, producers } = this.#log;
    gate.checkAccepting();
    invariant(
      logStart >= cursors.highWatermark && logStart >= cursors.start,
      `${name}: reset to ${logStart}, below the high watermark ${cursors.highWatermark}`,
    );
    const epochs = prevEpoch < 0 ? [] : [{ epoch: prevEpoch, startOffset: Math.max(0, logStart - 1) }];
    const configurations =
      configuration === undefined ? [] : [[configuration.offset, configuration.value.toString('base64')] as const];
    const { segment, removed } = withReserve(host, () => segments.reset(logStart, cursors.generation + 1));
    cursors.reset(logStart, epochs, configurations);
    this.#parts.tail.truncate(0);
    cursors.advanceHighWatermark(logStart);
    producers.reset(logStart);
    const rows = epochs.map(({ epoch, startOffset }) => [epoch, startOffset] as const);
    const payload = encodeReset({ logStart, segment, removed, epochs: rows, configurations });
    this.#submit(RecordType.Reset, payload, logStart);
    this.#parts.onCut(0);
  }

  #submit(type: number, payload: Uint8Array, end: number): void {
    const { cursors, journal } = this.#log;
    const { generation } = cursors;
    journal.submit(type, payload, (error) => {
      if (error !== undefined || generation !== cursors.generation) return;
      cursors.truncationDurable(end);
      this.#parts.onDurable();
    });
  }
}
