/**
 * Validates what a caller gave, fills in the defaults and freezes the result. Each refusal names the option, the value
 * and what would be right (INVALID_ARGUMENT); nothing is checked again later.
 */
import { VarveError } from '../errors.js';
import { checkOptionNames } from '../option-names.js';
import { COMPRESSIONS } from '../record/types.js';
import { MAX_BATCH_BYTES } from '../rpc/protocol.js';
import type { ClientOptions, ConsumerOptions, ProducerOptions } from './options.js';

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

export interface ResolvedClientOptions {
  readonly brokers: readonly BrokerAddress[];
  readonly clusterId: string;
  readonly requestTimeoutMs: number;
}

export type ResolvedProducerOptions = ResolvedClientOptions &
  Required<Omit<ProducerOptions, 'brokers' | 'clusterId' | 'requestTimeoutMs'>>;

export type ResolvedConsumerOptions = ResolvedClientOptions &
  Required<Omit<ConsumerOptions, 'brokers' | 'clusterId' | 'requestTimeoutMs'>>;

/** What the accumulator of a producer needs to know; all bounds are inclusive. */
export type BatchingOptions = Pick<
  ResolvedProducerOptions,
  'compression' | 'lingerMs' | 'batchBytes' | 'batchRecords' | 'maxInFlight' | 'bufferBytes'
>;

const TOPIC_NAME = /^[a-zA-Z0-9._-]{1,200}$/;

const CLIENT_OPTION_NAMES = ['brokers', 'clusterId', 'requestTimeoutMs'];
const PRODUCER_OPTION_NAMES = [
  ...CLIENT_OPTION_NAMES,
  ...['acks', 'compression', 'lingerMs', 'batchBytes', 'batchRecords', 'maxInFlight', 'bufferBytes'],
];
const CONSUMER_OPTION_NAMES = [
  ...CLIENT_OPTION_NAMES,
  ...['topic', 'partition', 'from', 'maxBytes', 'minBytes', 'maxWaitMs'],
];

export function resolveClientOptions(options: ClientOptions): ResolvedClientOptions {
  return resolveConnection(options, CLIENT_OPTION_NAMES);
}

export function resolveProducerOptions(options: ProducerOptions): ResolvedProducerOptions {
  const client = resolveConnection(options, PRODUCER_OPTION_NAMES);
  return Object.freeze({
    ...client,
    acks: oneOf('acks', options.acks, 'all', [0, 1, 'all'] as const),
    ...resolveBatchingOptions(options),
  });
}

/** What all clients have in common. */
function resolveConnection(options: ClientOptions, known: readonly string[]): ResolvedClientOptions {
  requireObject(options);
  checkOptionNames(options, known);
  return Object.freeze({
    brokers: Object.freeze(brokerAddresses(options.brokers)),
    clusterId: clusterIdOf(options.clusterId),
    requestTimeoutMs: integer('requestTimeoutMs', options.requestTimeoutMs, 30_000, 1, 3_600_000),
  });
}

/** The part of a producer's options that does not concern connections. */
export function resolveBatchingOptions(options: Partial<BatchingOptions>): BatchingOptions {
  const batchBytes = integer('batchBytes', options.batchBytes, 256 * 1024, 1, MAX_BATCH_BYTES);
  return Object.freeze({
    compression: oneOf('compression', options.compression, 'none', COMPRESSIONS),
    lingerMs: integer('lingerMs', options.lingerMs, 0, 0, 60_000),
    batchBytes,
    batchRecords: integer('batchRecords', options.batchRecords, MAX_BATCH_RECORDS, 1, MAX_BATCH_RECORDS),
    maxInFlight: integer('maxInFlight', options.maxInFlight, 5, 1, 1000),
    bufferBytes: integer(
      'bufferBytes',
      options.bufferBytes,
      Math.max(32 * 1024 * 1024, 2 * batchBytes),
      batchBytes,
      2 ** 40,
    ),
  });
}

export function resolveConsumerOptions(options: ConsumerOptions): ResolvedConsumerOptions {
  const client = resolveConnection(options, CONSUMER_OPTION_NAMES);
  const { from } = options;
  if (from !== undefined && from !== 'earliest' && from !== 'latest') checkOffset('from', from);
  return Object.freeze({
    ...client,
    topic: checkTopic(options.topic),
    partition: checkPartition(options.partition),
    from: from ?? 'earliest',
    maxBytes: integer('maxBytes', options.maxBytes, 1024 * 1024, 1, MAX_BATCH_BYTES),
    minBytes: integer('minBytes', options.minBytes, 1, 0, MAX_BATCH_BYTES),
    maxWaitMs: integer('maxWaitMs', options.maxWaitMs, 500, 0, 60_000),
  });
}

/** Records of one batch: their number is an i32 in the format; this bounds the callbacks held for one. */
const MAX_BATCH_RECORDS = 1_000_000;

export function checkTopic(topic: unknown): string {
  if (typeof topic !== 'string' || !TOPIC_NAME.test(topic) || topic === '.' || topic === '..') {
    const shown = typeof topic === 'string' ? JSON.stringify(topic.slice(0, 80)) : String(topic);
    throw new VarveError(
      'INVALID_TOPIC',
      `topic ${shown}: give 1 to 200 characters out of a-z, A-Z, 0-9, ".", "_" and "-"`,
    );
  }
  return topic;
}

export function checkPartition(partition: unknown): number {
  return integer('partition', partition, undefined, 0, 2 ** 31 - 1);
}

export function checkOffset(name: string, offset: unknown): number {
  return integer(name, offset, undefined, 0, Number.MAX_SAFE_INTEGER);
}

function requireObject(options: unknown): void {
  if (typeof options !== 'object' || options === null) {
    throw new VarveError('INVALID_ARGUMENT', 'options: give an object with at least { brokers: ["host:port"] }');
  }
}

function brokerAddresses(brokers: unknown): BrokerAddress[] {
  if (!Array.isArray(brokers) || brokers.length === 0) {
    throw new VarveError('INVALID_ARGUMENT', 'brokers: give at least one "host:port"');
  }
  return brokers.map(brokerAddress);
}

/** "host:port" or "[ipv6]:port". */
function brokerAddress(broker: unknown): BrokerAddress {
  const match = typeof broker === 'string' ? /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(broker) : null;
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw new VarveError('INVALID_ARGUMENT', `brokers: "${String(broker)}" is not "host:port"`);
  }
  return Object.freeze({ host: (match[1] ?? match[2])!, port });
}

function clusterIdOf(clusterId: unknown): string {
  if (clusterId === undefined) return '';
  if (typeof clusterId !== 'string' || clusterId === '' || clusterId.length > 200) {
    throw new VarveError('INVALID_ARGUMENT', 'clusterId: give a string of 1 to 200 characters, or leave it out');
  }
  return clusterId;
}

function oneOf<T>(name: string, value: unknown, preset: T, allowed: readonly T[]): T {
  if (value === undefined) return preset;
  if (!allowed.includes(value as T)) {
    throw new VarveError('INVALID_ARGUMENT', `${name}: ${String(value)} is none of ${allowed.join(', ')}`);
  }
  return value as T;
}

function integer(name: string, value: unknown, preset: number | undefined, min: number, max: number): number {
  const chosen = value === undefined ? preset : value;
  if (!Number.isSafeInteger(chosen) || (chosen as number) < min || (chosen as number) > max) {
    throw new VarveError('INVALID_ARGUMENT', `${name}: ${String(chosen)} is not a whole number from ${min} to ${max}`);
  }
  return chosen as number;
}
