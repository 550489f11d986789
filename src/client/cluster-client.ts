/**
 * What Producer, Consumer and Admin share: one link per node, the metadata, and the loop that finds a leader and asks
 * it until an answer comes or the deadline passes. Each of them owns one; they do not share connections, so a long poll
 * never stands in front of a produce request.
 *
 * Metadata is asked of one node at a time, of the next one as soon as that fails or is slow. Refreshes are
 * single-flight: whoever needs fresh metadata while an answer is on its way waits for that one.
 */
import { randomBytes } from 'node:crypto';
import { VarveError } from '../errors.js';
import type { Reply } from '../rpc/connection.js';
import type { Handshake } from '../rpc/handshake.js';
import { FrameType } from '../rpc/protocol.js';
import { backoffMs } from './backoff.js';
import { type ClusterMetadata, MetadataCache, parseMetadata, type TopicMetadata } from './metadata-cache.js';
import { NodeLink, type NodeLinkOptions } from './node-link.js';
import type { BrokerAddress, ResolvedClientOptions } from './resolved-options.js';

/** After this long without an answer the next node is asked as well. */
const HEDGE_MS = 500;
const METADATA_TIMEOUT_MS = 5000;
const DIAL_TIMEOUT_MS = 5000;

/**
 * Errors that another try, elsewhere or later, may not meet. Everything else is final. OUTCOME_UNKNOWN is among them
 * because what this class sends itself may be repeated; produce requests don't pass through here.
 */
const TRIED_AGAIN: ReadonlySet<string> = new Set([
  // Said by a node that is closing; that this client is closed is checked apart.
  'CLOSED',
  'NOT_LEADER',
  'CONNECTION_LOST',
  'OUTCOME_UNKNOWN',
  'OVERLOADED',
  'TIMEOUT',
]);

/** Stands for "the topics in use" among the refreshes that are running; no topic has this name. */
const TOPICS_IN_USE = '';

export class ClusterClient {
  readonly #options: ResolvedClientOptions;
  readonly #handshake: Handshake;
  readonly #metadata = new MetadataCache();
  /** Topics this client uses and has been told of. */
  readonly #topics = new Set<string>();
  readonly #links = new Map<number, NodeLink>();
  readonly #bootstrapLinks: readonly NodeLink[];
  readonly #closing = new AbortController();
  /** Refreshes that are running, by topic or for TOPICS_IN_USE. */
  readonly #refreshes = new Map<string, Promise<void>>();
  #firstAsked = 0;

  constructor(options: ResolvedClientOptions) {
    this.#options = options;
    this.#handshake = {
      kind: 'client',
      channel: 'client',
      clusterId: options.clusterId,
      nodeId: 0,
      directoryId: '',
      incarnation: randomBytes(16).toString('hex'),
    };
    this.#bootstrapLinks = options.brokers.map((address) => this.#newLink(address));
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Node that leads the partition by what is known; 0: unknown. */
  leaderOf(topic: string, partition: number): number {
    return this.#metadata.leaderOf(topic, partition);
  }

  /**
   * The topic's metadata, asked for if need be.
   * @throws VarveError UNKNOWN_TOPIC, TIMEOUT (requestTimeoutMs; the cause says what went wrong), CLOSED
   */
  async topic(name: string): Promise<TopicMetadata> {
    const known = this.#metadata.topic(name);
    if (known !== undefined) return known;
    await this.#untilDeadline(`metadata of topic "${name}"`, this.#options.requestTimeoutMs, () => this.refresh(name));
    return this.#requireTopic(name);
  }

  /**
   * Asks for the metadata of the topics in use; a topic that is not known yet is asked for alone, since an unknown one
   * spoils the answer for all.
   */
  refresh(topic: string): Promise<void> {
    return this.#refresh(this.#topics.has(topic) ? TOPICS_IN_USE : topic);
  }

  /** Metadata of the whole cluster, as the first node that answers knows it. */
  fetchMetadata(): Promise<ClusterMetadata> {
    return this.#askAnyNode(null);
  }

  /** The link to a node whose address is known. @throws VarveError CONNECTION_LOST */
  link(node: number): NodeLink {
    const address = this.#metadata.nodes.get(node);
    if (address === undefined) {
      throw new VarveError('CONNECTION_LOST', `no address of node ${node} is known`);
    }
    let link = this.#links.get(node);
    if (link === undefined || !link.isAt(address)) {
      link?.close();
      link = this.#newLink(address, node);
      this.#links.set(node, link);
    }
    return link;
  }

  /**
   * Makes another attempt at a partition worthwhile: waits, then asks for metadata. Resolves also when nobody answered;
   * the next attempt will find out.
   * @throws VarveError what no further attempt will change: UNKNOWN_TOPIC, UNKNOWN_PARTITION, WRONG_CLUSTER, CLOSED …
   */
  async recover(topic: string, partition: number, attempt: number): Promise<void> {
    await this.#pause(backoffMs(attempt));
    try {
      await this.refresh(topic);
    } catch (error) {
      if (!(error instanceof VarveError) || !TRIED_AGAIN.has(error.code)) throw error;
      return;
    }
    this.requirePartition(topic, partition);
  }

  /** @throws VarveError UNKNOWN_TOPIC, UNKNOWN_PARTITION: by metadata that was fetched before */
  requirePartition(topic: string, partition: number): void {
    const { partitions } = this.#requireTopic(topic);
    if (partition >= partitions.length) {
      throw new VarveError(
        'UNKNOWN_PARTITION',
        `topic "${topic}" has ${partitions.length} partitions (0 to ${partitions.length - 1}); there is no partition ${partition}`,
      );
    }
  }

  /**
   * Asks the leader of a partition, whoever that is by then, until it answers.
   * Only for requests that may be repeated: an attempt that was lost half-way is made again.
   * @param timeoutMs for everything; `answerMs` more of it are for the leader to take its time (long polls)
   * @throws VarveError TIMEOUT with the last failure as its cause, CLOSED, or what the leader said
   */
  requestLeader(
    topic: string,
    partition: number,
    type: number,
    header: readonly unknown[],
    timeoutMs = this.#options.requestTimeoutMs,
    answerMs = 0,
  ): Promise<Reply> {
    const deadlineMs = performance.now() + timeoutMs + answerMs;
    return this.#untilDeadline(`leader of ${topic}-${partition}`, timeoutMs + answerMs, async (attempt) => {
      if (this.leaderOf(topic, partition) === 0 || attempt > 0) await this.refresh(topic);
      this.requirePartition(topic, partition);
      const leader = this.leaderOf(topic, partition);
      if (leader === 0) throw new VarveError('NOT_LEADER', `${topic}-${partition} has no leader at present`);
      return this.link(leader).request(type, header, Math.max(1, deadlineMs - performance.now()));
    });
  }

  /** Asks one node by its id. @throws VarveError as `requestLeader` */
  requestNode(node: number, type: number, header: readonly unknown[]): Promise<Reply> {
    const { requestTimeoutMs } = this.#options;
    return this.#untilDeadline(`node ${node}`, requestTimeoutMs, async () => {
      if (!this.#metadata.nodes.has(node)) this.#metadata.update(await this.fetchMetadata(), []);
      if (!this.#metadata.nodes.has(node)) {
        const known = [...this.#metadata.nodes.keys()].join(', ');
        throw new VarveError('INVALID_ARGUMENT', `the cluster has no node ${node}; its nodes are ${known}`);
      }
      return this.link(node).request(type, header, requestTimeoutMs);
    });
  }

  close(): void {
    this.#closing.abort();
    for (const link of this.#links.values()) link.close();
    for (const link of this.#bootstrapLinks) link.close();
  }

  #requireTopic(name: string): TopicMetadata {
    const topic = this.#metadata.topic(name);
    if (topic === undefined) {
      throw new VarveError(
        'UNKNOWN_TOPIC',
        `the cluster has no topic "${name}". Topics are named in the nodes' configuration`,
      );
    }
    return topic;
  }

  #newLink(address: BrokerAddress, nodeId?: number): NodeLink {
    return new NodeLink({
      ...address,
      handshake: this.#handshake,
      dialTimeoutMs: Math.min(DIAL_TIMEOUT_MS, this.#options.requestTimeoutMs),
      ...(nodeId === undefined ? {} : this.#watch(nodeId)),
    });
  }

  /**
   * What a link to a node tells; without answers (acks 0) a lost connection is the only sign of a leader that lost its
   * role.
   */
  #watch(nodeId: number): Pick<NodeLinkOptions, 'nodeId' | 'onStalled' | 'onLost'> {
    return {
      nodeId,
      onStalled: () => void this.#checkStalled(nodeId),
      onLost: () => this.#metadata.forgetLeader(nodeId),
    };
  }

  #refresh(what: string): Promise<void> {
    const running = this.#refreshes.get(what);
    if (running !== undefined) return running;
    const topics = what === TOPICS_IN_USE ? [...this.#topics] : [what];
    const refreshed = this.#askAnyNode(topics).then((metadata) => {
      this.#metadata.update(metadata, topics);
      for (const { name } of metadata.topics) this.#topics.add(name);
    });
    this.#refreshes.set(what, refreshed);
    const done = (): void => {
      this.#refreshes.delete(what);
    };
    refreshed.then(done, done);
    return refreshed;
  }

  /**
   * A node keeps requests waiting and says nothing. If the others have elected another leader meanwhile, it is cut off
   * or stopped: its requests end now, and what comes after them goes to the new leader.
   */
  async #checkStalled(node: number): Promise<void> {
    const led = this.#ledBy(node);
    try {
      await this.#refresh(TOPICS_IN_USE);
    } catch {
      // Nobody else knows better, or nobody can be asked: keep waiting.
      return;
    }
    const lost = led.filter(([topic, partition]) => ![0, node].includes(this.leaderOf(topic, partition)));
    if (lost.length === 0) return;
    const [topic, partition] = lost[0]!;
    const reason = `node ${node} does not answer, and ${topic}-${partition} has another leader`;
    this.#links.get(node)?.reset(new VarveError('CONNECTION_LOST', reason));
  }

  #ledBy(node: number): [topic: string, partition: number][] {
    const led: [string, number][] = [];
    for (const name of this.#topics) {
      this.#metadata.topic(name)?.partitions.forEach(({ leader }, partition) => {
        if (leader === node) led.push([name, partition]);
      });
    }
    return led;
  }

  /** One node after the other, the next one also when the present one is slow; the first answer counts. */
  #askAnyNode(topics: readonly string[] | null): Promise<ClusterMetadata> {
    const links = this.#linksToAsk();
    return new Promise((resolve, reject) => {
      let next = 0;
      let running = 0;
      let timer: NodeJS.Timeout | undefined;
      const askNext = (): void => {
        clearTimeout(timer);
        const link = links[next++];
        if (link === undefined) return;
        running++;
        timer = setTimeout(askNext, HEDGE_MS);
        link.request(FrameType.Metadata, [topics], METADATA_TIMEOUT_MS).then(
          ({ header }) => {
            clearTimeout(timer);
            settle(() => resolve(parseMetadata(header)));
          },
          (error: VarveError) => {
            running--;
            if (!TRIED_AGAIN.has(error.code)) {
              clearTimeout(timer);
              reject(error);
            } else if (next < links.length) {
              askNext();
            } else if (running === 0) {
              clearTimeout(timer);
              const asked = links.map(({ address }) => address).join(', ');
              reject(
                new VarveError('CONNECTION_LOST', `no node answered (asked ${asked}): ${error.message}`, {
                  cause: error,
                }),
              );
            }
          },
        );
      };
      const settle = (action: () => void): void => {
        try {
          action();
        } catch (error) {
          reject(error);
        }
      };
      askNext();
    });
  }

  /** Every node known and every bootstrap address that is none of them, beginning somewhere else each time. */
  #linksToAsk(): NodeLink[] {
    const nodes = [...this.#metadata.nodes.keys()].map((node) => this.link(node));
    const rest = this.#bootstrapLinks.filter(({ address }) => !nodes.some((link) => link.address === address));
    const first = this.#firstAsked++ % Math.max(1, nodes.length);
    return [...nodes.slice(first), ...nodes.slice(0, first), ...rest];
  }

  /** Repeats `attempt` with back-off until it succeeds, fails for good, or the time is over. */
  async #untilDeadline<T>(what: string, timeoutMs: number, attempt: (number: number) => Promise<T>): Promise<T> {
    const deadlineMs = performance.now() + timeoutMs;
    for (let number = 0; ; number++) {
      this.#requireOpen();
      try {
        return await attempt(number);
      } catch (error) {
        this.#requireOpen();
        if (!(error instanceof VarveError) || !TRIED_AGAIN.has(error.code)) throw error;
        const waitMs = backoffMs(number);
        if (performance.now() + waitMs >= deadlineMs) {
          throw new VarveError(
            'TIMEOUT',
            `${what}: no answer within ${timeoutMs} ms; the last attempt said: ${error.message}`,
            {
              cause: error,
            },
          );
        }
        await this.#pause(waitMs);
      }
    }
  }

  #requireOpen(): void {
    if (this.closed) throw new VarveError('CLOSED', 'the client is closed');
  }

  #pause(waitMs: number): Promise<void> {
    const { signal } = this.#closing;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(new VarveError('CLOSED', 'the client is closed'));
      };
      const timer = setTimeout(() => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      }, waitMs);
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
