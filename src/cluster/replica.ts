/**
 * One replica: drives one Raft group over one log. The Raft core decides, the log stores, and this class carries out each
 * `Ready` in the order the core asks for. It also keeps what waits for the partition's cursors: produced batches
 * (waiting-produces.ts), fetches, deletions (replica-deletion.ts), changes of the replicas (waiting-change.ts).
 *
 * Two phases in each event-loop turn. Messages are stepped as they arrive, because the core must see each write done
 * before it hears anything else; produced batches are only appended. At the end of the turn the node runs a pass: the
 * core learns once how far the log got, and everything that this completed is answered.
 *
 * What can go wrong. A full disk: producers are refused, a follower takes the append for lost, and a new leader that
 * can't store its first batch starts again as a follower from what its log holds, as a restarted process would. A failed
 * disk or a broken invariant is the node's matter (`ReplicaHost`).
 */
import { invariant, VarveError } from '../errors.js';
import { type AppendedRange, ControlKind, type Log } from '../log/log.js';
import { Raft } from '../raft/raft.js';
import type { ProposedMembership } from '../raft/membership-change.js';
import type {
  HardState,
  LogProgress,
  LogWrite,
  Membership,
  Message,
  NodeId,
  Ready,
  Role,
  Sender,
} from '../raft/types.js';
import { AppendSender } from './append-sender.js';
import { encodeConfiguration } from './control-batches.js';
import { FetchQueue } from './fetch-queue.js';
import type { ProduceRequest } from './produce-request.js';
import type { ReceivedAppend } from './raft-codec.js';
import { raftOptions, storedConfiguration } from './raft-ground.js';
import { ReplicaDeletion } from './replica-deletion.js';
import type { ReplicaHost } from './replica-host.js';
import type { PartitionStatus } from './status.js';
import { WaitingChange } from './waiting-change.js';
import { WaitingProduces } from './waiting-produces.js';
import { WaitingReads } from './waiting-reads.js';

/** Ticks after which a leader that could not even store its first batch takes part again. */
const FULL_DISK_PAUSE_TICKS = 20;
/** A leader looks this often whether the oldest segments may go. */
const RETENTION_CHECK_MS = 10_000;

export class Replica {
  readonly log: Log;
  readonly host: ReplicaHost;
  readonly fetches = new FetchQueue();
  /** Set by the node while this replica is on its list for the pass. */
  scheduled = false;

  #raft: Raft;
  #role: Role = 'follower';
  #term: number;
  #leader: NodeId = 0;
  #highWatermark: number;
  /** End of the leader-change batch of this leadership: nothing is read before it is committed. */
  #leaderChangeEnd = Number.POSITIVE_INFINITY;
  #appended = false;
  #pauseTicks = 0;
  #stopped: VarveError | undefined;
  /** What the core was told last of the log. */
  #progress: LogProgress = { generation: -1, written: 0, durable: 0 };
  /** Hard states on their way to the disk. */
  #unsavedStates = 0;
  readonly #produces: WaitingProduces;
  readonly #deletion: ReplicaDeletion;
  readonly #change: WaitingChange;
  readonly #reads = new WaitingReads(() => this.notLeader());
  readonly #appends: AppendSender;
  #transfers: ((error?: VarveError) => void)[] = [];
  #nextRetentionCheck = 0;

  constructor(log: Log, host: ReplicaHost) {
    this.log = log;
    this.host = host;
    this.#term = log.hardState.term;
    this.#highWatermark = log.highWatermark;
    this.#produces = new WaitingProduces(log);
    this.#deletion = new ReplicaDeletion(log, this.name, (error) => host.warn(this, 'delete-failed', error));
    this.#change = new WaitingChange(this.name);
    this.#appends = new AppendSender(
      log,
      (message, bodies, bytes) => host.send(this, message, bodies, bytes),
      (run) => {
        if (this.#isOut) return;
        this.#guard(run);
        host.schedule(this);
      },
    );
    this.#raft = this.#createCore();
    log.onProgress = () => {
      this.#appended = true;
      host.schedule(this);
    };
    // The core of a single voter has something to do from the start.
    host.schedule(this);
  }

  get role(): Role {
    return this.#role;
  }

  get term(): number {
    return this.#term;
  }

  /** 0: unknown. */
  get leader(): NodeId {
    return this.#leader;
  }

  get highWatermark(): number {
    return this.#highWatermark;
  }

  get isLeader(): boolean {
    return this.#role === 'leader';
  }

  /**
   * A new leader may hold records that were never committed below offsets it knows to be: it reads after its own first
   * commit.
   */
  get mayRead(): boolean {
    return this.#role === 'leader' && this.#highWatermark >= this.#leaderChangeEnd;
  }

  /** Who the replicas are, as far as this one knows. */
  get membership(): Membership {
    return this.#raft.membership;
  }

  get stopped(): VarveError | undefined {
    return this.#stopped;
  }

  status(): PartitionStatus {
    const { log } = this;
    return {
      topic: log.topic,
      topicId: log.topicId,
      partition: log.partition,
      flush: log.options.flush,
      role: this.#role,
      leader: this.#leader,
      term: this.#term,
      logStart: log.start,
      logEnd: log.end,
      written: log.written,
      durable: log.durable,
      highWatermark: this.#highWatermark,
      generation: log.generation,
      throttled: log.throttled,
      waitingProduces: this.#produces.length,
      waitingFetches: this.fetches.length,
      stopped: this.#stopped?.message ?? '',
      recovery: log.recovery,
      membership: this.membership,
      forgetful: this.#raft.isForgetful,
      followers: this.#raft.peers(),
    };
  }

  /** A message for this group, already checked. */
  step(message: Message): void {
    if (this.#isOut) return;
    this.#guard(() => {
      this.#raft.step(message);
      this.#drain();
    });
  }

  /** One tick of the clock. */
  tick(now: number): void {
    this.fetches.expire(now);
    this.#produces.expire(now);
    if (this.#stopped !== undefined) return;
    if (this.#pauseTicks > 0) {
      if (--this.#pauseTicks === 0) this.#guard(() => this.#restartCore());
      return;
    }
    this.#guard(() => {
      this.#raft.tick();
      this.#drain();
    });
    if (this.mayRead && now >= this.#nextRetentionCheck) {
      this.#nextRetentionCheck = now + RETENTION_CHECK_MS;
      this.#guard(() => this.#enforceRetention());
    }
  }

  /** The connection that carries batches was lost, and perhaps what was on it. */
  peerUnreachable(peer: NodeId): void {
    if (!this.#isOut) this.#guard(() => this.#raft.peerUnreachable(peer));
  }

  /** There is a new connection, perhaps to another incarnation: what the peer said before counts no more. */
  peerReset(peer: Sender): void {
    if (this.#isOut) return;
    this.#guard(() => {
      this.#raft.peerReset(peer);
      this.#drain();
    });
  }

  /**
   * Appends the batches in body[start, end) as the leader; `part` of the request is settled when its acks are met.
   * @throws VarveError NOT_LEADER, DISK_FULL, or what is wrong with the batches: nothing was appended
   */
  produce(request: ProduceRequest, part: number, body: Buffer, start: number, end: number): void {
    if (this.#stopped !== undefined) throw this.#stopped;
    if (this.#role !== 'leader') throw this.notLeader();
    if (this.#raft.isTransferring) {
      throw new VarveError('NOT_LEADER', `${this.name}: the leadership is being handed to another node`);
    }
    const before = this.log.end;
    // Else the client would be told that its arguments are wrong.
    invariant(
      this.#term >= this.log.lastEpoch,
      `${this.name}: leader of term ${this.#term}, epoch ${this.log.lastEpoch} in the log`,
    );
    let range: AppendedRange;
    try {
      range = this.log.appendProduced(body, start, end, this.#term);
    } catch (error) {
      if (this.log.end === before || !(error instanceof VarveError) || error.code !== 'DISK_FAILED') throw error;
      // Stored, but not journalled: after a restart the bytes may be there or not, so the client must not send them again.
      throw new VarveError('OUTCOME_UNKNOWN', `${this.name}: the disk failed in the middle of the append`, {
        cause: error,
      });
    }
    this.#appended = true;
    this.host.schedule(this);
    this.#produces.add(request, part, range, this.#highWatermark);
  }

  /**
   * Appends a control batch that moves the log start of every replica; resolves once it is committed and done here.
   * @throws VarveError NOT_LEADER, OFFSET_OUT_OF_RANGE
   */
  deleteBefore(offset: number): Promise<void> {
    if (this.#stopped !== undefined) throw this.#stopped;
    if (!this.mayRead) throw this.notLeader();
    if (offset > this.#highWatermark) {
      throw new VarveError(
        'OFFSET_OUT_OF_RANGE',
        `${this.name} can't be deleted up to ${offset}: only what is below the high watermark ${this.#highWatermark} is final`,
      );
    }
    if (offset <= this.log.start) return Promise.resolve();
    const done = this.#deletion.append(offset, this.#term);
    this.#appended = true;
    this.host.schedule(this);
    return done;
  }

  /**
   * Replaces the replicas; resolves once that is committed and no joint phase is left. New voters must be learners before.
   * @throws VarveError NOT_LEADER; INVALID_ARGUMENT with what speaks against it, nothing was changed then; OUTCOME_UNKNOWN
   *   when the leadership ended before it was committed
   */
  changeMembership(wanted: ProposedMembership): Promise<void> {
    if (this.#stopped !== undefined) throw this.#stopped;
    if (this.#role !== 'leader' || this.#isOut) throw this.notLeader();
    const refusal = this.#raft.changeMembership(wanted);
    if (refusal !== undefined) throw new VarveError('INVALID_ARGUMENT', `${this.name}: ${refusal}`);
    const done = this.#change.wait(wanted);
    this.#guard(() => this.#drain());
    return done;
  }

  /**
   * How far one must read to have seen everything that was acknowledged before this call: the high watermark, confirmed by a
   * majority as that of the leader.
   * @throws VarveError NOT_LEADER, also when the leadership ends before it is confirmed
   */
  readIndex(): Promise<number> {
    if (this.#stopped !== undefined) throw this.#stopped;
    if (this.#role !== 'leader' || this.#isOut) throw this.notLeader();
    return this.#reads.wait((id) =>
      this.#guard(() => {
        this.#raft.readIndex(id);
        this.#drain();
      }),
    );
  }

  /**
   * Hands the leadership to another voter; resolves when this node does not lead any more. Producers are refused meanwhile.
   * @throws VarveError NOT_LEADER; INVALID_ARGUMENT with why it can't be, or why it was given up
   */
  transferLeadership(nodeId: NodeId): Promise<void> {
    if (this.#stopped !== undefined) throw this.#stopped;
    if (this.#role !== 'leader' || this.#isOut) throw this.notLeader();
    const { voters } = this.#raft.membership.configuration;
    const target = voters.find(({ id }) => id === nodeId);
    const refusal = target === undefined ? `node ${nodeId} is no voter` : this.#raft.transferTo(target);
    if (refusal !== undefined) throw new VarveError('INVALID_ARGUMENT', `${this.name}: ${refusal}`);
    return new Promise((resolve, reject) => {
      this.#transfers.push((error) => (error === undefined ? resolve() : reject(error)));
      this.#guard(() => this.#drain());
    });
  }

  /** It is known now who founded the cluster. */
  founded(): void {
    if (this.#stopped === undefined && this.log.configurations.length === 0) this.#guard(() => this.#restartCore());
  }

  /** The log's settings say how far it may be deleted; the leader alone moves the log start, of all replicas. */
  #enforceRetention(): void {
    if (!this.mayRead || this.#deletion.isWaiting) return;
    const refused = (error: unknown): void => this.host.warn(this, 'retention-failed', error);
    const point = this.log.retentionPoint();
    if (point <= this.log.start) return;
    try {
      this.deleteBefore(point).catch(refused);
    } catch (error) {
      // No room for the control batch: tried again at the next check.
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL') throw error;
      refused(error);
    }
  }

  get name(): string {
    return `${this.log.topic}-${this.log.partition}`;
  }

  notLeader(): VarveError {
    const leader = this.#leader !== 0 && this.#leader !== this.host.self.id ? `node ${this.#leader} leads it` : '';
    const mine = this.#role === 'leader' ? 'its leadership is too new to answer' : leader;
    return new VarveError('NOT_LEADER', `${this.name}: ${mine || 'its leader is not known at present'}`);
  }

  /** The end of a turn: tells the core how far the log got, and answers what that completed. */
  pass(): void {
    if (!this.#isOut) {
      this.#guard(() => {
        if (this.#appended) {
          this.#appended = false;
          if (this.#role === 'leader') this.#raft.accepted();
          this.#reportProgress();
        }
        this.#drain();
      });
    }
    if (this.#role === 'leader') this.#produces.completeStored();
  }

  /** Takes part in nothing any more; what waits is told why. Reads of what is committed go on. */
  stop(reason: VarveError): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = reason;
    this.log.onProgress = undefined;
    this.#leader = 0;
    this.#role = 'follower';
    this.#failWaiting(reason.message);
  }

  /** Resolves when deletions that were begun are done. */
  idle(): Promise<void> {
    return this.#deletion.idle();
  }

  get #isOut(): boolean {
    return this.#stopped !== undefined || this.#pauseTicks > 0;
  }

  #createCore(): Raft {
    return new Raft(raftOptions(this.log, this.host, this.name, this.#takeProgress()));
  }

  #reportProgress(): void {
    this.#raft.logProgress(this.#takeProgress());
  }

  /**
   * The log's cursors. A disk that is slower than the bound of a relaxed flush mode: beyond what was said before, only
   * what is durable counts as written. Producers of this node wait for it, and a leader elsewhere now does, too.
   */
  #takeProgress(): LogProgress {
    const { generation, written, durable, throttled } = this.log;
    const said = generation === this.#progress.generation ? this.#progress.written : 0;
    this.#progress = { generation, written: throttled ? Math.max(said, durable) : written, durable };
    return this.#progress;
  }

  /** Carries out what the core asks for, until it asks for nothing. */
  #drain(): void {
    for (;;) {
      const ready = this.#raft.ready();
      if (ready === undefined) {
        if (this.#recordMembership()) continue;
        return;
      }
      for (const write of ready.writes) this.#write(write);
      if (ready.hardState !== undefined) this.#save(ready.hardState);
      for (const message of ready.messages) this.#send(message);
      if (ready.highWatermark !== undefined) this.#advance(ready.highWatermark);
      if (ready.leadership !== undefined) this.#setLeadership(ready.leadership);
      if (ready.membership !== undefined) {
        this.host.onMembership(this);
        this.#change.settle(ready.membership);
      }
      if (ready.forgetful !== undefined) this.host.onForgetful(this, ready.forgetful);
      if (ready.unclean !== undefined) this.host.warn(this, 'unclean-recovery', new Error(ready.unclean));
      if (ready.changeFailed !== undefined) this.#change.fail('INVALID_ARGUMENT', ready.changeFailed);
      if (ready.transferFailed !== undefined) this.#endTransfers(ready.transferFailed);
      for (const read of ready.reads ?? []) this.#reads.answer(read);
      if (ready.writes.length > 0) {
        if (ready.writes.some(({ type }) => type === 'leader-change' || type === 'configuration'))
          this.#raft.accepted();
        this.#reportProgress();
      }
    }
  }

  #write(write: LogWrite): void {
    const { log } = this;
    switch (write.type) {
      case 'truncate':
        this.#deletion.truncate(write.to);
        log.truncate(write.to);
        break;
      case 'reset':
        this.#deletion.truncate(0);
        log.reset(write.logStart, write.prevEpoch, storedConfiguration(write.configuration));
        this.host.warn(
          this,
          'reset',
          new Error(`the others have deleted what this replica lacks: it goes on at ${write.logStart}`),
        );
        break;
      case 'append': {
        const { body, batches, term } = write.message as ReceivedAppend;
        const first = batches.find((batch) => batch.start >= write.from);
        if (first === undefined) break;
        // An empty log may end inside the batch that comes.
        invariant(
          first.start === log.end || (log.start === log.end && first.start < log.end && first.end > log.end),
          `${this.name}: an append at ${first.start} does not join the end ${log.end}`,
        );
        try {
          log.appendReplicated(body, first.position, body.length, term);
        } catch (error) {
          // To the core a refused append is a lost message: the leader sends it again.
          if (!(error instanceof VarveError) || (error.code !== 'DISK_FULL' && error.code !== 'OVERLOADED'))
            throw error;
          this.host.warn(this, 'append-refused', error);
          break;
        }
        this.#deletion.noteStored({ body, batches }, write.from);
        break;
      }
      case 'leader-change': {
        const { lastOffset } = log.appendControl(ControlKind.LeaderChange, NO_VALUE, write.epoch);
        this.#leaderChangeEnd = lastOffset + 1;
        break;
      }
      case 'configuration':
        log.appendControl(ControlKind.Configuration, encodeConfiguration(write.configuration), write.epoch);
        break;
    }
  }

  /**
   * A log says by itself who its replicas are: the first leader that has committed something writes down the founding
   * configuration, for those who come later and for the time after founding.json.
   */
  #recordMembership(): boolean {
    if (this.#role !== 'leader' || !this.mayRead || this.log.configurations.length > 0) return false;
    const { voters, learners } = this.#raft.membership.configuration;
    const refusal = this.#raft.changeMembership({ voters, learners });
    invariant(refusal === undefined, `${this.name}: the founding configuration cannot be written down: ${refusal}`);
    return true;
  }

  #endTransfers(failure?: string): void {
    const transfers = this.#transfers;
    this.#transfers = [];
    const error = failure === undefined ? undefined : new VarveError('INVALID_ARGUMENT', `${this.name}: ${failure}`);
    for (const done of transfers) done(error);
  }

  #save(state: HardState): void {
    const raft = this.#raft;
    this.#unsavedStates++;
    this.log.saveHardState(state, () => {
      this.#unsavedStates--;
      // A core that was replaced meanwhile began from the log's own hard state.
      if (raft !== this.#raft || this.#stopped !== undefined) return;
      this.#guard(() => {
        raft.hardStateDurable(state);
        this.#drain();
      });
    });
  }

  #send(message: Message): void {
    if (message.type === 'append') {
      this.#appends.send(message);
    } else if (message.type === 'reset') {
      const body = encodeConfiguration(message.configuration.configuration);
      this.host.send(this, message, [body], body.length);
    } else {
      this.host.send(this, message, NO_BODIES, 0);
    }
  }

  #advance(to: number): void {
    const { log } = this;
    this.#deletion.apply(to);
    log.advanceHighWatermark(to);
    this.#highWatermark = to;
    this.#produces.completeCommitted(to);
    this.#deletion.complete(to);
    this.fetches.wake();
  }

  #setLeadership(leadership: NonNullable<Ready['leadership']>): void {
    const led = this.#role === 'leader';
    const sameReign = led && leadership.role === 'leader' && leadership.term === this.#term;
    this.#role = leadership.role;
    this.#term = leadership.term;
    this.#leader = leadership.leader;
    if (led && !sameReign) {
      this.#failWaiting('this node no longer leads the partition; the new leader may or may not have it');
    }
    if (leadership.role !== 'leader') this.#leaderChangeEnd = Number.POSITIVE_INFINITY;
    this.fetches.wake();
    this.host.onLeadership(this);
  }

  #failWaiting(why: string): void {
    this.#produces.fail(`${this.name}: ${why}`);
    this.#deletion.failWaiting(why);
    this.#change.fail('OUTCOME_UNKNOWN', why);
    this.#endTransfers();
    this.#reads.failAll();
    this.fetches.wake();
  }

  /**
   * Everything that enters the core goes through here: the core is never used again after it, or the log under it, threw.
   */
  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof VarveError)) this.host.onFatal(error);
      else if (error.code === 'DISK_FAILED') this.host.onDiskFailed(error);
      else if (error.code === 'DISK_FULL') this.#pause(error);
      else if (error.code === 'CLOSED') this.stop(error);
      else if (error.code === 'CORRUPT_LOG') this.#stopDamaged(error);
      else this.host.onFatal(error);
    }
  }

  /**
   * A follower needs what this log can't give: another replica must lead, and the node's other partitions have no part in
   * it.
   */
  #stopDamaged(error: VarveError): void {
    this.host.warn(this, 'damaged', error);
    this.stop(error);
  }

  /** The log could not take what the core had decided: the core is out of step and is replaced after a while. */
  #pause(error: VarveError): void {
    this.#pauseTicks = FULL_DISK_PAUSE_TICKS;
    this.host.warn(this, 'disk-full', error);
    this.#setLeadership({ role: 'follower', term: this.#term, leader: 0 });
  }

  /** A core from what the log holds, as a restarted process would have it. */
  #restartCore(): void {
    // The log must answer with the state that is durable: a vote in flight could otherwise be given twice.
    if (this.#unsavedStates > 0) {
      this.#pauseTicks = 1;
      return;
    }
    this.#raft = this.#createCore();
    this.#term = this.log.hardState.term;
    this.#appended = false;
    this.host.schedule(this);
  }
}

const NO_VALUE = Buffer.alloc(0);
const NO_BODIES: readonly Buffer[] = [];
