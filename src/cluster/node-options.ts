/**
 * Settings of a node: who it is, who its peers are, which topics there are, and its limits. Checked once, then frozen.
 * Topics and voters are static: every node of a cluster must be given the same lists.
 */
import type { FlushMode } from '../disk/disk.js';
import { VarveError } from '../errors.js';
import { CLUSTER_ID_PATTERN } from '../log/data-directory.js';
import type { LogOptions, StoreOptions } from '../log/options.js';
import { resolveLogOptions, resolveStoreOptions } from '../log/resolved-options.js';
import { DATA_FRAME_BYTES, MAX_BATCH_BYTES } from '../rpc/protocol.js';

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface PeerOptions extends Address {
  readonly id: number;
}

export interface TopicOptions extends Partial<LogOptions> {
  readonly name: string;
  /** Default 1. */
  readonly partitions?: number;
}

export interface NodeOptions {
  /** 1 … 2^31 − 1, unique in the cluster. */
  readonly nodeId: number;
  readonly clusterId: string;
  readonly dataDirectory: string;
  readonly listen: Address;
  /** All nodes of the cluster, this one included; they are the voters of every partition. Default: this node alone. */
  readonly peers?: readonly PeerOptions[];
  readonly topics: readonly TopicOptions[];
  /** Format the data directory if it is missing or empty. Default false: then DIRECTORY_MISSING. */
  readonly formatIfMissing?: boolean;
  /** Allow listening on an address other machines can reach, without encryption. Default false. */
  readonly allowPlaintext?: boolean;
  /** Default 100. Leaders speak at least this often. */
  readonly heartbeatMs?: number;
  /**
   * A follower that hears no leader for a random time in [electionMs, 2 × electionMs) asks for votes. Default 1,000: one
   * JavaScript thread shares its time with work and garbage collection, and lower values elect without need.
   */
  readonly electionMs?: number;
  /**
   * What becomes of a partition of which a majority of the replicas forgot acknowledged records (relaxed flush and a
   * power cut of them all). 'never' (default): it stays offline until one comes back that knows. 'longest-log': on this
   * node's word the replica with the longest log leads, and an event says what may be lost; set it on all nodes for as
   * long as it takes.
   */
  readonly uncleanRecovery?: 'never' | 'longest-log';
  /** Bytes in flight to one follower of one partition. Default 8 MiB. */
  readonly replicationMaxInflightBytes?: number;
  /** Append messages in flight to one follower of one partition. Default 64. */
  readonly replicationMaxInflightMessages?: number;
  /** Bytes of produce requests without a reply, per client connection; beyond it the node stops reading. Default 32 MiB. */
  readonly clientMaxInflightBytes?: number;
  /** Connections of clients and peers. Default 4096. */
  readonly maxConnections?: number;
  readonly store?: Partial<Omit<StoreOptions, 'create' | 'clusterId' | 'nodeId'>>;
  /** Told what happens on this node, for a log or a metric. Nothing is printed by the library. */
  readonly onEvent?: (event: NodeEvent) => void;
}

/** What an operator may want to see in a log. */
export interface NodeEvent {
  readonly level: 'info' | 'warn' | 'error';
  readonly event: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface ResolvedTopic {
  readonly name: string;
  readonly partitions: number;
  readonly log: Partial<LogOptions> & { readonly flush: FlushMode };
}

export interface ResolvedNodeOptions extends Required<Omit<NodeOptions, 'topics' | 'onEvent'>> {
  readonly topics: readonly ResolvedTopic[];
  readonly onEvent: (event: NodeEvent) => void;
}

const MAX_NODE_ID = 2 ** 31 - 1;
export const MAX_PARTITIONS = 10_000;
export const FLUSH_MODES: readonly string[] = ['sync', 'async', 'none'];

/** @throws VarveError INVALID_CONFIG, INVALID_TOPIC */
export function resolveNodeOptions(options: NodeOptions): ResolvedNodeOptions {
  const { nodeId, clusterId, dataDirectory, listen } = options;
  checkInteger('the node id', nodeId, 1, MAX_NODE_ID);
  checkClusterId(clusterId);
  if (dataDirectory === '') throw invalid('the data directory is empty');
  checkAddress('listen', listen, 0);

  const peers = options.peers ?? [{ id: nodeId, ...listen }];
  for (const peer of peers) {
    checkInteger('the id of a peer', peer.id, 1, MAX_NODE_ID);
    if (peer.id !== nodeId) checkAddress(`peer ${peer.id}`, peer, 1);
  }
  const twin = firstTwin(peers.map((peer) => peer.id));
  if (twin !== undefined) throw invalid(`two peers have the same id, ${twin}`);
  const self = peers.find((peer) => peer.id === nodeId);
  if (self === undefined) {
    throw invalid(`the list of peers lacks node ${nodeId}, this node: it names all nodes of the cluster`);
  }
  // Another host may be the same machine by another name; another port of the same host is not this node.
  if (self.host === listen.host && self.port !== listen.port && listen.port !== 0) {
    throw invalid(
      `this node, ${nodeId}, listens on ${listen.host}:${listen.port}, but the list of peers has it at port ${self.port}: give both the same`,
    );
  }

  const allowPlaintext = options.allowPlaintext ?? false;
  if (!allowPlaintext && !isLoopback(listen.host)) {
    throw invalid(
      `listening on ${listen.host} sends everything in plain text where others can read it. Listen on 127.0.0.1, or allow it with --allow-plaintext (allowPlaintext) on a network you trust`,
    );
  }

  const topics = options.topics.map(resolveTopic);
  if (topics.length === 0) throw invalid('no topic is named; a node without topics has nothing to do');
  const namesake = firstTwin(topics.map((topic) => topic.name));
  if (namesake !== undefined) throw invalid(`two topics have the same name, ${namesake}`);
  const store = options.store ?? {};
  asConfig('store', () => resolveStoreOptions(store));

  const heartbeatMs = options.heartbeatMs ?? 100;
  const electionMs = options.electionMs ?? 1000;
  checkInteger('heartbeatMs', heartbeatMs, 10, 60_000);
  checkInteger('electionMs', electionMs, 50, 600_000);
  const uncleanRecovery = options.uncleanRecovery ?? 'never';
  if (!['never', 'longest-log'].includes(uncleanRecovery)) {
    throw invalid(
      `uncleanRecovery is "${uncleanRecovery}": give "never", or "longest-log" to lose what only others knew`,
    );
  }
  if (electionMs < 5 * heartbeatMs) {
    throw invalid(`electionMs ${electionMs} must be at least 5 × heartbeatMs ${heartbeatMs}, or late heartbeats elect`);
  }
  const replicationMaxInflightBytes = options.replicationMaxInflightBytes ?? 8 * 1024 * 1024;
  checkInteger('replicationMaxInflightBytes', replicationMaxInflightBytes, DATA_FRAME_BYTES, 2 ** 30);
  const replicationMaxInflightMessages = options.replicationMaxInflightMessages ?? 64;
  checkInteger('replicationMaxInflightMessages', replicationMaxInflightMessages, 1, 10_000);
  const clientMaxInflightBytes = options.clientMaxInflightBytes ?? 32 * 1024 * 1024;
  checkInteger('clientMaxInflightBytes', clientMaxInflightBytes, MAX_BATCH_BYTES, 2 ** 30);
  const maxConnections = options.maxConnections ?? 4096;
  checkInteger('maxConnections', maxConnections, 1, 1_000_000);

  return Object.freeze({
    nodeId,
    clusterId,
    dataDirectory,
    listen,
    peers,
    topics,
    allowPlaintext,
    heartbeatMs,
    electionMs,
    uncleanRecovery,
    replicationMaxInflightBytes,
    replicationMaxInflightMessages,
    clientMaxInflightBytes,
    maxConnections,
    formatIfMissing: options.formatIfMissing ?? false,
    store,
    onEvent: options.onEvent ?? (() => {}),
  });
}

/** @throws VarveError INVALID_CONFIG */
export function checkClusterId(clusterId: string): void {
  if (!CLUSTER_ID_PATTERN.test(clusterId)) {
    throw invalid(`the cluster id "${clusterId}" must be 1 to 64 characters of a-z, A-Z, 0-9, ".", "_" and "-"`);
  }
}

/** A topic's name becomes part of a path: nothing that could leave the data directory. @throws VarveError INVALID_TOPIC */
export function checkTopicName(name: string): void {
  if (!/^[a-zA-Z0-9._-]{1,200}$/.test(name) || /^\.+$/.test(name)) {
    throw new VarveError(
      'INVALID_TOPIC',
      `"${name}" is no topic name: it takes 1 to 200 characters of a-z, A-Z, 0-9, ".", "_" and "-", and more than dots`,
    );
  }
}

function resolveTopic(topic: TopicOptions): ResolvedTopic {
  const { name, partitions = 1, flush = 'sync', ...log } = topic;
  checkTopicName(name);
  checkInteger(`the number of partitions of topic ${name}`, partitions, 1, MAX_PARTITIONS);
  if (!FLUSH_MODES.includes(flush)) {
    throw invalid(`flush of topic ${name} is "${flush}"; it must be sync, async or none`);
  }
  asConfig(`topic ${name}`, () => resolveLogOptions(log));
  return { name, partitions, log: { ...log, flush } };
}

/** The limits of stores and logs are theirs to check; in a node's settings they are a mistake of the configuration. */
function asConfig(what: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof VarveError)) throw error;
    throw new VarveError('INVALID_CONFIG', `${what}: ${error.message}`, { cause: error });
  }
}

/** The first that comes a second time. */
function firstTwin<T>(values: readonly T[]): T | undefined {
  return values.find((value, i) => values.indexOf(value) < i);
}

function checkAddress(what: string, address: Address, minPort: number): void {
  if (address.host === '') throw invalid(`${what}: the host is empty`);
  checkInteger(`the port of ${what}`, address.port, minPort, 65_535);
}

function checkInteger(what: string, value: number, min: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw invalid(`${what} is ${value}; it must be an integer from ${min} to ${max}`);
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function invalid(message: string): VarveError {
  return new VarveError('INVALID_CONFIG', message);
}
