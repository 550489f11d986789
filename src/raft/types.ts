/**
 * The vocabulary of the Raft core: plain data in, plain data out. Nothing here (or in this folder) imports from outside it.
 *
 * Raft's log is the partition's log: an index is a record offset, a term is a leader epoch. Log positions are always
 * *ends*: `end` is the offset after the last record, so an empty log that starts at 0 has end 0, and "prev" of an append
 * that starts at offset s is the record s − 1.
 */
export type NodeId = number;
/** Made at random when a data directory is formatted. */
export type DirectoryId = string;

/**
 * A replica's identity: the node and the disk it remembers with. A node that comes back with another directory remembers
 * nothing of what it voted for and acknowledged, so it is somebody else (KIP-853).
 */
export interface Member {
  readonly id: NodeId;
  readonly directory: DirectoryId;
}

/** One process of a member: the incarnation id is new with every start. */
export interface Sender extends Member {
  readonly incarnation: string;
}

/**
 * Who the replicas are. In the joint phase of a change (`outgoing` not empty) every decision needs a majority of `voters`
 * and one of `outgoing` (dissertation §4.3). Learners get everything and are counted for nothing.
 */
export interface Configuration {
  readonly voters: readonly Member[];
  readonly outgoing: readonly Member[];
  readonly learners: readonly Member[];
}

/** Where a configuration stands in the log: the offset of its control batch, which takes one offset. */
export interface LoggedConfiguration {
  /** −1: the founding configuration, which stands in no log. */
  readonly offset: number;
  readonly configuration: Configuration;
}

/** Must be durable before any message that depends on it leaves the node (Raft paper, figure 2, "persistent state"). */
export interface HardState {
  readonly term: number;
  /** 0: no vote in this term. */
  readonly vote: NodeId;
  /** The term in which this replica lost something that it may have acknowledged (abstention.ts). Missing: it did not. */
  readonly forgot?: number;
}

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

/**
 * The last epoch ≤ the one asked for that the log holds, and where it ends (KIP-101, KIP-279). Epoch −1, end = log start:
 * none.
 */
export interface EpochEnd {
  readonly epoch: number;
  readonly end: number;
}

/**
 * The core's read-only view of the log it replicates. Reads are of memory (the epoch index, the sparse index and batch
 * headers), never of a cold disk. All of it describes *accepted* bytes; what is written and durable is told by
 * `Raft.logProgress`.
 */
export interface LogView {
  /**
   * Base of the first batch that is kept: where appends to others may begin. At or below the log start; of a log that is
   * empty, its end.
   */
  readonly start: number;
  /** The first offset that readers see; it may lie inside the batch at `start`. */
  readonly logStart: number;
  /** Log end offset. */
  readonly end: number;
  /** Epoch of the last record; −1 when the log is empty and nothing is known of what preceded it. */
  readonly lastEpoch: number;
  /** Epoch of the record at `offset` (start − 1 ≤ offset < end); −1 if unknown. */
  epochAt(offset: number): number;
  endForEpoch(epoch: number): EpochEnd;
  /** The base of the batch that holds `offset` (start ≤ offset < end). */
  baseOf(offset: number): number;
  /** Whole batches from `start` (a batch boundary), at most `maxBytes` of them but at least one if there is one. */
  span(start: number, maxBytes: number): { readonly end: number; readonly bytes: number };
}

/** A batch as an append message names it, in offset order without gaps. */
export interface BatchSpan {
  readonly start: number;
  readonly end: number;
  readonly epoch: number;
  /** Of a control batch that holds one. */
  readonly configuration?: Configuration;
}

interface MessageBase {
  readonly from: Sender;
  /** Whoever has another directory under this node id must not take it for its own. */
  readonly to: Member;
  readonly term: number;
}

export interface VoteRequest extends MessageBase {
  readonly type: 'pre-vote' | 'vote';
  readonly lastEpoch: number;
  readonly end: number;
  /** The leader told the candidate to campaign: that it is still heard is no reason to refuse. */
  readonly transfer: boolean;
  /** Highest term that the candidate led since it started, or forgot; 0: none. */
  readonly led: number;
}

export interface VoteReply extends MessageBase {
  readonly type: 'pre-vote-reply' | 'vote-reply';
  readonly granted: boolean;
}

/**
 * Replicates [start, end). `start === end` is a probe: it only checks prevEpoch. The core names the span; the driver
 * adds the bytes when it sends, and on arrival checks them and fills `batches` from their headers.
 */
export interface AppendRequest extends MessageBase {
  readonly type: 'append';
  readonly start: number;
  readonly prevEpoch: number;
  readonly end: number;
  readonly bytes: number;
  /** Empty as the sending core emits it. */
  readonly batches: readonly BatchSpan[];
  readonly highWatermark: number;
  /** As in a heartbeat. */
  readonly counted: number;
  /** To a forgetful follower. */
  readonly recovery?: Recovery;
}

export interface AppendReply extends MessageBase {
  readonly type: 'append-reply';
  /** `start` of the request this rejects; −1: not a rejection. */
  readonly rejectedStart: number;
  /** For a rejection: the follower's last epoch ≤ prevEpoch and its end. Otherwise { epoch: −1, end: 0 }. */
  readonly hint: EpochEnd;
  /** min(cursor, end verified by appends of this term), 0 before the first of them; monotone within (term, generation). */
  readonly written: number;
  readonly durable: number;
  /** The follower's truncation generation. */
  readonly generation: number;
  /** It abstains: none of this counts for a commit. */
  readonly forgetful: boolean;
}

export interface Heartbeat extends MessageBase {
  readonly type: 'heartbeat';
  /** min(leader's high watermark, what this follower is known to match). */
  readonly highWatermark: number;
  /** The last round of read index that the leader has begun (read-index.ts). */
  readonly round: number;
  /** The most that the leader has counted of this follower in this term, whichever process it was. */
  readonly counted: number;
  /** To a forgetful follower. */
  readonly recovery?: Recovery;
}

/** What a leader tells a forgetful follower: who holds all of this log, durably, has forgotten nothing any more. */
export interface Recovery {
  /** The follower's process that the leader knows. */
  readonly incarnation: string;
  /** The leader's log end, seen after it knew that process. */
  readonly end: number;
}

/** Keeps check-quorum alive, and lets the leader find out what was lost on the way. */
export interface HeartbeatReply extends MessageBase {
  readonly type: 'heartbeat-reply';
  /** Of the heartbeat that this answers. */
  readonly round: number;
  readonly forgetful: boolean;
}

/**
 * The follower needs records that retention has deleted: its log is to be emptied and to go on at the leader's log start. No
 * record travels with it; what lies below is committed, deleted everywhere, and nobody's any more.
 */
export interface ResetRequest extends MessageBase {
  readonly type: 'reset';
  readonly logStart: number;
  /** Of the record logStart − 1; −1 if unknown. */
  readonly prevEpoch: number;
  /** The last one that is committed; its offset is below logStart here, wherever it stands in the leader's log. */
  readonly configuration: LoggedConfiguration;
}

/** The leader hands over: campaign at once, whatever the clock says. */
export interface TimeoutNow extends MessageBase {
  readonly type: 'timeout-now';
}

export type Message =
  | ResetRequest
  | VoteRequest
  | VoteReply
  | AppendRequest
  | AppendReply
  | Heartbeat
  | HeartbeatReply
  | TimeoutNow;

/** A change to the log that the driver makes at once, in order, before it gives the core anything else. */
export type LogWrite =
  /** Remove everything from `to` on (a batch boundary, never below the high watermark). */
  | { readonly type: 'truncate'; readonly to: number }
  /**
   * Empty the log, whatever it holds: it starts and ends at `logStart` now, inside a batch perhaps. What it says of
   * epochs and configurations begins with the ones given. An append may follow whose first batch begins below that.
   */
  | {
      readonly type: 'reset';
      readonly logStart: number;
      readonly prevEpoch: number;
      readonly configuration: LoggedConfiguration;
    }
  /** Store the batches of `message` whose start ≥ `from`. */
  | { readonly type: 'append'; readonly message: AppendRequest; readonly from: number }
  /** This node became leader: append the leader-change control batch of `epoch` before anything else. */
  | { readonly type: 'leader-change'; readonly epoch: number }
  /** Leader: append a control batch with this configuration, which is in effect already. */
  | { readonly type: 'configuration'; readonly epoch: number; readonly configuration: Configuration };

/**
 * What the driver must do after each call into the core. Order: 1. issue `writes`, 2. issue the write of `hardState`
 * (call `hardStateDurable` when it is durable, never from inside the same turn), 3. send `messages`, 4. publish
 * what else it says, 5. if there were writes, call `accepted` (when this node wrote a control batch of its own)
 * and `logProgress` with the log's cursors of now. The manual with the loop is at the top of raft.ts.
 *
 * The core itself holds back every message that needs a hard state that is not durable yet, so `messages` may always be
 * sent at once, and should be: a span may be truncated by the next call.
 */
export interface Ready {
  readonly writes: readonly LogWrite[];
  /** Replaces every earlier one; states become durable in the order they are given. */
  readonly hardState?: HardState;
  readonly messages: readonly Message[];
  /** Never above the end of the log once `writes` are done. */
  readonly highWatermark?: number;
  /** Present when role, term or known leader changed. `leader` 0: unknown. */
  readonly leadership?: { readonly role: Role; readonly term: number; readonly leader: NodeId };
  /** Present when the configuration in effect changed, or became committed. */
  readonly membership?: Membership;
  /** A change of membership that was accepted has been given up; a sentence. */
  readonly changeFailed?: string;
  /** A transfer of leadership has been given up; a sentence. */
  readonly transferFailed?: string;
  /** Present when it changed: this replica abstains, or does no more. */
  readonly forgetful?: boolean;
  /** This replica leads by an unclean recovery; what it lacks of what was acknowledged is lost. A sentence. */
  readonly unclean?: string;
  /** Answers to `readIndex`. */
  readonly reads?: readonly Read[];
}

export interface Read {
  /** As it was given to `readIndex`. */
  readonly id: number;
  /** Whoever sees all below it sees everything acknowledged before the question; −1: this node did not lead long enough. */
  readonly highWatermark: number;
}

/** The configuration in effect on this node. */
export interface Membership extends LoggedConfiguration {
  readonly committed: boolean;
}

/** What the log reports: a gap-free prefix is `written` (page cache) and `durable` (disk); durable ≤ written ≤ end. */
export interface LogProgress {
  readonly generation: number;
  readonly written: number;
  readonly durable: number;
}

/** What the leader knows of one follower: for status and metrics. */
export interface PeerStatus {
  readonly id: NodeId;
  readonly directory: DirectoryId;
  readonly voter: boolean;
  readonly state: 'probe' | 'replicate' | 'reset';
  /** Where the next append begins. */
  readonly next: number;
  /** The follower's cursors as it last told them, 0 while unknown. */
  readonly written: number;
  readonly durable: number;
  readonly inflightMessages: number;
  readonly inflightBytes: number;
  /** It abstains. */
  readonly forgetful: boolean;
}

export interface RaftOptions {
  readonly self: Sender;
  /**
   * The log's configuration history, in offset order, at least one. The first may be the founding one (offset −1); an empty
   * founding configuration is that of a replica which does not know yet who the voters are: it only follows.
   */
  readonly configurations: readonly LoggedConfiguration[];
  /** State found at start. */
  readonly hardState: HardState;
  /** Floor of the high watermark found at start. */
  readonly highWatermark: number;
  readonly progress: LogProgress;
  readonly log: LogView;
  /** 'durable' under flush: sync, 'written' under the relaxed modes: which cursor makes a replica count for a commit. */
  readonly countBy: 'durable' | 'written';
  /** 'longest-log': forgetful replicas may elect by their logs. An operator's word, which may lose records. */
  readonly uncleanRecovery: 'never' | 'longest-log';
  /** Heartbeats are sent every this many ticks. */
  readonly heartbeatTicks: number;
  /** Elections start after a random number of ticks in [electionTicks, 2 × electionTicks). */
  readonly electionTicks: number;
  /** Limits of what is in flight to one follower. */
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  /** Bytes of one append message, unless one batch is larger. */
  readonly maxAppendBytes: number;
  /** Uniform in [0, 1). The only source of randomness. */
  readonly random: () => number;
}
