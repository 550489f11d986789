/**
 * A whole cluster from one seed: real nodes (src/cluster with the real Raft core and the real log) on simulated machines,
 * a workload, faults, and the referee, which looks at every replica after each event.
 *
 *   safety      faults come and go; nothing that the referee asserts may ever break
 *   liveness    everything is healed; every batch must be acknowledged, every replica become equal, every consumer arrive
 *
 * Equal seeds give equal runs, event by event: `trace` is the hash of all of them.
 */
import type { NodeEvent, NodeOptions } from '../../src/cluster/node-options.js';
import type { FlushMode } from '../../src/disk/disk.js';
import { VarveError } from '../../src/errors.js';
import { Prng } from '../raft/prng.js';
import { ClusterFaults, type FaultCounts } from './cluster-faults.js';
import { PartitionReferee } from './cluster-referee.js';
import { EventLoop } from './event-loop.js';
import { runToEnd } from './microtasks.js';
import { type Place, type ProducerKind, SimClient, SimConsumer, SimOperator, SimProducer } from './sim-clients.js';
import { SimHistory } from './sim-history.js';
import { SimMachine } from './sim-machine.js';
import { SimNetwork } from './sim-network.js';
import { SimNode } from './sim-node.js';

const CLUSTER_ID = 'sim';
const PORT = 1000;
const TOPIC = 't';
const KIB = 1024;
/** After the healing, for everything to become quiet. */
const LIVENESS_MS = 120_000;
const LOG_LINES = 80;
/** Processes of clients; each has one producer per partition. */
const CLIENTS = 2;
/** Every partition has an idempotent producer; these are the others. */
const KINDS: readonly ProducerKind[] = ['idempotent', 'plain-all', 'plain-1', 'plain-0'];
/** Replicas under a relaxed flush are spared power cuts. */
const FLUSH_MODES: readonly FlushMode[] = ['sync', 'sync', 'sync', 'async', 'none'];

export interface SimulationOptions {
  /** Length of the safety phase. */
  readonly simulatedMs: number;
  /** Mean time between two faults; 0: none. */
  readonly faultEveryMs: number;
  /** Batches that producers append together while nothing is wrong; half and twice of it, too. */
  readonly appendsPerSecond: number;
}

export interface SimulationReport {
  readonly seed: number;
  readonly trace: string;
  readonly simulatedMs: number;
  readonly events: number;
  readonly nodes: number;
  readonly partitions: number;
  readonly acknowledged: number;
  readonly fetches: number;
  readonly deletions: number;
  readonly flush: FlushMode;
  /** Lines of the history that the checker judged. */
  readonly operations: number;
  readonly happened: PartitionReferee['happened'];
  readonly faults: FaultCounts;
}

export class ClusterSimulation {
  readonly seed: number;
  /** The last things that happened, for whoever looks for the cause of a failure. */
  readonly log: string[] = [];
  readonly #loop = new EventLoop();
  readonly #random: Prng;
  readonly #network: SimNetwork;
  readonly #nodes: SimNode[];
  readonly #referees: PartitionReferee[];
  readonly #producers: SimProducer[] = [];
  readonly #consumers: SimConsumer[] = [];
  readonly #history: SimHistory;
  readonly #flush: FlushMode;
  #operator!: SimOperator;
  readonly #faults: ClusterFaults;
  readonly #options: SimulationOptions;
  #failure: { readonly error: unknown } | undefined;
  #phase: 'safety' | 'liveness' | 'over' = 'safety';

  constructor(seed: number, options: SimulationOptions) {
    this.seed = seed;
    this.#options = options;
    this.#random = new Prng(seed);
    const random = this.#random;
    this.#network = new SimNetwork(this.#loop, this.#fork());
    const count = random.pick([3, 3, 5]);
    const partitions = random.pick([1, 2, 3]);
    this.#flush = random.pick(FLUSH_MODES);
    const names = Array.from({ length: partitions }, (_, i) => `${TOPIC}-${i}`);
    const ids = Array.from({ length: count }, (_, i) => i + 1);
    this.#history = new SimHistory(() => this.#loop.now, names, this.#flush, ids);
    this.#referees = names.map((name) => new PartitionReferee(name, count, this.#flush, this.#history));
    const heartbeatMs = random.pick([100, 200]);
    const peers = ids.map((id) => ({ id, host: `n${id}`, port: PORT }));
    const store = {
      journalFileBytes: random.pick([64, 128, 256]) * KIB,
      journalMaxBytes: 1024 * KIB,
      reserveBytes: 64 * KIB,
      checkpointIntervalMs: random.pick([300, 2000, 5000]),
      directFlushBytes: random.pick([0, 0, 8 * KIB]),
    };
    this.#nodes = peers.map(({ id, host, port }): SimNode => {
      const machine = new SimMachine(this.#loop, host, id, this.#fork());
      machine.clockRate = 1 + (random.next() - 0.5) * 0.02;
      machine.wallOffsetMs = Math.floor((random.next() - 0.5) * 2000);
      this.#network.add(machine);
      const nodeOptions: NodeOptions = {
        nodeId: id,
        clusterId: CLUSTER_ID,
        dataDirectory: `/${host}`,
        listen: { host, port },
        peers,
        topics: [{ name: TOPIC, partitions, flush: this.#flush, segmentBytes: 1024 * KIB }],
        heartbeatMs,
        electionMs: 10 * heartbeatMs,
        formatIfMissing: true,
        allowPlaintext: true,
        store,
      };
      return new SimNode(machine, this.#network, nodeOptions, {
        onEvent: (node, event) => this.#onNodeEvent(node, event),
        onEnd: (node, error) => this.#onNodeEnd(node, error),
      });
    });
    this.#faults = new ClusterFaults({
      loop: this.#loop,
      random: this.#fork(),
      network: this.#network,
      nodes: this.#nodes,
      everyMs: options.faultEveryMs,
      note: (line) => this.#note(line),
      history: this.#history,
      withPowerCuts: this.#flush === 'sync',
    });
    this.#addClients(peers, partitions);
  }

  /** @throws what the referee found, or what went wrong in a node */
  async run(): Promise<SimulationReport> {
    for (const node of this.#nodes) node.start();
    for (const client of [...this.#producers, ...this.#consumers, this.#operator]) {
      client.run().catch((error: unknown) => this.#fail(error));
    }
    this.#faults.begin();
    await runToEnd(() => this.#step());
    for (const referee of this.#referees) referee.checkEqual();
    for (const referee of this.#referees) referee.record();
    this.#history.judge();
    return this.#report();
  }

  #step(): boolean {
    if (this.#failure !== undefined) throw this.#failure.error;
    const { current } = this.#loop;
    if (current !== undefined && current.number <= this.#nodes.length) this.#observe(this.#nodes[current.number - 1]!);
    if (this.#phase === 'safety') {
      if (this.#loop.now >= this.#options.simulatedMs) this.#heal();
    } else if (this.#loop.count % 64 === 0 && this.#isQuiet()) {
      return false;
    } else {
      const spentMs = this.#loop.now - this.#options.simulatedMs;
      if (spentMs > LIVENESS_MS) {
        throw new Error(`stuck: ${spentMs.toFixed()} ms after everything was healed\n${this.#describe()}`);
      }
    }
    return this.#loop.step();
  }

  #observe(node: SimNode): void {
    const running = node.node;
    if (running === undefined) return;
    for (const [partition, referee] of this.#referees.entries()) {
      referee.observe(node.id, running.replica(TOPIC, partition), node.wasKilled);
    }
  }

  #heal(): void {
    this.#phase = 'liveness';
    this.#note('everything is healed');
    this.#faults.heal();
    for (const client of [...this.#producers, this.#operator]) client.stop();
  }

  #isQuiet(): boolean {
    return (
      this.#producers.every((producer) => producer.isIdle) &&
      this.#operator.isIdle &&
      this.#nodes.every((node) => node.node !== undefined) &&
      this.#referees.every((referee) => referee.areEqual) &&
      this.#consumers.every((consumer) => consumer.hasAll)
    );
  }

  #addClients(nodes: readonly { id: number; host: string; port: number }[], partitions: number): void {
    const random = this.#random;
    const producers = CLIENTS * partitions;
    const pauseMs = (1000 * producers) / (this.#options.appendsPerSecond * random.pick([0.5, 1, 2]));
    for (let number = 0; number < CLIENTS; number++) {
      const machine = new SimMachine(this.#loop, `c${number + 1}`, nodes.length + number + 1, this.#fork());
      this.#network.add(machine);
      const process = machine.startProcess();
      const client = new SimClient({
        environment: process.environment,
        transport: this.#network.transportOf(process),
        random: this.#fork(),
        clusterId: CLUSTER_ID,
        nodes,
        history: this.#history,
      });
      const places = this.#referees.map((referee, partition): Place => ({ topic: TOPIC, partition, referee }));
      for (const [partition, place] of places.entries()) {
        const id = number * partitions + partition;
        const kind = number === 0 ? 'idempotent' : random.pick(KINDS);
        this.#producers.push(new SimProducer(client, place, { id, kind, pauseMs }));
        if (number === 0) this.#consumers.push(new SimConsumer(client, place, `c${id}`));
      }
      this.#operator = new SimOperator(client, places, 5000);
    }
  }

  #onNodeEvent(node: SimNode, { level, event, details }: NodeEvent): void {
    this.#note(`node ${node.id} ${event} ${JSON.stringify(details)}`);
    if (event === 'fatal')
      this.#fail(new Error(`node ${node.id} stopped itself: ${details['message']}\n${details['stack']}`));
    if (event === 'disk-failed') this.#faults.onDiskFailed(node);
    if (event === 'damaged' && level === 'warn') {
      this.#fail(new Error(`node ${node.id}: ${details['partition']} is damaged: ${details['message']}`));
    }
    if (event !== 'leadership' || details['role'] !== 'leader') return;
    const partition = Number(String(details['partition']).split('-').at(-1));
    const incarnation = `${node.machine.boots}.${node.machine.starts}`;
    this.#referees[partition]!.elected(node.id, incarnation, details['term'] as number);
  }

  #onNodeEnd(node: SimNode, error: Error): void {
    this.#note(`node ${node.id} ended: ${error.message}`);
    const code = error instanceof VarveError ? error.code : '';
    if (code !== 'DISK_FULL' && code !== 'DISK_FAILED') {
      this.#fail(new Error(`node ${node.id} could not go on: ${error.message}`, { cause: error }));
    }
    this.#faults.onEnded(node);
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
  }

  #note(line: string): void {
    this.log.push(`${this.#loop.now.toFixed(2)} ${line}`);
    if (this.log.length > LOG_LINES) this.log.shift();
  }

  #fork(): Prng {
    return new Prng(Math.floor(this.#random.next() * 2 ** 32));
  }

  #describe(): string {
    const lines = this.#nodes.map((node) => {
      if (node.node === undefined) return `node ${node.id}: ${node.isRunning ? 'opening' : 'down'}`;
      const { partitions, diskFailure, peers } = node.node.status();
      const states = partitions.map(({ role, leader, term, logEnd, durable, highWatermark, stopped }) => {
        return `${role} of ${leader} term ${term} end ${logEnd} durable ${durable} hw ${highWatermark} ${stopped}`;
      });
      const links = peers.map((peer) => `${peer.nodeId}:${peer.control ? 'c' : '-'}${peer.data ? 'd' : '-'}`);
      return `node ${node.id}: ${diskFailure} ${links.join(' ')} | ${states.join(' | ')}`;
    });
    const busy = this.#producers.filter((producer) => !producer.isIdle).length;
    const offsets = this.#consumers.map((consumer) => consumer.offset).join(' ');
    const ends = this.#referees.map((referee) => referee.committedEnd).join(' ');
    return [...lines, `${busy} producers busy, consumers at ${offsets}, committed ${ends}`].join('\n');
  }

  #report(): SimulationReport {
    const happened = { elections: 0, truncations: 0, commits: 0, recoveries: 0 };
    for (const referee of this.#referees) {
      for (const what of Object.keys(happened) as (keyof typeof happened)[]) happened[what] += referee.happened[what];
    }
    return {
      seed: this.seed,
      trace: this.#loop.trace.toString(),
      simulatedMs: this.#loop.now,
      events: this.#loop.count,
      nodes: this.#nodes.length,
      partitions: this.#referees.length,
      acknowledged: this.#producers.reduce((sum, producer) => sum + producer.acknowledged, 0),
      fetches: this.#consumers.reduce((sum, consumer) => sum + consumer.fetches, 0),
      deletions: this.#operator.deletions,
      flush: this.#flush,
      operations: this.#history.length,
      happened,
      faults: this.#faults.counts,
    };
  }
}
