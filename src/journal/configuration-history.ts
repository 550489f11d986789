/**
 * Membership history of one partition's log: at which offset which configuration stands. A configuration is a control
 * batch (ControlKind.Configuration) and holds from the moment it is appended, committed or not, until a later one is
 * appended or a truncation removes it (Raft dissertation §4.1).
 *
 * It is derived from the batches: a checkpoint row holds it, replay and the scan of the tail add what came later. What a
 * configuration says is its writer's business; here it is bytes.
 *
 * Invariants: offsets grow strictly; all but the first entry lie above the log start, since the newest entry at or below
 * the log start is the configuration that the log begins with, whose batch may have been deleted. A truncation never
 * reaches below the log start, so what is forgotten is never needed to undo one.
 */
import { ControlKind, decodeControlBatch } from '../record/control-batch.js';
import { BATCH_HEADER_BYTES, baseOffsetAt, batchSizeAt, isControlAt } from '../record/record-batch.js';

export interface Configuration {
  /** Of its control batch. */
  readonly offset: number;
  /** As it was appended. A copy; never write to it. */
  readonly value: Buffer;
}

/** An entry in a checkpoint row: the value in base64. */
export type ConfigurationRow = readonly [offset: number, value: string];

/** Whether a value that was read from a file has the shape of a row. */
export function isConfigurationRow(value: unknown): value is ConfigurationRow {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    Number.isSafeInteger(value[0]) &&
    value[0] >= 0 &&
    typeof value[1] === 'string' &&
    Buffer.from(value[1], 'base64').toString('base64') === value[1]
  );
}

export class ConfigurationHistory {
  /** Replaced, never changed: callers may keep it. */
  #entries: readonly Configuration[] = [];
  #version = 0;

  static fromRows(rows: readonly ConfigurationRow[] = []): ConfigurationHistory {
    const history = new ConfigurationHistory();
    for (const [offset, value] of rows) history.add(offset, Buffer.from(value, 'base64'));
    return history;
  }

  get entries(): readonly Configuration[] {
    return this.#entries;
  }

  rows(): ConfigurationRow[] {
    return this.#entries.map(({ offset, value }) => [offset, value.toString('base64')] as const);
  }

  /** Goes up with every change. */
  get version(): number {
    return this.#version;
  }

  /** Notes the configurations among the batches [start, end), which were appended or are being recovered. */
  noteBatches(bytes: Buffer, start: number, end: number): void {
    for (const pos of batchesOf(bytes, start, end)) {
      const value = configurationAt(bytes, pos);
      if (value !== undefined) this.add(baseOffsetAt(bytes, pos), value);
    }
  }

  /** An offset that is known keeps what it has: one log holds one batch there. Recovery meets some of them twice. */
  add(offset: number, value: Buffer): void {
    const at = this.#entries.findIndex((entry) => entry.offset >= offset);
    if (this.#entries[at]?.offset === offset) return;
    const before = at < 0 ? this.#entries : this.#entries.slice(0, at);
    const behind = at < 0 ? [] : this.#entries.slice(at);
    this.#replace([...before, { offset, value: Buffer.from(value) }, ...behind]);
  }

  /** The log now ends at `end`. */
  truncateTo(end: number): void {
    this.#replace(this.#entries.filter(({ offset }) => offset < end));
  }

  /** The log now starts at `start`: of the configurations up to it only the last one counts. */
  trimStart(start: number): void {
    const first = this.#entries.findLastIndex(({ offset }) => offset <= start);
    if (first > 0) this.#replace(this.#entries.slice(first));
  }

  /** The log was emptied. */
  reset(rows: readonly ConfigurationRow[]): void {
    this.#entries = [];
    this.#version++;
    for (const [offset, value] of rows) this.add(offset, Buffer.from(value, 'base64'));
  }

  #replace(entries: readonly Configuration[]): void {
    if (entries.length === this.#entries.length) return;
    this.#entries = entries;
    this.#version++;
  }
}

/** True when one of the batches [start, end) is a configuration. */
export function holdsConfiguration(bytes: Buffer, start: number, end: number): boolean {
  for (const pos of batchesOf(bytes, start, end)) if (configurationAt(bytes, pos) !== undefined) return true;
  return false;
}

/** Their positions. Ends at what cannot be a batch. */
function* batchesOf(bytes: Buffer, start: number, end: number): Generator<number> {
  for (let pos = start; pos + BATCH_HEADER_BYTES <= end; ) {
    const size = batchSizeAt(bytes, pos);
    if (size < BATCH_HEADER_BYTES) return;
    yield pos;
    pos += size;
  }
}

/** A view. Undefined for any other batch, and for a control batch that some other program wrote in a way of its own. */
function configurationAt(bytes: Buffer, pos: number): Buffer | undefined {
  if (!isControlAt(bytes, pos)) return undefined;
  try {
    const { type, value } = decodeControlBatch(bytes, pos);
    return type === ControlKind.Configuration ? value : undefined;
  } catch {
    return undefined;
  }
}
