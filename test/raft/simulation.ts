/**
 * A whole cluster from one seed: several cores over memory stores, with a network that loses, doubles, delays and reorders,
 * partitions, disks that take their time, crashes and restarts, disks that are replaced by empty ones, and changes of
 * membership. Each step is put to the reference model, which must permit it, and the referee looks on.
 *
 * Connections are modelled as the driver promises them: nothing of an earlier incarnation is delivered, and the first
 * message of a new one is preceded by `peerReset`.
 */
import assert from 'node:assert/strict';
import { Raft } from '../../src/raft/raft.js';
import { includes, isSoleVoter, sameMembers } from '../../src/raft/membership.js';
import type {
  AppendRequest,
  Configuration,
  LogProgress,
  Member,
  Message,
  RaftOptions,
  Ready,
} from '../../src/raft/types.js';
import type { NodeId } from '../model/replica.js';
import { ReplicatedLogModel, type Step } from '../model/replicated-log.js';
import { Referee, same } from './invariants.js';
import { describeConfiguration, member, votersOf } from './members.js';
import { MemoryStore, type StoredBatch } from './memory-store.js';
import { Prng } from './prng.js';

/** What a run does to the cluster; probabilities are per step and node unless said otherwise. */
export interface Weather {
  readonly loss: number;
  readonly duplication: number;
  /** Longest delay of a message in steps. */
  readonly delayMax: number;
  readonly crash: number;
  /** That a crash under relaxed flush is a power cut. */
  readonly power: number;
  readonly restart: number;
  /** That a process is stopped for a while (SIGSTOP): what arrives waits. */
  readonly pause: number;
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
  /** That a leader is asked for other members. */
  readonly change: number;
  /** That a leader is asked to hand over to a voter. */
  readonly transfer: number;
  /** That a node is asked for a read index. */
  readonly read: number;
  /** That a disk is replaced while its node is down, if a majority of voters keeps its disks. */
  readonly wipe: number;
}

export const CALM: Weather = {
  loss: 0,
  duplication: 0,
  delayMax: 2,
  crash: 0,
  power: 0,
  restart: 1,
  pause: 0,
  partition: 0,
  heal: 1,
  sync: 0.9,
  report: 1,
  tick: 1,
  propose: 0.2,
  retention: 0,
  change: 0,
  wipe: 0,
  transfer: 0,
  read: 0,
};

interface Node {
  readonly id: number;
  directory: string;
  store: MemoryStore;
  raft: Raft | undefined;
  incarnation: number;
  /** Stopped until this step. */
  pausedTo: number;
  /** Incarnations of the peers this one has met. */
  readonly met: Map<number, number>;
  /** The configuration that counted before what happens now, if it leads. */
  leads?: Configuration | undefined;
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

/** A step without its node, for each kind of step. */
type Unnamed<T> = T extends unknown ? Omit<T, 'node'> : never;

/** Whoever has another disk is another node to the model. */
const identity = ({ id, directory }: Member): NodeId => `${id}/${directory}`;

const configurationOf = ({ voters, outgoing }: Configuration) => ({
  voters: voters.map(identity),
  outgoing: outgoing.map(identity),
});

export class Simulation {
  readonly #prng: Prng;
  readonly #countBy: 'durable' | 'written';
  readonly #nodes: Node[] = [];
  readonly #founding: Configuration;
  readonly #referee: Referee;
  readonly #model: ReplicatedLogModel;
  #network: Envelope[] = [];
  /** Node → side of the partition. */
  #sides = new Map<number, number>();
  #step = 0;
  #values = 0;
  #weather: Weather = CALM;
  readonly trace: string[] = [];

  /** @param spares nodes that are no members at first, and know nobody */
  constructor(seed: number, voters: number, spares: number, countBy: 'durable' | 'written') {
    this.#prng = new Prng(seed);
    this.#countBy = countBy;
    this.#founding = votersOf(...Array.from({ length: voters }, (_, i) => i + 1));
    for (let id = 1; id <= voters + spares; id++) {
      const store = new MemoryStore(id <= voters ? this.#founding : undefined);
      const { directory } = member(id);
      this.#nodes.push({
        id,
        directory,
        store,
        raft: undefined,
        incarnation: 0,
        pausedTo: 0,
        met: new Map(),
        reports: [],
      });
    }
    this.#referee = new Referee(new Map(this.#nodes.map((node) => [node.id, node])), countBy);
    this.#model = new ReplicatedLogModel(configurationOf(this.#founding), countBy);
    for (const node of this.#nodes) this.#start(node);
  }

  /** So that a test can tell that it tested something. */
  readonly happened = {
    commits: 0,
    elections: 0,
    truncations: 0,
    crashes: 0,
    lateReports: 0,
    changes: 0,
    promotions: 0,
    wipes: 0,
    transfers: 0,
    resets: 0,
    forgotten: 0,
    recovered: 0,
    offline: 0,
    reads: 0,
  };
  /** What was committed when each read was asked for. */
  readonly #asked: number[] = [];

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
    for (const node of this.#nodes) node.pausedTo = 0;
    for (const node of this.#nodes) if (node.raft === undefined) this.#start(node);
    const quiet = { ...CALM, propose: 0 };
    this.run(300, quiet);
    let leaders = this.#leaders;
    // One that is removed just now leaves, and another one is elected.
    for (let i = 0; i < 4 && leaders.length !== 1; i++) {
      this.run(100, quiet);
      leaders = this.#leaders;
    }
    if (leaders.length === 0 && this.#nodes.some(({ raft }) => raft?.isForgetful)) {
      // Too many forgot, and nobody knows for sure: offline until an operator says which log counts.
      this.happened.offline++;
      return;
    }
    assert.equal(leaders.length, 1, `liveness: ${leaders.length} leaders after healing`);
    // Whoever lost its disk comes back as somebody else, and everybody votes in the end.
    const everybody = this.#nodes.map(({ id, directory }): Member => ({ id, directory }));
    for (let i = 0; i < 200 && !this.#haveVoters(everybody); i++) {
      this.#askFor(everybody);
      this.run(50, quiet);
    }
    assert(this.#haveVoters(everybody), 'liveness: a change of membership after healing did not come to an end');
    const leader = this.#nodes.find((node) => node.raft?.role === 'leader')!;
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

  get #leaders(): Node[] {
    return this.#nodes.filter((node) => node.raft?.role === 'leader');
  }

  #haveVoters(wanted: readonly Member[]): boolean {
    const leader = this.#nodes.find((node) => node.raft?.role === 'leader');
    if (leader === undefined) return false;
    const { configuration, committed } = leader.raft!.membership;
    return committed && configuration.outgoing.length === 0 && sameMembers(configuration.voters, wanted);
  }

  /** One step towards these voters: newcomers learn first. */
  #askFor(wanted: readonly Member[]): void {
    const leader = this.#nodes.find((node) => node.raft?.role === 'leader');
    if (leader === undefined) return;
    const { voters, learners } = leader.raft!.membership.configuration;
    const known = (member: Member): boolean => includes(voters, member) || includes(learners, member);
    if (wanted.every(known)) this.#change(leader, { voters: wanted, learners: [] });
    else this.#change(leader, { voters, learners: wanted.filter((member) => !includes(voters, member)) });
  }

  /** Any members, old disks among them. */
  #changeAtRandom(leader: Node): void {
    const { voters, learners } = leader.raft!.membership.configuration;
    const known = [...voters, ...learners];
    const others = this.#nodes.map(({ id, directory }) => ({ id, directory })).filter((node) => !includes(known, node));
    const chosen = known.filter(() => this.#prng.chance(0.75));
    const wanted = chosen.filter(({ id }, i) => chosen.findIndex((other) => other.id === id) === i);
    const newcomers = others.filter(({ id }) => this.#prng.chance(0.5) && !wanted.some((member) => member.id === id));
    const demoted = wanted.filter(() => this.#prng.chance(0.1));
    const staying = wanted.filter((member) => !includes(demoted, member));
    // The dead must stay a minority, or nothing could ever be decided again.
    if (!this.#isSound(staying)) return;
    this.#change(leader, { voters: staying, learners: [...demoted, ...newcomers] });
  }

  #change(leader: Node, wanted: { voters: readonly Member[]; learners: readonly Member[] }): void {
    this.#call(leader, (raft) => {
      const refusal = raft.changeMembership(wanted);
      if (refusal === undefined) this.happened.changes++;
      this.#log(`change ${leader.id} to ${describeConfiguration({ ...wanted, outgoing: [] })}: ${refusal ?? 'begun'}`);
    });
  }

  /** A majority of these voters still has its disk, also without `except`. */
  #isSound(voters: readonly Member[], except = 0): boolean {
    const intact = voters.filter(({ id, directory }) => id !== except && this.#node(id).directory === directory);
    return intact.length > voters.length / 2;
  }

  #wipe(node: Node): void {
    for (const { raft, store } of this.#nodes) {
      const entries = [...store.configurations, ...(raft === undefined ? [] : [raft.membership])];
      for (const { configuration, offset } of entries.slice(-3)) {
        // Those who know nothing don't matter.
        if (offset < 0 && store.end === 0 && this.#referee.committedEnd > 0) continue;
        const { voters, outgoing } = configuration;
        if (voters.length > 0 && !this.#isSound(voters, node.id)) return;
        if (outgoing.length > 0 && !this.#isSound(outgoing, node.id)) return;
      }
    }
    this.#referee.lost(node);
    node.directory = `${node.directory}x`;
    node.store = new MemoryStore(this.#founding);
    this.happened.wipes++;
    this.#log(`wipe ${node.id}, now ${node.directory}`);
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
      const node = this.#prng.pick(this.#nodes);
      const { raft, store } = node;
      const deletable = store.highWatermark - store.logStart;
      if (raft === undefined || deletable <= 0) return;
      // Also inside a batch, which then stays as a whole.
      store.deleteBefore(store.logStart + 1 + this.#prng.below(deletable));
      this.#observe(node, { did: 'delete', to: store.logStart });
    }
  }

  #deliver(): void {
    const isDue = ({ due, message }: Envelope): boolean =>
      due <= this.#step && this.#node(message.to.id).pausedTo <= this.#step;
    const due = this.#network.filter(isDue);
    if (due.length === 0) return;
    this.#network = this.#network.filter((envelope) => !isDue(envelope));
    while (due.length > 0) this.#arrive(due.splice(this.#prng.below(due.length), 1)[0]!);
  }

  #arrive({ message, batches, fromIncarnation, toIncarnation }: Envelope): void {
    const from = this.#node(message.from.id);
    const to = this.#node(message.to.id);
    if (to.raft === undefined || from.incarnation !== fromIncarnation || to.incarnation !== toIncarnation) return;
    if (this.#sides.get(from.id) !== this.#sides.get(to.id)) return;
    if (to.met.get(from.id) !== fromIncarnation) {
      to.met.set(from.id, fromIncarnation);
      this.#observe(to, { did: 'meet', peer: identity(from) });
      this.#call(to, (raft) => raft.peerReset(message.from));
    }
    const arrived = message.type === 'append' ? { ...message, batches } : message;
    this.#call(to, (raft) => raft.step(arrived));
  }

  // ---- what a node does in a step ----

  #live(node: Node): void {
    const weather = this.#weather;
    if (node.raft === undefined) {
      if (this.#prng.chance(weather.wipe)) this.#wipe(node);
      if (this.#prng.chance(weather.restart)) this.#start(node);
      return;
    }
    if (this.#prng.chance(weather.crash)) {
      this.#crash(node);
      return;
    }
    if (node.pausedTo > this.#step) return;
    if (this.#prng.chance(weather.pause)) {
      node.pausedTo = this.#step + this.#prng.below(80);
      this.#log(`pause ${node.id} until ${node.pausedTo}`);
    }
    if (this.#prng.chance(weather.sync) && node.store.pending.length > 0) {
      node.reports.push(node.store.sync(1 + this.#prng.below(node.store.pending.length)));
      this.#observe(node, { did: 'durable', end: node.store.progress.durable });
    }
    // Reports may come late: the log may have been cut meanwhile, and be longer again.
    while (node.reports.length > 0 && this.#prng.chance(weather.report)) this.#report(node, node.reports.shift()!);
    if (this.#prng.chance(weather.tick)) this.#call(node, (raft) => raft.tick());
    if (this.#prng.chance(weather.read)) this.#read(node);
    if (node.raft.role !== 'leader') return;
    if (!node.raft.isTransferring && this.#prng.chance(weather.propose)) this.#propose(node);
    if (this.#prng.chance(weather.transfer)) this.#transfer(node);
    if (this.#prng.chance(weather.change)) this.#changeAtRandom(node);
  }

  #transfer(leader: Node): void {
    const { configuration } = leader.raft!.membership;
    const target = this.#prng.pick([...configuration.voters, ...configuration.outgoing]);
    this.#call(leader, (raft) => {
      if (raft.transferTo(target) === undefined) this.#log(`transfer from ${leader.id} to ${target.id}`);
    });
  }

  #read(node: Node): void {
    this.#asked.push(this.#referee.committedEnd);
    this.#call(node, (raft) => raft.readIndex(this.#asked.length - 1));
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
    const { configuration, ...plain } = batch;
    const stored = configuration === undefined ? plain : { ...plain, configuration: configurationOf(configuration) };
    this.#observe(node, { did: 'append', batch: stored });
    this.#referee.stored(node.id, batch, node.store.batches.at(-1));
    node.store.append(batch);
  }

  #start(node: Node): void {
    const { store } = node;
    node.incarnation++;
    node.met.clear();
    node.leads = undefined;
    node.reports = [];
    store.onDurableState = (state) => {
      this.#observe(node, { did: 'decided', ...state });
      // What else this sync covered: the core may ask the log for its cursors before it returns.
      this.#observe(node, { did: 'durable', end: store.progress.durable });
      this.#call(node, (raft) => raft.hardStateDurable(state));
    };
    const { logStart, end, lastEpoch } = store;
    const { term, vote, forgot } = store.image.state;
    const forgetful = forgot !== undefined;
    if (forgetful) this.happened.forgotten++;
    const found = { term, vote, start: logStart, end, lastEpoch, highWatermark: store.floor, forgetful };
    this.#observe(node, { did: 'start', ...found });
    const options: RaftOptions = {
      self: { id: node.id, directory: node.directory, incarnation: `${node.incarnation}` },
      configurations: store.configurations,
      hardState: store.image.state,
      highWatermark: store.floor,
      progress: store.progress,
      log: store,
      countBy: this.#countBy,
      uncleanRecovery: 'never',
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
    // A sole voter goes on with what is left: what it loses is lost by permission.
    const isAlone = node.store.configurations.slice(-3).some(({ configuration }) => isSoleVoter(configuration, node));
    const power = this.#countBy === 'durable' || (!isAlone && this.#prng.chance(this.#weather.power));
    this.#observe(node, { did: 'crash', power });
    if (power) node.store.cutPower(this.#prng.below(node.store.pending.length + 1));
    else node.store.killProcess();
    if (power && this.#countBy === 'written') node.store.forget();
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
    // What a leader commits stands in its log; what it writes now may follow from that.
    if (node.leads !== undefined) this.#commit(node, ready);
    const isLeader = ready.leadership?.role === 'leader';
    if (isLeader) this.#observe(node, { did: 'lead', term: raft.term });
    else if (ready.leadership !== undefined) this.#observe(node, { did: 'resign' });
    for (const write of ready.writes) {
      if (write.type === 'reset') {
        this.happened.resets++;
        this.#log(`reset ${node.id} from ${store.end} to ${write.logStart}`);
        this.#referee.reset(node.id, write.logStart);
        const { logStart: to, prevEpoch: lastEpoch } = write;
        const { offset, configuration } = write.configuration;
        const known = offset < 0 ? {} : { configuration: configurationOf(configuration) };
        this.#observe(node, { did: 'reset', to, lastEpoch, ...known });
        store.reset(write.logStart, write.prevEpoch, write.configuration);
      } else if (write.type === 'truncate') {
        this.happened.truncations++;
        this.#observe(node, { did: 'truncate', to: write.to });
        this.#log(`truncate ${node.id} from ${store.end} to ${write.to}`);
        store.truncate(write.to);
      } else if (write.type === 'leader-change') {
        const start = store.end;
        this.#store(node, { start, end: start + 1, epoch: write.epoch, bytes: 10, value: -write.epoch });
      } else if (write.type === 'configuration') {
        const { configuration, epoch } = write;
        this.#referee.configured(node.id, raft.term, store.configurations.at(-1)!, configuration);
        if (configuration.outgoing.length > 0) this.happened.promotions++;
        this.#log(`configuration ${describeConfiguration(configuration)} by ${node.id} at ${store.end}`);
        const start = store.end;
        this.#store(node, { start, end: start + 1, epoch, bytes: 10, value: -start, configuration });
      } else {
        const { batches } = write.message as AppendRequest & { batches: readonly StoredBatch[] };
        for (const batch of batches) if (batch.start >= write.from) this.#store(node, batch);
      }
    }
    if (ready.hardState !== undefined) {
      store.saveState(ready.hardState);
      this.#observe(node, { did: 'decide', ...ready.hardState });
    }
    if (ready.forgetful !== undefined) {
      this.#observe(node, { did: ready.forgetful ? 'forget' : 'recover' });
      if (!ready.forgetful) this.happened.recovered++;
      this.#log(`${node.id} ${ready.forgetful ? 'abstains' : 'abstains no more'}`);
    }
    for (const message of ready.messages) this.#send(node, message);
    if (isLeader) {
      this.happened.elections++;
      this.#log(`elected ${node.id} term ${raft.term}`);
      this.#referee.elected(node.id, node.incarnation, raft.term);
    }
    if (node.leads === undefined) this.#commit(node, ready);
    for (const { id, highWatermark } of ready.reads ?? []) {
      if (highWatermark < 0) continue;
      const committed = this.#asked[id]!;
      assert(
        highWatermark >= committed,
        `stale read: node ${node.id} answers ${highWatermark}, ${committed} was committed`,
      );
      this.happened.reads++;
    }
    if (ready.messages.some(({ type }) => type === 'timeout-now')) this.happened.transfers++;
    node.leads = raft.role === 'leader' ? raft.membership.configuration : undefined;
    if (ready.writes.some(({ type }) => type === 'leader-change' || type === 'configuration')) raft.accepted();
    if (ready.writes.length > 0) raft.logProgress(store.progress);
  }

  #commit(node: Node, { highWatermark }: Ready): void {
    if (highWatermark === undefined) return;
    const { store } = node;
    this.#observe(node, { did: 'commit', end: highWatermark });
    this.#referee.committedTo(node.id, node.leads, node.raft!.term, store.highWatermark, highWatermark);
    store.highWatermark = highWatermark;
    this.happened.commits = this.#referee.committed.length;
  }

  #send(node: Node, message: Message): void {
    this.#observeMessage(node, message);
    this.#referee.sent(message);
    const { loss, duplication, delayMax } = this.#weather;
    const batches = message.type === 'append' ? node.store.slice(message.start, message.end) : [];
    const envelope = {
      message,
      batches,
      fromIncarnation: node.incarnation,
      toIncarnation: this.#node(message.to.id).incarnation,
    };
    if (this.#prng.chance(loss)) {
      if (this.#prng.chance(0.2)) node.raft!.peerUnreachable(message.to.id);
      return;
    }
    const copies = this.#prng.chance(duplication) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      this.#network.push({ ...envelope, due: this.#step + 1 + this.#prng.below(delayMax) });
    }
  }

  #observeMessage(node: Node, message: Message): void {
    const { to, term } = message;
    if (message.type === 'vote-reply' && message.granted) {
      this.#observe(node, { did: 'vote', term, candidate: identity(to) });
    } else if ('recovery' in message && message.recovery !== undefined) {
      const { incarnation, end } = message.recovery;
      // What is meant for a process that is over reaches nobody.
      if (incarnation !== `${this.#node(to.id).incarnation}`) return;
      this.#observe(node, { did: 'report', peer: identity(to), end });
    } else if (message.type === 'append-reply' && node.raft!.leader === to.id) {
      const { written, durable } = message;
      this.#observe(node, { did: 'acknowledge', term, leader: identity(to), written, durable });
    }
  }

  #observe(node: Node, step: Unnamed<Step>): void {
    this.#model.observe({ node: identity(node), ...step } as Step);
  }

  #node(id: number): Node {
    return this.#nodes[id - 1]!;
  }

  #log(line: string): void {
    if (process.env['RAFT_TRACE']) console.log(this.#step, line);
    this.trace.push(`${this.#step} ${line}`);
    if (this.trace.length > 60) this.trace.shift();
  }
}
