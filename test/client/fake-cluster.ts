/**
 * A cluster in this process that speaks the client protocol over real sockets and keeps its logs in arrays. It answers
 * like a cluster where all is well; a test takes over where it wants something else (`intercept`), moves leaders, and
 * kills nodes.
 */
import { VarveError } from '../../src/errors.js';
import {
  baseOffsetAt,
  batchSizeAt,
  lastOffsetAt,
  lastOffsetDeltaAt,
  stampBatch,
} from '../../src/record/record-batch.js';
import type { Connection } from '../../src/rpc/connection.js';
import { type Frame, unpackHeader } from '../../src/rpc/frame.js';
import { Listener } from '../../src/rpc/listener.js';
import type { FetchHeader, ListOffsetsHeader, MetadataReplyHeader, ProduceHeader } from '../../src/rpc/protocol.js';
import { FrameType } from '../../src/rpc/protocol.js';

export interface FakeRequest {
  readonly node: FakeNode;
  readonly connection: Connection;
  readonly type: number;
  readonly correlationId: number;
  readonly header: readonly unknown[];
  readonly body: Buffer;
  /** Does what the cluster does by itself. */
  proceed(): void;
}

export class FakePartition {
  leader = 1;
  epoch = 1;
  start = 0;
  readonly batches: Buffer[] = [];
  #waiting: (() => void)[] = [];

  get end(): number {
    const last = this.batches.at(-1);
    return last === undefined ? this.start : lastOffsetAt(last, 0) + 1;
  }

  /** Appends a run of whole batches; returns the base offset. */
  append(bytes: Buffer): number {
    const base = this.end;
    for (let at = 0; at < bytes.length; ) {
      const batch = Buffer.from(bytes.subarray(at, at + batchSizeAt(bytes, at)));
      stampBatch(batch, 0, this.end, this.epoch);
      this.batches.push(batch);
      at += batch.length;
    }
    this.changed();
    return base;
  }

  /** Removes batches from the end until the log ends at or below `to`. */
  truncate(to: number): void {
    while (this.end > to && this.batches.length > 0) this.batches.pop();
  }

  moveTo(leader: number): void {
    this.leader = leader;
    this.epoch++;
    this.changed();
  }

  changed(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  onChange(wake: () => void): void {
    this.#waiting.push(wake);
  }
}

export class FakeNode {
  readonly id: number;
  readonly listener: Listener;
  readonly connections: Connection[] = [];

  constructor(id: number, listener: Listener) {
    this.id = id;
    this.listener = listener;
  }

  get address(): string {
    return `127.0.0.1:${this.listener.port}`;
  }
}

export class FakeCluster {
  readonly clusterId = 'fake';
  readonly nodes: FakeNode[] = [];
  readonly topics = new Map<string, FakePartition[]>();
  /** Every request that came, in order, by type. */
  readonly seen: { readonly node: number; readonly type: number; readonly header: readonly unknown[] }[] = [];
  /** Returns true when the test has dealt with the request. */
  intercept: ((request: FakeRequest) => boolean) | undefined;

  static async open(nodes = 1, topics: { readonly [name: string]: number } = { t: 1 }): Promise<FakeCluster> {
    const cluster = new FakeCluster();
    for (const [name, partitions] of Object.entries(topics)) {
      cluster.topics.set(
        name,
        Array.from({ length: partitions }, () => new FakePartition()),
      );
    }
    for (let id = 1; id <= nodes; id++) await cluster.#openNode(id);
    return cluster;
  }

  get brokers(): string[] {
    return this.nodes.map(({ address }) => address);
  }

  partition(topic = 't', partition = 0): FakePartition {
    return this.topics.get(topic)![partition]!;
  }

  count(type: number): number {
    return this.seen.filter((request) => request.type === type).length;
  }

  node(id: number): FakeNode {
    return this.nodes[id - 1]!;
  }

  /** Nobody listens there any more, and every connection to it is cut. */
  async kill(id: number): Promise<void> {
    await this.node(id).listener.close();
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.nodes.map(({ listener }) => listener.close()));
  }

  async #openNode(id: number): Promise<void> {
    const listener = await Listener.open({
      host: '127.0.0.1',
      port: 0,
      identity: { clusterId: this.clusterId, nodeId: id, directoryId: '00', incarnation: '00' },
      onConnection: (connection) => {
        node.connections.push(connection);
        connection.onFrame = (frame) => this.#receive(node, connection, frame);
      },
    });
    const node = new FakeNode(id, listener);
    this.nodes.push(node);
  }

  #receive(node: FakeNode, connection: Connection, frame: Frame): void {
    const header = unpackHeader(frame.header);
    const { type, correlationId, body } = frame;
    this.seen.push({ node: node.id, type, header });
    const proceed = (): void => {
      try {
        this.#answer(node, connection, frame, header);
      } catch (error) {
        if (!(error instanceof VarveError)) throw error;
        connection.replyError(correlationId, error);
      }
    };
    if (!this.intercept?.({ node, connection, type, correlationId, header, body, proceed })) proceed();
  }

  #answer(node: FakeNode, connection: Connection, frame: Frame, header: unknown[]): void {
    const { correlationId, type, body } = frame;
    switch (type) {
      case FrameType.Metadata:
        connection.reply(FrameType.MetadataReply, correlationId, this.#metadata(header[0] as string[] | null));
        break;
      case FrameType.Produce:
        this.#produce(node, connection, correlationId, header as ProduceHeader, body);
        break;
      case FrameType.Fetch:
        this.#fetch(node, connection, correlationId, header as FetchHeader);
        break;
      case FrameType.ListOffsets: {
        const [topic, index, timestamp] = header as ListOffsetsHeader;
        const partition = this.#led(node, topic, index);
        const offset = timestamp === -2 ? partition.start : partition.end;
        connection.reply(FrameType.ListOffsetsReply, correlationId, [offset, -1]);
        break;
      }
      case FrameType.DeleteRecords: {
        const [topic, index, before] = header as [string, number, number];
        const partition = this.#led(node, topic, index);
        partition.start = before;
        connection.reply(FrameType.DeleteRecordsReply, correlationId, [before]);
        break;
      }
      case FrameType.Status:
        connection.reply(FrameType.StatusReply, correlationId, [{ nodeId: node.id }]);
        break;
      default:
        throw new VarveError('PROTOCOL_ERROR', `a client sent a frame of type ${type}`);
    }
  }

  #metadata(names: string[] | null): MetadataReplyHeader {
    const topics = (names ?? [...this.topics.keys()]).map((name): MetadataReplyHeader[2][number] => {
      const partitions = this.topics.get(name);
      if (partitions === undefined) throw new VarveError('UNKNOWN_TOPIC', `no topic "${name}"`);
      const ids = this.nodes.map(({ id }) => id);
      return [name, `id-of-${name}`, 'sync', partitions.map(({ leader, epoch }) => [leader, epoch, ids])];
    });
    return [this.clusterId, this.nodes.map(({ id, listener }) => [id, '127.0.0.1', listener.port]), topics];
  }

  #produce(node: FakeNode, connection: Connection, correlationId: number, header: ProduceHeader, body: Buffer): void {
    const [acks, , parts] = header;
    let at = 0;
    const results = parts.map(([topic, index, byteLength]) => {
      const bytes = body.subarray(at, at + byteLength);
      at += byteLength;
      try {
        const partition = this.#led(node, topic, index);
        return ['', '', partition.append(bytes), partition.start];
      } catch (error) {
        const { code, message } = error as VarveError;
        return [code, message, -1, -1];
      }
    });
    const refused = results.find(([code]) => code !== '');
    if (acks !== 0) connection.reply(FrameType.ProduceReply, correlationId, [results]);
    else if (refused !== undefined) connection.close(new VarveError('NOT_LEADER', String(refused[1])));
  }

  #fetch(node: FakeNode, connection: Connection, correlationId: number, header: FetchHeader): void {
    const [topic, index, offset, maxBytes, minBytes, maxWaitMs] = header;
    let partition = this.#led(node, topic, index);
    let timer: NodeJS.Timeout | undefined;
    let answered = false;
    const attempt = (final: boolean): void => {
      if (answered) return;
      try {
        partition = this.#led(node, topic, index);
        if (offset < partition.start || offset > partition.end) {
          throw new VarveError(
            'OFFSET_OUT_OF_RANGE',
            `offset ${offset} is not in [${partition.start}, ${partition.end}]`,
          );
        }
        const found = partition.batches.filter(
          (batch) => baseOffsetAt(batch, 0) + lastOffsetDeltaAt(batch, 0) >= offset,
        );
        const batches: Buffer[] = [];
        let bytes = 0;
        for (const batch of found) {
          if (bytes > 0 && bytes + batch.length > maxBytes) break;
          batches.push(batch);
          bytes += batch.length;
        }
        if (!final && bytes < minBytes) {
          partition.onChange(() => attempt(false));
          return;
        }
        const last = batches.at(-1);
        const nextOffset = last === undefined ? offset : lastOffsetAt(last, 0) + 1;
        connection.reply(FrameType.FetchReply, correlationId, [partition.end, partition.start, nextOffset], batches);
      } catch (error) {
        connection.replyError(correlationId, error as VarveError);
      }
      answered = true;
      clearTimeout(timer);
    };
    timer = setTimeout(() => attempt(true), maxWaitMs).unref();
    attempt(maxWaitMs === 0);
  }

  #led(node: FakeNode, topic: string, index: number): FakePartition {
    const partition = this.topics.get(topic)?.[index];
    if (partition === undefined) throw new VarveError('UNKNOWN_PARTITION', `no ${topic}-${index}`);
    if (partition.leader !== node.id)
      throw new VarveError('NOT_LEADER', `node ${node.id} does not lead ${topic}-${index}`);
    return partition;
  }
}
