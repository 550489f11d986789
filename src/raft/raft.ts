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
 *     a connection was made              raft.peerReset(sender)      (the peer may be a new incarnation)
 *     who the replicas are shall change  raft.changeMembership(…)    (leader only; a sentence says why not)
 *     another node shall lead            raft.transferTo(member)     (leader only; append nothing while isTransferring)
 *     a reader wants to see all          raft.readIndex(id)          (answered by ready.reads)
 *
 *   function drain(raft) {
 *     for (let ready = raft.ready(); ready !== undefined; ready = raft.ready()) {
 *       for (const write of ready.writes) perform(write);      // truncate, append, control batches: now, in order
 *       if (ready.hardState) persist(ready.hardState);         // behind the writes, in one ordered stream
 *       for (const message of ready.messages) send(message);   // append messages: with the bytes of [start, end)
 *       if (ready.highWatermark !== undefined) publish(ready.highWatermark);
 *       if (ready.leadership) announce(ready.leadership);
 *       if (ready.membership) connect(ready.membership);
 *       if (ready.writes.some(ofItsOwn)) raft.accepted();      // leader-change, configuration
 *       if (ready.writes.length > 0) raft.logProgress({ generation, written, durable });   // the log's, as they are now
 *     }
 *   }
 *
 * - Writes are *issued* before the next call, not awaited: the log's end moves at once, `written` and `durable` follow.
 * - A truncation must succeed or the node stops. An append may be refused (disk full): to the core it is a lost message.
 * - Who sent a message is known from its connection: node id, directory id and incarnation id, as the handshake said. A
 *   message goes out only to the directory it is addressed to, and only over a connection to the present incarnation.
 * - The messages of one peer's connection must not be delivered once `peerReset` was called for a later one.
 * - Batches that hold a configuration come with it decoded, and leader-change and configuration batches take one offset.
 * - `append` messages to one follower, empty ones too, travel in order (on one connection): one that overtakes another is
 *   rejected, and what was on the way is sent again.
 * - A late tick counts once; an overdue tick should first let waiting messages in, or a busy node deposes its leader.
 *
 * WHAT IT PROMISES (asserted; `RaftInvariantError` means stop the node)
 * - at most one leader in a term; one vote per node and term, durable before it is given
 * - no message leaves while the term and vote it was decided under are not durable
 * - the high watermark never goes back, never passes the log's end, and nothing below it is ever cut
 * - a leader counts records of its own epoch only, held by a majority up to their counted cursor
 * - only voters of the configuration in effect are counted, by node and directory id: a disk that was replaced is nobody
 */
import { Abstention } from './abstention.js';
import { Configurations } from './configurations.js';
import { Cursors } from './cursors.js';
import { ElectionTimer } from './election.js';
import { Follower } from './follower.js';
import { invariant } from './invariant.js';
import { Leadership } from './leadership.js';
import { isMember, isSoleVoter, isVoter, membersOf, sameMember } from './membership.js';
import type { ProposedMembership } from './membership-change.js';
import { Outbox } from './outbox.js';
import { Ballot } from './quorum.js';
import type {
  Configuration,
  HardState,
  LogProgress,
  LogView,
  LogWrite,
  Member,
  Membership,
  Message,
  NodeId,
  PeerStatus,
  RaftOptions,
  Read,
  Ready,
  Role,
  Sender,
  TimeoutNow,
  VoteReply,
  VoteRequest,
} from './types.js';
import { malformed, validate } from './validate.js';
import { Voter } from './voter.js';

type Outcomes = Pick<Ready, 'changeFailed' | 'transferFailed' | 'unclean' | 'reads'>;

/** What the driver was told last. */
interface Published {
  readonly role: Role;
  readonly term: number;
  readonly leader: NodeId;
  readonly highWatermark: number;
  /** Of the configuration in effect. */
  readonly offset: number;
  readonly committed: boolean;
  readonly forgetful: boolean;
}

export class Raft {
  readonly #self: Sender;
  readonly #options: RaftOptions;
  readonly #log: LogView;
  readonly #configurations: Configurations;
  readonly #outbox: Outbox;
  readonly #cursors: Cursors;
  readonly #electionTimer: ElectionTimer;
  #role: Role = 'follower';
  #leader: Member | undefined;
  readonly #voter: Voter;
  readonly #abstention: Abstention;
  #ballot: Ballot | undefined;
  readonly #follower: Follower;
  #leadership: Leadership | undefined;
  #highWatermark: number;
  #writes: LogWrite[] = [];
  #outcomes: Outcomes | undefined;
  #published: Published;

  /** @throws RangeError for options that cannot work, RaftInvariantError for a start state that contradicts itself. */
  constructor(options: RaftOptions) {
    validate(options);
    this.#options = options;
    this.#self = options.self;
    this.#log = options.log;
    this.#configurations = new Configurations(options.configurations);
    this.#outbox = new Outbox(options.hardState);
    // A crash can keep the batches of a term and lose the term itself. Nothing was said in that term then: see Outbox.
    const { lastEpoch } = options.log;
    if (lastEpoch > options.hardState.term) this.#outbox.setState({ ...options.hardState, term: lastEpoch, vote: 0 });
    this.#cursors = new Cursors(options.progress, options.countBy);
    const { self, log, uncleanRecovery } = options;
    this.#abstention = new Abstention({ self, log, uncleanRecovery, outbox: this.#outbox, cursors: this.#cursors });
    this.#voter = new Voter(this.#outbox, this.#abstention);
    this.#electionTimer = new ElectionTimer(options.electionTicks, options.random);
    // Retention deletes committed records only.
    this.#highWatermark = Math.max(options.highWatermark, options.log.start);
    this.#follower = new Follower(this.#followerHost());
    this.#configurations.committedTo(this.#highWatermark);
    this.#published = {
      role: 'follower',
      term: options.hardState.term,
      leader: 0,
      highWatermark: options.highWatermark,
      offset: this.membership.offset,
      committed: this.membership.committed,
      forgetful: this.#abstention.isForgetful,
    };
    if (this.#isAlone) this.#leadAlone();
  }

  get role(): Role {
    return this.#role;
  }

  get term(): number {
    return this.#outbox.term;
  }

  /** 0: unknown. */
  get leader(): NodeId {
    return this.#leader?.id ?? 0;
  }

  get highWatermark(): number {
    return this.#highWatermark;
  }

  /** It abstains, because it lost something that it may have acknowledged. */
  get isForgetful(): boolean {
    return this.#abstention.isForgetful;
  }

  /** The configuration in effect here. */
  get membership(): Membership {
    const { offset, configuration } = this.#configurations.last;
    return { offset, configuration, committed: offset < this.#highWatermark };
  }

  /** The leader's view of its followers; empty on any other node. */
  peers(): readonly PeerStatus[] {
    return this.#leadership?.peers ?? [];
  }

  // ---- what goes in ----

  tick(): void {
    this.#assertWritesTaken();
    if (this.#leadership !== undefined) {
      this.#leadership.tick();
    } else if (this.#electionTimer.tick()) {
      if (!this.#configurations.mayCampaign(this.#self)) this.#loseLeader();
      else if (this.#isAlone) this.#leadAlone();
      else if (this.#abstention.mayCampaign()) this.#campaignForPreVotes();
      else this.#loseLeader();
    }
  }

  /** Takes a message of a peer. One that is meant for another disk, and an answer of no member, change nothing. */
  step(message: Message): void {
    this.#assertWritesTaken();
    const { from, to } = message;
    invariant(to.id === this.#self.id, () => `node ${this.#self.id} was given a message for node ${to.id}`);
    if (!sameMember(to, this.#self) || from.id === to.id || !this.#listensTo(message)) return;
    const problem = malformed(message);
    invariant(problem === undefined, () => `malformed message of node ${from.id}: ${problem}`);
    if (message.term < this.term) this.#onLowerTerm(message);
    else if (message.term === this.term || this.#followsHigherTerm(message)) this.#dispatch(message);
  }

  /** Leader: the log's end moved. Replication starts at once, beside the leader's own disk. */
  accepted(): void {
    this.#assertWritesTaken();
    invariant(this.#leadership !== undefined, () => `records were appended on node ${this.#self.id}, a ${this.#role}`);
    this.#leadership.replicate();
  }

  logProgress(progress: LogProgress): void {
    this.#assertWritesTaken();
    this.#cursors.update(progress, this.#log.end);
    // An append that the log could not take brought no configuration.
    this.#configurations.truncateTo(this.#log.end);
    if (this.#leadership !== undefined) {
      this.#leadership.advance();
      return;
    }
    this.#follower.onProgress(this.#leader);
  }

  /** `state` is on disk, and so is every one before it. */
  hardStateDurable(state: HardState): void {
    this.#assertWritesTaken();
    this.#outbox.durable(state);
    // A candidate's vote for itself is a vote: it counts when it cannot be forgotten.
    if (this.#role === 'candidate' && this.#outbox.settled) this.#count(this.#self, true);
  }

  /** What was sent to this node may be lost. */
  peerUnreachable(id: NodeId): void {
    this.#leadership?.unreachable(id);
  }

  /** A new connection, perhaps to a new incarnation of this peer: what it said before counts no more. */
  peerReset(peer: Sender): void {
    this.#assertWritesTaken();
    this.#leadership?.reset(peer);
  }

  /**
   * Leader: replaces the configuration. New voters must be learners now, and are waited for until they have caught up;
   * what came of it is told by `Ready.membership` and `Ready.changeFailed`.
   * @returns why it is refused, a sentence; undefined: it has begun
   */
  changeMembership(proposed: ProposedMembership): string | undefined {
    this.#assertWritesTaken();
    if (this.#leadership === undefined) return 'this node does not lead the group: ask its leader';
    return this.#leadership.changeMembership(proposed);
  }

  /** Leader: asks this voter to lead. @returns why it is refused, a sentence; undefined: it has begun */
  transferTo(target: Member): string | undefined {
    this.#assertWritesTaken();
    if (this.#leadership === undefined) return 'this node does not lead the group: ask its leader';
    return this.#leadership.transferTo(target);
  }

  /** Leader: another node is about to lead, and must have the whole log for that. Append nothing meanwhile. */
  get isTransferring(): boolean {
    return this.#leadership?.isTransferring ?? false;
  }

  /** Asks how far one must have read to have seen everything that is acknowledged by now; `ready().reads` answers. */
  readIndex(id: number): void {
    this.#assertWritesTaken();
    if (this.#leadership === undefined) this.#answer({ id, highWatermark: -1 });
    else this.#leadership.readIndex(id);
  }

  /** Something that this node acknowledged is gone: it abstains until it holds a leader's whole log again. */
  forget(): void {
    this.#assertWritesTaken();
    if (this.#role !== 'follower') this.#becomeFollower(this.term, undefined);
    this.#abstention.mark();
  }

  // ---- what comes out ----

  /** What to do now, or undefined. Each thing is given once. */
  ready(): Ready | undefined {
    const published = this.#published;
    const { role, term, leader, isForgetful: forgetful } = this;
    const { offset } = this.#configurations.last;
    const committed = offset < this.#highWatermark;
    const moved = published.highWatermark !== this.#highWatermark;
    const led = published.role !== role || published.term !== term || published.leader !== leader;
    const changed = published.offset !== offset || published.committed !== committed;
    const outcomes = this.#outcomes;
    const abstains = published.forgetful !== forgetful;
    const told = moved || led || changed || abstains || outcomes !== undefined;
    if (this.#writes.length === 0 && !this.#outbox.hasOutput && !told) return undefined;
    const writes = this.#writes;
    this.#writes = [];
    this.#outcomes = undefined;
    const hardState = this.#outbox.takeState();
    const ready: Ready = {
      writes,
      messages: this.#outbox.takeMessages(),
      ...(hardState && { hardState }),
      ...(moved && { highWatermark: this.#highWatermark }),
      ...(led && { leadership: { role, term, leader } }),
      ...(changed && { membership: this.membership }),
      ...(abstains && { forgetful }),
      ...outcomes,
    };
    this.#published = { role, term, leader, highWatermark: this.#highWatermark, offset, committed, forgetful };
    return ready;
  }

  #answer(read: Read): void {
    this.#outcomes = { ...this.#outcomes, reads: [...(this.#outcomes?.reads ?? []), read] };
  }

  // ---- terms ----

  /**
   * Requests are judged by what they say, whoever sends them: a follower whose configuration is old must still hear the
   * leader and vote. But nobody who holds no record and is no member may be elected: a disk that was wiped, and made
   * itself a configuration, would find those who have not stored anything yet. Answers count from members only.
   */
  #listensTo(message: Message): boolean {
    switch (message.type) {
      case 'append':
      case 'heartbeat':
      case 'reset':
      case 'timeout-now':
        return true;
      case 'pre-vote':
      case 'vote':
        return message.lastEpoch >= 0 || this.#isMember(message.from);
      default:
        return this.#isMember(message.from);
    }
  }

  #isMember(sender: Member): boolean {
    return isMember(this.#configurations.current, sender);
  }

  get #isAlone(): boolean {
    return isSoleVoter(this.#configurations.current, this.#self);
  }

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
        // Somebody who cannot hear our leader must not depose it (dissertation §4.2.3), unless the leader asked for it.
        if (this.#hearsLeader() && !message.transfer) return false;
        break;
      case 'append':
      case 'heartbeat':
      case 'reset':
        this.#becomeFollower(message.term, message.from);
        return true;
      default:
        break;
    }
    this.#becomeFollower(message.term, undefined);
    return true;
  }

  /** A stale leader or candidate learns the term it missed; stale answers are nobody's business. */
  #onLowerTerm(message: Message): void {
    const reply = { from: this.#self, to: message.from, term: this.term };
    switch (message.type) {
      case 'pre-vote':
      case 'vote':
        this.#outbox.send({ ...reply, type: `${message.type}-reply`, granted: false });
        break;
      case 'append':
        this.#follower.reject(message);
        break;
      case 'heartbeat':
      case 'reset':
        this.#outbox.send({ ...reply, type: 'heartbeat-reply', round: 0, forgetful: this.isForgetful });
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
        this.#follow(message.from);
        this.#follower.onAppend(message);
        break;
      case 'heartbeat':
        this.#follow(message.from);
        this.#follower.onHeartbeat(message);
        break;
      case 'append-reply':
        this.#leadership?.onAppendReply(message);
        break;
      case 'heartbeat-reply':
        this.#leadership?.onHeartbeatReply(message);
        break;
      case 'reset':
        this.#follow(message.from);
        this.#follower.onReset(message);
        break;
      case 'timeout-now':
        this.#onTimeoutNow(message);
        break;
    }
  }

  #becomeFollower(term: number, leader: Member | undefined): void {
    if (term > this.term) {
      this.#voter.enter(term);
      this.#follower.newTerm();
    }
    if (this.#role === 'leader' || leader !== undefined) this.#electionTimer.reset();
    this.#role = 'follower';
    this.#leader = leader;
    if (leader !== undefined) this.#abstention.noteLeader();
    this.#ballot = undefined;
    this.#leadership?.end();
    this.#leadership = undefined;
  }

  /** Who can't be elected only learns that nobody leads it. */
  #loseLeader(): void {
    this.#electionTimer.reset();
    this.#leader = undefined;
  }

  // ---- elections ----

  /** A leader that is alive as far as we can know: not one election timeout has passed since it spoke. */
  #hearsLeader(): boolean {
    return this.#role === 'leader' || (this.#leader !== undefined && this.#electionTimer.withinLease);
  }

  /** Asks whether an election could be won, in the term it would have, without raising our own. */
  #campaignForPreVotes(): void {
    this.#role = 'pre-candidate';
    this.#leader = undefined;
    this.#electionTimer.reset();
    this.#ballot = new Ballot(this.#configurations.current);
    this.#requestVotes('pre-vote', this.term + 1, false);
    this.#count(this.#self, true);
  }

  /** A group of one goes on with what it has: nobody has more. */
  #leadAlone(): void {
    if (this.isForgetful) this.#goOnWith('this replica is the only voter');
    this.#campaign();
  }

  #goOnWith(why: string): void {
    const { forgot } = this.#outbox.state;
    const { end, lastEpoch } = this.#log;
    this.#outcomes = {
      ...this.#outcomes,
      unclean: `${why}, and lost what was not on its disk in term ${forgot}: its log ends at ${end} (epoch ${lastEpoch}), records from its high watermark ${this.#highWatermark} on that were acknowledged and are not in it are lost`,
    };
    this.#abstention.end();
  }

  #campaign(transfer = false): void {
    this.#voter.campaign(this.#self);
    this.#role = 'candidate';
    this.#leader = undefined;
    this.#follower.newTerm();
    this.#electionTimer.reset();
    this.#ballot = new Ballot(this.#configurations.current);
    this.#requestVotes('vote', this.term, transfer);
  }

  #requestVotes(type: VoteRequest['type'], term: number, transfer: boolean): void {
    const { lastEpoch, end } = this.#log;
    for (const to of membersOf(this.#configurations.current)) {
      if (sameMember(to, this.#self) || !isVoter(this.#configurations.current, to)) continue;
      this.#outbox.send({ type, from: this.#self, to, term, lastEpoch, end, transfer, led: this.#abstention.led });
    }
  }

  #onVoteRequest(request: VoteRequest): void {
    const granted = request.type === 'pre-vote' ? this.#wouldVote(request) : this.#vote(request);
    // A granted pre-vote answers for the term that was asked for, which we have not entered.
    const term = granted ? request.term : this.term;
    this.#outbox.send({ type: `${request.type}-reply`, from: this.#self, to: request.from, term, granted });
  }

  #wouldVote(request: VoteRequest): boolean {
    return !this.#hearsLeader() && this.#voter.wouldVote(request, this.#leader !== undefined);
  }

  #vote(request: VoteRequest): boolean {
    const granted = this.#voter.vote(request, this.#leader !== undefined);
    if (granted) this.#electionTimer.reset();
    return granted;
  }

  /** Without pre-vote: the leader has chosen us, and our log is as long as its own. */
  #onTimeoutNow({ from }: TimeoutNow): void {
    if (this.#role !== 'follower' || !this.#configurations.mayCampaign(this.#self) || this.isForgetful) return;
    if (this.#leader === undefined || !sameMember(this.#leader, from)) return;
    this.#campaign(true);
  }

  #onVoteReply(reply: VoteReply): void {
    const preVote = reply.type === 'pre-vote-reply';
    if (this.#role !== (preVote ? 'pre-candidate' : 'candidate')) return;
    // An answer to an earlier campaign.
    if (reply.granted && reply.term !== (preVote ? this.term + 1 : this.term)) return;
    this.#count(reply.from, reply.granted);
  }

  #count(voter: Member, granted: boolean): void {
    const ballot = this.#ballot;
    invariant(ballot !== undefined, () => `a ${this.#role} counted a vote`);
    ballot.record(voter, granted);
    const { result } = ballot;
    if (result === 'lost') this.#becomeFollower(this.term, undefined);
    else if (result === 'won' && this.#role === 'pre-candidate') this.#campaign();
    else if (result === 'won') this.#becomeLeader();
  }

  // ---- leading ----

  #becomeLeader(): void {
    invariant(this.#outbox.settled, () => `elected in term ${this.term} before the vote for itself was durable`);
    invariant(this.#log.lastEpoch < this.term, () => `the log already has epoch ${this.#log.lastEpoch} ≥ ${this.term}`);
    this.#role = 'leader';
    this.#leader = this.#self;
    this.#ballot = undefined;
    // Elected by logs, on an operator's word.
    if (this.isForgetful) this.#goOnWith('this replica had the longest log of those that voted');
    this.#abstention.noteLed(this.term);
    this.#leadership = new Leadership(this.#leadershipHost(), this.#options);
    // Records of earlier epochs become committed with this batch, and only with it.
    this.#writes.push({ type: 'leader-change', epoch: this.term });
    // Tells everybody who leads, and starts the conflict search beside the write.
    this.#leadership.replicate();
  }

  #leadershipHost(): ConstructorParameters<typeof Leadership>[0] {
    return {
      self: this.#self,
      term: this.term,
      log: this.#log,
      cursors: this.#cursors,
      configurations: this.#configurations,
      highWatermark: () => this.#highWatermark,
      advanceHighWatermark: (to) => this.#advanceHighWatermark(to),
      send: (message) => this.#outbox.send(message),
      appendConfiguration: (configuration) => this.#appendConfiguration(configuration),
      changeFailed: (changeFailed) => {
        this.#outcomes = { ...this.#outcomes, changeFailed };
      },
      transferFailed: (transferFailed) => {
        this.#outcomes = { ...this.#outcomes, transferFailed };
      },
      answer: (read) => this.#answer(read),
      stepDown: () => this.#becomeFollower(this.term, undefined),
    };
  }

  #appendConfiguration(configuration: Configuration): void {
    this.#assertWritesTaken();
    this.#configurations.add({ offset: this.#log.end, configuration });
    this.#writes.push({ type: 'configuration', epoch: this.term, configuration });
  }

  // ---- following ----

  #follow(leader: Member): void {
    invariant(
      this.#role !== 'leader' && (this.#leader === undefined || sameMember(this.#leader, leader)),
      () => `two leaders in term ${this.term}: node ${this.#leader?.id} and node ${leader.id}`,
    );
    this.#becomeFollower(this.term, leader);
  }

  #followerHost(): ConstructorParameters<typeof Follower>[0] {
    return {
      self: this.#self,
      log: this.#log,
      cursors: this.#cursors,
      configurations: this.#configurations,
      abstention: this.#abstention,
      term: () => this.term,
      highWatermark: () => this.#highWatermark,
      advanceHighWatermark: (to) => this.#advanceHighWatermark(to),
      write: (write) => this.#writes.push(write),
      send: (message) => this.#outbox.send(message),
    };
  }

  // ---- for all ----

  #advanceHighWatermark(to: number): void {
    invariant(to >= this.#highWatermark, () => `high watermark would go back from ${this.#highWatermark} to ${to}`);
    invariant(to <= this.#log.end, () => `high watermark ${to} would pass the log's end ${this.#log.end}`);
    this.#highWatermark = to;
    this.#configurations.committedTo(to);
  }

  #assertWritesTaken(): void {
    invariant(this.#writes.length === 0, () => 'the core was called before the writes of ready() were performed');
  }
}
