/**
 * What a node does with what a leader sends: checks appends, cuts and stores, learns how far the log is committed, and
 * acknowledges. The rules for one append are in following.ts; what was learned from a leader ends with its term.
 */
import type { Abstention } from './abstention.js';
import type { Configurations } from './configurations.js';
import type { Cursors } from './cursors.js';
import { Following, fits, planAppend } from './following.js';
import { invariant } from './invariant.js';
import type {
  AppendReply,
  AppendRequest,
  Heartbeat,
  LogView,
  LogWrite,
  Member,
  Message,
  ResetRequest,
  Sender,
} from './types.js';

export interface FollowerHost {
  readonly self: Sender;
  readonly log: LogView;
  readonly cursors: Cursors;
  readonly configurations: Configurations;
  readonly abstention: Abstention;
  term(): number;
  highWatermark(): number;
  advanceHighWatermark(to: number): void;
  write(write: LogWrite): void;
  send(message: Message): void;
}

export class Follower {
  readonly #host: FollowerHost;
  #following: Following;
  /** Known to be committed, though the log may not have come that far yet. */
  #committed: number;

  constructor(host: FollowerHost) {
    this.#host = host;
    this.#following = new Following(host.cursors);
    this.#committed = host.highWatermark();
  }

  /** Another term: nothing is known of its leader's log. */
  newTerm(): void {
    this.#following = new Following(this.#host.cursors);
    this.#host.abstention.newTerm();
  }

  onAppend(message: AppendRequest): void {
    const { log, configurations, abstention } = this.#host;
    this.#checkMemory(message.counted);
    abstention.noteReport(message.recovery);
    const plan = planAppend(log, this.#host.highWatermark(), message);
    if (!plan.fits) {
      this.reject(message, plan.hint);
      return;
    }
    if (plan.from >= 0) {
      if (plan.truncateTo >= 0) this.#truncate(plan.truncateTo);
      this.#host.write({ type: 'append', message, from: plan.from });
      for (const { start, configuration } of message.batches) {
        if (start >= plan.from && configuration !== undefined) configurations.add({ offset: start, configuration });
      }
    }
    this.#following.verified = Math.max(this.#following.verified, message.end);
    this.#learnCommitted(message.highWatermark);
    // New bytes are answered when the log reports them. All else at once: the leader may be waiting for just this.
    if (plan.from >= 0) return;
    this.advance();
    this.#recover(undefined);
    this.#acknowledge(message.from);
  }

  reject({ from, start }: AppendRequest, hint?: AppendReply['hint']): void {
    this.#host.send({ ...this.#reply(from), rejectedStart: start, ...(hint && { hint }) });
  }

  onHeartbeat(message: Heartbeat): void {
    const { self, abstention } = this.#host;
    const { from, round, counted } = message;
    this.#checkMemory(counted);
    abstention.noteReport(message.recovery);
    this.#learnCommitted(message.highWatermark);
    this.advance();
    this.#recover(from);
    const { isForgetful: forgetful } = abstention;
    this.#host.send({ type: 'heartbeat-reply', from: self, to: from, term: this.#host.term(), round, forgetful });
  }

  /** The leader has deleted what comes next for us. A log that reaches its log start all the same is left as it is. */
  onReset(message: ResetRequest): void {
    const { log, cursors, configurations } = this.#host;
    const { from, logStart, prevEpoch, configuration } = message;
    const isHeld = fits(log, this.#host.highWatermark(), { start: logStart, prevEpoch });
    if (!isHeld) {
      // What we hold above our high watermark is another history; below it, it is what the leader has deleted.
      cursors.truncate(logStart);
      configurations.reset(configuration);
      this.#host.write({ type: 'reset', logStart, prevEpoch, configuration });
    }
    this.#following.verified = Math.max(this.#following.verified, logStart);
    this.#committed = Math.max(this.#committed, logStart);
    if (!isHeld) return;
    this.advance();
    this.#acknowledge(from);
  }

  /** The log reported progress. */
  onProgress(leader: Member | undefined): void {
    this.advance();
    this.#recover(leader);
    // A configuration counts by durable cursors, whatever the flush mode.
    const { configurations, abstention } = this.#host;
    const isUncommitted = configurations.last.offset >= this.#host.highWatermark();
    const durableCounts = isUncommitted || abstention.isForgetful;
    if (leader !== undefined && this.#following.hasNews(durableCounts)) this.#acknowledge(leader);
  }

  /** The leader of this term has built on more than we hold: a disk lost what it had called durable. */
  #checkMemory(counted: number): void {
    if (counted > this.#host.log.end) this.#host.abstention.mark();
  }

  /** The leader is to hear at once that we count again. */
  #recover(leader: Member | undefined): void {
    const { abstention } = this.#host;
    if (!abstention.isForgetful) return;
    abstention.recoverIfWhole(this.#following.verified);
    if (!abstention.isForgetful && leader !== undefined) this.#acknowledge(leader);
  }

  /** A batch that the log could not take is verified all the same, so the end of the log has the last word. */
  advance(): void {
    const { log } = this.#host;
    this.#host.advanceHighWatermark(Math.max(this.#host.highWatermark(), Math.min(this.#committed, log.end)));
  }

  #truncate(to: number): void {
    const { verified } = this.#following;
    const highWatermark = this.#host.highWatermark();
    invariant(to >= highWatermark, () => `truncation to ${to}, below high watermark ${highWatermark}`);
    invariant(to >= verified, () => `truncation to ${to}, below ${verified} where this leader's log was found equal`);
    this.#host.cursors.truncate(to);
    this.#host.configurations.truncateTo(to);
    this.#host.write({ type: 'truncate', to });
  }

  /** The leader's high watermark says something about our log only as far as ours is known to equal the leader's. */
  #learnCommitted(leadersHighWatermark: number): void {
    this.#committed = Math.max(this.#committed, Math.min(leadersHighWatermark, this.#following.verified));
  }

  #acknowledge(leader: Member): void {
    this.#following.noteReported();
    this.#host.send(this.#reply(leader));
  }

  #reply(to: Member): AppendReply {
    return this.#following.reply(this.#host.self, to, this.#host.term(), this.#host.abstention.isForgetful);
  }
}
