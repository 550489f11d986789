/**
 * One node of a cluster: a store, one replica per partition, the connections to its peers and its clients.
 *
 * One pass per event-loop turn. What arrives in a turn is stepped or appended at once; at the end of the turn (in the
 * check phase, after the sockets were drained) every replica that something happened to gets one `pass`, then each peer
 * gets its frames, then each connection writes once. So the cost of a message shrinks as the load grows.
 *
 * Time. An expired timer first lets one poll phase drain the sockets, and only then ticks: heartbeats that already wait
 * in a socket count before an election does. A late tick counts once.
 *
 * Failure. A failed disk: the node leaves Raft (a node that can't store a term must not take part) and goes on serving
 * reads of what is committed. A broken invariant: `onFatal` of the options, after everything was cut off.
 */
import type { Timer } from '../environment.js';
import { VarveError } from '../errors.js';
import type { Store } from '../log/store.js';
import type { Message, NodeId, Sender } from '../raft/types.js';
import type { Connection, ConnectionOptions } from '../rpc/connection.js';
import { type Frame, unpackHeader } from '../rpc/frame.js';
import { FrameMemory } from '../rpc/frame-memory.js';
import type { Handshake, Identity } from '../rpc/handshake.js';
import { Listener } from '../rpc/listener.js';
import { FrameType, type MetadataReplyHeader } from '../rpc/protocol.js';
import { WriteScheduler } from '../rpc/write-scheduler.js';
import { ClientSession, type SessionHost } from './client-session.js';
import { decodeFounding, FOUNDING_FILE, Founding, packMembers, unpackMembers } from './founding.js';
import { type NodeGround, systemGround } from './node-ground.js';
import { type NodeEvent, type NodeOptions, type ResolvedNodeOptions, resolveNodeOptions } from './node-options.js';
import { PeerLink } from './peer-link.js';
import { raftEntries, unpackMessage } from './raft-codec.js';
import { Replica } from './replica.js';
import type { ReplicaHost } from './replica-host.js';
import type { NodeStatus } from './status.js';
import { checkStoredPartitions } from './stored-partitions.js';
import { staticTopicId } from './topic-id.js';
import { VERSION } from './version.js';

/** Ticks are half a heartbeat apart. */
const TICKS_PER_HEARTBEAT = 2;
const CLIENT_IDLE_MS = 10 * 60_000;

/** What an emptied directory is told. */
const STRANGER = {
  message:
    'this directory is not the one that this node had when the cluster was founded: it takes no part in elections and counts for nothing until a leader adds it as a learner',
};

export class Node {
  readonly options: ResolvedNodeOptions;
  /** Resolves when the node has stopped, with the error if it stopped by itself. */
  readonly stopped: Promise<Error | undefined>;

  readonly #store: Store;
  readonly #tickMs: number;
  readonly #ground: NodeGround;
  readonly #scheduler: WriteScheduler;
  readonly #connectionOptions: ConnectionOptions;
  readonly #links = new Map<NodeId, PeerLink>();
  readonly #topics = new Map<string, Replica[]>();
  readonly #byTopicId = new Map<string, Replica[]>();
  readonly #replicas: Replica[] = [];
  readonly #load: ReturnType<NodeGround['createLoad']>;
  readonly #startedAt: number;
  #listener: Listener | undefined;
  #founding!: Founding;
  #dirty: Replica[] = [];
  #passScheduled = false;
  /** A pass or tick is under way: it sends what it makes. */
  #inTurn = false;
  #timer: Timer | undefined;
  #ticks = 0;
  #diskFailure: VarveError | undefined;
  #closing: Promise<void> | undefined;
  #settleStopped: (error: Error | undefined) => void = () => {};

  private constructor(options: ResolvedNodeOptions, store: Store, ground: NodeGround) {
    const { environment } = ground;
    this.options = options;
    this.#store = store;
    this.#ground = ground;
    this.#scheduler = new WriteScheduler(() => this.#schedulePass());
    // Frames are handled before `onFrame` returns: the log copies what it stores.
    this.#connectionOptions = { scheduler: this.#scheduler, frameMemory: new FrameMemory(), environment };
    this.#load = ground.createLoad();
    this.#startedAt = environment.monotonic();
    this.#tickMs = Math.max(1, Math.round(options.heartbeatMs / TICKS_PER_HEARTBEAT));
    this.stopped = new Promise((resolve) => {
      this.#settleStopped = resolve;
    });
    store.onFailure = (error) => {
      if (error instanceof VarveError && error.code === 'DISK_FAILED') this.#onDiskFailed(error);
      else this.#onFatal(error);
    };
  }

  /**
   * Opens the data directory, then the partitions, then the port; returns when clients can connect. Leaders are elected
   * afterwards, in one to two election timeouts once a majority of the nodes is up; the very first time, once all are.
   * @throws VarveError INVALID_CONFIG, INVALID_TOPIC, DIRECTORY_*, CORRUPT_*, DISK_*
   */
  static async start(options: NodeOptions, ground: NodeGround = systemGround): Promise<Node> {
    const resolved = resolveNodeOptions(options);
    const { clusterId, nodeId, formatIfMissing } = resolved;
    await checkStoredPartitions(resolved, ground.storage);
    const store = await ground.storage.openStore(resolved.dataDirectory, {
      ...resolved.store,
      create: formatIfMissing,
      clusterId,
      nodeId,
    });
    const node = new Node(resolved, store, ground);
    try {
      await node.#openReplicas();
      await node.#listen();
    } catch (error) {
      // What is wrong is said by the first error.
      await node.close().catch(() => {});
      throw error;
    }
    for (const link of node.#links.values()) link.start();
    node.#founding.start();
    node.#load.start();
    node.#armTimer();
    return node;
  }

  /** New with every start of the process. */
  get incarnation(): string {
    return this.#store.incarnationId;
  }

  /** The port in use, which matters when port 0 was asked for. */
  get port(): number {
    return this.#listener?.port ?? 0;
  }

  /**
   * Stops serving and leaves the data directory marked clean (unless the node had stopped by itself). Idempotent.
   * @throws VarveError DISK_FAILED when the store could not make everything durable; the node has stopped all the same
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  status(): NodeStatus {
    const { journal, ...store } = this.#store.stats();
    return {
      nodeId: this.options.nodeId,
      clusterId: this.options.clusterId,
      directoryId: this.#store.directoryId,
      incarnation: this.incarnation,
      version: VERSION,
      ...this.#load.take(),
      uptimeMs: this.#ground.environment.monotonic() - this.#startedAt,
      diskFailure: this.#diskFailure?.message ?? '',
      journal,
      store,
      connections: this.#listener?.connections.size ?? 0,
      peers: Array.from(this.#links.values(), (link) => ({
        nodeId: link.id,
        address: link.address,
        control: link.isUp('control'),
        data: link.isUp('data'),
        outgoingBytes: link.outgoingBytes,
        lastError: link.lastError?.message ?? '',
      })),
      partitions: this.#replicas.map((replica) => replica.status()),
    };
  }

  /** The replica of a partition. @throws VarveError UNKNOWN_TOPIC, UNKNOWN_PARTITION */
  replica(topic: string, partition: number): Replica {
    const replicas = this.#topics.get(topic);
    if (replicas === undefined) {
      throw new VarveError(
        'UNKNOWN_TOPIC',
        `there is no topic "${topic}"; topics are named when the nodes are started`,
      );
    }
    const replica = replicas[partition];
    if (replica === undefined) {
      throw new VarveError('UNKNOWN_PARTITION', `topic "${topic}" has partitions 0 to ${replicas.length - 1}`);
    }
    return replica;
  }

  // ---- start and stop ----

  async #openReplicas(): Promise<void> {
    const { clusterId, topics, peers, nodeId } = this.options;
    for (const peer of peers) {
      if (peer.id !== nodeId) this.#links.set(peer.id, this.#createLink(peer.id));
    }
    this.#founding = await this.#openFounding();
    const host = this.#replicaHost();
    for (const topic of topics) {
      const topicId = staticTopicId(clusterId, topic.name);
      const replicas: Replica[] = [];
      this.#topics.set(topic.name, replicas);
      this.#byTopicId.set(topicId, replicas);
      for (let partition = 0; partition < topic.partitions; partition++) {
        const log = await this.#store.openLog(topic.name, partition, { ...topic.log, topicId, replicated: true });
        const replica = new Replica(log, host);
        replicas.push(replica);
        this.#replicas.push(replica);
        const { clean, mayHaveForgotten, truncatedBytes, damaged } = log.recovery;
        if (!clean) {
          const details = { partition: replica.name, truncatedBytes, mayHaveForgotten, damaged: damaged.length };
          this.#event(mayHaveForgotten || damaged.length > 0 ? 'warn' : 'info', 'recovered', details);
        }
      }
    }
  }

  async #listen(): Promise<void> {
    const { host, port } = this.options.listen;
    this.#listener = await Listener.open({
      host,
      port,
      identity: this.#identity(),
      connection: this.#connectionOptions,
      transport: this.#ground.transport,
      maxConnections: this.options.maxConnections,
      admit: (handshake) => this.#admit(handshake),
      onConnection: (connection, handshake) => this.#onConnection(connection, handshake),
    });
  }

  async #close(): Promise<void> {
    await this.#cutOff(new VarveError('CLOSED', 'this node is closing'));
    // Deletions go through the journal, which may be waiting for space.
    this.#store.stopWaiting();
    await Promise.all(this.#replicas.map((replica) => replica.idle()));
    try {
      await this.#store.close();
    } catch (error) {
      this.#settleStopped(error as Error);
      throw error;
    }
    this.#settleStopped(undefined);
  }

  /** Ends time, replication and connections. What the end answered still goes out. */
  async #cutOff(reason: VarveError): Promise<void> {
    this.#ground.environment.cancel(this.#timer);
    this.#load.stop();
    for (const replica of this.#replicas) replica.stop(reason);
    for (const link of this.#links.values()) link.close();
    await this.#listener?.close();
  }

  /**
   * Nothing that this process believes can be trusted any more: it must neither answer nor vote, and it must not mark its
   * data directory as clean. The store is left as a crash would leave it, and stays locked until the process ends.
   */
  #onFatal(error: unknown): void {
    if (this.#closing !== undefined) return;
    const fatal = error instanceof Error ? error : new Error(String(error));
    this.#event('error', 'fatal', { message: fatal.message, stack: fatal.stack });
    this.#closing = this.#cutOff(new VarveError('INVARIANT_BROKEN', fatal.message, { cause: fatal })).finally(() =>
      this.#settleStopped(fatal),
    );
  }

  #onDiskFailed(error: VarveError): void {
    if (this.#diskFailure !== undefined) return;
    this.#diskFailure = error;
    this.#event('error', 'disk-failed', { message: error.message });
    for (const replica of this.#replicas) replica.stop(error);
    for (const link of this.#links.values()) link.close();
  }

  #event(level: NodeEvent['level'], event: string, details: NodeEvent['details']): void {
    this.options.onEvent({ level, event, details });
  }

  // ---- time ----

  #armTimer(): void {
    const { after, nextTurn } = this.#ground.environment;
    this.#timer = after(this.#tickMs, () => nextTurn(() => this.#tick()));
  }

  #tick(): void {
    if (this.#closing !== undefined) return;
    this.#armTimer();
    this.#ticks++;
    const now = this.#ground.environment.monotonic();
    this.#inTurn = true;
    for (const replica of this.#replicas) replica.tick(now);
    if (this.#ticks % TICKS_PER_HEARTBEAT === 0) for (const link of this.#links.values()) link.keepAlive();
    this.#endTurn();
  }

  #schedule(replica: Replica): void {
    if (replica.scheduled) return;
    replica.scheduled = true;
    this.#dirty.push(replica);
    this.#schedulePass();
  }

  #schedulePass(): void {
    if (this.#passScheduled || this.#inTurn) return;
    this.#passScheduled = true;
    this.#ground.environment.nextTurn(() => this.#pass());
  }

  #pass(): void {
    this.#passScheduled = false;
    this.#inTurn = true;
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const replica of dirty) {
      replica.scheduled = false;
      replica.pass();
    }
    this.#endTurn();
  }

  /** Sends what this turn has made. Whatever that sets going is the next turn's. */
  #endTurn(): void {
    for (const link of this.#links.values()) link.flush();
    this.#scheduler.flush();
    this.#inTurn = false;
    if (this.#dirty.length > 0 || this.#scheduler.isPending) this.#schedulePass();
  }

  // ---- peers ----

  get #self(): Sender {
    return { id: this.options.nodeId, directory: this.#store.directoryId, incarnation: this.incarnation };
  }

  async #openFounding(): Promise<Founding> {
    const path = `${this.options.dataDirectory}/${FOUNDING_FILE}`;
    const bytes = await this.#store.sideFiles.read(FOUNDING_FILE);
    const founding = new Founding({
      self: this.#self,
      nodeIds: this.options.peers.map((peer) => peer.id),
      members: bytes && decodeFounding(bytes, path),
      save: (file) => this.#store.sideFiles.replace(FOUNDING_FILE, file),
      onFounded: (members) => {
        this.#event('info', 'founded', { members });
        if (founding.isStranger) this.#event('warn', 'stranger', STRANGER);
        for (const link of this.#links.values()) link.sendFounding(packMembers(members));
        for (const replica of this.#replicas) replica.founded();
      },
      onError: (error) => {
        // A failed disk: the store has said so.
        const isDisk = error instanceof VarveError && error.code === 'DISK_FAILED';
        if (this.#closing === undefined && !isDisk) this.#onFatal(error);
      },
    });
    return founding;
  }

  #identity(): Identity {
    const { clusterId, nodeId } = this.options;
    return { clusterId, nodeId, directoryId: this.#store.directoryId, incarnation: this.incarnation };
  }

  #createLink(id: NodeId): PeerLink {
    const { options } = this;
    return new PeerLink({
      peer: options.peers.find((peer) => peer.id === id)!,
      self: this.#identity(),
      connection: this.#connectionOptions,
      environment: this.#ground.environment,
      transport: this.#ground.transport,
      silenceMs: 2 * options.electionMs,
      onFrame: (link, frame) => this.#onPeerFrame(link, frame),
      onUp: (link, channel) => {
        this.#event('info', 'peer-up', { peer: link.id, channel });
        if (channel === 'data') for (const replica of this.#replicas) replica.peerReset(link.peer!);
        else link.sendFounding(packMembers(this.#founding.members ?? []));
      },
      onDown: (link, channel, error) => {
        this.#event('warn', 'peer-down', { peer: link.id, channel, code: error.code, message: error.message });
        if (channel === 'data') for (const replica of this.#replicas) replica.peerUnreachable(link.id);
        else this.#founding.peerLost(link.id);
      },
      onNewIncarnation: (link) => {
        this.#founding.peerLost(link.id);
        for (const replica of this.#replicas) replica.peerReset(link.peer!);
      },
    });
  }

  #admit(handshake: Handshake): void {
    if (handshake.kind === 'client') return;
    const { nodeId, peers } = this.options;
    if (handshake.nodeId === nodeId) {
      throw new VarveError('WRONG_NODE', `node ${nodeId} was dialled by a node with the same id. Check the node ids`);
    }
    if (!this.#links.has(handshake.nodeId)) {
      const known = peers.map((peer) => peer.id).join(', ');
      throw new VarveError('WRONG_NODE', `node ${handshake.nodeId} is not in this node's list of peers (${known})`);
    }
    if (this.#diskFailure !== undefined) throw this.#diskFailure;
  }

  #onConnection(connection: Connection, handshake: Handshake): void {
    if (handshake.kind === 'node') {
      this.#links.get(handshake.nodeId)!.attach(handshake.channel as 'control' | 'data', connection, handshake);
      return;
    }
    connection.setIdleTimeout(CLIENT_IDLE_MS);
    new ClientSession(connection, this.#sessionHost());
  }

  /** Messages of many groups. What is wrong with one of them is that group's matter, the rest goes on. */
  #onPeerFrame(link: PeerLink, frame: Frame): void {
    if (frame.type === FrameType.Founding) {
      this.#founding.peerSaid(link.peer!, unpackMembers(unpackHeader(frame.header)));
      return;
    }
    if (frame.type !== FrameType.Raft) {
      throw new VarveError('PROTOCOL_ERROR', `a peer sent a frame of type ${frame.type}`);
    }
    if (this.#closing !== undefined || this.#diskFailure !== undefined) return;
    for (const { topicId, partition, packed, body } of raftEntries(frame)) {
      const replica = this.#byTopicId.get(topicId)?.[partition];
      if (replica === undefined) this.#event('warn', 'unknown-group', { peer: link.id, topicId, partition });
      else this.#step(link, replica, packed, body);
    }
  }

  #step(link: PeerLink, replica: Replica, packed: unknown, body: Buffer): void {
    let message: Message;
    try {
      message = unpackMessage(packed, link.peer!, this.#self, body);
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
      this.#event('warn', 'bad-message', { peer: link.id, partition: replica.name, message: error.message });
      return;
    }
    replica.step(message);
  }

  #replicaHost(): ReplicaHost {
    const { options } = this;
    const node = this;
    return {
      self: this.#self,
      get founding() {
        return node.#founding.configuration;
      },
      heartbeatTicks: TICKS_PER_HEARTBEAT,
      electionTicks: Math.ceil(options.electionMs / this.#tickMs),
      uncleanRecovery: options.uncleanRecovery,
      maxInflightBytes: options.replicationMaxInflightBytes,
      maxInflightMessages: options.replicationMaxInflightMessages,
      random: this.#ground.environment.random,
      send: (replica, message, bodies, bytes) => {
        this.#links.get(message.to.id)?.send(replica.log.topicId, replica.log.partition, message, bodies, bytes);
        this.#schedulePass();
      },
      schedule: (replica) => this.#schedule(replica),
      onLeadership: (replica) => {
        const { name, role, term, leader } = replica;
        this.#event('info', 'leadership', { partition: name, role, term, leader });
      },
      onMembership: (replica) => {
        const { offset, configuration, committed } = replica.membership;
        this.#event('info', 'membership', { partition: replica.name, offset, committed, ...configuration });
      },
      onForgetful: (replica, forgetful) => {
        const event = forgetful ? 'forgetful' : 'whole-again';
        this.#event(forgetful ? 'warn' : 'info', event, { partition: replica.name, term: replica.term });
      },
      onDiskFailed: (error) => this.#onDiskFailed(error),
      onFatal: (error) => this.#onFatal(error),
      warn: (replica, event, error) =>
        this.#event('warn', event, { partition: replica.name, message: String((error as Error).message ?? error) }),
    };
  }

  // ---- clients ----

  #sessionHost(): SessionHost {
    const node = this;
    return {
      clientMaxInflightBytes: this.options.clientMaxInflightBytes,
      monotonic: this.#ground.environment.monotonic,
      replica: (topic, partition) => this.replica(topic, partition),
      metadata: (topics) => this.#metadata(topics),
      status: () => this.status(),
      onFatal: (error) => this.#onFatal(error),
      get diskFailed() {
        return node.#diskFailure !== undefined;
      },
    };
  }

  /** @throws VarveError UNKNOWN_TOPIC */
  #metadata(names: readonly string[] | null): MetadataReplyHeader {
    const { clusterId, peers, nodeId } = this.options;
    const topics = (names ?? [...this.#topics.keys()]).map((name): MetadataReplyHeader[2][number] => {
      const { log } = this.replica(name, 0);
      const partitions = this.#topics.get(name)!.map((replica): [number, number, number[]] => {
        const { voters, outgoing, learners } = replica.membership.configuration;
        const ids = [...voters, ...outgoing, ...learners].map(({ id }) => id);
        return [replica.leader, replica.term, [...new Set(ids)].sort((a, b) => a - b)];
      });
      return [name, log.topicId, log.options.flush, partitions];
    });
    const nodes = peers.map(({ id, host, port }): [number, string, number] => {
      return [id, host, id === nodeId ? this.port : port];
    });
    return [clusterId, nodes, topics];
  }
}
