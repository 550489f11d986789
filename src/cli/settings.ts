/**
 * Every setting of `varve node`, once: its key in the YAML file, its flag, how its text is read, and what the help says.
 * The file and the flags go through the same readers, so both accept and refuse the same things with the same words.
 */
import {
  checkTopicName,
  FLUSH_MODES,
  MAX_PARTITIONS,
  type NodeOptions,
  type PeerOptions,
  type TopicOptions,
} from '../cluster/node-options.js';
import { VarveError } from '../errors.js';
import { cleanupFrom, LOG_RANGES, type Range, STORE_RANGES } from '../log/resolved-options.js';
import { didYouMean } from '../suggestion.js';

/** Reads a value as it stands in the file (any YAML scalar) or on the command line (a string). Throws a sentence. */
export type Reader<T> = (value: unknown) => T;

export interface Setting {
  /** In the file; dots reach into a section. */
  readonly key: string;
  /** Commander's notation. */
  readonly flag: string;
  readonly help: string;
  readonly read: Reader<unknown>;
  /** In the file a list, whose items are read one by one. */
  readonly isList?: boolean;
  /** The flag may be given several times: the values are collected. */
  readonly repeats?: boolean;
}

export class SettingError extends Error {
  /** Of a mapping: the key that is wrong. */
  readonly key: string | undefined;

  constructor(message: string, key?: string) {
    super(message);
    this.key = key;
  }
}

const integer: Reader<number> = (value) => {
  const text = String(value);
  if (!/^\d{1,15}$/.test(text)) throw new SettingError(`"${text}" is not a whole number`);
  return Number(text);
};

const BYTE_UNITS: Readonly<Record<string, number>> = { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

const bytes: Reader<number> = (value) => {
  const match = /^(\d{1,15}) ?(KiB|MiB|GiB|)$/.exec(String(value));
  if (match === null) throw new SettingError(`"${String(value)}" is no size: write 1048576, 1024KiB or 1MiB`);
  return Number(match[1]) * BYTE_UNITS[match[2]!]!;
};

/** For a limit that can be switched off. */
function orNone(read: Reader<number>): Reader<number> {
  return (value) => (String(value) === '-1' ? -1 : read(value));
}

/** Here and not only in the store, because here is known which flag it was, or which line. */
function within(read: Reader<number>, [min, max]: Range): Reader<number> {
  return (value) => {
    const number = read(value);
    if (number < min || number > max) throw new SettingError(`"${String(value)}" is not from ${min} to ${max}`);
    return number;
  };
}

const text: Reader<string> = (value) => {
  if (typeof value !== 'string' && typeof value !== 'number') throw new SettingError('a piece of text is needed');
  return String(value);
};

const flag: Reader<boolean> = (value) => {
  if (value === true || value === false) return value;
  throw new SettingError(`"${String(value)}" must be true or false`);
};

/** "host:port", with an IPv6 host in brackets. */
export const address: Reader<{ host: string; port: number }> = (value) => {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):(\d{1,5})$/.exec(String(value));
  if (match === null || Number(match[2]) > 65_535) {
    throw new SettingError(`"${String(value)}" is no address: write host:port, for example 127.0.0.1:9101`);
  }
  return { host: match[1]!.replace(/^\[|\]$/g, ''), port: Number(match[2]) };
};

const peer: Reader<PeerOptions> = (value) => {
  const match = /^(\d{1,10})@(.+)$/.exec(String(value));
  if (match === null) {
    throw new SettingError(`"${String(value)}" is no peer: write id@host:port, for example 2@127.0.0.1:9102`);
  }
  return { id: Number(match[1]), ...address(match[2]) };
};

const peers: Reader<PeerOptions[]> = (value) => {
  const items = typeof value === 'string' ? value.split(',').map((item) => item.trim()) : value;
  if (!Array.isArray(items)) throw new SettingError('a list of peers is needed, each as id@host:port');
  return items.map(peer);
};

const TOPIC_SETTINGS: Readonly<Record<string, Reader<unknown>>> = {
  name: topicName,
  partitions: within(integer, [1, MAX_PARTITIONS]),
  flush,
  segmentBytes: within(bytes, LOG_RANGES.segmentBytes),
  segmentMs: within(integer, LOG_RANGES.segmentMs),
  segmentJitterMs: within(integer, LOG_RANGES.segmentJitterMs),
  retentionMs: within(orNone(integer), LOG_RANGES.retentionMs),
  retentionBytes: within(orNone(bytes), LOG_RANGES.retentionBytes),
  indexIntervalBytes: within(bytes, LOG_RANGES.indexIntervalBytes),
  maxBatchBytes: within(bytes, LOG_RANGES.maxBatchBytes),
  producerIdExpirationMs: within(integer, LOG_RANGES.producerIdExpirationMs),
  cleanup,
  minCleanableDirtyRatio: share,
  minCompactionLagMs: within(integer, LOG_RANGES.minCompactionLagMs),
  deleteRetentionMs: within(integer, LOG_RANGES.deleteRetentionMs),
};

/** In a flag, commas part settings: "compact+delete" says it there. */
function cleanup(value: unknown): string {
  const found = cleanupFrom(value);
  if (found === undefined) throw new SettingError(`"${String(value)}" must be delete, compact or compact+delete`);
  return found;
}

function share(value: unknown): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number === 'number' && number >= 0 && number <= 1) return number;
  throw new SettingError(`"${String(value)}" is not from 0 to 1`);
}

function topicName(value: unknown): string {
  const name = text(value);
  checkTopicName(name);
  return name;
}

function flush(value: unknown): string {
  if (FLUSH_MODES.includes(String(value))) return String(value);
  throw new SettingError(`"${String(value)}" must be sync, async or none`);
}

/** From the file: a mapping, or the flag's notation. */
const topic: Reader<TopicOptions> = (value) => {
  if (typeof value === 'string') return topicSpec(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SettingError('a topic is a mapping with a name, partitions and flush');
  }
  const options: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) options[key] = topicSetting(key, item);
  if (options['name'] === undefined) throw new SettingError('a topic has no name');
  return options as unknown as TopicOptions;
};

/** name[:key=value,…] */
function topicSpec(spec: string): TopicOptions {
  const colon = spec.indexOf(':');
  const options: Record<string, unknown> = { name: topicName(colon < 0 ? spec : spec.slice(0, colon)) };
  for (const item of colon < 0 ? [] : spec.slice(colon + 1).split(',')) {
    const match = /^([^=]+)=(.*)$/.exec(item);
    if (match === null || match[1] === 'name') {
      throw new SettingError(`"${item}" in "${spec}" must be key=value, as in events:partitions=3,flush=sync`);
    }
    options[match[1]!] = topicSetting(match[1]!, match[2]);
  }
  return options as unknown as TopicOptions;
}

function topicSetting(key: string, value: unknown): unknown {
  const read = Object.hasOwn(TOPIC_SETTINGS, key) ? TOPIC_SETTINGS[key] : undefined;
  if (read === undefined) {
    throw new SettingError(`a topic has no setting "${key}"${didYouMean(key, Object.keys(TOPIC_SETTINGS))}`, key);
  }
  try {
    return read(value);
  } catch (error) {
    if (!(error instanceof SettingError)) throw error;
    throw new SettingError(`${key}: ${error.message}`, key);
  }
}

const topics: Reader<TopicOptions[]> = (value) => {
  if (!Array.isArray(value)) throw new SettingError('a list of topics is needed');
  return value.map(topic);
};

export const SETTINGS: readonly Setting[] = [
  { key: 'id', flag: '--id <number>', help: 'id of this node, unique in the cluster', read: integer },
  {
    key: 'clusterId',
    flag: '--cluster-id <name>',
    help: 'name of the cluster; nodes of another are refused',
    read: text,
  },
  { key: 'data', flag: '--data <directory>', help: 'data directory', read: text },
  { key: 'listen', flag: '--listen <host:port>', help: 'address for peers and clients', read: address },
  {
    key: 'peers',
    flag: '--peers <list>',
    help: 'all nodes of the cluster, this one included: id@host:port,… (default: this node alone)',
    read: peers,
    isList: true,
  },
  {
    key: 'topics',
    flag: '--topic <spec>',
    help: 'a topic, name:partitions=3,flush=sync (also segmentBytes, segmentMs, segmentJitterMs, retentionMs, retentionBytes, indexIntervalBytes, maxBatchBytes, producerIdExpirationMs, cleanup, minCleanableDirtyRatio, minCompactionLagMs, deleteRetentionMs); may be repeated',
    read: topics,
    isList: true,
    repeats: true,
  },
  {
    key: 'formatIfMissing',
    flag: '--format-if-missing',
    help: 'format the data directory if it is missing or empty',
    read: flag,
  },
  {
    key: 'allowPlaintext',
    flag: '--allow-plaintext',
    help: 'listen on addresses other machines can reach, unencrypted',
    read: flag,
  },
  { key: 'heartbeatMs', flag: '--heartbeat-ms <ms>', help: 'leaders speak this often (default: 100)', read: integer },
  {
    key: 'electionMs',
    flag: '--election-ms <ms>',
    help: 'followers that hear nothing for one to two times this long ask for votes (default: 1000)',
    read: integer,
  },
  {
    key: 'uncleanRecovery',
    flag: '--unclean-recovery <never|longest-log>',
    help: 'when most replicas of a partition forgot acknowledged records: stay offline, or lose them (default: never)',
    read: text,
  },
  {
    key: 'logLevel',
    flag: '--log-level <level>',
    help: 'debug, info, warn, error or silent (default: info)',
    read: logLevel,
  },
  {
    key: 'store.journalFileBytes',
    flag: '--journal-file-bytes <size>',
    help: 'size of one journal file (default: 64MiB)',
    read: within(bytes, STORE_RANGES.journalFileBytes),
  },
  {
    key: 'store.journalMaxBytes',
    flag: '--journal-max-bytes <size>',
    help: 'journal size at which appends wait for a checkpoint (default: 1GiB)',
    read: within(bytes, STORE_RANGES.journalMaxBytes),
  },
  {
    key: 'store.asyncMaxMs',
    flag: '--async-max-ms <ms>',
    help: 'bound of flush=async in time (default: 50)',
    read: within(integer, STORE_RANGES.asyncMaxMs),
  },
  {
    key: 'store.asyncMaxBytes',
    flag: '--async-max-bytes <size>',
    help: 'bound of flush=async in bytes (default: 8MiB)',
    read: within(bytes, STORE_RANGES.asyncMaxBytes),
  },
  {
    key: 'store.directFlushBytes',
    flag: '--direct-flush-bytes <size>',
    help: 'batches of one or two partitions from this size on are synced without a copy in the journal; 0: never (default: 0)',
    read: within(bytes, STORE_RANGES.directFlushBytes),
  },
  {
    key: 'store.directMarkMaxMs',
    flag: '--direct-mark-max-ms <ms>',
    help: 'bound of the time until the journal says so (default: 50)',
    read: within(integer, STORE_RANGES.directMarkMaxMs),
  },
  {
    key: 'store.pendingMaxBytes',
    flag: '--pending-max-bytes <size>',
    help: 'bytes on their way to the disk at which producers wait (default: 64MiB)',
    read: within(bytes, STORE_RANGES.pendingMaxBytes),
  },
  {
    key: 'store.maxOpenFiles',
    flag: '--max-open-files <n>',
    help: 'segment files that stay open while nobody uses them (default: 1024)',
    read: within(integer, STORE_RANGES.maxOpenFiles),
  },
  {
    key: 'store.checkpointIntervalMs',
    flag: '--checkpoint-interval-ms <ms>',
    help: 'time between checkpoints (default: 5000)',
    read: within(integer, STORE_RANGES.checkpointIntervalMs),
  },
  {
    key: 'store.maxMappedSegments',
    flag: '--max-mapped-segments <count>',
    help: 'segments that stay mapped, over all partitions (default: 1024)',
    read: within(integer, STORE_RANGES.maxMappedSegments),
  },
  {
    key: 'store.compactionBufferBytes',
    flag: '--compaction-buffer-bytes <size>',
    help: 'memory for the keys of one compaction (default: 64MiB)',
    read: within(bytes, STORE_RANGES.compactionBufferBytes),
  },
  {
    key: 'store.compactionBytesPerSecond',
    flag: '--compaction-bytes-per-second <size>',
    help: 'what compaction may read and write per second; 0: no limit (default: 0)',
    read: within(bytes, STORE_RANGES.compactionBytesPerSecond),
  },
  {
    key: 'store.reserveBytes',
    flag: '--reserve-bytes <size>',
    help: 'space kept for a full disk; 0: none (default: a journal file and 2MiB)',
    read: within(bytes, STORE_RANGES.reserveBytes),
  },
];

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

function logLevel(value: unknown): LogLevel {
  const level = LOG_LEVELS.find((known) => known === value);
  if (level === undefined) throw new SettingError(`"${String(value)}" is not one of ${LOG_LEVELS.join(', ')}`);
  return level;
}

export interface NodeSettings {
  readonly node: NodeOptions;
  readonly logLevel: LogLevel;
}

/**
 * Puts together what the file and the flags say (a flag wins); both are maps from the key of a setting to what was read.
 * @throws VarveError INVALID_CONFIG that names what is missing
 */
export function nodeSettings(values: ReadonlyMap<string, unknown>): NodeSettings {
  const required = <T>(key: string): T => {
    const value = values.get(key);
    if (value === undefined) {
      const { flag: name } = SETTINGS.find((setting) => setting.key === key)!;
      throw new VarveError('INVALID_CONFIG', `${name} is missing (in a file: ${key}). See varve node --help`);
    }
    return value as T;
  };
  const store: Record<string, unknown> = {};
  const rest: Record<string, unknown> = {};
  const optional = ['peers', 'formatIfMissing', 'allowPlaintext', 'heartbeatMs', 'electionMs', 'uncleanRecovery'];
  for (const [key, value] of values) {
    if (key.startsWith('store.')) store[key.slice('store.'.length)] = value;
    else if (optional.includes(key)) rest[key] = value;
  }
  const node: NodeOptions = {
    ...rest,
    nodeId: required('id'),
    clusterId: required('clusterId'),
    dataDirectory: required('data'),
    listen: required('listen'),
    topics: required('topics'),
    store,
  };
  return { node, logLevel: (values.get('logLevel') as LogLevel | undefined) ?? 'info' };
}
