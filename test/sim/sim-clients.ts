/**
 * The workload of a simulated cluster: idempotent producers that send each batch until it is acknowledged, consumers that
 * read from the beginning, all over real connections. What they are told goes to the referee.
 */
import assert from 'node:assert/strict';
import { type Environment, sleep } from '../../src/environment.js';
import { VarveError } from '../../src/errors.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { crcAt } from '../../src/record/record-batch.js';
import type { Connection } from '../../src/rpc/connection.js';
import { dial } from '../../src/rpc/dial.js';
import {
  type FetchReplyHeader,
  FrameType,
  type ListOffsetsReplyHeader,
  type MetadataReplyHeader,
  type ProduceReplyHeader,
} from '../../src/rpc/protocol.js';
import type { Transport } from '../../src/rpc/transport.js';
import { inNextTurn, WriteScheduler } from '../../src/rpc/write-scheduler.js';
import type { Prng } from '../raft/prng.js';
import type { PartitionReferee } from './cluster-referee.js';

export interface ClientGround {
  readonly environment: Environment;
  readonly transport: Transport;
  readonly random: Prng;
  readonly clusterId: string;
  readonly nodes: readonly { readonly id: number; readonly host: string; readonly port: number }[];
}

const REQUEST_TIMEOUT_MS = 3000;
const FETCH_WAIT_MS = 500;
/** What may be tried again, with the same bytes. */
const PASSING: ReadonlySet<string> = new Set([
  'NOT_LEADER',
  'OUTCOME_UNKNOWN',
  'CONNECTION_LOST',
  'TIMEOUT',
  'OVERLOADED',
  'CLOSED',
  'DISK_FULL',
  'DISK_FAILED',
]);

/** The connections of one client process. */
export class SimClient {
  readonly ground: ClientGround;
  readonly #scheduler: WriteScheduler;
  readonly #connections = new Map<number, Promise<Connection>>();

  constructor(ground: ClientGround) {
    this.ground = ground;
    this.#scheduler = new WriteScheduler(inNextTurn(ground.environment));
  }

  async request(node: number, type: number, header: readonly unknown[], bodies: readonly Buffer[] = []) {
    const connection = await this.#connection(node);
    return connection.request(type, header, bodies, { timeoutMs: REQUEST_TIMEOUT_MS });
  }

  /** As any node says; 0: unknown. */
  async leaderOf(topic: string, partition: number): Promise<number> {
    const { nodes, random } = this.ground;
    try {
      const { header } = await this.request(random.pick(nodes).id, FrameType.Metadata, [[topic]]);
      return (header as MetadataReplyHeader)[2][0]![3][partition]![0];
    } catch (error) {
      checkPassing(error);
      return 0;
    }
  }

  #connection(node: number): Promise<Connection> {
    let connection = this.#connections.get(node);
    if (connection === undefined) {
      connection = this.#dial(node);
      this.#connections.set(node, connection);
    }
    return connection;
  }

  async #dial(id: number): Promise<Connection> {
    const { environment, transport, clusterId, nodes } = this.ground;
    const { host, port } = nodes.find((node) => node.id === id)!;
    try {
      const { connection } = await dial({
        host,
        port,
        handshake: { kind: 'client', channel: 'client', clusterId, nodeId: 0, directoryId: '', incarnation: '' },
        timeoutMs: 2000,
        transport,
        connection: { environment, scheduler: this.#scheduler },
        onOpen: ({ connection: open }) => {
          open.onClose = () => this.#connections.delete(id);
        },
      });
      return connection;
    } catch (error) {
      this.#connections.delete(id);
      throw error;
    }
  }
}

function checkPassing(error: unknown): void {
  if (!(error instanceof VarveError) || !PASSING.has(error.code)) throw error;
}

export interface ProducerOptions {
  readonly topic: string;
  readonly partition: number;
  readonly producerId: number;
  /** Between the acknowledgement of one batch and the next one: up to twice that. */
  readonly pauseMs: number;
}

/** Sends one batch after the other; each one until it is acknowledged. */
export class SimProducer {
  readonly #client: SimClient;
  readonly #referee: PartitionReferee;
  readonly #options: ProducerOptions;
  readonly #builder = new BatchBuilder();
  #sequence = 0;
  #leader = 0;
  #isStopped = false;
  acknowledged = 0;
  isIdle = false;

  constructor(client: SimClient, referee: PartitionReferee, options: ProducerOptions) {
    this.#client = client;
    this.#referee = referee;
    this.#options = options;
  }

  /** What is on its way is still acknowledged. */
  stop(): void {
    this.#isStopped = true;
  }

  async run(): Promise<void> {
    const { environment, random } = this.#client.ground;
    while (!this.#isStopped) {
      await sleep(environment, random.next() * 2 * this.#options.pauseMs);
      const count = 1 + random.below(3);
      const batch = this.#batch(count);
      const baseOffset = await this.#produce(batch);
      this.#referee.acknowledged(baseOffset, crcAt(batch, 0));
      this.#sequence += count;
      this.acknowledged++;
    }
    this.isIdle = true;
  }

  #batch(count: number): Buffer {
    const { environment, random } = this.#client.ground;
    const { producerId } = this.#options;
    const bytes = random.pick([10, 10, 100, 1000, 20_000]);
    for (let i = 0; i < count; i++) {
      const value = `${producerId} ${this.#sequence + i} `.padEnd(10 + random.below(bytes), '.');
      this.#builder.append(environment.now(), null, value);
    }
    return this.#builder.finish({ producerId, producerEpoch: 0, baseSequence: this.#sequence });
  }

  async #produce(batch: Buffer): Promise<number> {
    const { topic, partition } = this.#options;
    const { environment, random } = this.#client.ground;
    for (let attempt = 0; ; attempt++) {
      try {
        if (this.#leader === 0) this.#leader = await this.#client.leaderOf(topic, partition);
        if (this.#leader !== 0) {
          const header = [-1, REQUEST_TIMEOUT_MS, [[topic, partition, batch.length]]];
          const reply = await this.#client.request(this.#leader, FrameType.Produce, header, [batch]);
          const [code, message, baseOffset] = (reply.header as ProduceReplyHeader)[0][0]!;
          if (code === '') return baseOffset;
          // A leader that was replaced and does not know it yet has not seen the batch before.
          const isBehind = code === 'OUT_OF_ORDER_SEQUENCE' && this.#referee.isStale(this.#leader);
          assert(
            isBehind || PASSING.has(code),
            `${topic}-${partition}: producer ${this.#options.producerId}: ${code}: ${message}`,
          );
        }
      } catch (error) {
        checkPassing(error);
      }
      this.#leader = 0;
      await sleep(environment, Math.min(500, 10 * 2 ** attempt) * random.next());
    }
  }
}

/** Reads a partition from its beginning, for ever. */
export class SimConsumer {
  readonly #client: SimClient;
  readonly #referee: PartitionReferee;
  readonly #topic: string;
  readonly #partition: number;
  offset = 0;
  fetches = 0;

  constructor(client: SimClient, referee: PartitionReferee, topic: string, partition: number) {
    this.#client = client;
    this.#referee = referee;
    this.#topic = topic;
    this.#partition = partition;
  }

  async run(): Promise<never> {
    const { environment, random } = this.#client.ground;
    let leader = 0;
    for (;;) {
      try {
        if (leader === 0) leader = await this.#client.leaderOf(this.#topic, this.#partition);
        if (leader !== 0) {
          await this.#fetch(leader);
          continue;
        }
      } catch (error) {
        if ((error as VarveError).code === 'OFFSET_OUT_OF_RANGE') await this.#toStart(leader);
        else checkPassing(error);
        leader = 0;
      }
      await sleep(environment, 20 + random.next() * 200);
    }
  }

  async #fetch(leader: number): Promise<void> {
    const bytes = this.#client.ground.random.pick([1, 1000, 100_000]);
    const header = [this.#topic, this.#partition, this.offset, bytes, 1, FETCH_WAIT_MS];
    const reply = await this.#client.request(leader, FrameType.Fetch, header);
    const [highWatermark, , nextOffset] = reply.header as FetchReplyHeader;
    const { offset } = this;
    const end = this.#referee.read(reply.body.length === 0 ? [] : [reply.body], offset);
    const committed = this.#referee.committedEnd;
    const who = `${this.#topic}-${this.#partition}`;
    assert(nextOffset >= offset && nextOffset === end, `${who}: next offset ${nextOffset} after batches to ${end}`);
    assert(highWatermark <= committed, `${who}: a consumer was told ${highWatermark}; ${committed} is committed`);
    this.offset = nextOffset;
    this.fetches++;
  }

  async #toStart(leader: number): Promise<void> {
    try {
      const { header } = await this.#client.request(leader, FrameType.ListOffsets, [this.#topic, this.#partition, -2]);
      const [start] = header as ListOffsetsReplyHeader;
      // A leader that is behind does not know this offset yet; it is not an earlier one that is to be read again.
      this.offset = Math.max(this.offset, start);
    } catch (error) {
      checkPassing(error);
    }
  }
}
