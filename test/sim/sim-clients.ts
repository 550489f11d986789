/**
 * The workload of a simulated cluster, over real connections: producers, consumers that read from the beginning, and an
 * operator who deletes old records. What they are told goes to the referee, and into the history.
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
import { readRecords, type SimHistory } from './sim-history.js';

export interface ClientGround {
  readonly environment: Environment;
  readonly transport: Transport;
  readonly random: Prng;
  readonly clusterId: string;
  readonly nodes: readonly { readonly id: number; readonly host: string; readonly port: number }[];
  readonly history: SimHistory;
}

const REQUEST_TIMEOUT_MS = 3000;
const FETCH_WAIT_MS = 500;
/** Nothing was done: it may be tried again, also by who has no sequence numbers. */
const REFUSED: ReadonlySet<string> = new Set([
  'NOT_LEADER',
  'CONNECTION_LOST',
  'OVERLOADED',
  'CLOSED',
  'DISK_FULL',
  'DISK_FAILED',
]);
const PASSING: ReadonlySet<string> = new Set([...REFUSED, 'OUTCOME_UNKNOWN', 'TIMEOUT']);

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

  /** Without an answer. @returns false when it was not taken */
  async send(node: number, type: number, header: readonly unknown[], bodies: readonly Buffer[]): Promise<boolean> {
    const connection = await this.#connection(node);
    return connection.send(type, header, bodies);
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
      // Nothing was sent.
      const { code, message } = error as VarveError;
      throw new VarveError(code === 'TIMEOUT' ? 'CONNECTION_LOST' : code, message);
    }
  }
}

function checkPassing(error: unknown): string {
  if (!(error instanceof VarveError) || !PASSING.has(error.code)) throw error;
  return error.code;
}

export interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly referee: PartitionReferee;
}

/** Idempotent ones have acks 'all' and send a batch until it is acknowledged; the others take an unknown outcome for an answer. */
export type ProducerKind = 'idempotent' | 'plain-all' | 'plain-1' | 'plain-0';

export interface ProducerOptions {
  readonly id: number;
  readonly kind: ProducerKind;
  /** Between the end of one send and the next one: up to twice that. */
  readonly pauseMs: number;
}

interface Sending {
  readonly batch: Buffer;
  readonly values: string[];
  readonly begin: number;
  attempts: number;
}

export class SimProducer {
  readonly #client: SimClient;
  readonly #place: Place;
  readonly #options: ProducerOptions;
  readonly #builder = new BatchBuilder();
  /** Of the next record; also what makes its value. */
  #sequence = 0;
  #leader = 0;
  #isStopped = false;
  acknowledged = 0;
  isIdle = false;

  constructor(client: SimClient, place: Place, options: ProducerOptions) {
    this.#client = client;
    this.#place = place;
    this.#options = options;
  }

  /** What is on its way is still acknowledged. */
  stop(): void {
    this.#isStopped = true;
  }

  async run(): Promise<void> {
    const { environment, random, history } = this.#client.ground;
    while (!this.#isStopped) {
      await sleep(environment, random.next() * 2 * this.#options.pauseMs);
      const sending = this.#next();
      const offset = await this.#sendUntilKnown(sending);
      this.#record(sending, history, offset);
      this.#sequence += sending.values.length;
    }
    this.isIdle = true;
  }

  #next(): Sending {
    const { environment, random, history } = this.#client.ground;
    const { id, kind } = this.#options;
    const bytes = random.pick([10, 10, 100, 1000, 20_000]);
    const values = Array.from({ length: 1 + random.below(3) }, (_, i) => `${id}-${this.#sequence + i}`);
    for (const value of values) {
      this.#builder.append(environment.now(), null, `${value} `.padEnd(10 + random.below(bytes), '.'));
    }
    const producer = { producerId: id, producerEpoch: 0, baseSequence: this.#sequence };
    const batch = this.#builder.finish(kind === 'idempotent' ? producer : undefined);
    return { batch, values, begin: history.now, attempts: 0 };
  }

  /** @returns the offset; −1: acknowledged without one; undefined: unknown */
  async #sendUntilKnown(sending: Sending): Promise<number | undefined> {
    const { topic, partition, referee } = this.#place;
    const { kind, id } = this.#options;
    const { environment, random } = this.#client.ground;
    for (;;) {
      if (this.#leader === 0) this.#leader = await this.#client.leaderOf(topic, partition);
      if (this.#leader !== 0) {
        sending.attempts++;
        const [code, message, offset] = await this.#attempt(sending.batch);
        if (code === '') return offset;
        // A leader that was replaced, and did not know it when it answered, has not seen the batch before.
        const isBehind = code === 'OUT_OF_ORDER_SEQUENCE' && !referee.leads(this.#leader);
        assert(isBehind || PASSING.has(code), `${topic}-${partition}: producer ${id}: ${code}: ${message}`);
        this.#leader = 0;
        if (kind !== 'idempotent' && !REFUSED.has(code)) return undefined;
      }
      await sleep(environment, Math.min(500, 10 * 2 ** Math.min(sending.attempts, 10)) * random.next());
    }
  }

  async #attempt(batch: Buffer): Promise<readonly [code: string, message: string, offset: number]> {
    const { topic, partition } = this.#place;
    const { kind } = this.#options;
    const acks = kind === 'plain-0' ? 0 : kind === 'plain-1' ? 1 : -1;
    const header = [acks, REQUEST_TIMEOUT_MS, [[topic, partition, batch.length]]];
    try {
      if (acks === 0) {
        const isTaken = await this.#client.send(this.#leader, FrameType.Produce, header, [batch]);
        return [isTaken ? '' : 'CONNECTION_LOST', '', -1];
      }
      const reply = await this.#client.request(this.#leader, FrameType.Produce, header, [batch]);
      const [code, message, offset] = (reply.header as ProduceReplyHeader)[0][0]!;
      return [code, message, offset];
    } catch (error) {
      return [checkPassing(error), (error as Error).message, -1];
    }
  }

  #record({ batch, values, begin, attempts }: Sending, history: SimHistory, offset: number | undefined): void {
    const { id, kind } = this.#options;
    const { referee } = this.#place;
    // A duplicate is answered in a later epoch than the one it was stored in.
    const isStoredNow = offset !== undefined && kind === 'plain-1';
    const epoch = isStoredNow ? referee.epochOf(this.#leader, offset, crcAt(batch, 0)) : undefined;
    if (offset !== undefined) this.acknowledged++;
    if (offset !== undefined && (kind === 'idempotent' || kind === 'plain-all')) {
      referee.acknowledged(offset, crcAt(batch, 0));
    }
    history.add({
      op: 'send',
      partition: referee.name,
      producer: id,
      values,
      acks: kind === 'plain-0' ? 0 : kind === 'plain-1' ? 1 : 'all',
      // Without an answer nobody knows when it takes effect.
      outcome: offset === undefined || kind === 'plain-0' ? 'unknown' : 'ok',
      ...(offset !== undefined && offset >= 0 && { offset }),
      ...(epoch !== undefined && { epoch }),
      ...(kind === 'idempotent' && { producerId: id, producerEpoch: 0, sequence: this.#sequence }),
      attempts,
      begin,
    });
  }
}

/** Reads a partition from its beginning, for ever. */
export class SimConsumer {
  readonly #client: SimClient;
  readonly #place: Place;
  readonly #name: string;
  offset = 0;
  fetches = 0;

  constructor(client: SimClient, place: Place, name: string) {
    this.#client = client;
    this.#place = place;
    this.#name = name;
  }

  get hasAll(): boolean {
    return this.offset === this.#place.referee.committedEnd;
  }

  async run(): Promise<never> {
    const { environment, random } = this.#client.ground;
    const { topic, partition } = this.#place;
    let leader = 0;
    for (;;) {
      try {
        if (leader === 0) leader = await this.#client.leaderOf(topic, partition);
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
    const { topic, partition, referee } = this.#place;
    const { random, history } = this.#client.ground;
    const { offset } = this;
    const begin = history.now;
    const maxBytes = random.pick([1, 1000, 100_000]);
    const reply = await this.#client.request(leader, FrameType.Fetch, [
      topic,
      partition,
      offset,
      maxBytes,
      1,
      FETCH_WAIT_MS,
    ]);
    const [highWatermark, , nextOffset] = reply.header as FetchReplyHeader;
    const views = reply.body.length === 0 ? [] : [reply.body];
    const end = referee.read(views, offset);
    assert(nextOffset === end, `${referee.name}: next offset ${nextOffset} after batches to ${end}`);
    const { committedEnd } = referee;
    assert(highWatermark <= committedEnd, `${referee.name}: told ${highWatermark}; ${committedEnd} is committed`);
    this.offset = nextOffset;
    this.fetches++;
    const records = readRecords(views, offset);
    history.add({ op: 'poll', partition: referee.name, consumer: this.#name, from: offset, next: end, records, begin });
  }

  async #toStart(leader: number): Promise<void> {
    const { topic, partition, referee } = this.#place;
    try {
      const { header } = await this.#client.request(leader, FrameType.ListOffsets, [topic, partition, -2]);
      const [start] = header as ListOffsetsReplyHeader;
      // A leader that is behind does not know this offset yet; it is not an earlier one that is to be read again.
      if (start <= this.offset) return;
      this.offset = start;
      const { history } = this.#client.ground;
      history.add({ op: 'seek', partition: referee.name, consumer: this.#name, offset: start });
    } catch (error) {
      checkPassing(error);
    }
  }
}

/** Deletes what is old, now and then. */
export class SimOperator {
  readonly #client: SimClient;
  readonly #places: readonly Place[];
  readonly #everyMs: number;
  #isStopped = false;
  deletions = 0;
  isIdle = false;

  constructor(client: SimClient, places: readonly Place[], everyMs: number) {
    this.#client = client;
    this.#places = places;
    this.#everyMs = everyMs;
  }

  stop(): void {
    this.#isStopped = true;
  }

  async run(): Promise<void> {
    const { environment, random } = this.#client.ground;
    while (!this.#isStopped) {
      await sleep(environment, random.next() * 2 * this.#everyMs);
      await this.#delete(random.pick(this.#places));
    }
    this.isIdle = true;
  }

  async #delete({ topic, partition, referee }: Place): Promise<void> {
    const { random, history } = this.#client.ground;
    const leader = await this.#client.leaderOf(topic, partition);
    if (leader === 0) return;
    const begin = history.now;
    const offset = random.below(referee.heldByAll + 1);
    referee.mayDelete(offset);
    let outcome: 'ok' | 'unknown' = 'ok';
    try {
      await this.#client.request(leader, FrameType.DeleteRecords, [topic, partition, offset]);
      this.deletions++;
    } catch (error) {
      // A leader that is behind knows less of what is committed.
      if ((error as VarveError).code !== 'OFFSET_OUT_OF_RANGE') checkPassing(error);
      outcome = 'unknown';
    }
    history.add({ op: 'delete-records', partition: referee.name, offset, outcome, begin });
  }
}
