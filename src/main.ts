/** The public API of Varve. Everything a broker's author imports is named here, and nothing else is public. */
export { ERROR_CODES, type ErrorCode, VarveError } from './errors.js';
export type {
  Acks,
  ClientOptions,
  ConsumerOptions,
  ProducerOptions,
  ProducerRecord,
  SendResult,
} from './client/options.js';
export type { FlushMode } from './disk/disk.js';
export type { AppendedRange, Log, ReadOptions, ReadResult, ReadViewsResult, RecoveryReport } from './log/log.js';
export type { LogOptions, StoreOptions } from './log/options.js';
export { COMPRESSIONS, type Compression, type Header, type Record, type RecordInput } from './record/types.js';
