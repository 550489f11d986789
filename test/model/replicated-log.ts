/**
 * The reference model: a replicated log with epochs, asynchronous flush and abstention, as a permission for each step. A run
 * tells it step by step what happened on which node; it follows along with state of its own, shares no code with what it
 * watches, and throws at the first step that the protocol (docs/RAFT.md) does not permit.
 *
 * Steps are told when the node makes them, in its order: `lead` before the batch that begins the epoch, the `decide` of a
 * vote before its `vote`, `durable` and `decided` when the disk has it, before the core hears of it. Messages that are lost
 * need not be told of.
 */
import { type Batch, type Configuration, type Found, type NodeId, Replica } from './replica.js';

export type Step = { readonly node: NodeId } & (
  | ({ readonly did: 'start' } & Found)
  | { readonly did: 'crash'; readonly power: boolean }
  /** A hard state is issued; it is on disk, with everything issued before it. */
  | { readonly did: 'decide' | 'decided'; readonly term: number; readonly vote: number }
  | { readonly did: 'append'; readonly batch: Batch }
  | { readonly did: 'truncate' | 'delete'; readonly to: number }
  /** The log is emptied and goes on here: what it lacks is deleted everywhere. */
  | { readonly did: 'reset'; readonly to: number; readonly lastEpoch: number; readonly configuration?: Configuration }
  /** The log is on disk up to here. */
  | { readonly did: 'durable'; readonly end: number }
  /** A granted vote leaves. */
  | { readonly did: 'vote'; readonly term: number; readonly candidate: NodeId }
  | { readonly did: 'lead'; readonly term: number }
  | { readonly did: 'resign' }
  | ({ readonly did: 'acknowledge' } & Acknowledgement)
  /** It knows the present incarnation of this peer. */
  | { readonly did: 'meet'; readonly peer: NodeId }
  | { readonly did: 'commit'; readonly end: number }
  /** A leader tells a forgetful follower its log end. */
  | { readonly did: 'report'; readonly peer: NodeId; readonly end: number }
  /** It marks itself forgetful without a power cut; it is no longer forgetful. */
  | { readonly did: 'forget' | 'recover' }
);

/** Leaves the node: "my log equals that of the leader of this term up to these cursors". */
interface Acknowledgement {
  readonly term: number;
  readonly leader: NodeId;
  readonly written: number;
  readonly durable: number;
}

/** A candidate as its vote requests describe it. */
interface Candidate {
  readonly node: NodeId;
  readonly end: number;
  readonly lastEpoch: number;
  readonly led: number;
}

type Permit = (permitted: boolean, why: string) => void;

export class ModelError extends Error {}

export class ReplicatedLogModel {
  readonly #founders: Configuration;
  readonly #countBy: 'durable' | 'written';
  readonly #replicas = new Map<NodeId, Replica>();
  readonly #leaders = new Map<number, NodeId>();
  /** By term and number. */
  readonly #candidates = new Map<string, Candidate>();
  /** By term and voter. */
  readonly #votes = new Map<string, NodeId>();
  /** Log matching: what was stored at (epoch, start), and behind what. */
  readonly #stored = new Map<string, { readonly batch: Batch; readonly previous: string }>();
  /** By term, node and incarnation. */
  readonly #acknowledged = new Map<string, number>();
  /** Every committed batch in order, with the first term that committed it. */
  readonly #committed: { readonly batch: Batch; term: number }[] = [];
  #steps = 0;

  /** @param founders who the voters are where the log does not say */
  constructor(founders: Configuration, countBy: 'durable' | 'written') {
    this.#founders = founders;
    this.#countBy = countBy;
  }

  get committedEnd(): number {
    return this.#committed.at(-1)?.batch.end ?? 0;
  }

  /** @throws ModelError when the protocol does not permit this step here */
  observe(step: Step): void {
    this.#steps++;
    const { node } = step;
    const replica = this.#replica(node);
    const permit: Permit = (permitted, why) => {
      if (!permitted) throw new ModelError(`step ${this.#steps}, ${JSON.stringify(step)}, is not permitted: ${why}`);
    };
    permit(replica.up === (step.did !== 'start'), replica.up ? 'it runs already' : 'it is down');
    switch (step.did) {
      case 'start':
        this.#start(replica, step, permit);
        break;
      case 'crash':
        replica.mustForget = step.power && this.#countBy === 'written';
        replica.crash(step.power);
        break;
      case 'decide':
        this.#decide(node, replica, step.term, step.vote, permit);
        break;
      case 'decided':
        replica.stateDurable(step);
        break;
      case 'append':
        this.#append(replica, step.batch, permit);
        break;
      case 'truncate':
        this.#truncate(replica, step.to, permit);
        break;
      case 'delete':
        permit(step.to <= replica.highWatermark, 'only what is committed may be deleted');
        replica.deleteBefore(step.to);
        break;
      case 'reset':
        permit(!replica.leads, 'a leader never empties its log');
        permit(step.to >= replica.highWatermark, `its high watermark is ${replica.highWatermark}`);
        permit(step.to <= this.committedEnd, `only ${this.committedEnd} was ever committed`);
        replica.reset(step.to, step.lastEpoch, step.configuration);
        break;
      case 'durable':
        replica.durableTo(step.end);
        break;
      case 'vote':
        this.#vote(node, replica, step.term, step.candidate, permit);
        break;
      case 'lead':
        this.#lead(node, replica, step.term, permit);
        break;
      case 'resign':
        replica.leads = false;
        break;
      case 'acknowledge':
        this.#acknowledge(node, replica, step, permit);
        break;
      case 'meet':
        replica.met.set(step.peer, this.#replica(step.peer).incarnation);
        replica.metEnd.set(step.peer, replica.end);
        break;
      case 'commit':
        this.#commit(node, replica, step.end, permit);
        break;
      case 'report':
        this.#report(replica, step.peer, step.end, permit);
        break;
      case 'forget':
        replica.forgot ??= replica.term;
        replica.leads = false;
        replica.led = 0;
        break;
      case 'recover':
        this.#recover(replica, permit);
        break;
    }
  }

  #start(replica: Replica, found: Found, permit: Permit): void {
    const forgetful = found.forgetful ?? false;
    permit(forgetful || replica.forgot === undefined, 'it was forgetful, and that is durable');
    // Whoever was in no term has acknowledged nothing.
    const hasForgotten = replica.mustForget && found.term > 0;
    permit(forgetful || !hasForgotten, 'the power failed: it may have forgotten what it acknowledged');
    permit(found.highWatermark <= this.committedEnd, `only ${this.committedEnd} was ever committed`);
    permit(replica.restart(found), 'no crash of what this node had can have left that');
    if (forgetful) replica.forgot ??= found.term;
  }

  // ---- the log ----

  #append(replica: Replica, batch: Batch, permit: Permit): void {
    const last = replica.log.at(-1);
    // An empty log may end inside the batch that comes.
    const holdsEnd = last === undefined && batch.start < replica.end && batch.end > replica.end;
    permit((batch.start === replica.end && batch.end > batch.start) || holdsEnd, `the log ends at ${replica.end}`);
    permit(batch.epoch >= replica.lastEpoch, 'epochs never go back');
    const previous = last === undefined ? '' : keyOf(last);
    const stored = this.#stored.get(keyOf(batch));
    if (stored === undefined) {
      permit(replica.leads && batch.epoch === replica.term, 'only the leader of an epoch makes batches of it');
      this.#stored.set(keyOf(batch), { batch, previous });
    } else {
      permit(!replica.leads, 'a leader appends only what is new');
      permit(sameBatch(stored.batch, batch), `log matching: it was ${JSON.stringify(stored.batch)}`);
      // Behind what retention has deleted anything may have been.
      const joins = previous === '' || stored.previous === '' || stored.previous === previous;
      permit(joins, `log matching: it was stored behind ${stored.previous}`);
    }
    replica.append(stored?.batch ?? batch);
  }

  #truncate(replica: Replica, to: number, permit: Permit): void {
    permit(!replica.leads, 'a leader never cuts its log');
    permit(to >= replica.highWatermark, `its high watermark is ${replica.highWatermark}`);
    const cut = replica.slice(to, replica.end);
    permit(cut[0] === undefined || cut[0].start === to, 'that is inside a batch');
    permit(!cut.some((batch) => this.#committedAt(batch.start)?.batch === batch), 'some of it is committed');
    replica.truncate(to);
  }

  // ---- elections ----

  #decide(node: NodeId, replica: Replica, term: number, vote: number, permit: Permit): void {
    permit(term >= replica.term, `it was in term ${replica.term}`);
    const voted = term === replica.term ? replica.vote : 0;
    permit(voted === 0 || voted === vote, `it has voted for node ${voted} in this term`);
    if (vote === numberOf(node) && voted !== vote) {
      permit(term > replica.term, 'a campaign begins a term');
      permit(replica.forgot === undefined, 'a forgetful replica does not campaign');
      const { end, lastEpoch, led } = replica;
      this.#candidates.set(`${term}:${vote}`, { node, end, lastEpoch, led });
    } else if (vote !== 0 && voted !== vote) {
      const candidate = this.#candidates.get(`${term}:${vote}`);
      permit(candidate !== undefined, `node ${vote} is no candidate of that term`);
      this.#judge(replica, candidate!, permit);
    }
    if (term > replica.term) replica.leads = false;
    replica.decide({ term, vote });
  }

  /** The candidate's log must be as good as the voter's; who forgot can't compare, and knows only who led what it forgot. */
  #judge({ lastEpoch, end, forgot }: Replica, candidate: Candidate, permit: Permit): void {
    if (forgot !== undefined) {
      permit(candidate.led > 0 && candidate.led >= forgot, `it forgot in ${forgot}, who asks led ${candidate.led}`);
      return;
    }
    const asGood = candidate.lastEpoch === lastEpoch ? candidate.end >= end : candidate.lastEpoch > lastEpoch;
    permit(asGood, `its log (epoch ${lastEpoch}, end ${end}) is better than ${JSON.stringify(candidate)}`);
  }

  #vote(node: NodeId, replica: Replica, term: number, candidate: NodeId, permit: Permit): void {
    const { diskState } = replica;
    permit(
      diskState.term === term && diskState.vote === numberOf(candidate),
      `its disk says ${JSON.stringify(diskState)}`,
    );
    this.#votes.set(`${term}:${node}`, candidate);
  }

  #lead(node: NodeId, replica: Replica, term: number, permit: Permit): void {
    permit(replica.term === term && replica.forgot === undefined, `it is in term ${replica.term}, or forgetful`);
    permit(!this.#leaders.has(term), `election safety: node ${this.#leaders.get(term)} led that term`);
    this.#vote(node, replica, term, node, permit);
    const voted = (voter: NodeId): boolean => this.#votes.get(`${term}:${voter}`) === node;
    permit(this.#isQuorum(replica, voted), 'no majority voted for it');
    const last = this.#committed.findLast((entry) => entry.term < term)?.batch;
    const complete = last === undefined || last.end <= replica.start || replica.log.includes(last);
    permit(complete, `leader completeness: it lacks the committed ${JSON.stringify(last)}`);
    this.#leaders.set(term, node);
    replica.leads = true;
    replica.led = term;
  }

  // ---- replication ----

  #acknowledge(node: NodeId, replica: Replica, ack: Acknowledgement, permit: Permit): void {
    const { term, written, durable } = ack;
    permit(replica.term === term && replica.diskState.term === term, `it is in term ${replica.term}`);
    permit(this.#leaders.get(term) === ack.leader, `node ${ack.leader} never led that term`);
    permit(durable <= written && written <= replica.end, `its log ends at ${replica.end}`);
    permit(durable <= replica.durable, `its disk has the log up to ${replica.durable}`);
    const counted = this.#countBy === 'durable' ? durable : written;
    const agrees = this.#agreesWithLeader(replica, counted);
    permit(agrees, `its log does not equal the leader's up to ${counted}`);
    // A forgetful replica counts for no commit.
    if (replica.forgot !== undefined) return;
    const key = `${term}:${node}:${replica.incarnation}`;
    this.#acknowledged.set(key, Math.max(this.#acknowledged.get(key) ?? 0, counted));
  }

  /** Nothing is known of a leader that leads no more: it does not matter then. */
  #agreesWithLeader(replica: Replica, end: number): boolean {
    const leader = this.#replica(this.#leaders.get(replica.term)!);
    if (!leader.leads || leader.term !== replica.term || end <= leader.start || end <= replica.start) return true;
    const last = replica.log.find((batch) => batch.end >= end)!;
    return leader.log.includes(last);
  }

  #commit(node: NodeId, replica: Replica, end: number, permit: Permit): void {
    const { highWatermark, term } = replica;
    permit(end >= highWatermark && end <= replica.end, `high watermark ${highWatermark}, log end ${replica.end}`);
    const batches = replica.slice(highWatermark, end);
    permit(batches.length === 0 || batches.at(-1)!.end === end, 'that is inside a batch');
    const added = batches.filter((batch) => batch.start >= this.committedEnd);
    for (const batch of batches.slice(0, batches.length - added.length)) {
      const entry = this.#committedAt(batch.start);
      permit(entry?.batch === batch, `state-machine safety: at ${batch.start} another batch is committed`);
      if (replica.leads) entry!.term = Math.min(entry!.term, term);
    }
    if (added.length === 0) {
      replica.highWatermark = end;
      return;
    }
    permit(replica.leads, 'no leader has committed it');
    permit(added.at(-1)!.epoch === term, `epoch ${added.at(-1)!.epoch} is not its own: it may not commit it by count`);
    const own = this.#countBy === 'durable' ? replica.durable : replica.end;
    const holds = (voter: NodeId): boolean => (voter === node ? own : this.#heardOf(replica, voter)) >= end;
    permit(this.#isQuorum(replica, holds), 'no majority has acknowledged it');
    for (const batch of added) this.#committed.push({ batch, term });
    replica.highWatermark = end;
  }

  /** The most that a voter acknowledged to this leader, except in incarnations that the leader knows to be over. */
  #heardOf(leader: Replica, voter: NodeId): number {
    let end = 0;
    for (let i = leader.met.get(voter) ?? 0; i <= this.#replica(voter).incarnation; i++) {
      end = Math.max(end, this.#acknowledged.get(`${leader.term}:${voter}:${i}`) ?? 0);
    }
    return end;
  }

  // ---- abstention ----

  #report(leader: Replica, peer: NodeId, end: number, permit: Permit): void {
    const follower = this.#replica(peer);
    const seen = leader.metEnd.get(peer) ?? 0;
    permit(leader.leads && end >= seen && end <= leader.end, `a leader reports its log end, ${seen} to ${leader.end}`);
    permit(leader.met.get(peer) === follower.incarnation, 'it has not seen this incarnation');
    // Reports can overtake each other: the first one of a term asks the least.
    if ((follower.told?.term ?? -1) < leader.term) follower.told = { term: leader.term, end };
  }

  /** It holds the log end that a leader of its term reported after having seen this incarnation. */
  #recover(replica: Replica, permit: Permit): void {
    const { told, forgot, term } = replica;
    permit(forgot !== undefined, 'it is not forgetful');
    permit(told?.term === term, `no leader of term ${term} has reported its log end to it`);
    permit(replica.end >= told!.end, `its log ends at ${replica.end}, before the reported ${told!.end}`);
    permit(this.#agreesWithLeader(replica, told!.end), "its log does not equal the leader's");
    replica.forgot = undefined;
  }

  // ---- for all ----

  #isQuorum(replica: Replica, does: (voter: NodeId) => boolean): boolean {
    const { voters, outgoing } = replica.configuration(this.#founders);
    return [voters, outgoing].every((group) => group.length === 0 || group.filter(does).length > group.length / 2);
  }

  #committedAt(start: number): { readonly batch: Batch; term: number } | undefined {
    let [low, high] = [0, this.#committed.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#committed[middle]!.batch.start < start) low = middle + 1;
      else high = middle;
    }
    const entry = this.#committed[low];
    return entry?.batch.start === start ? entry : undefined;
  }

  #replica(id: NodeId): Replica {
    const replica = this.#replicas.get(id) ?? new Replica();
    this.#replicas.set(id, replica);
    return replica;
  }
}

const numberOf = (node: NodeId): number => Number.parseInt(`${node}`, 10);
const keyOf = ({ epoch, start }: Batch): string => `${epoch}:${start}`;

function sameBatch(a: Batch, b: Batch): boolean {
  return a.start === b.start && a.end === b.end && a.epoch === b.epoch && a.value === b.value;
}
