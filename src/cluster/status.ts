/** What a node says about itself: `varve status` shows it, the benchmark and the torture run read it. */
import type { FlushMode, JournalStats } from '../disk/disk.js';
import type { RecoveryReport } from '../log/log.js';
import type { StoreStats } from '../log/store.js';
import type { Membership, PeerStatus, Role } from '../raft/types.js';

export interface NodeStatus {
  readonly nodeId: number;
  readonly clusterId: string;
  readonly directoryId: string;
  /** New with every start of the process. */
  readonly incarnation: string;
  readonly version: string;
  readonly pid: number;
  readonly uptimeMs: number;
  /** Bytes. */
  readonly memory: { readonly rss: number; readonly heapUsed: number; readonly external: number };
  /** CPU time of the process since it started, in milliseconds. */
  readonly cpu: { readonly userMs: number; readonly systemMs: number };
  /** How late timers fire, in milliseconds, since the last status. */
  readonly eventLoopDelay: { readonly meanMs: number; readonly p99Ms: number; readonly maxMs: number };
  /** Empty while the disk is well; else why it failed. */
  readonly diskFailure: string;
  readonly journal: JournalStats;
  readonly store: Omit<StoreStats, 'journal'>;
  readonly connections: number;
  readonly peers: readonly LinkStatus[];
  readonly partitions: readonly PartitionStatus[];
}

export interface LinkStatus {
  readonly nodeId: number;
  readonly address: string;
  readonly control: boolean;
  readonly data: boolean;
  readonly outgoingBytes: number;
  /** Why the last attempt to connect failed; empty if it did not. */
  readonly lastError: string;
}

export interface PartitionStatus {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly flush: FlushMode;
  readonly role: Role;
  /** 0: unknown. */
  readonly leader: number;
  /** Raft term = leader epoch. */
  readonly term: number;
  readonly logStart: number;
  readonly logEnd: number;
  readonly written: number;
  readonly durable: number;
  readonly highWatermark: number;
  /** Truncation generation: how often this replica had to drop records that were not committed. */
  readonly generation: number;
  readonly throttled: boolean;
  /** Produce requests and fetches that wait for something. */
  readonly waitingProduces: number;
  readonly waitingFetches: number;
  /** Empty while the replica takes part; else why it does not. */
  readonly stopped: string;
  readonly recovery: RecoveryReport;
  /** Who the replicas are, as this one knows. Offset −1: as the cluster was founded; nobody: that is not known yet. */
  readonly membership: Membership;
  /** It lost something that it may have acknowledged, and abstains until it has all of a leader's log again. */
  readonly forgetful: boolean;
  /** On the leader: what it knows of its followers. */
  readonly followers: readonly PeerStatus[];
}
