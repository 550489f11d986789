/** The producer: what it promises stands at the class. Batching is in accumulator.ts, sending in produce-transport.ts. */
import { VarveError } from '../errors.js';
import { Accumulator } from './accumulator.js';
import { ClusterClient } from './cluster-client.js';
import type { ProducerOptions, ProducerRecord, SendCallback, SendResult } from './options.js';
import type { PartitionQueue } from './partition-queue.js';
import { partitionOfKey } from './partitioner.js';
import { ClusterProduceTransport } from './produce-transport.js';
import { recordBytesMax } from './record-size.js';
import {
  checkPartition,
  checkTopic,
  type ResolvedProducerOptions,
  resolveProducerOptions,
} from './resolved-options.js';

interface WaitingRecord {
  readonly record: ProducerRecord;
  readonly callback: SendCallback;
  readonly reservedBytes: number;
}

/** What the producer knows of a topic. */
interface TopicState {
  /** One per partition; empty until the metadata came. */
  queues: readonly PartitionQueue[];
  /** Records that came before the metadata, in order. */
  waiting: WaitingRecord[];
  /** Settled once `waiting` has been placed or failed; never rejects. */
  loading: Promise<void> | undefined;
  nextPartition: number;
}

/**
 * Writes records to a replicated topic.
 *
 * Promises.
 *   - A send that succeeded is as safe as `acks` and the topic's flush mode say (docs/DURABILITY.md).
 *   - The records of one partition that are acknowledged lie in the order in which they were sent, also across a change
 *     of leader. Only records whose outcome is unknown may turn up later than their place.
 *   - A send fails with OUTCOME_UNKNOWN when its request had left and no answer came (the node died, say): the records
 *     may or may not be in the log, and they are not sent again. Sending them again can duplicate them; deduplicated
 *     retries come with a later release. Every other error says that the records were not appended.
 *   - What a leader did not take (it had lost its role, or could not be reached) is sent to the next leader by itself,
 *     for as long as requestTimeoutMs allows; after that it fails with TIMEOUT.
 *   - Memory is bounded by bufferBytes (and one record more): beyond it `send` waits and `enqueue` returns false.
 */
export class Producer {
  /** As given, checked, with the defaults filled in; frozen. */
  readonly options: ResolvedProducerOptions;
  readonly #cluster: ClusterClient;
  readonly #accumulator: Accumulator;
  readonly #topics = new Map<string, TopicState>();
  /** Sends that wait for room, in order. */
  #blocked: { readonly record: ProducerRecord; readonly callback: SendCallback }[] = [];
  #unblocking: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Connects on first use.
   * @throws VarveError INVALID_ARGUMENT
   */
  constructor(options: ProducerOptions) {
    this.options = resolveProducerOptions(options);
    this.#cluster = new ClusterClient(this.options);
    this.#accumulator = new Accumulator(this.options, new ClusterProduceTransport(this.#cluster, this.options.acks));
  }

  /** Bytes of records that are buffered or in flight. */
  get bufferedBytes(): number {
    return this.#accumulator.bufferedBytes;
  }

  /**
   * Sends one record and resolves when it is acknowledged. Waits first while the buffer is full.
   * @throws VarveError CLOSED, INVALID_ARGUMENT, INVALID_TOPIC, UNKNOWN_TOPIC, UNKNOWN_PARTITION, BATCH_TOO_LARGE,
   * TIMEOUT,
   *   OUTCOME_UNKNOWN, DISK_FULL … (see the class)
   */
  send(record: ProducerRecord): Promise<SendResult> {
    return new Promise((resolve, reject) => {
      this.#checkRecord(record);
      const { topic } = record;
      const callback: SendCallback = (error, offset, partition) => {
        if (error === null) resolve({ topic, partition, offset });
        else reject(error);
      };
      if (this.#writable) {
        this.#take(record, callback);
      } else {
        this.#blocked.push({ record, callback });
        this.#unblocking ??= this.#unblock();
      }
    });
  }

  /**
   * As `send`, without a promise per record: the callback is called once, later, with an error or the offset (−1 under
   * acks 0). Key, value and headers must not change until then.
   * @returns false when the buffer is full: the record was not taken, the callback will not be called; see
   * `whenWritable`
   * @throws VarveError CLOSED, INVALID_ARGUMENT, INVALID_TOPIC, UNKNOWN_PARTITION, BATCH_TOO_LARGE: the record was not
   * taken
   */
  enqueue(record: ProducerRecord, callback: SendCallback): boolean {
    this.#checkRecord(record);
    if (!this.#writable) return false;
    this.#take(record, callback);
    return true;
  }

  /** Resolves when `enqueue` may take records again. */
  async whenWritable(): Promise<void> {
    while (!this.#writable && this.#closing === undefined) {
      await (this.#unblocking ?? this.#accumulator.whenWritable());
    }
  }

  /**
   * Sends what is buffered at once, whatever lingerMs says; resolves when all records sent so far are acknowledged or
   * failed.
   */
  async flush(): Promise<void> {
    await this.#allPlaced();
    await this.#accumulator.flush();
  }

  /** Flushes, then disconnects. Takes at most about requestTimeoutMs: what cannot be sent until then has failed. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.flush();
    this.#accumulator.close();
    this.#cluster.close();
  }

  get #writable(): boolean {
    return this.#accumulator.writable && this.#blocked.length === 0;
  }

  #checkRecord(record: ProducerRecord): void {
    if (this.#closing !== undefined) throw new VarveError('CLOSED', 'the producer is closed');
    if (typeof record !== 'object' || record === null) {
      throw new VarveError('INVALID_ARGUMENT', 'record: give an object { topic, value, … }');
    }
  }

  /** The record enters the buffer: the accumulator's, or the list of those whose topic is being asked for. */
  #take(record: ProducerRecord, callback: SendCallback): void {
    const topic = this.#topics.get(record.topic) ?? this.#newTopic(record.topic);
    if (topic.queues.length > 0) {
      this.#place(topic, record, callback);
      return;
    }
    if (record.partition !== undefined) checkPartition(record.partition);
    const reservedBytes = recordBytesMax(record);
    this.#accumulator.reserve(reservedBytes);
    topic.waiting.push({ record, callback, reservedBytes });
    topic.loading ??= this.#load(record.topic, topic);
  }

  #place(topic: TopicState, record: ProducerRecord, callback: SendCallback): void {
    const partition = this.#partitionFor(topic, record);
    const queue = topic.queues[partition];
    if (queue === undefined) {
      checkPartition(partition);
      this.#cluster.requirePartition(record.topic, partition);
    }
    this.#accumulator.append(queue!, record, callback);
  }

  #partitionFor(topic: TopicState, { partition, key }: ProducerRecord): number {
    if (partition !== undefined) return partition;
    const count = topic.queues.length;
    if (key !== undefined && key !== null) return partitionOfKey(key, count);
    const next = topic.nextPartition;
    topic.nextPartition = next + 1 === count ? 0 : next + 1;
    return next;
  }

  #newTopic(name: string): TopicState {
    const state: TopicState = { queues: [], waiting: [], loading: undefined, nextPartition: 0 };
    this.#topics.set(checkTopic(name), state);
    return state;
  }

  /** Finds out how many partitions the topic has, then places what waited for that. */
  async #load(name: string, topic: TopicState): Promise<void> {
    let failure: Error | undefined;
    try {
      const { partitions } = await this.#cluster.topic(name);
      topic.queues = partitions.map((_, partition) => this.#accumulator.queue(name, partition));
    } catch (error) {
      failure = error as Error;
      this.#topics.delete(name);
    }
    topic.loading = undefined;
    const waiting = topic.waiting;
    topic.waiting = [];
    for (const { record, callback, reservedBytes } of waiting) {
      this.#accumulator.unreserve(reservedBytes);
      if (failure === undefined) this.#placeLate(topic, record, callback);
      else failLater(callback, failure);
    }
  }

  /** For records whose caller is no longer on the stack: what would be thrown goes to the callback. */
  #placeLate(topic: TopicState | undefined, record: ProducerRecord, callback: SendCallback): void {
    try {
      if (topic === undefined) this.#take(record, callback);
      else this.#place(topic, record, callback);
    } catch (error) {
      failLater(callback, error as Error);
    }
  }

  /** Lets blocked sends in, in order, as room appears. */
  async #unblock(): Promise<void> {
    while (this.#blocked.length > 0) {
      await this.#accumulator.whenWritable();
      let taken = 0;
      while (taken < this.#blocked.length && this.#accumulator.writable) {
        const { record, callback } = this.#blocked[taken++]!;
        this.#placeLate(undefined, record, callback);
      }
      this.#blocked.splice(0, taken);
    }
    this.#unblocking = undefined;
  }

  /** Resolves when every record taken so far lies in the accumulator. */
  async #allPlaced(): Promise<void> {
    await this.#unblocking;
    await Promise.all([...this.#topics.values()].map((topic) => topic.loading));
  }
}

/** Callbacks are never called from inside the producer's own loops: they may send more. */
function failLater(callback: SendCallback, error: Error): void {
  queueMicrotask(() => callback(error, -1, -1));
}
