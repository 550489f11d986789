/**
 * Control batches that ask something of every replica once they are committed. Today there is one kind: LogStart, which
 * moves the log start. Its value is the offset, i64 big-endian.
 *
 * A tracker holds those above the high watermark: added as they are appended, dropped when a truncation removes them,
 * taken when the high watermark passes them. After a restart the part of the log above the stored high watermark is
 * scanned once; what lies below it has already taken effect (replica.ts, `#advance`).
 */
import { ControlKind, type Log } from '../log/log.js';
import { decodeControlBatch } from '../record/control-batch.js';
import { baseOffsetAt, batchSizeAt, isControlAt, lastOffsetAt } from '../record/record-batch.js';

export interface LogStartControl {
  readonly start: number;
  readonly end: number;
  readonly logStart: number;
}

export class ControlTracker {
  #controls: LogStartControl[] = [];

  add(control: LogStartControl): void {
    this.#controls.push(control);
  }

  truncate(to: number): void {
    while (this.#controls.length > 0 && this.#controls.at(-1)!.end > to) this.#controls.pop();
  }

  /** Removes and returns those that end at or below `highWatermark`, oldest first. */
  takeTo(highWatermark: number): readonly LogStartControl[] {
    const controls = this.#controls;
    if (controls.length === 0 || controls[0]!.end > highWatermark) return NONE;
    let taken = 0;
    while (taken < controls.length && controls[taken]!.end <= highWatermark) taken++;
    return controls.splice(0, taken);
  }
}

const NONE: readonly LogStartControl[] = [];

export function encodeLogStart(offset: number): Buffer {
  const value = Buffer.alloc(8);
  value.writeBigInt64BE(BigInt(offset));
  return value;
}

/** The log start that the control batch at `position` asks for; undefined if it asks for something else. */
export function decodeLogStart(bytes: Buffer, position: number): number | undefined {
  const { type, value } = decodeControlBatch(bytes, position);
  if (type !== ControlKind.LogStart || value.length !== 8) return undefined;
  return Number(value.readBigInt64BE());
}

const SCAN_BYTES = 4 * 1024 * 1024;

/** Finds what is already in the log above its high watermark. */
export function scanControls(log: Log): ControlTracker {
  const tracker = new ControlTracker();
  let offset = Math.max(log.highWatermark, log.start);
  while (offset < log.end) {
    const { views, nextOffset } = log.viewsFrom(offset, SCAN_BYTES, 'end');
    for (const view of views) {
      for (let position = 0; position < view.length; position += batchSizeAt(view, position)) {
        if (!isControlAt(view, position)) continue;
        const logStart = decodeLogStart(view, position);
        const end = lastOffsetAt(view, position) + 1;
        if (logStart !== undefined && end > log.highWatermark)
          tracker.add({ start: baseOffsetAt(view, position), end, logStart });
      }
    }
    offset = nextOffset;
  }
  return tracker;
}
