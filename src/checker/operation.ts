/**
 * One line of a history (docs/HISTORY.md). The types are for those who write histories; whatever is read is checked against
 * the tables of operation-fields.ts before anybody looks at it.
 */
import type { FlushMode } from './settings.js';

/** A text or a whole number; 1 and "1" are the same. */
export type Name = string | number;

/** Default `ok`. `failed`: certainly no effect. `unknown`: an effect, perhaps also later, or none. */
export type Outcome = 'ok' | 'failed' | 'unknown';

/** When it was over, and when it was called (default: the same), in milliseconds of one clock. */
interface Timed {
  readonly time: number;
  readonly begin?: number;
  /** For people; the checker does not look at it. */
  readonly note?: unknown;
}

interface OfPartition extends Timed {
  readonly partition: Name;
}

export interface HistoryHeader {
  readonly op: 'history';
  readonly version: 1;
  readonly attemptsMax?: number;
  readonly stuckMs?: number;
  readonly note?: unknown;
}

export interface PartitionSettings {
  readonly op: 'partition';
  readonly partition: Name;
  readonly flush?: FlushMode;
  readonly flushMs?: number;
  readonly replicas?: readonly Name[];
  readonly compacted?: boolean;
  readonly dense?: boolean;
  readonly retentionMs?: number;
  readonly retentionBytes?: number;
  readonly logStart?: number;
  readonly note?: unknown;
}

export interface Send extends OfPartition {
  readonly op: 'send';
  readonly producer: Name;
  /** One of the two. */
  readonly value?: Name;
  readonly values?: readonly Name[];
  readonly key?: Name;
  readonly keys?: readonly Name[];
  readonly timestamp?: number;
  readonly timestamps?: readonly number[];
  readonly tombstone?: boolean;
  readonly acks?: 'all' | 1 | 0;
  readonly outcome?: Outcome;
  readonly offset?: number;
  readonly attempts?: number;
  readonly epoch?: number;
  readonly node?: Name;
  readonly producerId?: Name;
  readonly producerEpoch?: number;
  readonly sequence?: number;
  readonly duplicate?: boolean;
  readonly transaction?: Name;
}

export type ReadRecord = readonly [offset: number, value: Name, epoch?: number | null, timestamp?: number];

export interface Poll extends OfPartition {
  readonly op: 'poll';
  readonly consumer: Name;
  readonly records?: readonly ReadRecord[];
  readonly from?: number;
  readonly next?: number;
  readonly isolation?: 'read_uncommitted' | 'read_committed';
  readonly highWatermark?: number;
  readonly lastStableOffset?: number;
  readonly logStart?: number;
  readonly final?: boolean;
  readonly outcome?: Outcome;
}

export interface Seek extends OfPartition {
  readonly op: 'seek';
  readonly consumer: Name;
  readonly offset: number;
}

export interface EndOffset extends OfPartition {
  readonly op: 'end-offset';
  readonly client: Name;
  readonly offset?: number;
  readonly isolation?: 'read_uncommitted' | 'read_committed';
  readonly logStart?: number;
  readonly outcome?: Outcome;
}

export interface OffsetForTime extends OfPartition {
  readonly op: 'offset-for-time';
  readonly timestamp: number;
  readonly offset: number | null;
}

export interface EpochEnd extends OfPartition {
  readonly op: 'epoch-end';
  readonly epoch: number;
  readonly offset: number;
}

export interface DeleteRecords extends OfPartition {
  readonly op: 'delete-records';
  readonly offset: number;
  readonly outcome?: Outcome;
}

export interface EndTransaction extends Timed {
  readonly op: 'end-transaction';
  readonly transaction: Name;
  readonly decision: 'commit' | 'abort';
  readonly outcome?: Outcome;
}

export interface Fence extends Timed {
  readonly op: 'fence';
  readonly producerId: Name;
  readonly producerEpoch: number;
}

export interface CommitOffset extends OfPartition {
  readonly op: 'commit-offset';
  readonly group: Name;
  readonly offset: number;
  readonly outcome?: Outcome;
}

export interface FetchOffset extends OfPartition {
  readonly op: 'fetch-offset';
  readonly group: Name;
  readonly offset: number | null;
}

export interface Leader extends OfPartition {
  readonly op: 'leader';
  readonly node: Name;
  readonly epoch: number;
}

export interface Open extends OfPartition {
  readonly op: 'open';
  readonly node: Name;
  readonly logEnd: number;
  readonly logStart?: number;
  readonly highWatermark?: number;
  readonly epoch?: number;
  /** [from, to) each. */
  readonly damaged?: readonly (readonly [number, number])[];
}

export interface Truncate extends OfPartition {
  readonly op: 'truncate';
  readonly node: Name;
  readonly offset: number;
  readonly highWatermark?: number;
}

export type ReplicaBatch = readonly [base: number, last: number, epoch: number, hash?: Name];

export interface Replica extends OfPartition {
  readonly op: 'replica';
  readonly node: Name;
  readonly highWatermark: number;
  readonly batches: readonly ReplicaBatch[];
  readonly logStart?: number;
  readonly epochs?: readonly (readonly [epoch: number, start: number])[];
}

export interface Config extends OfPartition {
  readonly op: 'config';
  readonly offset: number;
  readonly voters: readonly Name[];
  readonly outgoing?: readonly Name[];
  readonly node?: Name;
}

export const FAULTS = [
  'kill',
  'power-cut',
  'disk-lost',
  'sync-error',
  'bit-rot',
  'unclean-recovery',
  'pause',
  'network',
  'disk-full',
  'clock',
  'membership',
  'other',
] as const;

export type FaultName = (typeof FAULTS)[number];

export interface Fault extends Timed {
  readonly op: 'fault';
  readonly fault: FaultName;
  readonly nodes?: readonly Name[];
  readonly partition?: Name;
  readonly offset?: number;
}

export interface Heal extends Timed {
  readonly op: 'heal';
}

export type TimedOperation =
  | Send
  | Poll
  | Seek
  | EndOffset
  | OffsetForTime
  | EpochEnd
  | DeleteRecords
  | EndTransaction
  | Fence
  | CommitOffset
  | FetchOffset
  | Leader
  | Open
  | Truncate
  | Replica
  | Config
  | Fault
  | Heal;

export type Operation = HistoryHeader | PartitionSettings | TimedOperation;
