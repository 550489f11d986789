/**
 * The cluster that is measured: three `varve node` processes on the loopback interface, one topic per flush mode, one
 * partition each. Everything lies in one folder, which the caller removes.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Admin } from '../src/client/admin.js';
import { Consumer } from '../src/client/consumer.js';
import type { NodeStatus, PartitionStatus } from '../src/cluster/status.js';
import type { FlushMode } from '../src/disk/disk.js';
import { VarveError } from '../src/errors.js';
import type { Cleanup } from './cleanup.js';
import { freePorts } from './free-ports.js';
import { NodeProcess } from './node-process.js';
import { compiled } from './package-root.js';

const NODES = [1, 2, 3] as const;
const CLUSTER_ID = 'varve-bench';
const FLUSH_MODES: readonly FlushMode[] = ['sync', 'async', 'none'];
const START_MS = 30_000;
const STOP_MS = 20_000;
const FETCH_BYTES = 2 * 1024 * 1024;
const POLL_MS = 10;

export function topicOf(flush: FlushMode): string {
  return `bench-${flush}`;
}

/** Counters of the partition's leader, taken in one answer. */
export interface LeaderCounters {
  readonly node: number;
  readonly term: number;
  readonly uptimeMs: number;
  readonly syncs: number;
  readonly logEnd: number;
}

export interface ClusterOptions {
  /** Where data and logs go. */
  readonly folder: string;
  /** The command line's program. Default: this package's. */
  readonly program?: string;
}

export class BenchCluster {
  readonly brokers: readonly string[];
  readonly folder: string;
  readonly #nodes: readonly NodeProcess[];
  readonly #admin: Admin;
  /** Rejects when a node ends by itself. */
  readonly #failure: Promise<never>;

  private constructor(folder: string, ports: readonly number[], program: string, cleanup: Cleanup) {
    this.folder = folder;
    this.brokers = ports.map((port) => `127.0.0.1:${port}`);
    const peers = NODES.map((id, i) => `${id}@${this.brokers[i]}`).join(',');
    const topics = FLUSH_MODES.flatMap((flush) => ['--topic', `${topicOf(flush)}:flush=${flush}`]);
    this.#nodes = NODES.map((id, i) => {
      const place = ['--data', this.dataFolder(id), '--id', `${id}`, '--cluster-id', CLUSTER_ID];
      const listen = ['--listen', this.brokers[i] as string, '--peers', peers];
      return new NodeProcess(
        { id, program, args: ['node', '--format-if-missing', ...place, ...listen, ...topics], folder },
        cleanup,
      );
    });
    let fail: (error: VarveError) => void = () => {};
    this.#failure = new Promise<never>((_, reject) => {
      fail = reject;
    });
    this.#failure.catch(() => {});
    for (const node of this.#nodes) node.onUnexpectedEnd = fail;
    this.#admin = new Admin({ brokers: this.brokers, clusterId: CLUSTER_ID });
  }

  /** Starts the nodes and waits until every partition has a leader. */
  static async start(options: ClusterOptions, cleanup: Cleanup): Promise<BenchCluster> {
    const program = options.program ?? compiled('src/cli/main.js');
    const cluster = new BenchCluster(options.folder, await freePorts(NODES.length), program, cleanup);
    for (const node of cluster.#nodes) node.start();
    await cluster.settled();
    return cluster;
  }

  dataFolder(node: number): string {
    return join(this.folder, `node-${node}`);
  }

  node(id: number): NodeProcess {
    const node = this.#nodes.find((candidate) => candidate.id === id);
    if (node === undefined) throw new RangeError(`no node ${id} in this cluster`);
    return node;
  }

  get nodeIds(): readonly number[] {
    return NODES;
  }

  /** Resolves once all nodes are up and every partition has a leader that has committed in its term. */
  async settled(): Promise<void> {
    const deadline = performance.now() + START_MS;
    for (const flush of FLUSH_MODES) await this.#orFail(this.#admin.waitForLeader(topicOf(flush), 0));
    for (const id of NODES) await this.#until(deadline, `node ${id} to answer`, () => this.status(id));
  }

  async status(node: number): Promise<NodeStatus> {
    return (await this.#admin.status(node)) as NodeStatus;
  }

  /** Status of a partition on one node. */
  async partition(node: number, topic: string): Promise<PartitionStatus> {
    const { partitions } = await this.status(node);
    const found = partitions.find((partition) => partition.topic === topic && partition.partition === 0);
    if (found === undefined) throw new VarveError('UNKNOWN_TOPIC', `node ${node} does not know ${topic}`);
    return found;
  }

  /** The node that leads the topic's partition, once it answers as its leader. */
  async leader(topic: string): Promise<number> {
    return this.#orFail(this.#admin.waitForLeader(topic, 0));
  }

  async counters(topic: string): Promise<LeaderCounters> {
    const node = await this.leader(topic);
    const status = await this.#orFail(this.status(node));
    const partition = status.partitions.find((candidate) => candidate.topic === topic);
    return {
      node,
      term: partition?.term ?? 0,
      uptimeMs: status.uptimeMs,
      syncs: status.journal.syncs,
      logEnd: partition?.logEnd ?? 0,
    };
  }

  /** End of the committed records. */
  async endOffset(topic: string): Promise<number> {
    return (await this.#orFail(this.#admin.listOffsets(topic, 0, 'latest'))).offset;
  }

  async deleteRecords(topic: string, before: number): Promise<void> {
    await this.#orFail(this.#admin.deleteRecords(topic, 0, before));
  }

  /** Gives whole batches of [start, end), in order, as the leader serves them; the last may go beyond `end`. */
  async readBatches(
    topic: string,
    start: number,
    end: number,
    take: (batches: readonly Buffer[]) => Promise<void>,
  ): Promise<void> {
    if (start >= end) return;
    const consumer = new Consumer({ brokers: this.brokers, topic, partition: 0, from: start, maxBytes: FETCH_BYTES });
    try {
      for (let next = start; next < end; ) {
        const { batches, nextOffset } = await this.#orFail(consumer.fetchBatches());
        await take(batches);
        next = nextOffset;
      }
    } finally {
      await consumer.close();
    }
  }

  /** Resolves when `node` holds, and knows to be committed, what the topic's leader has committed now. */
  async caughtUp(node: number, topic: string): Promise<void> {
    const end = await this.endOffset(topic);
    await this.#until(
      performance.now() + START_MS,
      `node ${node} to catch up to offset ${end} of ${topic}`,
      async () => {
        const { written, highWatermark } = await this.partition(node, topic);
        return Math.min(written, highWatermark) >= end ? true : undefined;
      },
    );
  }

  /** Resolves when every node holds the topic up to `end`: nobody is busy catching up any more. */
  async replicated(topic: string, end: number): Promise<void> {
    const deadline = performance.now() + START_MS;
    for (const node of NODES) {
      await this.#until(deadline, `node ${node} to hold ${topic} up to offset ${end}`, async () => {
        const { logEnd } = await this.partition(node, topic);
        return logEnd >= end ? true : undefined;
      });
    }
  }

  /** Shuts the nodes down cleanly. Returns those that had to be killed. */
  async stop(): Promise<number[]> {
    await this.#admin.close();
    const clean = await Promise.all(this.#nodes.map((node) => node.stop(STOP_MS)));
    return this.#nodes.filter((_, i) => !clean[i]).map((node) => node.id);
  }

  #orFail<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#failure]);
  }

  /** Asks until there is an answer. Errors are answers that may still change. */
  async #until<T>(deadline: number, what: string, ask: () => Promise<T | undefined>): Promise<T> {
    let cause: unknown;
    while (performance.now() < deadline) {
      try {
        const answer = await this.#orFail(ask());
        if (answer !== undefined) return answer;
      } catch (error) {
        if (this.#nodes.some((node) => !node.isRunning)) throw error;
        cause = error;
      }
      await delay(POLL_MS);
    }
    throw new VarveError('TIMEOUT', `waited in vain for ${what}`, { cause });
  }
}
