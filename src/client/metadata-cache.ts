/**
 * What a client knows of the cluster: nodes, topics, who leads what. It never goes back in time: an answer from a node
 * that has not heard of the latest election does not overwrite a later leader epoch of the same topic.
 */
import { VarveError } from '../errors.js';
import type { MetadataReplyHeader } from '../rpc/protocol.js';
import type { BrokerAddress } from './resolved-options.js';

export interface PartitionMetadata {
  /** 0: unknown at present. */
  readonly leader: number;
  readonly epoch: number;
  readonly replicas: readonly number[];
}

export interface TopicMetadata {
  readonly name: string;
  readonly topicId: string;
  readonly flush: string;
  readonly partitions: readonly PartitionMetadata[];
}

export interface ClusterMetadata {
  readonly clusterId: string;
  readonly nodes: readonly { readonly id: number; readonly host: string; readonly port: number }[];
  readonly topics: readonly TopicMetadata[];
}

/** @throws VarveError PROTOCOL_ERROR */
export function parseMetadata(header: readonly unknown[]): ClusterMetadata {
  const [clusterId, nodes, topics] = header as MetadataReplyHeader;
  try {
    check(typeof clusterId === 'string');
    return {
      clusterId,
      nodes: nodes.map(([id, host, port]) => {
        check(isCount(id) && id > 0 && typeof host === 'string' && isCount(port));
        return { id, host, port };
      }),
      topics: topics.map(([name, topicId, flush, partitions]) => {
        check(typeof name === 'string' && typeof topicId === 'string' && typeof flush === 'string');
        return {
          name,
          topicId,
          flush,
          partitions: partitions.map(([leader, epoch, replicas]) => {
            check(isCount(leader) && Number.isSafeInteger(epoch) && replicas.every(isCount));
            return { leader, epoch, replicas };
          }),
        };
      }),
    };
  } catch (cause) {
    throw new VarveError('PROTOCOL_ERROR', 'a metadata reply does not have the shape of one', { cause });
  }
}

export class MetadataCache {
  readonly #nodes = new Map<number, BrokerAddress>();
  readonly #topics = new Map<string, TopicMetadata>();

  get nodes(): ReadonlyMap<number, BrokerAddress> {
    return this.#nodes;
  }

  topic(name: string): TopicMetadata | undefined {
    return this.#topics.get(name);
  }

  /** 0 when unknown. */
  leaderOf(topic: string, partition: number): number {
    return this.#topics.get(topic)?.partitions[partition]?.leader ?? 0;
  }

  /** The node may no longer lead what it led: who does has to be asked. */
  forgetLeader(node: number): void {
    for (const [name, topic] of this.#topics) {
      if (!topic.partitions.some(({ leader }) => leader === node)) continue;
      const partitions = topic.partitions.map((partition) =>
        partition.leader === node ? { ...partition, leader: 0 } : partition,
      );
      this.#topics.set(name, { ...topic, partitions });
    }
  }

  /** Takes an answer; of the topics `asked` for, those that are not in it are forgotten. */
  update({ nodes, topics }: ClusterMetadata, asked: Iterable<string>): void {
    for (const { id, host, port } of nodes) this.#nodes.set(id, { host, port });
    const found = new Map(topics.map((topic) => [topic.name, topic]));
    for (const name of asked) if (!found.has(name)) this.#topics.delete(name);
    for (const topic of topics) this.#topics.set(topic.name, newerOf(this.#topics.get(topic.name), topic));
  }
}

function newerOf(known: TopicMetadata | undefined, told: TopicMetadata): TopicMetadata {
  if (known === undefined || known.topicId !== told.topicId) return told;
  const partitions = told.partitions.map((partition, i) => {
    const before = known.partitions[i];
    return before !== undefined && before.epoch > partition.epoch ? before : partition;
  });
  return { ...told, partitions };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function check(condition: boolean): asserts condition {
  if (!condition) throw new TypeError('unexpected value');
}
