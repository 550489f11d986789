/**
 * A whole cluster from one seed: several cores over memory stores, with a network that loses, doubles, delays and reorders,
 * partitions, disks that take their time, crashes and restarts. The referee looks on.
 *
 * Connections are modelled as the driver promises them: nothing of an earlier incarnation is delivered, and the first
 * message of a new one is preceded by `peerReset`.
 */
import assert from 'node:assert/strict';
import { Raft } from '../../src/raft/raft.js';
import type { AppendRequest, LogProgress, Message, RaftOptions, Ready } from '../../src/raft/types.js';
import { Referee, same } from './invariants.js';
import { MemoryStore, type StoredBatch } from './memory-store.js';
import { Prng } from './prng.js';

/** What a run does to the cluster; probabilities are per step and node unless said otherwise. */
export interface Weather {
  readonly loss: number;
  readonly duplication: number;
  /** Longest delay of a message in steps. */
  readonly delayMax: number;
  readonly crash: number;
  readonly restart: number;
  /** Per step. */
  readonly partition: number;
  readonly heal: number;
  /** That a disk works on its queue. */
  readonly sync: number;
  /** That the core hears of what the disk did. */
  readonly report: number;
  /** That a clock ticks: below 1 the clocks of the nodes drift apart. */
  readonly tick: number;
  readonly propose: number;
  readonly retention: number;
}

export const CALM: Weather = {
  loss: 0,
  duplication: 0,
  delayMax: 2,
  crash: 0,
  restart: 1,
  partition: 0,
  heal: 1,
  sync: 0.9,
  report: 1,
  tick: 1,
  propose: 0.2,
  retention: 0,
};

interface Node {
  readonly id: number;
  readonly store: MemoryStore;
  raft: Raft | undefined;
  incarnation: number;
  /** Incarnations of the peers this one has met. */
  readonly met: Map<number, number>;
  /** Reports of the disk that the core has not seen yet. */
  reports: LogProgress[];
}

interface Envelope {
  readonly due: number;
  readonly message: Message;
  readonly batches: readonly StoredBatch[];
  readonly fromIncarnation: number;
  readonly toIncarnation: number;
}

export class Simulation {
  readonly #prng: Prng;
  readonly #countBy: 'durable' | 'written';
  readonly #nodes: Node[] = [];
  readonly #stores = new Map<number, MemoryStore>();
  readonly #referee: Referee;
  #network: Envelope[] = [];
  /** Node → side of the partition. */
  #sides = new Map<number, number>();
  #step = 0;
  #values = 0;
  #weather: Weather = CALM;
  readonly trace: string[] = [];

  constructor(seed: number, nodes: number, countBy: 'durable' | 'written') {
    this.#prng = new Prng(seed);
    this.#countBy = countBy;
    for (let id = 1; id <= nodes; id++) this.#stores.set(id, new MemoryStore());
    this.#referee = new Referee(this.#stores, countBy);
    for (const [id, store] of this.#stores) {
      const node: Node = { id, store, raft: undefined, incarnation: 0, met: new Map(), reports: [] };
      this.#nodes.push(node);
      this.#start(node);
    }
  }

  /** So that a test can tell that it tested something. */
  readonly happened = { commits: 0, elections: 0, truncations: 0, crashes: 0, lateReports: 0 };

  run(steps: number, weather: Weather): void {
    this.#weather = weather;
    for (let i = 0; i < steps; i++) {
      this.#step++;
      this.#trouble();
      this.#deliver();
      for (const node of this.#nodes) this.#live(node);
    }
  }

  /** Everything heals: within a bounded time there is one leader, and what it is given is committed everywhere. */
  recover(): void {
    this.#sides.clear();
    for (const node of this.#nodes) if (node.raft === undefined) this.#start(node);
    const quiet = { ...CALM, propose: 0 };
    this.run(300, quiet);
    const leaders = this.#nodes.filter((node) => node.raft?.role === 'leader');
    assert.equal(leaders.length, 1, `liveness: ${leaders.length} leaders after healing`);
    const leader = leaders[0]!;
    const value = this.#propose(leader);
    // A leader may have a long backlog for a follower, and the pipeline here is narrow.
    for (let i = 0; i < 40 && !this.#everywhere(value); i++) this.run(50, quiet);
    const last = this.#referee.committed.at(-1);
    assert.equal(last?.value, value, 'liveness: a proposal after healing was not committed');
    for (const node of this.#nodes) {
      assert.equal(node.raft?.highWatermark, last.end, `liveness: node ${node.id} does not know what is committed`);
      assert.equal(node.raft?.leader, leader.id, `liveness: node ${node.id} follows somebody else`);
      assert.equal(node.store.end, leader.store.end, `liveness: node ${node.id} has another log end`);
      assert(same(node.store.batches.at(-1)!, last), `liveness: node ${node.id} has another last batch`);
    }
  }

  #everywhere(value: number): boolean {
    const last = this.#referee.committed.at(-1);
    return last?.value === value && this.#nodes.every((node) => node.raft?.highWatermark === last.end);
  }

  // ---- what happens to everybody ----

  #trouble(): void {
    const { partition, heal } = this.#weather;
    if (this.#prng.chance(partition)) {
      const leader = this.#nodes.find((node) => node.raft?.role === 'leader');
      const alone = this.#prng.chance(0.5) ? leader : undefined;
      for (const node of this.#nodes) {
        this.#sides.set(node.id, alone === undefined ? this.#prng.below(2) : Number(node === alone));
      }
      this.#log(`partition ${this.#nodes.map(({ id }) => `${id}:${this.#sides.get(id)}`).join(' ')}`);
    } else if (this.#sides.size > 0 && this.#prng.chance(heal)) {
      this.#sides.clear();
      this.#log('heal');
    }
    if (this.#prng.chance(this.#weather.retention)) {
      // Only what every disk holds: there is no way back for a follower behind the log start yet.
      const everywhere = Math.min(...this.#nodes.map((node) => node.store.floor));
      const node = this.#prng.pick(this.#nodes);
      const batches = node.store.batches.filter((batch) => batch.start > 0 && batch.start <= everywhere);
      if (node.raft !== undefined && batches.length > 0) node.store.deleteBefore(this.#prng.pick(batches).start);
    }
  }

  #deliver(): void {
    const due = this.#network.filter((envelope) => envelope.due <= this.#step);
    if (due.length === 0) return;
    this.#network = this.#network.filter((envelope) => envelope.due > this.#step);
    while (due.length > 0) this.#arrive(due.splice(this.#prng.below(due.length), 1)[0]!);
  }

  #arrive({ message, batches, fromIncarnation, toIncarnation }: Envelope): void {
    const from = this.#node(message.from);
    const to = this.#node(message.to);
    if (to.raft === undefined || from.incarnation !== fromIncarnation || to.incarnation !== toIncarnation) return;
    if (this.#sides.get(from.id) !== this.#sides.get(to.id)) return;
    if (to.met.get(from.id) !== fromIncarnation) {
      to.met.set(from.id, fromIncarnation);
      this.#call(to, (raft) => raft.peerReset(from.id));
    }
    const arrived = message.type === 'append' ? { ...message, batches } : message;
    this.#call(to, (raft) => raft.step(arrived));
  }

  // ---- what a node does in a step ----

  #live(node: Node): void {
    const weather = this.#weather;
    if (node.raft === undefined) {
      if (this.#prng.chance(weather.restart)) this.#start(node);
      return;
    }
    if (this.#prng.chance(weather.crash)) {
      this.#crash(node);
      return;
    }
    if (this.#prng.chance(weather.sync) && node.store.pending.length > 0) {
      node.reports.push(node.store.sync(1 + this.#prng.below(node.store.pending.length)));
    }
    // Reports may come late: the log may have been cut meanwhile, and be longer again.
    while (node.reports.length > 0 && this.#prng.chance(weather.report)) this.#report(node, node.reports.shift()!);
    if (this.#prng.chance(weather.tick)) this.#call(node, (raft) => raft.tick());
    if (node.raft.role === 'leader' && this.#prng.chance(weather.propose)) this.#propose(node);
  }

  #report(node: Node, report: LogProgress): void {
    const { progress } = node.store;
    // A driver reads the log's own cursors; only a report of an earlier generation can still be about another history.
    if (report.generation !== progress.generation) this.happened.lateReports++;
    const told = report.generation === progress.generation ? progress : report;
    this.#call(node, (raft) => raft.logProgress(told));
  }

  #propose(node: Node): number {
    const { store } = node;
    const value = ++this.#values;
    const start = store.end;
    const end = start + 1 + this.#prng.below(4);
    this.#store(node, { start, end, epoch: node.raft!.term, bytes: 1 + this.#prng.below(100), value });
    this.#call(node, (raft) => {
      raft.accepted();
      raft.logProgress(store.progress);
    });
    return value;
  }

  #store(node: Node, batch: StoredBatch): void {
    this.#referee.stored(node.id, batch, node.store.batches.at(-1));
    node.store.append(batch);
  }

  #start(node: Node): void {
    const { store } = node;
    node.incarnation++;
    node.met.clear();
    node.reports = [];
    store.onDurableState = (state) => this.#call(node, (raft) => raft.hardStateDurable(state));
    const options: RaftOptions = {
      id: node.id,
      voters: [...this.#stores.keys()],
      hardState: store.image.state,
      highWatermark: store.floor,
      progress: store.progress,
      log: store,
      countBy: this.#countBy,
      heartbeatTicks: 2,
      electionTicks: 8,
      maxInflightMessages: 3,
      maxInflightBytes: 250,
      maxAppendBytes: 120,
      random: () => this.#prng.next(),
    };
    this.#log(`start ${node.id} term ${store.image.state.term} end ${store.end} high watermark ${store.floor}`);
    node.raft = new Raft(options);
    this.#drain(node);
  }

  #crash(node: Node): void {
    this.happened.crashes++;
    this.#log(`crash ${node.id} end ${node.store.end} pending ${node.store.pending.length}`);
    node.raft = undefined;
    if (this.#countBy === 'written') node.store.killProcess();
    else node.store.cutPower(this.#prng.below(node.store.pending.length + 1));
  }

  // ---- the driver ----

  #call(node: Node, action: (raft: Raft) => void): void {
    if (node.raft === undefined) return;
    action(node.raft);
    this.#drain(node);
  }

  #drain(node: Node): void {
    for (let ready = node.raft?.ready(); ready !== undefined; ready = node.raft?.ready()) this.#perform(node, ready);
  }

  #perform(node: Node, ready: Ready): void {
    const { store } = node;
    const raft = node.raft!;
    for (const write of ready.writes) {
      if (write.type === 'truncate') {
        this.happened.truncations++;
        this.#log(`truncate ${node.id} from ${store.end} to ${write.to}`);
        store.truncate(write.to);
      } else if (write.type === 'leader-change') {
        const start = store.end;
        this.#store(node, { start, end: start + 1, epoch: write.epoch, bytes: 10, value: -write.epoch });
      } else {
        const { batches } = write.message as AppendRequest & { batches: readonly StoredBatch[] };
        for (const batch of batches) if (batch.start >= write.from) this.#store(node, batch);
      }
    }
    if (ready.hardState !== undefined) store.saveState(ready.hardState);
    for (const message of ready.messages) this.#send(node, message);
    const isLeader = ready.leadership?.role === 'leader';
    if (isLeader) {
      this.happened.elections++;
      this.#log(`elected ${node.id} term ${raft.term}`);
      this.#referee.elected(node.id, node.incarnation, raft.term);
    }
    if (ready.highWatermark !== undefined) {
      this.#referee.committedTo(node.id, raft.role === 'leader', raft.term, store.highWatermark, ready.highWatermark);
      store.highWatermark = ready.highWatermark;
      this.happened.commits = this.#referee.committed.length;
    }
    if (ready.writes.some((write) => write.type === 'leader-change')) raft.accepted();
    if (ready.writes.length > 0) raft.logProgress(store.progress);
  }

  #send(node: Node, message: Message): void {
    this.#referee.sent(message);
    const { loss, duplication, delayMax } = this.#weather;
    const batches = message.type === 'append' ? node.store.slice(message.start, message.end) : [];
    const envelope = {
      message,
      batches,
      fromIncarnation: node.incarnation,
      toIncarnation: this.#node(message.to).incarnation,
    };
    if (this.#prng.chance(loss)) {
      if (this.#prng.chance(0.2)) node.raft!.peerUnreachable(message.to);
      return;
    }
    const copies = this.#prng.chance(duplication) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      this.#network.push({ ...envelope, due: this.#step + 1 + this.#prng.below(delayMax) });
    }
  }

  #node(id: number): Node {
    return this.#nodes[id - 1]!;
  }

  #log(line: string): void {
    this.trace.push(`${this.#step} ${line}`);
    if (this.trace.length > 60) this.trace.shift();
  }
}
