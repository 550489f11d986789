/**
 * The leader's side of replication, for one term: what every follower gets next, and how far a majority has come.
 *
 * Loss is expected everywhere. Nothing waits for a message that may never come, because the next heartbeat reply looks
 * again:
 *   probe or its answer lost        the probe is repeated
 *   append lost, others follow      they do not fit: the follower rejects, back to probe
 *   last append lost                an empty append at `next` does not fit: the same
 *   acknowledgement lost            that empty append is answered with the cursors
 *   rejection lost                  either of the above rejects again
 *   reset or its answer lost        the reset is repeated
 *   high watermark lost             every heartbeat carries it
 */
import { invariant } from './invariant.js';
import type { Configurations } from './configurations.js';
import { isVoter, membersOf, sameMember } from './membership.js';
import { type InflightLimits, Progress } from './progress.js';
import { majority, majorityCursor, votingSets } from './quorum.js';
import type {
  AppendReply,
  Heartbeat,
  HeartbeatReply,
  LogView,
  Member,
  Message,
  NodeId,
  PeerStatus,
  Recovery,
  Sender,
} from './types.js';

/** What replication needs of the node it runs in. */
export interface ReplicationHost {
  readonly self: Sender;
  readonly term: number;
  readonly log: LogView;
  readonly configurations: Configurations;
  /** Of read index, for heartbeats. */
  readRound(): number;
  highWatermark(): number;
  send(message: Message): void;
}

export interface ReplicationOptions extends InflightLimits {
  readonly countBy: 'durable' | 'written';
  readonly maxAppendBytes: number;
  readonly maxInflightBytes: number;
}

/** A voter as it is counted: what is known of a follower, or this node. */
type Counted = Progress | 'self';

export class Replication {
  readonly #host: ReplicationHost;
  readonly #options: ReplicationOptions;
  #peers: Progress[] = [];
  /** One list per set that must have a majority. */
  #sets: readonly (readonly Counted[])[] = [];
  readonly #cursors: number[] = [];

  constructor(host: ReplicationHost, options: ReplicationOptions) {
    this.#host = host;
    this.#options = options;
    this.configure();
  }

  /** Another configuration is in effect. Whoever stays keeps what is known of it; whoever is new is probed. */
  configure(): void {
    const { self, log, configurations } = this.#host;
    const others = membersOf(configurations.current).filter((member) => !sameMember(member, self));
    this.#peers = others.map(
      (member) => this.#find(member) ?? new Progress(member, log.end, this.#options.countBy, this.#options),
    );
    this.#sets = votingSets(configurations.current).map((voters) =>
      voters.map((voter) => (sameMember(voter, self) ? 'self' : this.#find(voter)!)),
    );
  }

  get status(): PeerStatus[] {
    const { current } = this.#host.configurations;
    return this.#peers.map((peer) => peer.status(isVoter(current, peer.member)));
  }

  /** What counts of this member; 0 for one that is not among the followers. */
  countedOf(member: Member): number {
    return this.#find(member)?.counted ?? 0;
  }

  /** Sends every follower what it has room for: after an election, an append or a new high watermark. */
  replicate(): void {
    for (const peer of this.#peers) this.#fill(peer);
  }

  heartbeat(): void {
    for (const peer of this.#peers) this.#heartbeat(peer);
  }

  /** Whether a majority of each set spoke since the last call (check-quorum, Raft dissertation §6.2). */
  quorumActive(): boolean {
    const active = this.#sets.every(
      (voters) => voters.filter((voter) => voter === 'self' || voter.active).length >= majority(voters.length),
    );
    for (const peer of this.#peers) peer.active = false;
    return active;
  }

  /**
   * The high watermark that majorities allow, given our own cursors. Only records of our own epoch are counted; the
   * earlier ones become committed with them, never by count alone (Raft paper §5.4.2, figure 8). A configuration counts by
   * durable cursors whatever the flush mode: who the voters are must not depend on what memory keeps.
   */
  committed(own: { readonly counted: number; readonly durable: number }): number {
    const { log, term, configurations } = this.#host;
    const highWatermark = this.#host.highWatermark();
    let end = this.#reached((voter) => (voter === 'self' ? own.counted : voter.counted));
    // Durable cursors matter only while a configuration is uncommitted, which is seldom.
    if (this.#options.countBy === 'written' && configurations.firstFrom(highWatermark) !== undefined) {
      const durable = this.#reached((voter) => (voter === 'self' ? own.durable : voter.countedDurable));
      const waiting = configurations.firstFrom(Math.max(highWatermark, durable));
      if (waiting !== undefined) end = Math.min(end, waiting.offset);
    }
    if (end <= highWatermark) return highWatermark;
    invariant(end <= log.end, () => `a majority reports end ${end}, but the leader's log ends at ${log.end}`);
    return log.epochAt(end - 1) === term ? end : highWatermark;
  }

  /** The greatest round of read index that a majority of each set has answered. */
  get confirmedRound(): number {
    return this.#reached((voter) =>
      voter === 'self' ? Number.POSITIVE_INFINITY : voter.forgetful ? 0 : voter.readRound,
    );
  }

  /** The end that a majority of each set has reached. */
  #reached(cursorOf: (voter: Counted) => number): number {
    let end = Number.POSITIVE_INFINITY;
    for (const voters of this.#sets) {
      this.#cursors.length = 0;
      for (const voter of voters) this.#cursors.push(cursorOf(voter));
      end = Math.min(end, majorityCursor(this.#cursors));
    }
    return end;
  }

  /** Takes an append reply; call `replicate` after the high watermark has been brought up to date. */
  onAppendReply(reply: AppendReply): void {
    const peer = this.#heard(reply.from);
    if (peer === undefined) return;
    const { log } = this.#host;
    invariant(
      reply.durable <= reply.written && reply.written <= log.end,
      () =>
        `node ${peer.member.id} claims durable ${reply.durable} ≤ written ${reply.written} of a log that ends at ${log.end}`,
    );
    peer.active = true;
    const current = peer.update(reply);
    if (reply.rejectedStart >= 0) {
      this.#onRejection(peer, reply);
    } else if (current) {
      peer.acknowledged = true;
      if (peer.state !== 'replicate') peer.becomeReplicate(this.#boundary(Math.max(peer.next, peer.match)));
    }
  }

  onHeartbeatReply(reply: HeartbeatReply): void {
    const peer = this.#heard(reply.from);
    if (peer === undefined) return;
    peer.active = true;
    peer.forgetful = reply.forgetful;
    peer.readRound = Math.max(peer.readRound, reply.round);
    const quiet = !peer.acknowledged;
    peer.acknowledged = false;
    if (peer.state !== 'replicate') {
      peer.probeSent = false;
      this.#fill(peer);
    } else if (peer.next < this.#host.log.start) {
      this.#fill(peer);
    } else if (quiet && this.#lacksAnswer(peer)) {
      this.#append(peer, peer.next, 0);
    }
  }

  #lacksAnswer({ match, next, durable }: Progress): boolean {
    if (match < next) return true;
    const { offset } = this.#host.configurations.last;
    return offset >= this.#host.highWatermark() && durable <= offset;
  }

  /** What is in flight to this node may be lost. */
  unreachable(id: NodeId): void {
    for (const peer of this.#peers) {
      if (peer.member.id !== id) continue;
      if (peer.state === 'replicate') peer.becomeProbe(peer.next);
      else peer.probeSent = false;
    }
  }

  /** There is a new connection to this process. Forgets what was said over the former one, and asks. */
  reset(from: Sender): void {
    const peer = this.#find(from);
    if (peer === undefined || !peer.heardFrom(from.incarnation)) return;
    peer.forget();
    this.#fill(peer);
  }

  #find(member: Member): Progress | undefined {
    return this.#peers.find((peer) => sameMember(peer.member, member));
  }

  #heard(from: Sender): Progress | undefined {
    const peer = this.#find(from);
    return peer?.heardFrom(from.incarnation) ? peer : undefined;
  }

  /** Conflict search by epoch (KIP-101, KIP-279): at most one round trip for each epoch the logs disagree about. */
  #onRejection(peer: Progress, reply: AppendReply): void {
    const { log } = this.#host;
    const { rejectedStart: rejected, hint } = reply;
    if (peer.state === 'reset') return;
    // An answer to something else than the outstanding probe is late; so is one below what is known to match.
    if (peer.state === 'probe' ? rejected !== peer.next : rejected <= peer.match || rejected > peer.next) return;
    if (peer.state === 'replicate') peer.cautious = true;
    if (rejected <= log.start) {
      peer.becomeReset(log.start);
      return;
    }
    const ours = log.endForEpoch(hint.epoch);
    let next = ours.epoch === hint.epoch ? Math.min(ours.end, hint.end) : ours.end;
    // Must go down, or the search would never end; with an honest hint it does by itself.
    if (next >= rejected) next = log.endForEpoch(log.epochAt(rejected - 1) - 1).end;
    peer.becomeProbe(this.#boundary(Math.max(next, log.start)));
  }

  #fill(peer: Progress): void {
    const { log } = this.#host;
    if (peer.next < log.start) peer.becomeProbe(log.start);
    if (peer.state === 'reset') {
      if (peer.probeSent) return;
      peer.probeSent = true;
      this.#reset(peer);
      return;
    }
    if (peer.state === 'probe') {
      if (peer.probeSent) return;
      peer.probeSent = true;
      this.#append(peer, peer.next, 0);
      return;
    }
    while (peer.next < log.end) {
      if (peer.cautious && peer.inflight.messages > 0) return;
      const span = log.span(peer.next, this.#options.maxAppendBytes);
      if (!peer.inflight.hasRoomFor(span.bytes)) return;
      const start = peer.next;
      peer.sent(span.end, span.bytes);
      this.#append(peer, start, span.bytes);
    }
    // Nothing will carry the high watermark to a follower that has everything, so it is told at once. While something
    // is in flight, its acknowledgement comes by here again.
    const told = Math.min(this.#host.highWatermark(), peer.match);
    if (peer.inflight.messages === 0 && peer.sentHighWatermark < told) this.#heartbeat(peer);
  }

  /** A follower that was emptied at its log start ends inside a batch: that batch goes out as a whole. */
  #boundary(offset: number): number {
    const { log } = this.#host;
    return offset > log.start && offset < log.end ? log.baseOf(offset) : offset;
  }

  #reset(peer: Progress): void {
    const { self, term, log, configurations } = this.#host;
    const { logStart } = log;
    const { offset, configuration } = configurations.committed;
    this.#host.send({
      type: 'reset',
      from: self,
      to: peer.member,
      term,
      logStart,
      prevEpoch: log.epochAt(logStart - 1),
      configuration: { offset: Math.min(offset, logStart - 1), configuration },
    });
  }

  /** [start, peer.next) */
  #append(peer: Progress, start: number, bytes: number): void {
    const { self, term, log } = this.#host;
    const highWatermark = this.#host.highWatermark();
    this.#host.send({
      type: 'append',
      from: self,
      to: peer.member,
      term,
      start,
      prevEpoch: log.epochAt(start - 1),
      end: peer.next,
      bytes,
      batches: [],
      highWatermark,
      counted: peer.countedMax,
      ...this.#recoveryOf(peer),
    });
    if (peer.state === 'replicate') peer.sentHighWatermark = Math.min(highWatermark, peer.next);
  }

  /** It has told that it is forgetful, so what it holds of our log by now it holds in this process. */
  #recoveryOf({ forgetful, incarnation }: Progress): { readonly recovery?: Recovery } {
    return forgetful ? { recovery: { incarnation, end: this.#host.log.end } } : {};
  }

  #heartbeat(peer: Progress): void {
    const { self, term } = this.#host;
    const highWatermark = Math.min(this.#host.highWatermark(), peer.match);
    peer.sentHighWatermark = highWatermark;
    const round = this.#host.readRound();
    const { countedMax: counted } = peer;
    const heartbeat: Heartbeat = {
      type: 'heartbeat',
      from: self,
      to: peer.member,
      term,
      highWatermark,
      round,
      counted,
    };
    this.#host.send({ ...heartbeat, ...this.#recoveryOf(peer) });
  }
}
