/**
 * The two connections to one peer, and what waits to be sent over them.
 *
 * Messages of all groups are collected during a pass and leave at its end: one Raft frame for the control connection
 * (votes, heartbeats, acknowledgements), and frames of at most DATA_FRAME_BYTES (unless one batch is larger) for the
 * data connection. A message for a connection that is down or full is dropped: Raft takes the network to lose messages.
 * So is one that is addressed to another directory than the one at the other end.
 *
 * The node with the higher id dials, with back-off and jitter; the other one accepts. The control connection always
 * carries something (an empty frame if need be), so silence means that the peer or the path to it is gone: both
 * connections are closed and dialled anew. A peer that comes back with another incarnation replaces the old connections.
 */
import { type Environment, sleep } from '../environment.js';
import { VarveError } from '../errors.js';
import type { Message, Sender } from '../raft/types.js';
import type { Connection, ConnectionOptions } from '../rpc/connection.js';
import { dial } from '../rpc/dial.js';
import type { Frame } from '../rpc/frame.js';
import type { Handshake, Identity } from '../rpc/handshake.js';
import { DATA_FRAME_BYTES, type FoundingHeader, FrameType, type RaftHeader } from '../rpc/protocol.js';
import type { Transport } from '../rpc/transport.js';
import type { PeerOptions } from './node-options.js';
import { packMessage } from './raft-codec.js';

export type PeerChannel = 'control' | 'data';

export interface PeerLinkOptions {
  readonly peer: PeerOptions;
  readonly self: Identity;
  readonly connection: ConnectionOptions;
  readonly environment: Environment;
  readonly transport: Transport;
  /** Silence on the control connection after which the peer counts as gone. */
  readonly silenceMs: number;
  readonly onFrame: (link: PeerLink, frame: Frame) => void;
  readonly onUp: (link: PeerLink, channel: PeerChannel) => void;
  readonly onDown: (link: PeerLink, channel: PeerChannel, error: VarveError) => void;
  /** The peer is another process than the one known before (or the first that is known). */
  readonly onNewIncarnation: (link: PeerLink) => void;
}

const BACKOFF_MIN_MS = 50;
const BACKOFF_MAX_MS = 1000;
/** Keeps the header of one frame far below its limit. */
const MAX_FRAME_MESSAGES = 4096;

export class PeerLink {
  readonly id: number;
  readonly #options: PeerLinkOptions;
  readonly #connections: { control: Connection | undefined; data: Connection | undefined } = {
    control: undefined,
    data: undefined,
  };
  readonly #aborter = new AbortController();
  #peer: Sender | undefined;
  #closed = false;
  #control: RaftHeader = [];
  #data: RaftHeader = [];
  #dataBodies: Buffer[] = [];
  #dataBytes = 0;
  #quiet = true;
  #lastError: VarveError | undefined;

  constructor(options: PeerLinkOptions) {
    this.id = options.peer.id;
    this.#options = options;
  }

  /** Begins to dial, if this is the side that dials. */
  start(): void {
    if (this.#options.self.nodeId < this.id) return;
    void this.#dial('control');
    void this.#dial('data');
  }

  isUp(channel: PeerChannel): boolean {
    return this.#connections[channel] !== undefined;
  }

  /** The process at the other end, as its last handshake said; undefined before the first one. */
  get peer(): Sender | undefined {
    return this.#peer;
  }

  get address(): string {
    return `${this.#options.peer.host}:${this.#options.peer.port}`;
  }

  /** Why the last attempt to connect failed; undefined once connected. */
  get lastError(): VarveError | undefined {
    return this.#lastError;
  }

  /** Bytes that wait for the kernel. */
  get outgoingBytes(): number {
    return (this.#connections.control?.outgoingBytes ?? 0) + (this.#connections.data?.outgoingBytes ?? 0);
  }

  /** Queues a message for the end of the pass; `bodies` are the batches of an append. */
  send(topicId: string, partition: number, message: Message, bodies: readonly Buffer[], bytes: number): void {
    if (message.to.directory !== this.#peer?.directory) return;
    if ('recovery' in message && message.recovery?.incarnation !== this.#peer.incarnation) return;
    // In order with appends.
    if (message.type !== 'append' && message.type !== 'reset') {
      if (this.#connections.control === undefined) return;
      this.#control.push([topicId, partition, packMessage(message), 0]);
      if (this.#control.length >= MAX_FRAME_MESSAGES) this.#flushControl();
      return;
    }
    if (this.#connections.data === undefined) return;
    if (this.#data.length >= MAX_FRAME_MESSAGES || (bytes > 0 && this.#dataBytes + bytes > DATA_FRAME_BYTES)) {
      this.#flushData();
    }
    this.#data.push([topicId, partition, packMessage(message), bytes]);
    for (const body of bodies) this.#dataBodies.push(body);
    this.#dataBytes += bytes;
  }

  /** Hands what was collected to the connections. */
  flush(): void {
    if (this.#control.length > 0) this.#flushControl();
    if (this.#data.length > 0) this.#flushData();
  }

  /** Once per heartbeat interval: says something on the control connection if nothing else did. */
  keepAlive(): void {
    if (this.#quiet) this.#connections.control?.send(FrameType.Raft, []);
    this.#quiet = true;
  }

  /** Takes over a connection whose handshake is through, dialled by either side. */
  attach(channel: PeerChannel, connection: Connection, peer: Identity): void {
    if (this.#closed) {
      connection.destroy();
      return;
    }
    if (peer.incarnation !== this.#peer?.incarnation) {
      this.#peer = { id: this.id, directory: peer.directoryId, incarnation: peer.incarnation };
      this.#drop(new VarveError('CONNECTION_LOST', `node ${this.id} was started anew`));
      this.#options.onNewIncarnation(this);
    }
    const replaced = this.#connections[channel];
    this.#connections[channel] = connection;
    replaced?.destroy(new VarveError('CONNECTION_LOST', `node ${this.id} connected again`));
    this.#lastError = undefined;
    connection.onFrame = (frame) => this.#options.onFrame(this, frame);
    connection.onClose = (error) => this.#onClose(channel, connection, error);
    if (channel === 'control') connection.setIdleTimeout(this.#options.silenceMs);
    this.#options.onUp(this, channel);
  }

  /** Tells the peer who founded the cluster, as far as it is known here. */
  sendFounding(members: FoundingHeader): void {
    this.#connections.control?.send(FrameType.Founding, members);
  }

  close(): void {
    this.#closed = true;
    this.#aborter.abort();
    this.#drop(new VarveError('CLOSED', 'this node is closing'));
  }

  #drop(reason: VarveError): void {
    this.#connections.control?.destroy(reason);
    this.#connections.data?.destroy(reason);
  }

  #flushControl(): void {
    const entries = this.#control;
    this.#control = [];
    this.#quiet = false;
    this.#connections.control?.send(FrameType.Raft, entries);
  }

  #flushData(): void {
    const entries = this.#data;
    const bodies = this.#dataBodies;
    this.#data = [];
    this.#dataBodies = [];
    this.#dataBytes = 0;
    const connection = this.#connections.data;
    if (connection === undefined || entries.length === 0) return;
    // A frame that is refused for what lies in the way is lost, which Raft is made for. To connect anew instead would lose
    // the rest, too: a follower that lacks more of all its partitions than a connection takes would never get anything.
    connection.send(FrameType.Raft, entries, bodies);
  }

  #onClose(channel: PeerChannel, connection: Connection, error: VarveError): void {
    if (this.#connections[channel] !== connection) return;
    this.#connections[channel] = undefined;
    if (this.#closed) return;
    this.#options.onDown(this, channel, error);
    // Without heartbeats nothing is known of the peer; a data connection may be half open for minutes.
    if (channel === 'control') this.#connections.data?.destroy(error);
    if (this.#options.self.nodeId > this.id) {
      // A connection that ends as soon as it begins must not become a busy loop.
      void this.#sleep(BACKOFF_MIN_MS).then(() => this.#dial(channel));
    }
  }

  async #dial(channel: PeerChannel): Promise<void> {
    const { peer, self, connection, transport, environment } = this.#options;
    const handshake: Handshake = { ...self, kind: 'node', channel };
    let backoffMs = BACKOFF_MIN_MS;
    while (!this.#closed) {
      try {
        await dial({
          host: peer.host,
          port: peer.port,
          handshake,
          expectNodeId: peer.id,
          connection,
          transport,
          signal: this.#aborter.signal,
          onOpen: (dialled) => this.attach(channel, dialled.connection, dialled.peer),
        });
        return;
      } catch (error) {
        if (this.#closed) return;
        this.#lastError = error as VarveError;
      }
      // Full jitter: peers that lost the same node must not all come back in the same moment.
      await this.#sleep(backoffMs * (0.5 + environment.random() / 2));
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
    }
  }

  /** Until `close` at the latest. */
  #sleep(ms: number): Promise<void> {
    return sleep(this.#options.environment, ms, this.#aborter.signal).catch(() => {});
  }
}
