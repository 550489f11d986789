/**
 * What a producer holds for one partition, oldest first:
 *
 *   sent parts (in flight, or refused and waiting for the rest)  →  closed batches  →  the open batch
 *
 * Order is the contract. Several parts of one partition may be in flight, and a leader that steps down and comes back
 * may refuse one and take the next. So a refused part is sent again only once every part sent with it has been
 * answered, and only if nothing sent after it may have been appended; otherwise it fails with the error it met, which
 * says that it had no effect. A part whose outcome is unknown is never sent again.
 */
import { invariant, VarveError } from '../errors.js';
import type { BatchBuffers } from '../record/batch-buffers.js';
import { BatchBuilder } from '../record/batch-builder.js';
import { BATCH_HEADER_BYTES } from '../record/record-batch.js';
import type { Compression, RecordInput } from '../record/types.js';
import { MAX_BATCH_BYTES } from '../rpc/protocol.js';
import type { SendCallback } from './options.js';
import { ProducerBatch } from './producer-batch.js';
import { recordBytesMax } from './record-size.js';

/** One partition's share of a request: consecutive batches that are appended together or not at all. */
export interface SentPart {
  readonly queue: PartitionQueue;
  readonly batches: readonly ProducerBatch[];
  /** Grows with every part sent to the partition. */
  readonly sequence: number;
  /** Set while the part waits, refused without effect, for the answers to the parts sent after it. */
  refusal: VarveError | undefined;
}

/** Ends a batch's life: its callbacks run and its buffer is free again. Called once per batch. */
export type FinishBatch = (batch: ProducerBatch, error: VarveError | undefined, baseOffset: number) => void;

/** How a queue makes its batches. */
export interface BatchSettings {
  readonly batchBytes: number;
  readonly batchRecords: number;
  readonly compression: Compression;
  readonly buffers: BatchBuffers;
}

/** Buffers start at a power of two from here up to the size of the batch before. */
const INITIAL_BYTES_MIN = 1024;
/** The builder keeps room for more than a record needs; without this a full batch would double its buffer. */
const BUILDER_SLACK_BYTES = 256;

/** Codes after which the same bytes may be sent again: the request had no effect, and another try may find a leader. */
const SENT_AGAIN: ReadonlySet<string> = new Set(['NOT_LEADER', 'CONNECTION_LOST', 'OVERLOADED']);

export class PartitionQueue {
  open: ProducerBatch | undefined;
  /** Closed and not sent, oldest first. */
  readonly closed: ProducerBatch[] = [];
  /** Waiting for metadata or for answers; nothing is sent meanwhile. */
  paused = false;
  /** Listed in the accumulator's list of partitions with something to send. */
  listed = false;
  /** The accumulator waits for the transport to say that trying again makes sense. */
  recovering = false;
  /** Attempts since the last success. */
  attempts = 0;
  /** Why the last attempt had no effect; the cause of a TIMEOUT. */
  lastRefusal: VarveError | undefined;

  readonly #settings: BatchSettings;
  readonly #finish: FinishBatch;
  #builder: BatchBuilder;
  #builderInitialBytes = INITIAL_BYTES_MIN;
  #sent: SentPart[] = [];
  #nextSequence = 0;
  /** Highest sequence of a part that was, or may have been, appended. */
  #landedSequence = -1;

  constructor(
    readonly topic: string,
    readonly partition: number,
    settings: BatchSettings,
    finish: FinishBatch,
  ) {
    this.#settings = settings;
    this.#finish = finish;
    this.#builder = this.#newBuilder();
  }

  get inFlight(): number {
    return this.#sent.length;
  }

  get hasUnsent(): boolean {
    return this.open !== undefined || this.closed.length > 0;
  }

  /**
   * Encodes a record into the open batch, and closes the batches that this fills.
   * @returns bytes it takes
   * @throws VarveError BATCH_TOO_LARGE, INVALID_ARGUMENT: the record was not taken
   */
  append(record: RecordInput, callback: SendCallback): number {
    const { batchBytes, batchRecords } = this.#settings;
    const builder = this.#builder;
    const bytesMax = recordBytesMax(record);
    if (bytesMax + BATCH_HEADER_BYTES > MAX_BATCH_BYTES) throw this.#tooLarge(bytesMax);
    if (this.open !== undefined && builder.sizeBytes + bytesMax > batchBytes) this.closeOpenBatch();
    const before = this.#builder.sizeBytes;
    this.#builder.append(record.timestamp ?? Date.now(), record.key, record.value, record.headers);
    this.open ??= new ProducerBatch(this.partition, performance.now());
    const batch = this.open;
    const after = this.#builder.sizeBytes;
    batch.add(callback);
    batch.bytes = after;
    batch.recordBytes += after - before;
    if (after >= batchBytes || batch.records >= batchRecords) this.closeOpenBatch();
    return after - before;
  }

  closeOpenBatch(): void {
    const batch = this.open;
    if (batch === undefined) return;
    const { compression, batchBytes } = this.#settings;
    invariant(batch.records === this.#builder.count, `a batch of ${this.topic}-${this.partition} lost count`);
    batch.isOversized = batch.bytes > batchBytes;
    batch.seal(compression === 'none' ? this.#builder.finish() : this.#builder.finishCompressed(compression));
    this.open = undefined;
    this.closed.push(batch);
    this.#expectBytes(batch.bytes);
  }

  markSent(batches: readonly ProducerBatch[]): SentPart {
    const part: SentPart = { queue: this, batches, sequence: this.#nextSequence++, refusal: undefined };
    this.#sent.push(part);
    return part;
  }

  /** Takes the answer to a part. Returns true when the queue now waits to be told that sending may go on (`resume`). */
  settle(part: SentPart, error: VarveError | undefined, baseOffset: number): boolean {
    invariant(this.#sent.includes(part), `an answer for ${this.topic}-${this.partition} came twice`);
    if (error !== undefined && SENT_AGAIN.has(error.code) && part.sequence > this.#landedSequence) {
      part.refusal = error;
      this.lastRefusal = error;
      this.paused = true;
      return this.#requeueRefused();
    }
    this.#sent.splice(this.#sent.indexOf(part), 1);
    if (error === undefined || error.code === 'OUTCOME_UNKNOWN') this.#land(part);
    let offset = baseOffset;
    for (const batch of part.batches) {
      // The record count is read first: a finished batch may be reused at once.
      const { records } = batch;
      this.#finish(batch, error, offset);
      if (offset >= 0) offset += records;
    }
    return this.#requeueRefused();
  }

  /** Sending may go on, unless refused parts still wait for the answers to others: then `settle` tells later. */
  resume(): void {
    this.paused = this.#sent.some((part) => part.refusal !== undefined);
  }

  /** Fails every batch that is not in flight. */
  failUnsent(error: VarveError): void {
    this.closeOpenBatch();
    for (const batch of this.closed.splice(0)) this.#finish(batch, error, -1);
  }

  /** Fails the batches that are not in flight and were begun before `createdBeforeMs`. */
  expire(createdBeforeMs: number, requestTimeoutMs: number): void {
    if (this.open !== undefined && this.open.createdAtMs <= createdBeforeMs) this.closeOpenBatch();
    while (this.closed.length > 0 && this.closed[0]!.createdAtMs <= createdBeforeMs) {
      const error = new VarveError(
        'TIMEOUT',
        `no leader of ${this.topic}-${this.partition} took these records within ${requestTimeoutMs} ms (requestTimeoutMs); ` +
          'they were not appended',
        { cause: this.lastRefusal },
      );
      this.#finish(this.closed.shift()!, error, -1);
    }
  }

  /** Every batch that is not finished. */
  *unfinished(): Generator<ProducerBatch> {
    for (const part of this.#sent) yield* part.batches;
    yield* this.closed;
    if (this.open !== undefined) yield this.open;
  }

  #newBuilder(): BatchBuilder {
    return new BatchBuilder({ initialBytes: this.#builderInitialBytes, buffers: this.#settings.buffers });
  }

  /** Batches of a partition tend to be alike: the next one starts with a buffer that holds one like the last. */
  #expectBytes(bytes: number): void {
    const { batchBytes } = this.#settings;
    const likely = 2 ** Math.ceil(Math.log2(Math.min(bytes, batchBytes)));
    const initialBytes = Math.max(INITIAL_BYTES_MIN, likely + BUILDER_SLACK_BYTES);
    if (initialBytes === this.#builderInitialBytes) return;
    this.#builderInitialBytes = initialBytes;
    this.#builder = this.#newBuilder();
  }

  #tooLarge(bytes: number): VarveError {
    return new VarveError(
      'BATCH_TOO_LARGE',
      `a record for ${this.topic}-${this.partition} takes up to ${bytes} bytes; the largest batch is ${MAX_BATCH_BYTES}`,
    );
  }

  /** The part is in the log, or may be: what was refused before it can no longer be sent without overtaking it. */
  #land(part: SentPart): void {
    this.lastRefusal = undefined;
    if (part.sequence > this.#landedSequence) this.#landedSequence = part.sequence;
    const overtaken = this.#sent.filter((other) => other.refusal !== undefined && other.sequence < part.sequence);
    if (overtaken.length === 0) return;
    this.#sent = this.#sent.filter((other) => !overtaken.includes(other));
    for (const { batches, refusal } of overtaken) {
      for (const batch of batches) this.#finish(batch, refusal, -1);
    }
  }

  /** Once nothing but refused parts is left, their batches go back to the head of the queue. */
  #requeueRefused(): boolean {
    if (!this.paused || this.#sent.some((part) => part.refusal === undefined)) return false;
    this.closed.unshift(...this.#sent.flatMap((part) => part.batches));
    this.#sent = [];
    return true;
  }
}
