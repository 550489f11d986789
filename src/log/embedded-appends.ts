/**
 * Embedded appends: waits while the log is throttled, encodes records into a batch, waits for its turn, and resolves when
 * the log's flush mode says that the batch is acknowledged. Batches are appended in the order of the calls, even while
 * earlier ones are being compressed.
 */
import { checkRecordKeys } from '../compaction/key-check.js';
import type { FlushMode } from '../disk/disk.js';
import { type Environment, turn } from '../environment.js';
import { VarveError } from '../errors.js';
import { checkOptionNames } from '../option-names.js';
import { BatchBuilder } from '../record/batch-builder.js';
import { codecFor } from '../record/codecs.js';
import type { Compression, RecordInput } from '../record/types.js';
import { didYouMean } from '../suggestion.js';
import type { CommitQueue } from './commit-queue.js';
import type { AppendedRange } from './log.js';
import type { LogOptions } from './options.js';

/** About a tenth of a millisecond of work. */
const MAX_BYTES_PER_TURN = 256 * 1024;
const APPEND_OPTIONS = ['compression'];

export interface EmbeddedAppendsParts {
  /** For messages: topic and partition. */
  readonly name: string;
  readonly options: LogOptions;
  readonly queue: CommitQueue;
  readonly environment: Environment;
  /** Appends a finished batch. @throws VarveError */
  readonly append: (batch: Buffer) => AppendedRange;
}

/**
 * For all logs, since a builder is in use only while one call of `append` encodes: a buffer per append would be a large
 * allocation, which costs more than encoding into it, and more garbage collections.
 */
let spareBuilder: BatchBuilder | undefined;

interface Waiter {
  readonly range: AppendedRange;
  readonly resolve: (range: AppendedRange) => void;
  readonly reject: (error: Error) => void;
}

export class EmbeddedAppends {
  readonly #parts: EmbeddedAppendsParts;
  readonly #flush: FlushMode;
  readonly #compacted: boolean;
  /** In offset order. */
  #waiters: Waiter[] = [];
  #bytesThisTurn = 0;
  /** The latest append that is still being compressed: later ones queue up behind it. */
  #encoding: Promise<unknown> | undefined;

  constructor(parts: EmbeddedAppendsParts) {
    this.#parts = parts;
    this.#flush = parts.options.flush;
    this.#compacted = parts.options.cleanup.includes('compact');
  }

  /** @see Log.append */
  append(records: readonly RecordInput[], options?: { readonly compression?: Compression }): Promise<AppendedRange> {
    return new Promise((resolve, reject) => {
      if (options !== undefined) checkOptionNames(options, APPEND_OPTIONS);
      if (this.#compacted && Array.isArray(records)) checkRecordKeys(records, this.#parts.name);
      this.#parts.queue.runWhenWritable(
        this.#flush,
        () => this.#encode(records, options?.compression ?? 'none').then(resolve, reject),
        reject,
      );
    });
  }

  async #encode(records: readonly RecordInput[], compression: Compression): Promise<AppendedRange> {
    // Before anything is built: records of an append that is refused must not stay for the next one.
    codecFor(compression);
    checkRecords(records);
    const now = this.#parts.environment.now();
    const builder = spareBuilder ?? new BatchBuilder();
    // A getter of a record may append as well.
    spareBuilder = undefined;
    try {
      for (const { timestamp, key, value, headers } of records) builder.append(timestamp ?? now, key, value, headers);
      // Storing copies the batch, so its buffer serves the next append.
      if (compression === 'none' && this.#encoding === undefined) return this.#store(builder.finishInPlace());
      return this.#storeInTurn(builder.finishCompressed(compression));
    } finally {
      builder.clear();
      spareBuilder = builder;
    }
  }

  /** Everything below `end` is durable. */
  resolveUpTo(end: number): void {
    const waiters = this.#waiters;
    let count = 0;
    while (count < waiters.length && waiters[count]!.range.lastOffset < end) count++;
    if (count === 0) return;
    this.#waiters = waiters.slice(count);
    for (let i = 0; i < count; i++) waiters[i]!.resolve(waiters[i]!.range);
  }

  /** Everything from `offset` on was cut off. */
  truncate(offset: number): void {
    const cut = this.#waiters.filter((waiter) => waiter.range.lastOffset >= offset);
    this.#waiters = this.#waiters.filter((waiter) => waiter.range.lastOffset < offset);
    const message = `${this.#parts.name}: the append was cut off by a truncation at offset ${offset}`;
    for (const waiter of cut) waiter.reject(new VarveError('LOG_TRUNCATED', message));
  }

  fail(error: Error): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  #store(batch: Buffer): Promise<AppendedRange> | AppendedRange {
    const range = this.#parts.append(batch);
    if (this.#flush !== 'sync') return this.#turn(range, batch.length);
    return new Promise((resolve, reject) => this.#waiters.push({ range, resolve, reject }));
  }

  /**
   * An append from memory is acknowledged at once; but a loop of them never leaves the microtask queue, and would starve
   * everything else of the process, back-pressure included. So after some bytes the event loop gets its turn.
   */
  #turn(range: AppendedRange, bytes: number): Promise<AppendedRange> | AppendedRange {
    if (this.#bytesThisTurn === 0) {
      this.#parts.environment.nextTurn(() => {
        this.#bytesThisTurn = 0;
      });
    }
    this.#bytesThisTurn += bytes;
    if (this.#bytesThisTurn < MAX_BYTES_PER_TURN) return range;
    return turn(this.#parts.environment).then(() => range);
  }

  async #storeInTurn(encoded: Promise<Buffer>): Promise<AppendedRange> {
    const before = this.#encoding;
    const turn = (async () => {
      const batch = await encoded;
      await before;
      return batch;
    })();
    const settled = turn.catch(() => undefined);
    this.#encoding = settled;
    try {
      const batch = await turn;
      return await this.#store(batch);
    } finally {
      if (this.#encoding === settled) this.#encoding = undefined;
    }
  }
}

const RECORD_FIELDS = ['key', 'value', 'headers', 'timestamp'];

/** A misspelled field would be stored as null. `offset` is what a record that was read has besides. */
function checkFields(record: RecordInput, at: number): void {
  for (const name in record) {
    switch (name) {
      case 'key':
      case 'value':
      case 'headers':
      case 'timestamp':
      case 'offset':
        continue;
    }
    if (!Object.hasOwn(record, name)) continue;
    throw new VarveError(
      'INVALID_ARGUMENT',
      `append: record ${at}: there is no field "${name}"${didYouMean(name, RECORD_FIELDS)}`,
    );
  }
}

/** Callers without types: a string is iterable too, and its letters would be stored as empty records. */
function checkRecords(records: unknown): void {
  if (!Array.isArray(records)) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      'append takes an array of records: [{ key, value, headers, timestamp }, …]',
    );
  }
  const at = records.findIndex((record) => typeof record !== 'object' || record === null || ArrayBuffer.isView(record));
  if (at >= 0) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `append: record ${at} is no object with key, value, headers and timestamp; wrap it: { value: … }`,
    );
  }
  for (let i = 0; i < records.length; i++) checkFields(records[i] as RecordInput, i);
}
