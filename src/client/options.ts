import type { Compression, RecordInput } from '../record/types.js';

export interface ClientOptions {
  /** "host:port" of some nodes; the rest is learnt from them. */
  readonly brokers: readonly string[];
  /** When given, a node of another cluster is refused (WRONG_CLUSTER). */
  readonly clusterId?: string;
  /** Time to find a leader and get an answer, in all. Default 30,000 ms. */
  readonly requestTimeoutMs?: number;
}

/** 0: no answer; 1: the leader has it; 'all': a majority has it. On disk or in memory: the topic's flush mode. */
export type Acks = 0 | 1 | 'all';

export interface ProducerOptions extends ClientOptions {
  /** Default 'all'. */
  readonly acks?: Acks;
  /** Default 'none'. */
  readonly compression?: Compression;
  /** How long a batch waits for more records when it is not full. Default 0: until the end of the event-loop tick. */
  readonly lingerMs?: number;
  /** A batch is closed at this many bytes (before compression). Default 256 KiB. */
  readonly batchBytes?: number;
  /** A batch is closed at this many records. Default: no limit. */
  readonly batchRecords?: number;
  /** Requests in flight to one node. Default 5. */
  readonly maxInFlight?: number;
  /** Bytes of records that are buffered or in flight; beyond it `send` waits. Default 32 MiB. */
  readonly bufferBytes?: number;
}

export interface ProducerRecord extends RecordInput {
  readonly topic: string;
  /** Default: hash of the key, or the partitions in turn when there is none. */
  readonly partition?: number;
}

export interface SendResult {
  readonly topic: string;
  readonly partition: number;
  /** −1 under acks: 0. */
  readonly offset: number;
}

/**
 * Completion of `Producer.enqueue`: no promise per record. Called once, with an error or an offset (−1 under acks: 0),
 * and the partition that was given or chosen (−1 when none could be).
 */
export type SendCallback = (error: Error | null, offset: number, partition: number) => void;

export interface ConsumerOptions extends ClientOptions {
  readonly topic: string;
  readonly partition: number;
  /** First offset to read, or where to begin. Default 'earliest'. */
  readonly from?: number | 'earliest' | 'latest';
  /** Default 1 MiB. */
  readonly maxBytes?: number;
  /** Long poll: wait for this many bytes … default 1 */
  readonly minBytes?: number;
  /** … at most this long. Default 500 ms. */
  readonly maxWaitMs?: number;
}
