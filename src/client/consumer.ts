/** The consumer: what it promises stands at the class. Checks of what was fetched are in fetched-batches.ts. */
import { VarveError } from '../errors.js';
import { decodeBatch, decodeBatchAsync, isSyncDecodable } from '../record/decode.js';
import type { Record } from '../record/types.js';
import { FrameType } from '../rpc/protocol.js';
import { ClusterClient } from './cluster-client.js';
import { checkFetched, type FetchedBatches, isControlBatch } from './fetched-batches.js';
import { EARLIEST, LATEST, listOffset } from './list-offset.js';
import type { ConsumerOptions } from './options.js';
import { checkOffset, type ResolvedConsumerOptions, resolveConsumerOptions } from './resolved-options.js';

interface Prefetch {
  readonly position: number;
  readonly fetched: Promise<FetchedBatches>;
}

/**
 * Reads one partition: committed records only, in order, without gaps, from an offset on.
 *
 * Promises.
 *   - A record that was given is never given again unless `seek` asks for it, and none is left out: an offset that is
 *     gone (OFFSET_OUT_OF_RANGE), a log that lost what was read already (LOG_TRUNCATED) and bytes that do not match
 *     their checksum (CORRUPT_BATCH) are errors. The position stays where it is; `seek` decides where to go on.
 *   - A change of leader is a delay, not an error, as long as requestTimeoutMs allows (then TIMEOUT; polling again goes
 *     on).
 *   - Memory is bounded: what one poll returns, and one answer fetched ahead.
 */
export class Consumer implements AsyncIterable<Record> {
  /** As given, checked, with the defaults filled in; frozen. */
  readonly options: ResolvedConsumerOptions;
  readonly #cluster: ClusterClient;
  readonly #name: string;
  /** Where to read on. Until the first poll it may be a word. */
  #position: number | 'earliest' | 'latest';
  /** Highest offset up to which records were given: a log that ends below it was truncated. */
  #givenTo = 0;
  /** Raised by `seek`: an answer that was asked for before it is dropped. */
  #generation = 0;
  #prefetch: Prefetch | undefined;
  #polling = false;
  #closed = false;

  /**
   * Connects on first use.
   * @throws VarveError INVALID_ARGUMENT, INVALID_TOPIC
   */
  constructor(options: ConsumerOptions) {
    this.options = resolveConsumerOptions(options);
    this.#cluster = new ClusterClient(this.options);
    this.#name = `${this.options.topic}-${this.options.partition}`;
    this.#position = this.options.from;
  }

  /** Offset of the next record that `poll` will look for; undefined until 'earliest' or 'latest' has been looked up. */
  get position(): number | undefined {
    return typeof this.#position === 'number' ? this.#position : undefined;
  }

  /** Goes on elsewhere with the next poll. A poll that is running returns nothing more. */
  seek(position: number | 'earliest' | 'latest'): void {
    if (position !== 'earliest' && position !== 'latest') checkOffset('position', position);
    this.#position = position;
    this.#givenTo = 0;
    this.#generation++;
    this.#prefetch = undefined;
  }

  /**
   * The next records: waits up to maxWaitMs for some; an empty array when there were none.
   * @throws VarveError OFFSET_OUT_OF_RANGE, LOG_TRUNCATED, CORRUPT_BATCH, UNKNOWN_TOPIC, UNKNOWN_PARTITION, TIMEOUT,
   * CLOSED;
   *   INVALID_ARGUMENT while another poll is running
   */
  poll(): Promise<Record[]> {
    return this.#exclusively(async () => {
      for (;;) {
        const generation = this.#generation;
        const position = await this.#resolvePosition();
        const fetched = await this.#fetch(position);
        if (generation !== this.#generation) return [];
        const records = await this.#decode(position, fetched);
        if (generation !== this.#generation) return [];
        this.#advance(fetched);
        // Nothing but control batches is not an answer: the poll goes on behind them.
        if (records.length > 0 || fetched.nextOffset === position) return records;
      }
    });
  }

  /**
   * As `poll`, but whole batches as they are stored, for tools and proxies that decode (or don't) by themselves.
   * Checksums are verified. The first batch may begin below the position; control batches are included.
   */
  fetchBatches(): Promise<FetchedBatches> {
    return this.#exclusively(async () => {
      for (;;) {
        const generation = this.#generation;
        const position = await this.#resolvePosition();
        const fetched = await this.#fetch(position);
        if (generation !== this.#generation) continue;
        this.#advance(fetched);
        return fetched;
      }
    });
  }

  /** Records one by one, for as long as the consumer is open; errors are thrown as `poll` throws them. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Record, void, undefined> {
    while (!this.#closed) {
      let records: Record[];
      try {
        records = await this.poll();
      } catch (error) {
        if (this.#closed) return;
        throw error;
      }
      yield* records;
    }
  }

  /** Disconnects. A poll that is running fails with CLOSED; iteration ends. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#prefetch = undefined;
    this.#cluster.close();
  }

  async #exclusively<T>(action: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new VarveError('CLOSED', 'the consumer is closed');
    if (this.#polling) {
      throw new VarveError(
        'INVALID_ARGUMENT',
        `consumer of ${this.#name}: a poll is running; wait for it before the next`,
      );
    }
    this.#polling = true;
    try {
      return await action();
    } catch (error) {
      if (this.#closed) throw new VarveError('CLOSED', 'the consumer was closed', { cause: error });
      throw error;
    } finally {
      this.#polling = false;
    }
  }

  async #resolvePosition(): Promise<number> {
    while (typeof this.#position !== 'number') {
      const { topic, partition } = this.options;
      const generation = this.#generation;
      const word = this.#position === 'earliest' ? EARLIEST : LATEST;
      const { offset } = await listOffset(this.#cluster, topic, partition, word);
      if (generation === this.#generation) this.#position = offset;
    }
    return this.#position;
  }

  #advance({ nextOffset }: FetchedBatches): void {
    this.#position = nextOffset;
    this.#givenTo = nextOffset;
  }

  /** The answer fetched ahead, or a new one; then the next one is asked for, while the caller works on this one. */
  async #fetch(position: number): Promise<FetchedBatches> {
    const ahead = this.#prefetch;
    this.#prefetch = undefined;
    const fetched = await (ahead?.position === position ? ahead.fetched : this.#request(position));
    const isBehind = fetched.nextOffset < fetched.highWatermark;
    if (isBehind && !this.#closed) {
      const next = this.#request(fetched.nextOffset);
      // Its failure is met by the poll that comes for it, or by nobody.
      next.catch(() => {});
      this.#prefetch = { position: fetched.nextOffset, fetched: next };
    }
    return fetched;
  }

  async #request(position: number): Promise<FetchedBatches> {
    const { topic, partition, maxBytes, minBytes, maxWaitMs, requestTimeoutMs } = this.options;
    const header = [topic, partition, position, maxBytes, minBytes, maxWaitMs];
    const ask = async (): Promise<FetchedBatches> => {
      const reply = await this.#cluster.requestLeader(
        topic,
        partition,
        FrameType.Fetch,
        header,
        requestTimeoutMs,
        maxWaitMs,
      );
      return checkFetched(this.#name, position, reply.header, reply.body);
    };
    try {
      return await ask();
    } catch (error) {
      if (!isOutOfRange(error)) throw error;
    }
    // It may have been a leader that has been replaced and does not know. The present one decides.
    await this.#cluster.recover(topic, partition, 0);
    try {
      return await ask();
    } catch (error) {
      throw isOutOfRange(error) ? await this.#outOfRange(position, error) : error;
    }
  }

  /** Below the start: retention took it. Above the end: never there, or there once and lost. */
  async #outOfRange(position: number, cause: VarveError): Promise<VarveError> {
    const { topic, partition } = this.options;
    const { offset: end } = await listOffset(this.#cluster, topic, partition, LATEST);
    if (position > end && position <= this.#givenTo) {
      return new VarveError(
        'LOG_TRUNCATED',
        `${this.#name} ends at offset ${end}, below ${position}, up to which this consumer was given records: the cluster lost ` +
          'committed records (an unclean recovery, or a flush mode that allows it). Seek to go on',
        { cause },
      );
    }
    const { offset: start } = await listOffset(this.#cluster, topic, partition, EARLIEST);
    return new VarveError(
      'OFFSET_OUT_OF_RANGE',
      `offset ${position} is not in ${this.#name}, which holds ${start} to ${end}. Seek to an offset in that range, "earliest" or "latest"`,
      { cause },
    );
  }

  /** Records from `position` on; the batches' own checks have been made. */
  async #decode(position: number, { batches }: FetchedBatches): Promise<Record[]> {
    const records: Record[] = [];
    for (const batch of batches) {
      if (isControlBatch(batch)) continue;
      const decoded = isSyncDecodable(batch, 0) ? decodeBatch(batch) : await decodeBatchAsync(batch);
      for (const record of decoded) if (record.offset >= position) records.push(record);
    }
    return records;
  }
}

function isOutOfRange(error: unknown): error is VarveError {
  return error instanceof VarveError && error.code === 'OFFSET_OUT_OF_RANGE';
}
