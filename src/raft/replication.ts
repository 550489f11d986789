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
 *   high watermark lost             every heartbeat carries it
 */
import { invariant } from './invariant.js';
import { type InflightLimits, Progress } from './progress.js';
import { majority, majorityCursor } from './quorum.js';
import type { AppendReply, LogView, Message, NodeId, PeerStatus } from './types.js';

/** What replication needs of the node it runs in. */
export interface ReplicationHost {
  readonly id: NodeId;
  readonly term: number;
  readonly log: LogView;
  highWatermark(): number;
  send(message: Message): void;
}

export interface ReplicationOptions extends InflightLimits {
  readonly voters: readonly NodeId[];
  readonly countBy: 'durable' | 'written';
  readonly maxAppendBytes: number;
  readonly maxInflightBytes: number;
}

export class Replication {
  readonly #host: ReplicationHost;
  readonly #options: ReplicationOptions;
  readonly #peers = new Map<NodeId, Progress>();
  readonly #cursors: number[] = [];

  constructor(host: ReplicationHost, options: ReplicationOptions) {
    this.#host = host;
    this.#options = options;
    for (const id of options.voters) {
      if (id !== host.id) this.#peers.set(id, new Progress(id, host.log.end, options.countBy, options));
    }
  }

  get status(): PeerStatus[] {
    return Array.from(this.#peers.values(), (peer) => peer.status);
  }

  /** Sends every follower what it has room for: after an election, an append or a new high watermark. */
  replicate(): void {
    for (const peer of this.#peers.values()) this.#fill(peer);
  }

  heartbeat(): void {
    for (const peer of this.#peers.values()) this.#heartbeat(peer);
  }

  /** Whether a majority, ourselves included, spoke since the last call (check-quorum, Raft dissertation §6.2). */
  quorumActive(): boolean {
    let active = 1;
    for (const peer of this.#peers.values()) {
      if (peer.active) active++;
      peer.active = false;
    }
    return active >= majority(this.#peers.size + 1);
  }

  /**
   * The high watermark a majority allows, given our own counted cursor. Only records of our own epoch are counted; the
   * earlier ones become committed with them, never by count alone (Raft paper §5.4.2, figure 8).
   */
  committed(own: number): number {
    const { log, term } = this.#host;
    const highWatermark = this.#host.highWatermark();
    this.#cursors.length = 0;
    this.#cursors.push(own);
    for (const peer of this.#peers.values()) this.#cursors.push(peer.match);
    const end = majorityCursor(this.#cursors);
    if (end <= highWatermark) return highWatermark;
    invariant(end <= log.end, () => `a majority reports end ${end}, but the leader's log ends at ${log.end}`);
    return log.epochAt(end - 1) === term ? end : highWatermark;
  }

  /** Takes an append reply; call `replicate` after the high watermark has been brought up to date. */
  onAppendReply(reply: AppendReply): void {
    const peer = this.#peers.get(reply.from)!;
    const { log } = this.#host;
    invariant(
      reply.durable <= reply.written && reply.written <= log.end,
      () =>
        `node ${peer.id} claims durable ${reply.durable} ≤ written ${reply.written} of a log that ends at ${log.end}`,
    );
    peer.active = true;
    const current = peer.update(reply);
    if (reply.rejectedStart >= 0) {
      this.#onRejection(peer, reply);
    } else if (current) {
      peer.acknowledged = true;
      if (peer.state === 'probe') peer.becomeReplicate();
    }
  }

  onHeartbeatReply(from: NodeId): void {
    const peer = this.#peers.get(from)!;
    peer.active = true;
    const quiet = !peer.acknowledged;
    peer.acknowledged = false;
    if (peer.state === 'probe') {
      peer.probeSent = false;
      this.#fill(peer);
    } else if (quiet && peer.match < peer.next) {
      this.#append(peer, peer.next, 0);
    }
  }

  /** What is in flight may be lost. */
  unreachable(id: NodeId): void {
    const peer = this.#peers.get(id);
    if (peer?.state === 'replicate') peer.becomeProbe(peer.next);
    else if (peer !== undefined) peer.probeSent = false;
  }

  /** The follower may be another incarnation. Forgets what it said, and asks. */
  reset(id: NodeId): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    peer.forget();
    this.#fill(peer);
  }

  /** Conflict search by epoch (KIP-101, KIP-279): at most one round trip for each epoch the logs disagree about. */
  #onRejection(peer: Progress, reply: AppendReply): void {
    const { log } = this.#host;
    const { rejectedStart: rejected, hint } = reply;
    // An answer to something else than the outstanding probe is late; so is one below what is known to match.
    if (peer.state === 'probe' ? rejected !== peer.next : rejected <= peer.match || rejected > peer.next) return;
    if (peer.state === 'replicate') peer.cautious = true;
    if (rejected <= log.start) {
      // The follower lacks what retention has deleted here. Probing goes on at heartbeat pace.
      peer.becomeProbe(log.start);
      peer.probeSent = true;
      peer.behindLogStart = true;
      return;
    }
    const ours = log.endForEpoch(hint.epoch);
    let next = ours.epoch === hint.epoch ? Math.min(ours.end, hint.end) : ours.end;
    // Must go down, or the search would never end; with an honest hint it does by itself.
    if (next >= rejected) next = log.endForEpoch(log.epochAt(rejected - 1) - 1).end;
    peer.becomeProbe(Math.max(next, log.start));
  }

  #fill(peer: Progress): void {
    const { log } = this.#host;
    if (peer.next < log.start) peer.becomeProbe(log.start);
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

  /** [start, peer.next) */
  #append(peer: Progress, start: number, bytes: number): void {
    const { id, term, log } = this.#host;
    const highWatermark = this.#host.highWatermark();
    this.#host.send({
      type: 'append',
      from: id,
      to: peer.id,
      term,
      start,
      prevEpoch: log.epochAt(start - 1),
      end: peer.next,
      bytes,
      batches: [],
      highWatermark,
    });
    if (peer.state === 'replicate') peer.sentHighWatermark = Math.min(highWatermark, peer.next);
  }

  #heartbeat(peer: Progress): void {
    const { id, term } = this.#host;
    const highWatermark = Math.min(this.#host.highWatermark(), peer.match);
    peer.sentHighWatermark = highWatermark;
    this.#host.send({ type: 'heartbeat', from: id, to: peer.id, term, highWatermark });
  }
}
