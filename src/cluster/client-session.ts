/**
 * One client's connection: its requests in, the answers out. Answers go out as they are ready, not in the order of the
 * requests; appends of one connection to one partition take effect in the order in which they were sent.
 *
 * Memory is bounded. Reading stops while too many bytes of produce requests have no answer yet, while a log it wrote to
 * holds producers back, and while the client does not take its answers. Fetches are answered only as far as the
 * connection takes them, and at most MAX_WAITING_FETCHES of them wait.
 */
import { VarveError } from '../errors.js';
import type { Log } from '../log/log.js';
import { type Connection, Hold } from '../rpc/connection.js';
import type { Frame } from '../rpc/frame.js';
import {
  type DeleteRecordsReplyHeader,
  type FetchReplyHeader,
  FrameType,
  type ListOffsetsReplyHeader,
  MAX_BATCH_BYTES,
  type MetadataReplyHeader,
  type ProduceReplyHeader,
} from '../rpc/protocol.js';
import { ProduceRequest } from './produce-request.js';
import type { Replica } from './replica.js';
import {
  deleteRecordsHeader,
  fetchHeader,
  listOffsetsHeader,
  metadataHeader,
  produceHeader,
} from './request-headers.js';
import type { NodeStatus } from './status.js';

/** What a session needs of its node. */
export interface SessionHost {
  readonly clientMaxInflightBytes: number;
  /** Milliseconds of a clock that never goes back. */
  readonly monotonic: () => number;
  /** @throws VarveError UNKNOWN_TOPIC, UNKNOWN_PARTITION */
  replica(topic: string, partition: number): Replica;
  metadata(topics: readonly string[] | null): MetadataReplyHeader;
  status(): NodeStatus;
  /** The disk failed: nothing is led here any more, but what is committed can be read. */
  readonly diskFailed: boolean;
  /** A contradiction: the node must stop. */
  onFatal(error: unknown): void;
}

/** The largest answer to a fetch, unless its first batch is larger. */
const MAX_FETCH_BYTES = MAX_BATCH_BYTES;
const MAX_WAITING_FETCHES = 1024;
const MAX_WAIT_MS = 60_000;
const DEFAULT_PRODUCE_TIMEOUT_MS = 30_000;

export class ClientSession {
  readonly #connection: Connection;
  readonly #host: SessionHost;
  readonly #throttledBy = new Set<Log>();
  #inflightBytes = 0;
  #waitingFetches = 0;
  /** Fetches that found the connection full. */
  #blockedFetches: (() => void)[] = [];

  constructor(connection: Connection, host: SessionHost) {
    this.#connection = connection;
    this.#host = host;
    connection.holdWhenBlocked = true;
    connection.onFrame = (frame) => this.#onFrame(frame);
    connection.onWritable = () => this.#onWritable();
  }

  #onFrame(frame: Frame): void {
    if (frame.correlationId === 0 && frame.type !== FrameType.Produce) {
      throw new VarveError('PROTOCOL_ERROR', `a request of type ${frame.type} came without a correlation id`);
    }
    switch (frame.type) {
      case FrameType.Produce:
        this.#produce(frame);
        break;
      case FrameType.Fetch:
        this.#answer(frame, () => this.#fetch(frame));
        break;
      case FrameType.Metadata:
        this.#answer(frame, () => this.#metadata(frame));
        break;
      case FrameType.ListOffsets:
        this.#answer(frame, () => this.#listOffsets(frame));
        break;
      case FrameType.DeleteRecords:
        this.#answer(frame, () => this.#deleteRecords(frame));
        break;
      case FrameType.Status:
        this.#answer(frame, () => this.#reply(frame, FrameType.StatusReply, [this.#host.status()]));
        break;
      default:
        throw new VarveError('PROTOCOL_ERROR', `a client sent a frame of type ${frame.type}`);
    }
  }

  #reply(frame: Frame, type: FrameType, header: readonly unknown[]): void {
    this.#connection.reply(type, frame.correlationId, header);
  }

  /** Turns what a request threw into its answer, except for what ends the connection or the node. */
  #answer(frame: Frame, action: () => void | Promise<void>): void {
    const fail = (error: unknown): void => {
      if (!(error instanceof VarveError) || error.code === 'INVARIANT_BROKEN') this.#host.onFatal(error);
      else if (error.code === 'PROTOCOL_ERROR') this.#connection.close(error);
      else this.#connection.replyError(frame.correlationId, error);
    };
    try {
      action()?.catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  #produce(frame: Frame): void {
    const connection = this.#connection;
    const [acks, timeoutMs, parts] = produceHeader(frame.header);
    if (acks !== 0 && frame.correlationId === 0) {
      throw new VarveError('PROTOCOL_ERROR', 'a produce request that wants an answer came without a correlation id');
    }
    const { body } = frame;
    let bytes = 0;
    for (const part of parts) bytes += part[2];
    if (bytes !== body.length) {
      throw new VarveError('PROTOCOL_ERROR', `a produce request names ${bytes} bytes and carries ${body.length}`);
    }
    const deadline = this.#host.monotonic() + (timeoutMs > 0 ? timeoutMs : DEFAULT_PRODUCE_TIMEOUT_MS);
    const request = new ProduceRequest(acks, parts.length, bytes, deadline, (settled, results) => {
      this.#inflightBytes -= settled.bytes;
      if (this.#inflightBytes <= this.#host.clientMaxInflightBytes / 2) connection.release(Hold.InFlight);
      if (settled.acks !== 0) this.#replyProduce(frame.correlationId, results);
    });
    this.#inflightBytes += bytes;
    if (this.#inflightBytes > this.#host.clientMaxInflightBytes) connection.hold(Hold.InFlight);

    let position = 0;
    for (let part = 0; part < parts.length; part++) {
      const [topic, partition, byteLength] = parts[part]!;
      const end = position + byteLength;
      try {
        const replica = this.#host.replica(topic, partition);
        replica.produce(request, part, body, position, end);
        if (replica.log.throttled) this.#throttle(replica.log);
      } catch (error) {
        if (!(error instanceof VarveError) || error.code === 'INVARIANT_BROKEN') {
          this.#host.onFatal(error);
          return;
        }
        request.fail(part, error.code, error.message);
        // Without an answer, closing the connection is the only way to say that this went nowhere.
        if (acks === 0) {
          connection.close(error);
          return;
        }
      }
      position = end;
    }
  }

  /** Comes from inside a replica's work, which must not fail because an answer quotes more names than a frame can hold. */
  #replyProduce(correlationId: number, results: ProduceReplyHeader[0]): void {
    try {
      this.#connection.reply(FrameType.ProduceReply, correlationId, [results]);
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
      this.#connection.close(error);
    }
  }

  #throttle(log: Log): void {
    if (this.#throttledBy.has(log)) return;
    this.#throttledBy.add(log);
    this.#connection.hold(Hold.Throttled);
    const release = (): void => {
      this.#throttledBy.delete(log);
      if (this.#throttledBy.size === 0) this.#connection.release(Hold.Throttled);
    };
    // A failed store rejects: the next append then says so.
    log.whenWritable().then(release, release);
  }

  #fetch(frame: Frame): void | Promise<void> {
    const [topic, partition, offset, maxBytes, minBytes, maxWaitMs] = fetchHeader(frame.header);
    const replica = this.#host.replica(topic, partition);
    if (this.#waitingFetches >= MAX_WAITING_FETCHES) {
      throw new VarveError('OVERLOADED', `${MAX_WAITING_FETCHES} fetches of this connection are waiting`);
    }
    const fetch = {
      offset,
      maxBytes: Math.min(maxBytes, MAX_FETCH_BYTES),
      minBytes: Math.min(minBytes, maxBytes, MAX_FETCH_BYTES),
      deadline: this.#host.monotonic() + Math.min(maxWaitMs, MAX_WAIT_MS),
      attempt: (final: boolean): boolean => {
        if (!this.#connection.isOpen) return this.#waited();
        if (!this.#connection.writable) {
          this.#blockedFetches.push(() => {
            if (!fetch.attempt(this.#host.monotonic() >= fetch.deadline)) replica.fetches.add(fetch);
          });
          return true;
        }
        try {
          return this.#tryFetch(frame.correlationId, replica, fetch, final) && this.#waited();
        } catch (error) {
          if (!(error instanceof VarveError)) throw error;
          this.#connection.replyError(frame.correlationId, error);
          return this.#waited();
        }
      },
    };
    this.#waitingFetches++;
    const begin = (): void => {
      if (!fetch.attempt(maxWaitMs === 0)) replica.fetches.add(fetch);
    };
    const cold = replica.mayRead ? replica.log.warm(offset, fetch.maxBytes) : undefined;
    if (cold === undefined) return begin();
    // What it failed of shows again in the attempt, which answers it.
    return cold.catch(() => undefined).then(begin);
  }

  #waited(): true {
    this.#waitingFetches--;
    return true;
  }

  /** @throws VarveError NOT_LEADER, OFFSET_OUT_OF_RANGE, … */
  #tryFetch(
    correlationId: number,
    replica: Replica,
    { offset, maxBytes, minBytes }: { offset: number; maxBytes: number; minBytes: number },
    final: boolean,
  ): boolean {
    if (!replica.mayRead && !this.#host.diskFailed) {
      // A new leader will answer as soon as its first batch is committed; anybody else can't.
      if (replica.isLeader && !final) return false;
      throw replica.notLeader();
    }
    const { log } = replica;
    const { views, nextOffset, highWatermark } = log.viewsFrom(offset, maxBytes);
    if (!final && minBytes > 0) {
      let bytes = 0;
      for (const view of views) bytes += view.length;
      if (bytes < minBytes) return false;
    }
    const header: FetchReplyHeader = [highWatermark, log.start, nextOffset];
    this.#connection.reply(FrameType.FetchReply, correlationId, header, views);
    return true;
  }

  #metadata(frame: Frame): void {
    const [topics] = metadataHeader(frame.header);
    this.#reply(frame, FrameType.MetadataReply, this.#host.metadata(topics));
  }

  #onWritable(): void {
    const blocked = this.#blockedFetches;
    this.#blockedFetches = [];
    for (const retry of blocked) retry();
  }

  async #listOffsets(frame: Frame): Promise<void> {
    const [topic, partition, timestamp] = listOffsetsHeader(frame.header);
    const replica = this.#host.replica(topic, partition);
    if (!replica.mayRead) throw replica.notLeader();
    let reply: ListOffsetsReplyHeader;
    if (timestamp === -1) {
      // Somebody else may lead by now, and have acknowledged more.
      reply = [await replica.readIndex(), -1];
    } else if (timestamp === -2) {
      reply = [replica.log.start, -1];
    } else if (timestamp < 0) {
      throw new VarveError('INVALID_ARGUMENT', `timestamp ${timestamp}: give milliseconds, or -1 (end), or -2 (start)`);
    } else {
      const found = await replica.log.offsetForTimestamp(timestamp);
      reply = found === undefined ? [-1, -1] : [found.offset, found.timestamp];
    }
    this.#reply(frame, FrameType.ListOffsetsReply, reply);
  }

  async #deleteRecords(frame: Frame): Promise<void> {
    const [topic, partition, beforeOffset] = deleteRecordsHeader(frame.header);
    if (beforeOffset < 0) throw new VarveError('INVALID_ARGUMENT', `offset ${beforeOffset} is below 0`);
    const replica = this.#host.replica(topic, partition);
    await replica.deleteBefore(beforeOffset);
    const reply: DeleteRecordsReplyHeader = [replica.log.start];
    this.#reply(frame, FrameType.DeleteRecordsReply, reply);
  }
}
