/**
 * What a leader knows of one follower, and how much it may send it.
 *
 *   probe      the point where the logs agree is not known: one empty append at a time, at `next`
 *   replicate  it is: appends are pipelined, `next` runs ahead of the acknowledgements
 *   reset      it lacks what retention has deleted here: told to go on at our log start
 *
 *        match ≤ … in flight … ≤ next ≤ log end
 *
 * A rejection or a lost connection goes back to probe; any acknowledgement goes to replicate, where a mistake only costs
 * another rejection. `match` is the cursor that counts for a commit (written or durable). It never goes back while the
 * follower's truncation generation and this leader's term last, because a follower only cuts above what it has verified.
 */
import { invariant } from './invariant.js';
import type { AppendReply, Member, PeerStatus } from './types.js';

/** So many former processes of a follower are remembered, for messages that come late. */
const RETIRED_MAX = 8;

export interface InflightLimits {
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
}

/** The appends sent and not yet acknowledged, oldest first. */
export class Inflight {
  readonly #limits: InflightLimits;
  #sent: { readonly end: number; readonly bytes: number }[] = [];
  #bytes = 0;

  constructor(limits: InflightLimits) {
    this.#limits = limits;
  }

  get messages(): number {
    return this.#sent.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** One message may always go, however large: a batch larger than the limit must not block for ever. */
  hasRoomFor(bytes: number): boolean {
    if (this.#sent.length === 0) return true;
    return this.#sent.length < this.#limits.maxInflightMessages && this.#bytes + bytes <= this.#limits.maxInflightBytes;
  }

  add(end: number, bytes: number): void {
    this.#sent.push({ end, bytes });
    this.#bytes += bytes;
  }

  /** Acknowledgements are cumulative: everything up to `end` has arrived. */
  freeTo(end: number): void {
    let freed = 0;
    while (freed < this.#sent.length && this.#sent[freed]!.end <= end) this.#bytes -= this.#sent[freed++]!.bytes;
    if (freed > 0) this.#sent.splice(0, freed);
  }

  clear(): void {
    this.#sent = [];
    this.#bytes = 0;
  }
}

export class Progress {
  readonly member: Member;
  readonly inflight: Inflight;
  readonly #countBy: 'durable' | 'written';
  state: PeerStatus['state'] = 'probe';
  next: number;
  /** The process that what follows was heard from; '' while unknown. */
  incarnation = '';
  /** Processes of this member that are over. */
  #retired: string[] = [];
  written = 0;
  durable = 0;
  /** It abstains: what it has counts for nothing. */
  forgetful = false;
  /** The most that was ever counted of it in this term, whichever process it was. */
  countedMax = 0;
  /** The follower's truncation generation; −1 while unknown. */
  generation = -1;
  /** States probe and reset: the one message is on its way. */
  probeSent = false;
  /** The last round of read index that it answered. */
  readRound = 0;
  /** Spoke since check-quorum last looked. */
  active = false;
  /** Acknowledged something since its last heartbeat reply: nothing needs looking for. */
  acknowledged = false;
  /** The high watermark it was last told. */
  sentHighWatermark = 0;
  /** An append did not fit: one at a time until the follower stores one, or a full disk would be sent the same for ever. */
  cautious = false;

  constructor(member: Member, next: number, countBy: 'durable' | 'written', limits: InflightLimits) {
    this.member = member;
    this.next = next;
    this.inflight = new Inflight(limits);
    this.#countBy = countBy;
  }

  /** What counts for a commit. */
  get match(): number {
    return this.#countBy === 'durable' ? this.durable : this.written;
  }

  /** What a majority may be made of. */
  get counted(): number {
    return this.forgetful ? 0 : this.match;
  }

  get countedDurable(): number {
    return this.forgetful ? 0 : this.durable;
  }

  becomeProbe(next: number): void {
    this.state = 'probe';
    this.next = next;
    this.probeSent = false;
    this.inflight.clear();
  }

  /** @param next a batch boundary at or below what is known to match */
  becomeReplicate(next: number): void {
    this.state = 'replicate';
    this.next = next;
    this.inflight.clear();
  }

  /**
   * A message of this process arrived. Another process than before knows only what its disk kept, so nothing counts that
   * the former one said.
   * @returns false when the process is known to be over
   */
  heardFrom(incarnation: string): boolean {
    if (incarnation === this.incarnation) return true;
    if (this.#retired.includes(incarnation)) return false;
    if (this.incarnation !== '') {
      this.#retired = [...this.#retired.slice(1 - RETIRED_MAX), this.incarnation];
      this.forget();
    }
    this.incarnation = incarnation;
    return true;
  }

  /** Nothing the follower said before counts any more. */
  forget(): void {
    this.written = 0;
    this.durable = 0;
    this.generation = -1;
    this.sentHighWatermark = 0;
    this.becomeProbe(this.next);
  }

  becomeReset(next: number): void {
    this.becomeProbe(next);
    this.state = 'reset';
  }

  sent(end: number, bytes: number): void {
    invariant(this.state === 'replicate', () => `data sent to node ${this.member.id} in state ${this.state}`);
    invariant(end > this.next, () => `append to node ${this.member.id} ends at ${end}, not after ${this.next}`);
    this.next = end;
    this.inflight.add(end, bytes);
  }

  /** Takes the cursors of a reply of this term; false if it comes from before a truncation we already know of. */
  update(reply: AppendReply): boolean {
    if (reply.generation < this.generation) return false;
    const { match } = this;
    if (reply.generation > this.generation) {
      this.generation = reply.generation;
      this.written = reply.written;
      this.durable = reply.durable;
    } else {
      // Replies can overtake each other; within a generation each one holds for ever.
      this.written = Math.max(this.written, reply.written);
      this.durable = Math.max(this.durable, reply.durable);
    }
    this.forgetful = reply.forgetful;
    this.countedMax = Math.max(this.countedMax, this.counted);
    if (this.match > match) this.cautious = false;
    this.inflight.freeTo(this.match);
    return true;
  }

  status(voter: boolean): PeerStatus {
    return {
      ...this.member,
      voter,
      state: this.state,
      next: this.next,
      written: this.written,
      durable: this.durable,
      inflightMessages: this.inflight.messages,
      inflightBytes: this.inflight.bytes,
      forgetful: this.forgetful,
    };
  }
}
