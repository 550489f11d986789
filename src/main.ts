/** The public API of Varve. Everything a broker's author imports is named here, and nothing else is public. */

export { Admin } from './client/admin.js';
export { Consumer } from './client/consumer.js';
export type { FetchedBatches } from './client/fetched-batches.js';
export type { FoundOffset } from './client/list-offset.js';
export type { ClusterMetadata, PartitionMetadata, TopicMetadata } from './client/metadata-cache.js';
export type {
  Acks,
  ClientOptions,
  ConsumerOptions,
  ProducerOptions,
  ProducerRecord,
  SendCallback,
  SendResult,
} from './client/options.js';
export { Producer } from './client/producer.js';
export type {
  ResolvedClientOptions,
  ResolvedConsumerOptions,
  ResolvedProducerOptions,
} from './client/resolved-options.js';
export type { NodeStatus } from './cluster/status.js';
export type { FlushMode } from './disk/disk.js';
export { type FailingKind, Trace, type TraceEvent, type TraceFault, type TraceKind } from './disk/trace.js';
export { ERROR_CODES, type ErrorCode, VarveError } from './errors.js';
export {
  type AbortedRange,
  type AppendedRange,
  type Configuration,
  ControlKind,
  type CutBytes,
  type DamageReport,
  type Isolation,
  type Log,
  type LogPosition,
  type ReadLimit,
  type ReadOptions,
  type ReadResult,
  type ReadViewsResult,
  type RecoveryReport,
  type VerifyOptions,
  type VerifyReport,
} from './log/log.js';
export type { CompactionEnd, CompactionReport, CompactionStats } from './log/compaction-report.js';
export type { Cleanup, LogOptions, StoreOptions } from './log/options.js';
export { formatStore, type OpenLogOptions, openStore, type Store, type StoreStats } from './log/store.js';
export { BatchBuilder, type BatchBuilderOptions } from './record/batch-builder.js';
export type { BatchProducer } from './record/batch-producer.js';
export {
  type DecodeOptions,
  decodeBatch,
  decodeBatchAsync,
  forEachRecord,
  forEachRecordAsync,
} from './record/decode.js';
export type { RecordVisitor } from './record/record-visitor.js';
export type { EpochEnd, HardState, LogView } from './raft/types.js';
export type { TransactionResult } from './record/transaction-marker.js';
export { COMPRESSIONS, type Compression, type Header, type Record, type RecordInput } from './record/types.js';
