/** Options with their defaults, checked once and frozen. Every refusal names the option, what was given and what is allowed. */
import { VarveError } from '../errors.js';
import type { LogOptions, StoreOptions } from './options.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

const DEFAULT_STORE_OPTIONS: StoreOptions = {
  create: false,
  journalFileBytes: 64 * MIB,
  journalMaxBytes: GIB,
  journalGroupMaxBytes: 4 * MIB,
  asyncMaxMs: 50,
  asyncMaxBytes: 8 * MIB,
  pendingMaxBytes: 64 * MIB,
  checkpointIntervalMs: 5000,
};

const DEFAULT_LOG_OPTIONS: LogOptions = {
  flush: 'sync',
  segmentBytes: 256 * MIB,
  indexIntervalBytes: 4096,
  maxBatchBytes: MIB,
};

/** @throws VarveError INVALID_ARGUMENT */
export function resolveStoreOptions(given: Partial<StoreOptions>): StoreOptions {
  const options = { ...DEFAULT_STORE_OPTIONS, ...withoutUndefined(given) };
  checkRange('journalFileBytes', options.journalFileBytes, 64 * KIB, GIB);
  checkRange('journalGroupMaxBytes', options.journalGroupMaxBytes, 4 * KIB, 64 * MIB);
  checkRange('journalMaxBytes', options.journalMaxBytes, 2 * options.journalFileBytes, 1024 * GIB);
  checkRange('asyncMaxMs', options.asyncMaxMs, 1, 60_000);
  checkRange('asyncMaxBytes', options.asyncMaxBytes, 4 * KIB, GIB);
  checkRange('pendingMaxBytes', options.pendingMaxBytes, 4 * KIB, 4 * GIB);
  checkRange('checkpointIntervalMs', options.checkpointIntervalMs, 1, 3_600_000);
  return Object.freeze(options);
}

/** @throws VarveError INVALID_ARGUMENT */
export function resolveLogOptions(given: Partial<LogOptions>): LogOptions {
  const { flush, segmentBytes, indexIntervalBytes, maxBatchBytes } = {
    ...DEFAULT_LOG_OPTIONS,
    ...withoutUndefined(given),
  };
  if (flush !== 'sync' && flush !== 'async' && flush !== 'none') {
    throw new VarveError('INVALID_ARGUMENT', `flush ${JSON.stringify(flush)}: give 'sync', 'async' or 'none'`);
  }
  checkRange('segmentBytes', segmentBytes, MIB, GIB);
  checkRange('indexIntervalBytes', indexIntervalBytes, 64, MIB);
  checkRange('maxBatchBytes', maxBatchBytes, KIB, 4 * MIB);
  return Object.freeze({ flush, segmentBytes, indexIntervalBytes, maxBatchBytes });
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new VarveError('INVALID_ARGUMENT', `${name} ${value}: give a whole number from ${min} to ${max}`);
  }
}

/** `{ key: undefined }` means the default, as a missing key does. */
function withoutUndefined<T extends object>(given: Partial<T>): Partial<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<T>;
}
