/**
 * Options with their defaults, checked once and frozen. Every refusal names the option, what was given and what is
 * allowed.
 */
import { VarveError } from '../errors.js';
import { checkTrace } from '../disk/trace.js';
import { checkOptionNames } from '../option-names.js';
import { MAX_STORED_BATCH_BYTES } from '../record/limits.js';
import { shown } from '../shown.js';
import type { Cleanup, LogOptions, StoreOptions } from './options.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const DAY_MS = 24 * 60 * 60 * 1000;
const MAX_MS = 100 * 365 * DAY_MS;

const DEFAULT_STORE_OPTIONS: StoreOptions = {
  create: false,
  journalFileBytes: 64 * MIB,
  journalMaxBytes: GIB,
  journalGroupMaxBytes: 4 * MIB,
  asyncMaxMs: 50,
  asyncMaxBytes: 8 * MIB,
  directFlushBytes: 0,
  directMarkMaxMs: 50,
  pendingMaxBytes: 64 * MIB,
  maxOpenFiles: 1024,
  checkpointIntervalMs: 5000,
  maxMappedSegments: 1024,
  compactionBufferBytes: 64 * MIB,
  compactionBytesPerSecond: 0,
  reserveBytes: 66 * MIB,
};

/** What the reserve covers besides a journal file: a checkpoint with index files, and a few segments. */
const RESERVE_BESIDE_JOURNAL_BYTES = 2 * MIB;

const DEFAULT_LOG_OPTIONS: LogOptions = {
  flush: 'sync',
  segmentBytes: 256 * MIB,
  segmentMs: 7 * DAY_MS,
  segmentJitterMs: 0,
  retentionMs: -1,
  retentionBytes: -1,
  indexIntervalBytes: 4096,
  maxBatchBytes: MIB,
  producerIdExpirationMs: DAY_MS,
  cleanup: 'delete',
  minCleanableDirtyRatio: 0.5,
  minCompactionLagMs: 0,
  deleteRetentionMs: DAY_MS,
};

const CLEANUPS: readonly Cleanup[] = ['delete', 'compact', 'compact,delete'];

/** Both words in either order, joined by a comma or a plus. Undefined: it is none. */
export function cleanupFrom(given: unknown): Cleanup | undefined {
  const words = String(given).split(/[,+]/).sort().join(',');
  return CLEANUPS.find((cleanup) => cleanup === words);
}

/** Least and most, both allowed. */
export type Range = readonly [min: number, max: number];

export const STORE_RANGES = {
  journalFileBytes: [64 * KIB, GIB],
  journalGroupMaxBytes: [4 * KIB, 64 * MIB],
  /** Also at least two journal files. */
  journalMaxBytes: [128 * KIB, 1024 * GIB],
  asyncMaxMs: [1, 60_000],
  asyncMaxBytes: [4 * KIB, GIB],
  /** 0: off. */
  directFlushBytes: [0, GIB],
  directMarkMaxMs: [1, 10_000],
  pendingMaxBytes: [4 * KIB, 4 * GIB],
  maxOpenFiles: [1, 1_000_000],
  checkpointIntervalMs: [1, 3_600_000],
  maxMappedSegments: [1, 1_000_000],
  compactionBufferBytes: [4 * KIB, 16 * GIB],
  compactionBytesPerSecond: [0, 1024 * GIB],
  reserveBytes: [0, 64 * GIB],
} as const satisfies Readonly<Partial<Record<keyof StoreOptions, Range>>>;

export const LOG_RANGES = {
  segmentBytes: [MIB, GIB],
  segmentMs: [1, MAX_MS],
  /** Also at most segmentMs. */
  segmentJitterMs: [0, MAX_MS],
  retentionMs: [-1, MAX_MS],
  retentionBytes: [-1, Number.MAX_SAFE_INTEGER],
  indexIntervalBytes: [64, MIB],
  maxBatchBytes: [KIB, MAX_STORED_BATCH_BYTES],
  producerIdExpirationMs: [60_000, MAX_MS],
  minCompactionLagMs: [0, MAX_MS],
  deleteRetentionMs: [0, MAX_MS],
} as const satisfies Readonly<Partial<Record<keyof LogOptions, Range>>>;

const STORE_OPTION_NAMES = [...Object.keys(DEFAULT_STORE_OPTIONS), 'clusterId', 'nodeId', 'trace'];
/** With those of OpenLogOptions. */
const LOG_OPTION_NAMES = [...Object.keys(DEFAULT_LOG_OPTIONS), 'topicId', 'replicated'];

/** @throws VarveError INVALID_ARGUMENT */
export function resolveStoreOptions(given: Partial<StoreOptions>): StoreOptions {
  checkOptionNames(given, STORE_OPTION_NAMES);
  const options = { ...DEFAULT_STORE_OPTIONS, ...withoutUndefined(given) };
  if (given.reserveBytes === undefined) options.reserveBytes = options.journalFileBytes + RESERVE_BESIDE_JOURNAL_BYTES;
  checkRanges(options, STORE_RANGES);
  checkTrace(options.trace);
  checkJournalSize(options, given.journalMaxBytes === undefined);
  return Object.freeze(options);
}

/** While one file is written, the one before it may still be needed. */
function checkJournalSize({ journalFileBytes, journalMaxBytes }: StoreOptions, isDefault: boolean): void {
  const min = 2 * journalFileBytes;
  if (journalMaxBytes >= min) return;
  throw new VarveError(
    'INVALID_ARGUMENT',
    `journalMaxBytes ${journalMaxBytes}${isDefault ? ' (the default)' : ''}: give a whole number from ${min} to ${STORE_RANGES.journalMaxBytes[1]}, for at least two files of journalFileBytes, which is ${journalFileBytes}`,
  );
}

/** @throws VarveError INVALID_ARGUMENT */
export function checkLogOptionNames(given: unknown): void {
  checkOptionNames(given, LOG_OPTION_NAMES);
}

/** @throws VarveError INVALID_ARGUMENT */
export function resolveLogOptions(given: Partial<LogOptions>): LogOptions {
  checkLogOptionNames(given);
  const all: LogOptions = { ...DEFAULT_LOG_OPTIONS, ...withoutUndefined(given) };
  const names = Object.keys(DEFAULT_LOG_OPTIONS) as (keyof LogOptions)[];
  const options = Object.fromEntries(names.map((name) => [name, all[name]])) as unknown as LogOptions;
  const { flush, minCleanableDirtyRatio } = options;
  if (flush !== 'sync' && flush !== 'async' && flush !== 'none') {
    throw new VarveError('INVALID_ARGUMENT', `flush ${JSON.stringify(flush)}: give 'sync', 'async' or 'none'`);
  }
  const cleanup = cleanupFrom(options.cleanup);
  if (cleanup === undefined) {
    const allowed = CLEANUPS.map((name) => `'${name}'`).join(', ');
    throw new VarveError('INVALID_ARGUMENT', `cleanup ${JSON.stringify(options.cleanup)}: give one of ${allowed}`);
  }
  if (typeof minCleanableDirtyRatio !== 'number' || !(minCleanableDirtyRatio >= 0 && minCleanableDirtyRatio <= 1)) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `minCleanableDirtyRatio ${shown(minCleanableDirtyRatio)}: give a number from 0 to 1`,
    );
  }
  checkRanges(options, LOG_RANGES);
  checkRange('segmentJitterMs', options.segmentJitterMs, [0, options.segmentMs]);
  return Object.freeze({ ...options, cleanup });
}

function checkRanges<K extends string>(
  options: { readonly [Name in NoInfer<K>]: number },
  ranges: Readonly<Record<K, Range>>,
): void {
  for (const [name, range] of Object.entries<Range>(ranges)) checkRange(name, options[name as K], range);
}

function checkRange(name: string, value: number, [min, max]: Range): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new VarveError('INVALID_ARGUMENT', `${name} ${shown(value)}: give a whole number from ${min} to ${max}`);
  }
}

/** `{ key: undefined }` means the default, as a missing key does. */
function withoutUndefined<T extends object>(given: Partial<T>): Partial<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<T>;
}
