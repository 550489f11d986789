/**
 * Which records a direct flush makes durable in their segments, and the marks that say so: native/src/direct_flush.cc, with
 * the same names. Its header says what ends a run and why.
 */
import { DURABLE_MARK_RECORD_TYPE, STORED_RECORD_TYPE } from '../../src/disk/journal-format.js';
import type { PendingRecord } from './journal-encoding.js';
import type { TwinSegment } from './twin-segment.js';

const MAX_SEGMENTS = 2;

/** records[from, end) go one way. */
export interface DirectRun {
  readonly end: number;
  readonly direct: boolean;
}

interface Mark {
  readonly log: number;
  readonly epoch: number;
  readonly generation: number;
  readonly segmentBaseOffset: number;
  /** Behind the last durable byte. */
  position: number;
  lastOffset: number;
  hwFloor: number;
}

export class TwinDirectFlush {
  readonly #minBytes: number;
  /** By log: what its last record said, if that was a stored one. */
  readonly #known = new Map<number, { readonly epoch: number; readonly generation: number }>();
  #marks: Mark[] = [];
  #since: number | undefined;

  constructor(minBytes: number) {
    this.#minBytes = minBytes;
  }

  nextRun(records: readonly PendingRecord[], from: number, wanted: number): DirectRun {
    if (this.#minBytes === 0) return { end: records.length, direct: false };
    const segments = new Set<TwinSegment>();
    let bytes = 0;
    let isWanted = from < records.length && records[from]!.ticket <= wanted;
    let end = from;
    for (; end < records.length; end++) {
      const record = records[end]!;
      if (!this.#continuesEpoch(record)) break;
      if (!segments.has(record.segment!) && segments.size === MAX_SEGMENTS) break;
      segments.add(record.segment!);
      bytes += record.length;
      isWanted ||= record.mode === 'sync';
    }
    if (end === from) return { end: from + 1, direct: false };
    return { end, direct: isWanted && bytes >= this.#minBytes };
  }

  /** To be told of every record, in order, whichever way it goes. */
  note(record: PendingRecord): void {
    if (this.#minBytes === 0) return;
    if (record.type === STORED_RECORD_TYPE) this.#known.set(record.log, record);
    else this.#known.delete(record.log);
  }

  addMark(record: PendingRecord, now: number): void {
    this.#since ??= now;
    const position = record.position + record.length;
    const same = this.#marks.find(
      (mark) =>
        mark.log === record.log &&
        mark.segmentBaseOffset === record.segmentBaseOffset &&
        mark.generation === record.generation &&
        mark.epoch === record.epoch,
    );
    if (same === undefined) {
      const { log, epoch, generation, segmentBaseOffset, lastOffset, hwFloor } = record;
      this.#marks.push({ log, epoch, generation, segmentBaseOffset, position, lastOffset, hwFloor });
      return;
    }
    same.position = position;
    same.lastOffset = record.lastOffset;
    same.hwFloor = Math.max(same.hwFloor, record.hwFloor);
  }

  marks(): PendingRecord[] {
    return this.#marks.map((mark) => ({
      ...mark,
      type: DURABLE_MARK_RECORD_TYPE,
      mode: 'sync',
      ticket: 0,
      segment: undefined,
      payload: undefined,
      length: 0,
    }));
  }

  marksWritten(): void {
    this.#marks = [];
  }

  marksDurable(): void {
    if (this.#marks.length === 0) this.#since = undefined;
  }

  get oldestMark(): number | undefined {
    return this.#since;
  }

  #continuesEpoch(record: PendingRecord): boolean {
    if (record.type !== STORED_RECORD_TYPE || record.segment === undefined) return false;
    const known = this.#known.get(record.log);
    return known?.epoch === record.epoch && known.generation === record.generation;
  }
}
