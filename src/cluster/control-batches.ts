/**
 * What is in the control batches of a partition's own.
 *
 *   LogStart        the log start moves here once this is committed: the offset, i64 big-endian
 *   Configuration   who the replicas are from here on, committed or not: UTF-8 JSON, members as [node id, directory id]
 *                   {"version":1,"voters":[[1,"…"],…],"outgoing":[],"learners":[]}
 *
 * A tracker holds what waits for its commit, which is LogStart alone: added as it is appended, dropped when a truncation
 * removes it, taken when the high watermark passes it. After a restart the part of the log above the stored high watermark
 * is scanned once; what lies below it has already taken effect (replica-deletion.ts). Configurations are tracked by the
 * log itself.
 */
import { VarveError } from '../errors.js';
import { ControlKind, type Log } from '../log/log.js';
import { impossible } from '../raft/membership.js';
import type { Configuration } from '../raft/types.js';
import { decodeControlBatch } from '../record/control-batch.js';
import { baseOffsetAt, batchSizeAt, isControlAt, lastOffsetAt } from '../record/record-batch.js';
import { packMembers, unpackMembers } from './founding.js';

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

const CONFIGURATION_VERSION = 1;

export function encodeConfiguration({ voters, outgoing, learners }: Configuration): Buffer {
  return Buffer.from(
    JSON.stringify({
      version: CONFIGURATION_VERSION,
      voters: packMembers(voters),
      outgoing: packMembers(outgoing),
      learners: packMembers(learners),
    }),
  );
}

/** @param what for the message, such as where it stands; @throws VarveError CORRUPT_LOG */
export function decodeConfiguration(value: Buffer, what: string): Configuration {
  let problem = 'it is not what a configuration looks like';
  try {
    const { version, voters, outgoing, learners } = JSON.parse(value.toString('utf8')) as { [name: string]: unknown };
    if (version !== CONFIGURATION_VERSION) {
      problem = `it has version ${String(version)}, this build reads ${CONFIGURATION_VERSION}`;
    } else {
      const configuration = {
        voters: unpackMembers(voters),
        outgoing: unpackMembers(outgoing),
        learners: unpackMembers(learners),
      };
      const wrong = impossible(configuration);
      if (wrong === undefined) return configuration;
      problem = wrong;
    }
  } catch {
    // As said above.
  }
  throw new VarveError('CORRUPT_LOG', `${what}: the configuration cannot be used: ${problem}`);
}

/** The configuration in the control batch at `position`; undefined if it is another kind. @throws VarveError CORRUPT_LOG */
export function configurationAt(bytes: Buffer, position: number): Configuration | undefined {
  const { type, value, offset } = decodeControlBatch(bytes, position);
  return type === ControlKind.Configuration
    ? decodeConfiguration(value, `control batch at offset ${offset}`)
    : undefined;
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
