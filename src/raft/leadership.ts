/**
 * What a node does as leader of one term: replication, heartbeats, check-quorum, reads, changes of membership and the
 * transfer to another leader. It ends with the term; nothing of it is kept.
 */
import type { Configurations } from './configurations.js';
import type { Cursors } from './cursors.js';
import { isVoter, sameMember } from './membership.js';
import { MembershipChange, type ProposedMembership } from './membership-change.js';
import { ReadIndex } from './read-index.js';
import { Replication, type ReplicationOptions } from './replication.js';
import { Transfer } from './transfer.js';
import type {
  AppendReply,
  Configuration,
  HeartbeatReply,
  LogView,
  Member,
  Message,
  PeerStatus,
  Read,
  Sender,
} from './types.js';

export interface LeadershipHost {
  readonly self: Sender;
  readonly term: number;
  readonly log: LogView;
  readonly cursors: Cursors;
  readonly configurations: Configurations;
  highWatermark(): number;
  advanceHighWatermark(to: number): void;
  send(message: Message): void;
  /** Writes a configuration into the log, from where on it is in effect. */
  appendConfiguration(configuration: Configuration): void;
  changeFailed(reason: string): void;
  transferFailed(reason: string): void;
  answer(read: Read): void;
  /** Ends this leadership. */
  stepDown(): void;
}

export interface LeadershipOptions extends ReplicationOptions {
  readonly heartbeatTicks: number;
  readonly electionTicks: number;
}

export class Leadership {
  readonly #host: LeadershipHost;
  readonly #options: LeadershipOptions;
  readonly #replication: Replication;
  readonly #change: MembershipChange;
  readonly #reads: ReadIndex;
  #transfer: Transfer | undefined;
  /** Ticks since the last heartbeat, and since check-quorum last looked. */
  #heartbeatElapsed = 0;
  #quorumElapsed = 0;

  constructor(host: LeadershipHost, options: LeadershipOptions) {
    this.#host = host;
    this.#options = options;
    this.#replication = new Replication({ ...host, readRound: () => this.#reads.round }, options);
    this.#reads = new ReadIndex({
      highWatermark: () => host.highWatermark(),
      mayDecide: () => this.hasCommitted,
      confirmed: () => this.#replication.confirmedRound,
      heartbeat: () => this.#replication.heartbeat(),
      answer: (read) => host.answer(read),
    });
    this.#change = new MembershipChange({
      log: host.log,
      configurations: host.configurations,
      electionTicks: options.electionTicks,
      mayDecide: () => this.hasCommitted,
      highWatermark: () => host.highWatermark(),
      matchOf: (member) => this.#replication.countedOf(member),
      append: (configuration) => {
        host.appendConfiguration(configuration);
        this.#replication.configure();
      },
      failed: (reason) => host.changeFailed(reason),
    });
  }

  get peers(): PeerStatus[] {
    return this.#replication.status;
  }

  /** A batch of this term is committed, and so is all before it. */
  get hasCommitted(): boolean {
    const { log, term } = this.#host;
    return log.epochAt(this.#host.highWatermark() - 1) === term;
  }

  tick(): void {
    if (++this.#quorumElapsed >= this.#options.electionTicks) {
      this.#quorumElapsed = 0;
      // Cut off from the majority: somebody else may be elected, and our clients must not wait for commits.
      if (!this.#replication.quorumActive()) {
        this.#host.stepDown();
        return;
      }
    }
    if (++this.#heartbeatElapsed >= this.#options.heartbeatTicks) {
      this.#heartbeatElapsed = 0;
      this.#replication.heartbeat();
      this.#transfer?.advance(true);
    }
    this.#change.tick();
    if (this.#transfer?.tick() === false) this.#transfer = undefined;
  }

  /** The log's end moved, or the leadership has just begun. */
  replicate(): void {
    this.#replication.replicate();
  }

  /** This node's own cursors moved, or what is known of a follower did. */
  advance(): void {
    const { cursors } = this.#host;
    this.#host.advanceHighWatermark(this.#replication.committed(cursors));
    if (this.#isRemoved) {
      this.#host.stepDown();
      return;
    }
    this.#change.advance();
    this.#reads.advance();
    this.#replication.replicate();
    this.#transfer?.advance();
  }

  onAppendReply(reply: AppendReply): void {
    this.#replication.onAppendReply(reply);
    this.advance();
  }

  onHeartbeatReply(reply: HeartbeatReply): void {
    this.#replication.onHeartbeatReply(reply);
    this.#reads.advance();
  }

  changeMembership(proposed: ProposedMembership): string | undefined {
    if (this.#transfer !== undefined) return 'the leadership is being transferred: ask the next leader';
    return this.#change.request(proposed);
  }

  readIndex(id: number): void {
    this.#reads.request(id);
  }

  /** Takes no records of clients: another leader is about to. */
  get isTransferring(): boolean {
    return this.#transfer !== undefined;
  }

  /** @returns why it is refused, a sentence */
  transferTo(target: Member): string | undefined {
    const { configurations, self, term, log } = this.#host;
    if (sameMember(target, self)) return 'this node leads already';
    if (!isVoter(configurations.current, target)) return `node ${target.id} (${target.directory}) is no voter`;
    if (this.#transfer !== undefined) {
      const { id } = this.#transfer.target;
      return id === target.id ? undefined : `the leadership is being transferred to node ${id}`;
    }
    this.#transfer = new Transfer(
      {
        electionTicks: this.#options.electionTicks,
        hasEverything: (member) => this.#replication.countedOf(member) === log.end,
        sendTimeoutNow: (to) => this.#host.send({ type: 'timeout-now', from: self, to, term }),
        failed: (reason) => this.#host.transferFailed(reason),
      },
      target,
    );
    this.#transfer.advance();
    return undefined;
  }

  /** The leadership is over: whoever waits for a read is told. */
  end(): void {
    this.#reads.end();
  }

  unreachable(id: number): void {
    this.#replication.unreachable(id);
  }

  reset(from: Sender): void {
    this.#replication.reset(from);
  }

  /**
   * A leader that is no voter any more leads on until that is committed (dissertation §4.2.2), and counts itself for
   * nothing.
   */
  get #isRemoved(): boolean {
    const { configurations, self } = this.#host;
    return !isVoter(configurations.current, self) && configurations.last.offset < this.#host.highWatermark();
  }
}
