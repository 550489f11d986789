/**
 * One voter of one Raft group, as a pure state machine: messages, ticks and reports of the log go in, a `Ready` comes out.
 * It has no clock, no timers, no IO and no randomness of its own; the same calls in the same order give the same output.
 *
 * THE DRIVER
 *
 *   const raft = new Raft(options);
 *   after the constructor and after every call below: drain(raft)
 *     every tick                         raft.tick()
 *     a message arrived                  malformed(m) ? close the connection : raft.step(m)
 *     clients' batches were appended     raft.accepted()             (leader only, in the same turn as the append)
 *     the log reports progress           raft.logProgress({ generation, written, durable })
 *     a hard state is on disk            raft.hardStateDurable(state)
 *     a connection broke                 raft.peerUnreachable(id)    (sends nothing by itself; heartbeats will)
 *     a connection was made              raft.peerReset(id)          (the peer may be a new incarnation)
 *
 *   function drain(raft) {
 *     for (let ready = raft.ready(); ready !== undefined; ready = raft.ready()) {
 *       for (const write of ready.writes) perform(write);      // truncate, append, leader-change: now, in order
 *       if (ready.hardState) persist(ready.hardState);         // behind the writes, in one ordered stream
 *       for (const message of ready.messages) send(message);   // append messages: with the bytes of [start, end)
 *       if (ready.highWatermark !== undefined) publish(ready.highWatermark);
 *       if (ready.leadership) announce(ready.leadership);
 *       if (ready.writes.some((write) => write.type === 'leader-change')) raft.accepted();
 *       if (ready.writes.length > 0) raft.logProgress({ generation, written, durable });   // the log's, as they are now
 *     }
 *   }
 *
 * - Writes are *issued* before the next call, not awaited: the log's end moves at once, `written` and `durable` follow.
 * - A truncation must succeed or the node stops. An append may be refused (disk full): to the core it is a lost message.
 * - The messages of one peer's connection must not be delivered once `peerReset` was called for a later one.
 * - `append` messages to one follower, empty ones too, travel in order (on one connection): one that overtakes another is
 *   rejected, and what was on the way is sent again.
 * - A late tick counts once; an overdue tick should first let waiting messages in, or a busy node deposes its leader.
 *
 * WHAT IT PROMISES (asserted; `RaftInvariantError` means stop the node)
 * - at most one leader in a term; one vote per node and term, durable before it is given
 * - no message leaves while the term and vote it was decided under are not durable
 * - the high watermark never goes back, never passes the log's end, and nothing below it is ever cut
 * - a leader counts records of its own epoch only, held by a majority up to their counted cursor
 */
import { Cursors } from './cursors.js';
import { ElectionTimer, upToDate } from './election.js';
import { Following, planAppend } from './following.js';
import { invariant } from './invariant.js';
import { Outbox } from './outbox.js';
import { Ballot } from './quorum.js';
import { Replication, type ReplicationHost } from './replication.js';
import type {
  AppendReply,
  AppendRequest,
  HardState,
  Heartbeat,
  LogProgress,
  LogView,
  LogWrite,
  Message,
  NodeId,
  PeerStatus,
  RaftOptions,
  Ready,
  Role,
  VoteReply,
  VoteRequest,
} from './types.js';
import { malformed, validate } from './validate.js';

export class Raft {
  readonly #id: NodeId;
  readonly #options: RaftOptions;
  readonly #log: LogView;
  readonly #peers: readonly NodeId[];
  readonly #outbox: Outbox;
  readonly #cursors: Cursors;
  readonly #electionTimer: ElectionTimer;
  #role: Role = 'follower';
  #leader: NodeId = 0;
  #ballot: Ballot | undefined;
  #following: Following;
  #replication: Replication | undefined;
  /** Leader: ticks since the last heartbeat, and since check-quorum last looked. */
  #heartbeatElapsed = 0;
  #quorumElapsed = 0;
  #highWatermark: number;
  /** Follower: known to be committed, though the log may not have come that far yet. */
  #committed: number;
  #writes: LogWrite[] = [];
  #published: { role: Role; term: number; leader: NodeId; highWatermark: number };

  /** @throws RangeError for options that cannot work, RaftInvariantError for a start state that contradicts itself. */
  constructor(options: RaftOptions) {
    validate(options);
    this.#options = options;
    this.#id = options.id;
    this.#log = options.log;
    this.#peers = options.voters.filter((voter) => voter !== options.id);
    this.#outbox = new Outbox(options.hardState);
    // A crash can keep the batches of a term and lose the term itself. Nothing was said in that term then: see Outbox.
    if (options.log.lastEpoch > options.hardState.term) this.#outbox.setState({ term: options.log.lastEpoch, vote: 0 });
    this.#cursors = new Cursors(options.progress, options.countBy);
    this.#following = new Following(this.#cursors);
    this.#electionTimer = new ElectionTimer(options.electionTicks, options.random);
    // Retention deletes committed records only.
    this.#highWatermark = Math.max(options.highWatermark, options.log.start);
    this.#committed = this.#highWatermark;
    this.#published = {
      role: 'follower',
      term: options.hardState.term,
      leader: 0,
      highWatermark: options.highWatermark,
    };
    if (this.#peers.length === 0) this.#campaign();
  }

  get role(): Role {
    return this.#role;
  }

  get term(): number {
    return this.#outbox.term;
  }

  /** 0: unknown. */
  get leader(): NodeId {
    return this.#leader;
  }

  get highWatermark(): number {
    return this.#highWatermark;
  }

  /** The leader's view of its followers; empty on any other node. */
  peers(): readonly PeerStatus[] {
    return this.#replication?.status ?? [];
  }

  // ---- what goes in ----

  tick(): void {
    this.#assertWritesTaken();
    if (this.#replication !== undefined) {
      this.#tickLeader(this.#replication);
    } else if (this.#electionTimer.tick()) {
      if (this.#peers.length === 0) this.#campaign();
      else this.#campaignForPreVotes();
    }
  }

  /** Takes a message of a peer. One from a node that is not a voter changes nothing. */
  step(message: Message): void {
    this.#assertWritesTaken();
    invariant(message.to === this.#id, () => `node ${this.#id} was given a message for node ${message.to}`);
    if (!this.#peers.includes(message.from)) return;
    const problem = malformed(message);
    invariant(problem === undefined, () => `malformed message of node ${message.from}: ${problem}`);
    if (message.term < this.term) this.#onLowerTerm(message);
    else if (message.term === this.term || this.#followsHigherTerm(message)) this.#dispatch(message);
  }

  /** Leader: the log's end moved. Replication starts at once, beside the leader's own disk. */
  accepted(): void {
    this.#assertWritesTaken();
    invariant(this.#replication !== undefined, () => `records were appended on node ${this.#id}, a ${this.#role}`);
    this.#replication.replicate();
  }

  logProgress(progress: LogProgress): void {
    this.#assertWritesTaken();
    this.#cursors.update(progress, this.#log.end);
    if (this.#replication !== undefined) {
      this.#advanceLeader(this.#replication);
      return;
    }
    this.#advanceFollower();
    if (this.#leader !== 0 && this.#following.counted > this.#following.reported) this.#acknowledge(this.#leader);
  }

  /** `state` is on disk, and so is every one before it. */
  hardStateDurable(state: HardState): void {
    this.#assertWritesTaken();
    this.#outbox.durable(state);
    // A candidate's vote for itself is a vote: it counts when it cannot be forgotten.
    if (this.#role === 'candidate' && this.#outbox.settled) this.#count(this.#id, true);
  }

  /** What was sent to this peer may be lost. */
  peerUnreachable(id: NodeId): void {
    this.#replication?.unreachable(id);
  }

  /** A new connection, perhaps to a new incarnation of this peer: what it said before counts no more. */
  peerReset(id: NodeId): void {
    this.#assertWritesTaken();
    this.#replication?.reset(id);
  }

  // ---- what comes out ----

  /** What to do now, or undefined. Each thing is given once. */
  ready(): Ready | undefined {
    const published = this.#published;
    const moved = published.highWatermark !== this.#highWatermark;
    const led = published.role !== this.#role || published.term !== this.term || published.leader !== this.#leader;
    if (this.#writes.length === 0 && !this.#outbox.hasOutput && !moved && !led) return undefined;
    const writes = this.#writes;
    this.#writes = [];
    const hardState = this.#outbox.takeState();
    const ready: Ready = {
      writes,
      messages: this.#outbox.takeMessages(),
      ...(hardState && { hardState }),
      ...(moved && { highWatermark: this.#highWatermark }),
      ...(led && { leadership: { role: this.#role, term: this.term, leader: this.#leader } }),
    };
    this.#published = { role: this.#role, term: this.term, leader: this.#leader, highWatermark: this.#highWatermark };
    return ready;
  }

  // ---- terms ----

  /** Every message of a higher term raises ours, except those that pre-vote exists for. False: look no further. */
  #followsHigherTerm(message: Message): boolean {
    switch (message.type) {
      case 'pre-vote':
        return true;
      case 'pre-vote-reply':
        // A grant names the term that was asked for; a refusal names the term of the one who refuses.
        if (message.granted) return true;
        break;
      case 'vote':
        // Somebody who cannot hear our leader must not depose it (dissertation §4.2.3).
        if (this.#hearsLeader()) return false;
        break;
      case 'append':
      case 'heartbeat':
        this.#becomeFollower(message.term, message.from);
        return true;
      default:
        break;
    }
    this.#becomeFollower(message.term, 0);
    return true;
  }

  /** A stale leader or candidate learns the term it missed; stale answers are nobody's business. */
  #onLowerTerm(message: Message): void {
    const reply = { from: this.#id, to: message.from, term: this.term };
    switch (message.type) {
      case 'pre-vote':
      case 'vote':
        this.#outbox.send({ ...reply, type: `${message.type}-reply`, granted: false });
        break;
      case 'append':
        this.#outbox.send({ ...this.#appendReply(message.from), rejectedStart: message.start });
        break;
      case 'heartbeat':
        this.#outbox.send({ ...reply, type: 'heartbeat-reply' });
        break;
      default:
        break;
    }
  }

  #dispatch(message: Message): void {
    switch (message.type) {
      case 'pre-vote':
      case 'vote':
        this.#onVoteRequest(message);
        break;
      case 'pre-vote-reply':
      case 'vote-reply':
        this.#onVoteReply(message);
        break;
      case 'append':
        this.#onAppend(message);
        break;
      case 'heartbeat':
        this.#onHeartbeat(message);
        break;
      case 'append-reply':
        if (this.#replication !== undefined) this.#onAppendReply(this.#replication, message);
        break;
      case 'heartbeat-reply':
        this.#replication?.onHeartbeatReply(message.from);
        break;
    }
  }

  #becomeFollower(term: number, leader: NodeId): void {
    if (term > this.term) {
      this.#outbox.setState({ term, vote: 0 });
      this.#following = new Following(this.#cursors);
    }
    if (this.#role === 'leader' || leader !== 0) this.#electionTimer.reset();
    this.#role = 'follower';
    this.#leader = leader;
    this.#ballot = undefined;
    this.#replication = undefined;
  }

  // ---- elections ----

  /** A leader that is alive as far as we can know: not one election timeout has passed since it spoke. */
  #hearsLeader(): boolean {
    return this.#role === 'leader' || (this.#leader !== 0 && this.#electionTimer.withinLease);
  }

  /** Asks whether an election could be won, in the term it would have, without raising our own. */
  #campaignForPreVotes(): void {
    this.#role = 'pre-candidate';
    this.#leader = 0;
    this.#electionTimer.reset();
    this.#ballot = new Ballot(this.#options.voters.length);
    this.#requestVotes('pre-vote', this.term + 1);
    this.#count(this.#id, true);
  }

  #campaign(): void {
    this.#outbox.setState({ term: this.term + 1, vote: this.#id });
    this.#role = 'candidate';
    this.#leader = 0;
    this.#following = new Following(this.#cursors);
    this.#electionTimer.reset();
    this.#ballot = new Ballot(this.#options.voters.length);
    this.#requestVotes('vote', this.term);
  }

  #requestVotes(type: VoteRequest['type'], term: number): void {
    const { lastEpoch, end } = this.#log;
    for (const to of this.#peers) this.#outbox.send({ type, from: this.#id, to, term, lastEpoch, end });
  }

  #onVoteRequest(request: VoteRequest): void {
    const granted = request.type === 'pre-vote' ? this.#wouldVote(request) : this.#vote(request);
    // A granted pre-vote answers for the term that was asked for, which we have not entered.
    const term = granted ? request.term : this.term;
    this.#outbox.send({ type: `${request.type}-reply`, from: this.#id, to: request.from, term, granted });
  }

  #wouldVote(request: VoteRequest): boolean {
    if (this.#hearsLeader() || !upToDate(request, this.#log)) return false;
    return request.term > this.term || this.#voteIsFreeFor(request.from);
  }

  #vote(request: VoteRequest): boolean {
    if (!this.#voteIsFreeFor(request.from) || !upToDate(request, this.#log)) return false;
    this.#outbox.setState({ term: this.term, vote: request.from });
    this.#electionTimer.reset();
    return true;
  }

  #voteIsFreeFor(candidate: NodeId): boolean {
    return this.#outbox.vote === candidate || (this.#outbox.vote === 0 && this.#leader === 0);
  }

  #onVoteReply(reply: VoteReply): void {
    const preVote = reply.type === 'pre-vote-reply';
    if (this.#role !== (preVote ? 'pre-candidate' : 'candidate')) return;
    // An answer to an earlier campaign.
    if (reply.granted && reply.term !== (preVote ? this.term + 1 : this.term)) return;
    this.#count(reply.from, reply.granted);
  }

  #count(voter: NodeId, granted: boolean): void {
    const ballot = this.#ballot;
    invariant(ballot !== undefined, () => `a ${this.#role} counted a vote`);
    ballot.record(voter, granted);
    const { result } = ballot;
    if (result === 'lost') this.#becomeFollower(this.term, 0);
    else if (result === 'won' && this.#role === 'pre-candidate') this.#campaign();
    else if (result === 'won') this.#becomeLeader();
  }

  // ---- leading ----

  #becomeLeader(): void {
    invariant(this.#outbox.settled, () => `elected in term ${this.term} before the vote for itself was durable`);
    invariant(this.#log.lastEpoch < this.term, () => `the log already has epoch ${this.#log.lastEpoch} ≥ ${this.term}`);
    this.#role = 'leader';
    this.#leader = this.#id;
    this.#ballot = undefined;
    this.#heartbeatElapsed = 0;
    this.#quorumElapsed = 0;
    this.#replication = new Replication(this.#replicationHost(), this.#options);
    // Records of earlier epochs become committed with this batch, and only with it.
    this.#writes.push({ type: 'leader-change', epoch: this.term });
    // Tells everybody who leads, and starts the conflict search beside the write.
    this.#replication.replicate();
  }

  #replicationHost(): ReplicationHost {
    return {
      id: this.#id,
      term: this.term,
      log: this.#log,
      highWatermark: () => this.#highWatermark,
      send: (message) => this.#outbox.send(message),
    };
  }

  #tickLeader(replication: Replication): void {
    if (++this.#quorumElapsed >= this.#options.electionTicks) {
      this.#quorumElapsed = 0;
      // Cut off from the majority: somebody else may be elected, and our clients must not wait for commits.
      if (!replication.quorumActive()) {
        this.#becomeFollower(this.term, 0);
        return;
      }
    }
    if (++this.#heartbeatElapsed >= this.#options.heartbeatTicks) {
      this.#heartbeatElapsed = 0;
      replication.heartbeat();
    }
  }

  #onAppendReply(replication: Replication, reply: AppendReply): void {
    replication.onAppendReply(reply);
    this.#advanceLeader(replication);
  }

  #advanceLeader(replication: Replication): void {
    this.#advanceHighWatermark(replication.committed(this.#cursors.counted));
    replication.replicate();
  }

  // ---- following ----

  #follow(leader: NodeId): void {
    invariant(
      this.#role !== 'leader' && (this.#leader === 0 || this.#leader === leader),
      () => `two leaders in term ${this.term}: node ${this.#leader} and node ${leader}`,
    );
    this.#becomeFollower(this.term, leader);
  }

  #onAppend(message: AppendRequest): void {
    this.#follow(message.from);
    const plan = planAppend(this.#log, this.#highWatermark, message);
    if (!plan.fits) {
      this.#outbox.send({ ...this.#appendReply(message.from), rejectedStart: message.start, hint: plan.hint });
      return;
    }
    if (plan.from >= 0) {
      if (plan.truncateTo >= 0) this.#truncate(plan.truncateTo);
      this.#writes.push({ type: 'append', message, from: plan.from });
    }
    this.#following.verified = Math.max(this.#following.verified, message.end);
    this.#learnCommitted(message.highWatermark);
    // New bytes are answered when the log reports them. All else at once: the leader may be waiting for just this.
    if (plan.from >= 0) return;
    this.#advanceFollower();
    this.#acknowledge(message.from);
  }

  #truncate(to: number): void {
    const { verified } = this.#following;
    invariant(to >= this.#highWatermark, () => `truncation to ${to}, below high watermark ${this.#highWatermark}`);
    invariant(to >= verified, () => `truncation to ${to}, below ${verified} where this leader's log was found equal`);
    this.#cursors.truncate(to);
    this.#writes.push({ type: 'truncate', to });
  }

  #onHeartbeat(message: Heartbeat): void {
    this.#follow(message.from);
    this.#learnCommitted(message.highWatermark);
    this.#advanceFollower();
    this.#outbox.send({ type: 'heartbeat-reply', from: this.#id, to: message.from, term: this.term });
  }

  /** The leader's high watermark says something about our log only as far as ours is known to equal the leader's. */
  #learnCommitted(leadersHighWatermark: number): void {
    this.#committed = Math.max(this.#committed, Math.min(leadersHighWatermark, this.#following.verified));
  }

  #advanceFollower(): void {
    // A batch that the log could not take is verified all the same, so the end of the log has the last word.
    this.#advanceHighWatermark(Math.max(this.#highWatermark, Math.min(this.#committed, this.#log.end)));
  }

  #acknowledge(leader: NodeId): void {
    this.#following.reported = this.#following.counted;
    this.#outbox.send(this.#appendReply(leader));
  }

  #appendReply(to: NodeId): AppendReply {
    return this.#following.reply(this.#id, to, this.term);
  }

  // ---- for all ----

  #advanceHighWatermark(to: number): void {
    invariant(to >= this.#highWatermark, () => `high watermark would go back from ${this.#highWatermark} to ${to}`);
    invariant(to <= this.#log.end, () => `high watermark ${to} would pass the log's end ${this.#log.end}`);
    this.#highWatermark = to;
  }

  #assertWritesTaken(): void {
    invariant(this.#writes.length === 0, () => 'the core was called before the writes of ready() were performed');
  }
}
