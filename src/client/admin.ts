/** The administrative client. */
import type { NodeStatus } from '../cluster/status.js';
import { VarveError } from '../errors.js';
import { type DeleteRecordsHeader, FrameType } from '../rpc/protocol.js';
import { ClusterClient } from './cluster-client.js';
import { EARLIEST, type FoundOffset, LATEST, listOffset } from './list-offset.js';
import type { ClusterMetadata } from './metadata-cache.js';
import type { ClientOptions } from './options.js';
import {
  checkOffset,
  checkPartition,
  checkTopic,
  type ResolvedClientOptions,
  resolveClientOptions,
} from './resolved-options.js';

/** Questions and orders to a cluster that concern no single record: who leads what, where a log begins and ends. */
export class Admin {
  /** As given, checked, with the defaults filled in; frozen. */
  readonly options: ResolvedClientOptions;
  readonly #cluster: ClusterClient;

  /**
   * Connects on first use.
   * @throws VarveError INVALID_ARGUMENT
   */
  constructor(options: ClientOptions) {
    this.options = resolveClientOptions(options);
    this.#cluster = new ClusterClient(this.options);
  }

  /**
   * Nodes, topics, leaders, as the first node that answers knows them.
   * @throws VarveError CONNECTION_LOST, WRONG_CLUSTER, CLOSED
   */
  metadata(): Promise<ClusterMetadata> {
    return this.#cluster.fetchMetadata();
  }

  /**
   * First offset ('earliest'), end of the committed records ('latest'), or the first record whose timestamp is at or
   * after the given one (offset −1: there is none).
   * @throws VarveError UNKNOWN_TOPIC, UNKNOWN_PARTITION, TIMEOUT, CLOSED
   */
  listOffsets(topic: string, partition: number, at: 'earliest' | 'latest' | number): Promise<FoundOffset> {
    const timestamp = at === 'earliest' ? EARLIEST : at === 'latest' ? LATEST : checkOffset('timestamp', at);
    return listOffset(this.#cluster, checkTopic(topic), checkPartition(partition), timestamp);
  }

  /**
   * Moves the start of a partition's log up to `beforeOffset`, on all replicas; what lies below is deleted.
   * @returns the new log start
   * @throws VarveError OFFSET_OUT_OF_RANGE above the high watermark; UNKNOWN_TOPIC, UNKNOWN_PARTITION, TIMEOUT, CLOSED
   */
  async deleteRecords(topic: string, partition: number, beforeOffset: number): Promise<number> {
    const request: DeleteRecordsHeader = [
      checkTopic(topic),
      checkPartition(partition),
      checkOffset('beforeOffset', beforeOffset),
    ];
    const { header } = await this.#cluster.requestLeader(topic, partition, FrameType.DeleteRecords, request);
    const [logStart] = header;
    if (!Number.isSafeInteger(logStart)) {
      throw new VarveError('PROTOCOL_ERROR', `${topic}-${partition}: a reply to delete-records names no log start`);
    }
    return logStart as number;
  }

  /** What a node says about itself. @throws VarveError INVALID_ARGUMENT for an unknown node; TIMEOUT, CLOSED */
  async status(node: number): Promise<NodeStatus> {
    const { header } = await this.#cluster.requestNode(node, FrameType.Status, []);
    return header[0] as NodeStatus;
  }

  /**
   * Resolves with the id of the node that leads the partition, once it answers as a leader: its epoch has a committed
   * batch.
   * @throws VarveError TIMEOUT after requestTimeoutMs; UNKNOWN_TOPIC, UNKNOWN_PARTITION, CLOSED
   */
  async waitForLeader(topic: string, partition: number): Promise<number> {
    await listOffset(this.#cluster, checkTopic(topic), checkPartition(partition), LATEST);
    return this.#cluster.leaderOf(topic, partition);
  }

  async close(): Promise<void> {
    this.#cluster.close();
  }
}
