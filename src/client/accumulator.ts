/**
 * The accumulator: records in, produce requests out, one completion per record. It knows no sockets: a
 * `ProduceTransport` says who leads a partition and carries requests, so the Producer, the benchmark's bare floor and
 * the tests all run this same code.
 *
 *   append → open batch → closed batches → one request per node → answer → callbacks
 *            (per partition)               (≤ maxInFlight, ≤ 1 MiB)
 *
 * When batches leave. A batch closes when it is full; an open one is due when it has waited lingerMs, and with lingerMs
 * 0 at the end of the event-loop tick. Whatever is due for one node goes out in one request. While maxInFlight requests
 * to a node are unanswered nothing more is sent to it and its batches keep filling, so load makes batches larger by
 * itself.
 *
 * Order, retries and what they promise: partition-queue.ts. A batch that could not be sent within requestTimeoutMs
 * fails with TIMEOUT and was not appended; one that was sent and got no answer fails with OUTCOME_UNKNOWN.
 */
import { invariant, VarveError } from '../errors.js';
import { BatchBuffers } from '../record/batch-buffers.js';
import type { RecordInput } from '../record/types.js';
import { DATA_FRAME_BYTES } from '../rpc/protocol.js';
import type { SendCallback } from './options.js';
import { type BatchSettings, PartitionQueue, type SentPart } from './partition-queue.js';
import type { ProducerBatch } from './producer-batch.js';
import type { BatchingOptions } from './resolved-options.js';

/** A run of whole, consecutive batches of one partition, as it goes into a Produce frame. */
export interface ProducePart {
  readonly topic: string;
  readonly partition: number;
  readonly byteLength: number;
  readonly records: number;
  /** One buffer per batch. They are reused once the request is answered: a transport must not keep them. */
  readonly buffers: readonly Buffer[];
}

export interface PartResult {
  readonly error: VarveError | undefined;
  /** Offset of the part's first record; −1 when unknown (acks 0). */
  readonly baseOffset: number;
}

export interface ProduceTransport {
  /**
   * Node that leads a partition; 0 when that is unknown at present. Called once per partition and tick: must be cheap.
   */
  leaderOf(topic: string, partition: number): number;
  /**
   * Waits until it makes sense to try the partition again: back-off, then fresh metadata. `attempt` counts from 0 since
   * the last success. A rejection fails everything the partition holds that is not in flight.
   */
  recover(topic: string, partition: number, attempt: number): Promise<void>;
  /**
   * Sends one request; requests to one node are sent in the order of these calls. Resolves with one result per part, in
   * their order. Rejects for the request as a whole: CONNECTION_LOST when surely nothing was sent, OUTCOME_UNKNOWN
   * otherwise.
   */
  send(node: number, parts: readonly ProducePart[], timeoutMs: number): Promise<readonly PartResult[]>;
}

export type AccumulatorOptions = BatchingOptions & { readonly requestTimeoutMs: number };

interface Request {
  readonly parts: readonly SentPart[];
  readonly deadlineMs: number;
  /** Batches still being compressed. */
  unsealed: number;
}

/** What is on its way to one node. */
interface NodeLane {
  readonly node: number;
  /** Requests formed and not answered. */
  inFlight: number;
  /** Requests formed and not sent yet: waiting for compression, in order. */
  readonly outbox: Request[];
  /** Partitions with something due, in this pass of `#drain`. */
  readonly candidates: PartitionQueue[];
}

interface FlushBarrier {
  batches: number;
  readonly resolve: () => void;
}

/** Memory kept for the next batches while the producer is idle. */
const BUFFER_STOCK_BYTES_MAX = 16 * 1024 * 1024;

/** Partitions in one request. */
const PARTS_MAX = 1024;

export class Accumulator {
  readonly #options: AccumulatorOptions;
  readonly #transport: ProduceTransport;
  readonly #settings: BatchSettings;
  readonly #topics = new Map<string, PartitionQueue[]>();
  readonly #lanes = new Map<number, NodeLane>();
  /** Partitions with something unsent; those that waited longest first. */
  #listed: PartitionQueue[] = [];
  #bufferedBytes = 0;
  #writable: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  #drainScheduled = false;
  #lingerTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: AccumulatorOptions, transport: ProduceTransport) {
    this.#options = options;
    this.#transport = transport;
    const { batchBytes, batchRecords, compression, bufferBytes } = options;
    // As much as can be in use at once is worth keeping, up to a bound.
    const buffers = new BatchBuffers(Math.min(bufferBytes, BUFFER_STOCK_BYTES_MAX));
    this.#settings = { batchBytes, batchRecords, compression, buffers };
  }

  /** Bytes of records buffered or in flight. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** False while `append` refuses records: bufferBytes are buffered or in flight. */
  get writable(): boolean {
    return this.#bufferedBytes < this.#options.bufferBytes;
  }

  /** The queue of a partition, made on first use. Callers that know their partitions keep it and save the lookup. */
  queue(topic: string, partition: number): PartitionQueue {
    let queues = this.#topics.get(topic);
    if (queues === undefined) {
      queues = [];
      this.#topics.set(topic, queues);
    }
    let queue = queues[partition];
    if (queue === undefined) {
      queue = new PartitionQueue(topic, partition, this.#settings, this.#finishBatch);
      queues[partition] = queue;
    }
    return queue;
  }

  /**
   * Encodes the record into the partition's open batch; its key and value may be reused when this returns.
   * @returns false when the buffer is full: the record was not taken, the callback will not be called; see
   * `whenWritable`
   * @throws VarveError CLOSED, BATCH_TOO_LARGE, INVALID_ARGUMENT: the record was not taken
   */
  tryAppend(queue: PartitionQueue, record: RecordInput, callback: SendCallback): boolean {
    if (this.#bufferedBytes >= this.#options.bufferBytes) return false;
    this.append(queue, record, callback);
    return true;
  }

  /** As `tryAppend`, for a record whose room was reserved before: never refused for a full buffer. */
  append(queue: PartitionQueue, record: RecordInput, callback: SendCallback): void {
    if (this.#closed) throw new VarveError('CLOSED', 'the producer is closed');
    this.#bufferedBytes += queue.append(record, callback);
    if (!queue.listed) this.#list(queue);
    if (this.#options.lingerMs === 0 || queue.closed.length > 0) this.#scheduleDrain();
    else if (this.#lingerTimer === undefined) this.#startLingerTimer(this.#options.lingerMs);
  }

  /** Counts bytes that wait outside (for the number of partitions of their topic, say) against the buffer. */
  reserve(bytes: number): void {
    this.#bufferedBytes += bytes;
  }

  unreserve(bytes: number): void {
    this.#bufferedBytes -= bytes;
    this.#wakeIfWritable();
  }

  /** Resolves when `append` may take records again; at once if it does now. */
  whenWritable(): Promise<void> {
    if (this.writable) return Promise.resolve();
    if (this.#writable === undefined) {
      let resolve!: () => void;
      const promise = new Promise<void>((done) => {
        resolve = done;
      });
      this.#writable = { promise, resolve };
    }
    return this.#writable.promise;
  }

  /**
   * Sends what is buffered without waiting for linger; resolves when every record appended before has been completed.
   */
  flush(): Promise<void> {
    return new Promise((resolve) => {
      const barrier: FlushBarrier = { batches: 0, resolve };
      for (const queues of this.#topics.values()) {
        // Partition numbers index the array, which may have holes.
        for (const queue of queues) {
          if (queue === undefined) continue;
          queue.closeOpenBatch();
          for (const batch of queue.unfinished()) {
            batch.onFinished(() => {
              if (--barrier.batches === 0) barrier.resolve();
            });
            barrier.batches++;
          }
        }
      }
      if (barrier.batches === 0) resolve();
      else this.#scheduleDrain();
    });
  }

  /** Refuses further records and fails those that are not in flight with CLOSED. Flush first to lose none. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#lingerTimer);
    const error = new VarveError(
      'CLOSED',
      'the producer was closed before these records were sent; they were not appended',
    );
    for (const queues of this.#topics.values()) for (const queue of queues) queue?.failUnsent(error);
    this.#listed = [];
    this.#writable?.resolve();
  }

  #list(queue: PartitionQueue): void {
    queue.listed = true;
    this.#listed.push(queue);
  }

  #scheduleDrain(): void {
    if (this.#drainScheduled) return;
    this.#drainScheduled = true;
    setImmediate(this.#drain);
  }

  #startLingerTimer(waitMs: number): void {
    clearTimeout(this.#lingerTimer);
    this.#lingerTimer = setTimeout(() => {
      this.#lingerTimer = undefined;
      this.#drain();
    }, waitMs);
  }

  /** Forms and sends every request that may go out now. */
  readonly #drain = (): void => {
    this.#drainScheduled = false;
    if (this.#closed) return;
    const nowMs = performance.now();
    const expiredMs = nowMs - this.#options.requestTimeoutMs;
    const touched: NodeLane[] = [];
    let nextLingerMs = Number.POSITIVE_INFINITY;
    const listed = this.#listed;
    this.#listed = [];
    for (const queue of listed) {
      queue.listed = false;
      if (queue.paused) continue;
      queue.expire(expiredMs, this.#options.requestTimeoutMs);
      const waitMs = this.#waitMs(queue, nowMs);
      if (waitMs > 0) {
        nextLingerMs = Math.min(nextLingerMs, waitMs);
        if (queue.hasUnsent && !queue.listed) this.#list(queue);
        continue;
      }
      const node = this.#transport.leaderOf(queue.topic, queue.partition);
      if (node === 0) {
        this.#recover(queue);
        continue;
      }
      const lane = this.#lane(node);
      if (lane.candidates.length === 0) touched.push(lane);
      lane.candidates.push(queue);
    }
    for (const lane of touched) this.#fillLane(lane, nowMs);
    if (nextLingerMs !== Number.POSITIVE_INFINITY) this.#startLingerTimer(nextLingerMs);
  };

  /** Milliseconds until something of the queue is due: 0 now, infinite when there is nothing. */
  #waitMs(queue: PartitionQueue, nowMs: number): number {
    if (queue.closed.length > 0) return 0;
    if (queue.open === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(0, queue.open.createdAtMs + this.#options.lingerMs - nowMs);
  }

  #lane(node: number): NodeLane {
    let lane = this.#lanes.get(node);
    if (lane === undefined) {
      lane = { node, inFlight: 0, outbox: [], candidates: [] };
      this.#lanes.set(node, lane);
    }
    return lane;
  }

  /** Sends requests while the node has room for them; partitions that got nothing come first next time. */
  #fillLane(lane: NodeLane, nowMs: number): void {
    const { candidates } = lane;
    const served: PartitionQueue[] = [];
    while (candidates.length > 0 && lane.inFlight < this.#options.maxInFlight) {
      this.#formRequest(lane, served, nowMs);
    }
    for (const queue of candidates) if (!queue.listed) this.#list(queue);
    candidates.length = 0;
    for (const queue of served) if (queue.hasUnsent && !queue.listed) this.#list(queue);
  }

  /** Takes due batches of the lane's candidates, up to the size of one frame. */
  #formRequest(lane: NodeLane, served: PartitionQueue[], nowMs: number): void {
    const { candidates } = lane;
    const parts: SentPart[] = [];
    let room = DATA_FRAME_BYTES;
    let oldestMs = nowMs;
    while (candidates.length > 0 && room > 0 && parts.length < PARTS_MAX) {
      const queue = candidates[0]!;
      const batches: ProducerBatch[] = [];
      for (;;) {
        if (queue.closed.length === 0 && this.#waitMs(queue, nowMs) <= 0) queue.closeOpenBatch();
        const batch = queue.closed[0];
        if (batch === undefined) break;
        const isFirst = parts.length === 0 && batches.length === 0;
        // A batch beyond the usual size travels alone, so that its refusal for size touches no other record.
        if (!isFirst && (batch.bytes > room || batch.isOversized)) {
          room = 0;
          break;
        }
        queue.closed.shift();
        batches.push(batch);
        oldestMs = Math.min(oldestMs, batch.createdAtMs);
        room = batch.isOversized ? 0 : room - batch.bytes;
      }
      if (batches.length > 0) parts.push(queue.markSent(batches));
      if (room > 0 || this.#waitMs(queue, nowMs) > 0) {
        candidates.shift();
        served.push(queue);
      }
    }
    if (parts.length > 0) this.#dispatch(lane, parts, oldestMs + this.#options.requestTimeoutMs);
  }

  #dispatch(lane: NodeLane, parts: readonly SentPart[], deadlineMs: number): void {
    const request: Request = { parts, deadlineMs, unsealed: 0 };
    lane.inFlight++;
    lane.outbox.push(request);
    for (const part of parts) {
      for (const batch of part.batches) {
        const { sealing } = batch;
        if (sealing === undefined) continue;
        request.unsealed++;
        sealing.then(() => {
          request.unsealed--;
          this.#sendSealed(lane);
        });
      }
    }
    this.#sendSealed(lane);
  }

  #sendSealed(lane: NodeLane): void {
    while (lane.outbox.length > 0 && lane.outbox[0]!.unsealed === 0) this.#send(lane, lane.outbox.shift()!);
  }

  #send(lane: NodeLane, request: Request): void {
    const failed = request.parts.filter((part) => part.batches.some((batch) => batch.sealError !== undefined));
    const sent = failed.length === 0 ? request.parts : request.parts.filter((part) => !failed.includes(part));
    for (const part of failed) {
      const broken = part.batches.find((batch) => batch.sealError !== undefined);
      this.#settle(part, broken!.sealError, -1);
    }
    if (sent.length === 0) {
      this.#answered(lane);
      return;
    }
    const timeoutMs = Math.max(1, Math.ceil(request.deadlineMs - performance.now()));
    this.#transport.send(lane.node, sent.map(producePart), timeoutMs).then(
      (results) => {
        invariant(results.length === sent.length, 'a produce reply has another number of parts than its request');
        for (let i = 0; i < sent.length; i++) this.#settle(sent[i]!, results[i]!.error, results[i]!.baseOffset);
        this.#answered(lane);
      },
      (error: unknown) => {
        const reason = error instanceof VarveError ? error : unknownOutcome(error);
        for (const part of sent) this.#settle(part, reason, -1);
        this.#answered(lane);
      },
    );
  }

  #answered(lane: NodeLane): void {
    lane.inFlight--;
    if (this.#listed.length > 0) this.#scheduleDrain();
  }

  #settle(part: SentPart, error: VarveError | undefined, baseOffset: number): void {
    const { queue } = part;
    if (error === undefined) queue.attempts = 0;
    if (queue.settle(part, error, baseOffset)) this.#recover(queue);
    else if (queue.hasUnsent && !queue.listed) this.#list(queue);
  }

  /** Nothing is sent to the partition until the transport says that trying again makes sense. */
  #recover(queue: PartitionQueue): void {
    queue.paused = true;
    if (queue.recovering) return;
    queue.recovering = true;
    this.#transport.recover(queue.topic, queue.partition, queue.attempts++).then(
      () => this.#recovered(queue, undefined),
      (error: unknown) => this.#recovered(queue, error instanceof VarveError ? error : unknownOutcome(error)),
    );
  }

  #recovered(queue: PartitionQueue, error: VarveError | undefined): void {
    queue.recovering = false;
    if (error !== undefined) queue.failUnsent(error);
    queue.resume();
    if (queue.hasUnsent && !queue.listed) this.#list(queue);
    this.#scheduleDrain();
  }

  readonly #finishBatch = (batch: ProducerBatch, error: VarveError | undefined, baseOffset: number): void => {
    this.#bufferedBytes -= batch.recordBytes;
    batch.finish(error, baseOffset);
    const encoded = batch.takeEncoded();
    // After an unknown outcome the socket may still hold the bytes: they are left to the garbage collector.
    if (encoded !== undefined && error?.code !== 'OUTCOME_UNKNOWN') this.#settings.buffers.give(encoded);
    this.#wakeIfWritable();
  };

  #wakeIfWritable(): void {
    if (this.#writable === undefined || !this.writable) return;
    const { resolve } = this.#writable;
    this.#writable = undefined;
    resolve();
  }
}

function producePart({ queue, batches }: SentPart): ProducePart {
  let byteLength = 0;
  let records = 0;
  const buffers = batches.map((batch) => {
    byteLength += batch.encoded.length;
    records += batch.records;
    return batch.encoded;
  });
  return { topic: queue.topic, partition: queue.partition, byteLength, records, buffers };
}

function unknownOutcome(cause: unknown): VarveError {
  return new VarveError('OUTCOME_UNKNOWN', `the transport failed: ${cause instanceof Error ? cause.message : cause}`, {
    cause,
  });
}
