/**
 * The rules of docs/HISTORY.md once more, as loops over everything, for small histories: no tables, no order of claims, no
 * binary search. Returns how often each anomaly is there, by `anomaly partition`. Times are compared as the page says: one
 * operation came before another if its time is below the other's begin.
 */
import type {
  Config,
  EndOffset,
  Fault,
  Operation,
  PartitionSettings,
  Poll,
  ReadRecord,
  Send,
  TimedOperation,
} from '../../src/checker/operation.js';

type Line<T> = T & { readonly line: number };
interface At {
  readonly offset: number;
  readonly poll: Line<Poll>;
}

/** What one observer was told of an end or a start of the log. */
interface Told {
  readonly observer: string;
  readonly offset: number;
  readonly at: Line<TimedOperation>;
}

export function judgeNaively(operations: readonly Operation[]): Record<string, number> {
  return new Oracle(operations).judge();
}

const beginOf = (one: TimedOperation): number => one.begin ?? one.time;
const isOk = (one: { readonly outcome?: string }): boolean => (one.outcome ?? 'ok') === 'ok';
const valuesOf = (send: Send): string[] => (send.values ?? [send.value!]).map(String);
const recordsOf = (poll: Poll): readonly ReadRecord[] => poll.records ?? [];
const max = (numbers: readonly number[]): number => Math.max(Number.NEGATIVE_INFINITY, ...numbers);
const distinct = <T>(list: readonly T[]): T[] => [...new Set(list)];

class Oracle {
  readonly #all: readonly Line<TimedOperation>[];
  readonly #settings: ReadonlyMap<string, PartitionSettings>;
  readonly #partitions: readonly string[];
  readonly #found: Record<string, number> = {};
  /** Values whose offsets say nothing: lost, torn, or answered for another. */
  readonly #gone = new Set<string>();

  constructor(operations: readonly Operation[]) {
    const lines = operations.map((operation, i) => ({ ...operation, line: i + 1 }));
    this.#all = lines.filter((one) => one.op !== 'history' && one.op !== 'partition');
    const settings = lines.filter((one) => one.op === 'partition');
    this.#settings = new Map(settings.map((one) => [String(one.partition), one]));
    const named = this.#all.flatMap((one) =>
      'partition' in one && one.partition !== undefined ? [String(one.partition)] : [],
    );
    this.#partitions = distinct([...this.#settings.keys(), ...named]);
  }

  judge(): Record<string, number> {
    for (const p of this.#partitions) {
      this.#judgeAnswers(p);
      for (const value of this.#valuesIn(p)) this.#judgeValue(p, value);
      this.#judgeConflicts(p);
      this.#judgePolls(p);
      this.#judgeOrder(p);
      this.#judgeEnds(p);
      this.#judgeRetention(p);
      this.#judgeLookups(p);
      this.#judgeNodes(p);
      this.#judgeConfigs(p);
      this.#judgeGroups(p);
    }
    return this.#found;
  }

  #add(anomaly: string, partition: string): void {
    const key = `${anomaly} ${partition}`;
    this.#found[key] = (this.#found[key] ?? 0) + 1;
  }

  // What happened.

  #of<O extends TimedOperation['op']>(op: O, p: string): Line<Extract<TimedOperation, { op: O }>>[] {
    return this.#all.filter((one) => one.op === op && 'partition' in one && String(one.partition) === p) as never;
  }

  #faults(): Line<Fault>[] {
    return this.#all.filter((one) => one.op === 'fault') as never;
  }

  #sends(p: string): Line<Send>[] {
    return this.#of('send', p);
  }

  #polls(p: string): Line<Poll>[] {
    return this.#of('poll', p).filter(isOk);
  }

  #sendsOf(p: string, value: string): Line<Send>[] {
    return this.#sends(p).filter((send) => valuesOf(send).includes(value));
  }

  #valuesIn(p: string): string[] {
    const read = this.#polls(p).flatMap((poll) => recordsOf(poll).map(([, value]) => String(value)));
    return distinct([...this.#sends(p).flatMap(valuesOf), ...read]);
  }

  #sightings(p: string, value: string): At[] {
    return this.#polls(p).flatMap((poll) =>
      recordsOf(poll)
        .filter(([, other]) => String(other) === value)
        .map(([offset]) => ({ offset, poll })),
    );
  }

  #isSeenAt(p: string, value: string, offset: number): boolean {
    return this.#sightings(p, value).some((at) => at.offset === offset);
  }

  #acknowledgedOffset(send: Send, value: string): number | undefined {
    return send.offset === undefined ? undefined : send.offset + valuesOf(send).indexOf(value);
  }

  #attempts(p: string, value: string): number {
    const tried = this.#sendsOf(p, value).filter((send) => send.outcome !== 'failed');
    return tried.reduce((sum, send) => sum + (send.attempts ?? 1), 0);
  }

  #isIdempotent(p: string, value: string): boolean {
    const identities = this.#sendsOf(p, value).map((send) =>
      send.producerId === undefined
        ? undefined
        : `${send.producerId} ${send.producerEpoch} ${send.sequence! + valuesOf(send).indexOf(value)}`,
    );
    return identities[0] !== undefined && distinct(identities).length === 1;
  }

  #isFailed(p: string, value: string): boolean {
    return this.#sendsOf(p, value).every((send) => send.outcome === 'failed');
  }

  #endOf(send: Send): 'committed' | 'aborted' | 'open' {
    if (send.transaction === undefined) return 'committed';
    const ends = this.#all.filter(
      (one) => one.op === 'end-transaction' && one.transaction === send.transaction,
    ) as Line<Extract<TimedOperation, { op: 'end-transaction' }>>[];
    const commits = ends.filter((end) => end.decision === 'commit');
    if (commits.some(isOk)) return 'committed';
    if (ends.some((end) => end.decision === 'abort' && isOk(end))) return 'aborted';
    if (commits.some((end) => end.outcome === 'unknown')) return this.#isTransactionSeen(send) ? 'committed' : 'open';
    return commits.length > 0 ? 'aborted' : 'open';
  }

  #isTransactionSeen({ transaction }: Send): boolean {
    return this.#partitions.some((p) =>
      this.#sends(p)
        .filter((send) => send.transaction === transaction && send.outcome !== 'failed')
        .some((send) => valuesOf(send).some((value) => this.#committedReads(p, value).length > 0)),
    );
  }

  #committedReads(p: string, value: string): Line<Poll>[] {
    return this.#sightings(p, value)
      .map(({ poll }) => poll)
      .filter((poll) => poll.isolation === 'read_committed');
  }

  #isPromised(send: Send): boolean {
    return isOk(send) && this.#endOf(send) === 'committed';
  }

  #logStart(p: string): number {
    const told = this.#logStarts(p).map(({ offset }) => offset);
    return Math.max(this.#settings.get(p)?.logStart ?? 0, max(told));
  }

  /** Everybody who was told, or said, a log start. */
  #logStarts(p: string): Told[] {
    return this.#all.flatMap((at): Told[] => {
      if (!('logStart' in at) || at.logStart === undefined || String(at.partition) !== p) return [];
      if (at.op === 'poll') return isOk(at) ? [{ observer: `c ${at.consumer}`, offset: at.logStart, at }] : [];
      if (at.op === 'end-offset') return isOk(at) ? [{ observer: `e ${at.client}`, offset: at.logStart, at }] : [];
      return [{ observer: `n ${at.node}`, offset: at.logStart, at }];
    });
  }

  // What polls went past.

  /** Offsets that a poll, or the way to it from the consumer's last position, went past without a record; and a step back. */
  #passed(p: string, poll: Line<Poll>): { readonly offsets: number[][]; readonly isBack: boolean } {
    const before = this.#all.filter(
      (one) =>
        one.line < poll.line &&
        ((one.op === 'poll' && isOk(one)) || one.op === 'seek') &&
        String(one.partition) === p &&
        String(one.consumer) === String(poll.consumer),
    ) as Line<Poll>[];
    const earlier = before.at(-1);
    const position = earlier === undefined ? undefined : this.#positionAfter(p, earlier);
    const records = recordsOf(poll).map(([offset]) => offset);
    const first = poll.from ?? records[0];
    let isBack = position !== undefined && first !== undefined && first < position;
    const start = isBack ? first! : (position ?? first);
    if (start === undefined) return { offsets: [], isBack };
    isBack ||= records.some(
      (offset, i) => offset < Math.max(start, poll.from ?? start, ...records.slice(0, i).map((o) => o + 1)),
    );
    const end = Math.max(start, poll.from ?? 0, poll.next ?? 0, max(records) + 1);
    const missing: number[][] = [];
    // The way to `from` is one stretch, and so is each hole among the records.
    let reached = start;
    const until = [poll.from ?? start, ...records, poll.next ?? end];
    for (const [i, stop] of until.entries()) {
      const hole: number[] = [];
      for (let offset = reached; offset < stop; offset += 1) hole.push(offset);
      if (hole.length > 0) missing.push(hole);
      reached = Math.max(reached, i === 0 || i > records.length ? stop : stop + 1);
    }
    return { offsets: missing, isBack };
  }

  #positionAfter(p: string, one: Line<Poll> | Line<Extract<TimedOperation, { op: 'seek' }>>): number | undefined {
    if (one.op === 'seek') return one.offset;
    const records = recordsOf(one).map(([offset]) => offset + 1);
    const before = this.#all.filter(
      (other) =>
        other.line < one.line &&
        ((other.op === 'poll' && isOk(other)) || other.op === 'seek') &&
        String(other.partition) === p &&
        String(other.consumer) === String(one.consumer),
    ) as Line<Poll>[];
    const earlier = before.at(-1);
    const position = earlier === undefined ? undefined : this.#positionAfter(p, earlier);
    const first = one.from ?? (records[0] === undefined ? undefined : records[0] - 1);
    const start = position !== undefined && first !== undefined && first < position ? first : (position ?? first);
    if (start === undefined) return one.next;
    return Math.max(start, one.from ?? 0, one.next ?? 0, max(records));
  }

  #lastSighting(p: string, value: string, offset: number): number {
    return max(
      this.#sightings(p, value)
        .filter((at) => at.offset === offset)
        .map(({ poll }) => beginOf(poll)),
    );
  }

  #mustBeGiven(p: string, value: string, offset: number, poll: Line<Poll>): boolean {
    if (offset < this.#logStart(p) && !(this.#lastSighting(p, value, offset) > poll.time)) return false;
    if (this.#isCompactedAway(p, value, offset)) return false;
    const sends = this.#sendsOf(p, value);
    if (sends.length === 0) return true;
    return sends.some(
      (send) => send.outcome !== 'failed' && (poll.isolation !== 'read_committed' || this.#endOf(send) === 'committed'),
    );
  }

  #keyOf(p: string, value: string): string | undefined {
    const first = this.#sendsOf(p, value)[0];
    const key = first === undefined ? undefined : (first.keys?.[valuesOf(first).indexOf(value)] ?? first.key);
    return key === undefined ? undefined : String(key);
  }

  /** Where a record was read, or acknowledged. */
  #places(p: string, value: string): number[] {
    const read = this.#sightings(p, value).map((at) => at.offset);
    const told = this.#sendsOf(p, value).flatMap((send) => this.#acknowledgedOffset(send, value) ?? []);
    return distinct([...read, ...told]);
  }

  #isCompactedAway(p: string, value: string, offset: number): boolean {
    if (this.#settings.get(p)?.compacted !== true) return false;
    if (this.#sendsOf(p, value)[0]?.tombstone === true) return true;
    const key = this.#keyOf(p, value);
    if (key === undefined) return false;
    return this.#valuesIn(p).some(
      (other) => this.#keyOf(p, other) === key && this.#places(p, other).some((at) => at > offset),
    );
  }

  /** Polls that went past an offset where a record had to be, although nobody was given it there later. */
  #missedBy(p: string, value: string, offset: number): Line<Poll>[] {
    return this.#polls(p).filter(
      (poll) =>
        this.#passed(p, poll).offsets.some((hole) => hole.includes(offset)) &&
        this.#mustBeGiven(p, value, offset, poll) &&
        !(this.#lastSighting(p, value, offset) > beginOf(poll)),
    );
  }

  #isProvenMissing(p: string, value: string, offset: number): boolean {
    if (offset < this.#logStart(p) || this.#isCompactedAway(p, value, offset)) return false;
    const first = this.#polls(p)
      .flatMap((poll) => recordsOf(poll))
      .find(([at]) => at === offset);
    if (first !== undefined && String(first[1]) !== value) return true;
    return this.#missedBy(p, value, offset).length > 0;
  }

  // What is permitted.

  #isPermitted(p: string, send: Send): boolean {
    const settings = this.#settings.get(p);
    const acks = send.acks ?? 'all';
    if (acks === 0) return true;
    const isLeaderOnly = acks === 1 && settings?.replicas?.length !== 1;
    if (isLeaderOnly) {
      const epochs = this.#epochsNamed(p);
      if (send.epoch === undefined ? this.#faults().some((f) => f.time >= beginOf(send)) : max(epochs) > send.epoch)
        return true;
    }
    return this.#isTakenByFault(p, beginOf(send), send.time, send.offset, isLeaderOnly, send.node);
  }

  #epochsNamed(p: string): number[] {
    return this.#all.flatMap((one) => {
      if (!('partition' in one) || String(one.partition) !== p) return [];
      if (one.op === 'poll') return isOk(one) ? recordsOf(one).flatMap(([, , epoch]) => epoch ?? []) : [];
      if (one.op === 'replica') return one.batches.slice(-1).map(([, , epoch]) => epoch);
      if (one.op === 'send' || one.op === 'leader' || one.op === 'epoch-end')
        return one.epoch === undefined ? [] : [one.epoch];
      return [];
    });
  }

  #isVisiblePermitted(p: string, value: string, at: At): boolean {
    const sends = this.#sendsOf(p, value);
    const begin = sends.length === 0 ? at.poll.time : Math.min(...sends.map(beginOf));
    const told = sends.filter((send) => isOk(send) && send.acks !== 0).map((send) => send.time);
    return this.#isTakenByFault(p, begin, Math.min(at.poll.time, ...told), at.offset, false, undefined);
  }

  #isTakenByFault(
    p: string,
    begin: number,
    time: number,
    offset: number | undefined,
    isLeaderOnly: boolean,
    node: unknown,
  ): boolean {
    const { flush = 'sync', flushMs = 50, replicas } = this.#settings.get(p) ?? {};
    return this.#faults().some((fault) => {
      if (begin > fault.time) return false;
      const struck = (fault.nodes ?? []).map(String);
      const isStruck = isLeaderOnly
        ? node === undefined || struck.includes(String(node))
        : replicas === undefined || replicas.filter((one) => struck.includes(String(one))).length * 2 > replicas.length;
      if (fault.fault === 'disk-lost') return isStruck;
      if (fault.fault === 'unclean-recovery')
        return String(fault.partition) === p && (offset === undefined || offset >= fault.offset!);
      if (fault.fault !== 'power-cut' || flush === 'sync' || !isStruck) return false;
      return flush === 'none' || time >= beginOf(fault) - flushMs;
    });
  }

  // Verdicts.

  /** Answers that say "this was there already". */
  #judgeAnswers(p: string): void {
    for (const { later, value, first, firstValue } of this.#answerConflicts(p)) {
      if (first.producerId === undefined || String(first.producerId) !== String(later.producerId)) continue;
      if (this.#gone.has(`${p} ${value}`) || firstValue === value) continue;
      this.#add('dedupe-false-positive', p);
      this.#gone.add(`${p} ${value}`);
    }
    for (const send of this.#sends(p)) {
      if (send.duplicate === true) this.#judgeDuplicateAnswer(p, send);
      if (valuesOf(send).length > 1 && send.outcome !== 'failed') this.#judgeBatch(p, send);
    }
  }

  #answerConflicts(p: string) {
    const acknowledged = this.#sends(p).flatMap((send) =>
      send.offset === undefined ? [] : valuesOf(send).map((value, i) => ({ send, value, offset: send.offset! + i })),
    );
    return acknowledged.flatMap(({ send: later, value, offset }) => {
      const first = acknowledged.find((one) => one.offset === offset)!;
      return first.value === value ? [] : [{ later, value, offset, first: first.send, firstValue: first.value }];
    });
  }

  #judgeDuplicateAnswer(p: string, send: Line<Send>): void {
    if ((send.attempts ?? 1) > 1) return;
    const value = valuesOf(send)[0]!;
    const others = this.#sendsOf(p, value).filter((one) => one !== send && one.outcome !== 'failed');
    if (others.some((one) => beginOf(one) < send.time)) return;
    this.#add('dedupe-false-positive', p);
    this.#gone.add(`${p} ${value}`);
  }

  #judgeBatch(p: string, send: Line<Send>): void {
    const values = valuesOf(send);
    if (this.#sendsOf(p, values[0]!)[0] !== send) return;
    const bases = distinct(values.flatMap((value, i) => this.#sightings(p, value).map((at) => at.offset - i))).sort(
      (a, b) => a - b,
    );
    const copies = this.#isIdempotent(p, values[0]!) ? 1 : this.#attempts(p, values[0]!);
    for (const base of bases) {
      const absent = values.filter((value, i) => !this.#isSeenAt(p, value, base + i));
      const isProven = absent.some((value) => this.#isProvenMissing(p, value, base + values.indexOf(value)));
      if (absent.length === 0 || (!isProven && bases.length <= copies)) continue;
      this.#add('torn-batch', p);
      for (const value of absent) this.#gone.add(`${p} ${value}`);
      return;
    }
  }

  #judgeValue(p: string, value: string): void {
    const sends = this.#sendsOf(p, value);
    const sightings = this.#sightings(p, value);
    if (sends.length === 0) {
      const isElsewhere = this.#partitions.some((q) => q !== p && this.#sendsOf(q, value).length > 0);
      this.#add(isElsewhere ? 'cross-partition-leak' : 'corrupt-served', p);
      return;
    }
    if (this.#isFailed(p, value)) {
      if (sightings.length > 0) this.#add('aborted-read', p);
      return;
    }
    if (sends[0]!.transaction !== undefined) this.#judgeTransaction(p, value, sends[0]!);
    if (this.#gone.has(`${p} ${value}`)) return;
    const told = new Map<number, Line<Send>>();
    for (const send of sends) {
      const offset = this.#acknowledgedOffset(send, value);
      if (offset !== undefined && !told.has(offset)) told.set(offset, send);
    }
    if (sightings.length > 0) this.#judgeRead(p, value, told);
    else if (told.size > 0) this.#judgeTold(p, value, told);
    else this.#judgeUnplaced(p, value);
  }

  #judgeTransaction(p: string, value: string, send: Send): void {
    const reads = this.#committedReads(p, value);
    if (reads.length === 0) return;
    const commits = this.#all.filter(
      (one) =>
        one.op === 'end-transaction' &&
        one.transaction === send.transaction &&
        one.decision === 'commit' &&
        one.outcome !== 'failed',
    );
    const first = Math.min(Number.POSITIVE_INFINITY, ...commits.map(beginOf));
    if (this.#endOf(send) === 'aborted') this.#add('aborted-read', p);
    else if (reads.some((poll) => poll.time < first)) this.#add('precommitted-read', p);
  }

  #judgeCopies(p: string, value: string, copies: number): void {
    const attempts = this.#attempts(p, value);
    if (this.#isIdempotent(p, value)) {
      if (copies > attempts || !this.#isPermitted(p, this.#sendsOf(p, value)[0]!)) this.#add('dedupe-miss', p);
    } else if (copies > attempts) {
      this.#add('duplicate', p);
    }
  }

  #judgeRead(p: string, value: string, told: ReadonlyMap<number, Line<Send>>): void {
    const offsets = distinct(this.#sightings(p, value).map((at) => at.offset));
    const attempts = this.#attempts(p, value);
    const copies = Math.max(offsets.length, told.size);
    if (copies > 1) this.#judgeCopies(p, value, copies);
    for (const [offset, send] of told) {
      if (offsets.includes(offset)) continue;
      const isOneCopy = copies === 1 && (attempts === 1 || this.#isIdempotent(p, value));
      if (!isOneCopy && !this.#isProvenMissing(p, value, offset)) continue;
      if (!(attempts > 1 && this.#isPermitted(p, send))) this.#add('inconsistent-offsets', p);
    }
    const vanished = offsets.filter((offset) => this.#missedBy(p, value, offset).length > 0);
    const isPromised = this.#sendsOf(p, value).some((send) => this.#isPromised(send));
    for (const offset of vanished) {
      const at = this.#sightings(p, value).find((one) => one.offset === offset)!;
      if (this.#isVisiblePermitted(p, value, at)) continue;
      const isCompacted = this.#settings.get(p)?.compacted === true;
      const isLost = isPromised && vanished.length === offsets.length;
      this.#add(isCompacted ? 'retention-ate-live' : isLost ? 'lost-write' : 'committed-truncated', p);
    }
    if (vanished.length === offsets.length) this.#gone.add(`${p} ${value}`);
  }

  #judgeTold(p: string, value: string, told: ReadonlyMap<number, Line<Send>>): void {
    const promised = [...told].filter(([, send]) => this.#isPromised(send));
    if (promised.length === 0) return;
    const finals = this.#polls(p).filter((poll) => poll.final === true);
    const isLost = promised.every(([offset]) => this.#isProvenMissing(p, value, offset));
    const isUnseen =
      finals.length > 0 &&
      promised.every(
        ([offset, send]) =>
          offset >= max(finals.map((poll) => poll.next!)) &&
          finals.every((poll) => send.time < beginOf(poll)) &&
          offset >= this.#logStart(p) &&
          !this.#isCompactedAway(p, value, offset),
      );
    if (!isLost && !isUnseen) {
      if (told.size > 1) this.#judgeCopies(p, value, told.size);
      return;
    }
    if (isLost) this.#gone.add(`${p} ${value}`);
    if (promised.every(([, send]) => this.#isPermitted(p, send))) return;
    this.#add(isLost ? 'lost-write' : 'unseen', p);
  }

  #judgeUnplaced(p: string, value: string): void {
    const finals = this.#polls(p).filter((poll) => poll.final === true);
    const start = this.#settings.get(p)?.logStart ?? 0;
    if (finals.length === 0 || finals.every((poll) => poll.from! > start) || this.#logStart(p) > start) return;
    const key = this.#keyOf(p, value);
    const isCompacted = this.#settings.get(p)?.compacted === true;
    const hasKey = (other: string) => this.#keyOf(p, other) === key && this.#places(p, other).length > 0;
    if (isCompacted && key !== undefined && this.#valuesIn(p).some(hasKey)) return;
    const promised = this.#sendsOf(p, value).filter(
      (send) => this.#isPromised(send) && finals.every((poll) => send.time < beginOf(poll)),
    );
    if (promised.length === 0 || promised[0]!.tombstone === true) return;
    if (!promised.every((send) => this.#isPermitted(p, send))) this.#add('unseen', p);
  }

  #judgeConflicts(p: string): void {
    for (const { later, value, first, firstValue } of this.#answerConflicts(p)) {
      if (this.#gone.has(`${p} ${value}`) || this.#gone.has(`${p} ${firstValue}`)) continue;
      if (!this.#isPermitted(p, first) && !this.#isPermitted(p, later)) this.#add('inconsistent-offsets', p);
    }
    const reads = this.#polls(p).flatMap((poll) =>
      recordsOf(poll).map(([offset, value]) => ({ offset, value: String(value), poll })),
    );
    for (const offset of distinct(reads.map((read) => read.offset))) {
      const here = reads.filter((read) => read.offset === offset);
      const first = here[0]!;
      if (this.#isVisiblePermitted(p, first.value, first)) continue;
      for (const value of distinct(here.map((read) => read.value)))
        if (value !== first.value) this.#add('unstable-read', p);
    }
  }

  #judgePolls(p: string): void {
    for (const poll of this.#polls(p)) {
      const { offsets, isBack } = this.#passed(p, poll);
      if (isBack) this.#add('nonmonotonic-poll', p);
      for (const hole of offsets) {
        const isSkipped = hole.some((offset) =>
          this.#valuesIn(p).some(
            (value) =>
              this.#lastSighting(p, value, offset) > beginOf(poll) && this.#mustBeGiven(p, value, offset, poll),
          ),
        );
        if (isSkipped) this.#add('poll-skip', p);
        const isKnown = (offset: number) => offset < this.#logStart(p) || this.#isClaimed(p, offset);
        if (this.#settings.get(p)?.dense === true && !hole.every(isKnown)) this.#add('offset-gap', p);
      }
      const ends = [poll.highWatermark, poll.isolation === 'read_committed' ? poll.lastStableOffset : undefined];
      if (recordsOf(poll).some(([offset]) => ends.some((end) => end !== undefined && offset >= end)))
        this.#add('precommitted-read', p);
      const before = this.#logStarts(p).filter(({ at }) => at.time < beginOf(poll));
      if (recordsOf(poll).some(([offset]) => offset < max(before.map((one) => one.offset))))
        this.#add('resurrected', p);
    }
    for (const fault of this.#faults()) this.#judgeRecovered(p, fault);
  }

  /** Read, acknowledged, or expected there because the rest of its batch was read. */
  #isClaimed(p: string, offset: number): boolean {
    if (this.#valuesIn(p).some((value) => this.#places(p, value).includes(offset))) return true;
    return this.#sends(p).some((send) => {
      const values = valuesOf(send);
      const bases = values.flatMap((value, i) => this.#sightings(p, value).map((at) => at.offset - i));
      return values.length > 1 && bases.some((base) => base <= offset && offset < base + values.length);
    });
  }

  #judgeRecovered(p: string, fault: Line<Fault>): void {
    if (fault.fault !== 'unclean-recovery' || String(fault.partition) !== p) return;
    for (const value of this.#valuesIn(p)) {
      const [send, ...others] = this.#sendsOf(p, value);
      if (send === undefined || others.length > 0 || (send.attempts ?? 1) > 1) continue;
      for (const offset of distinct(this.#sightings(p, value).map((at) => at.offset))) {
        const here = this.#sightings(p, value).filter((at) => at.offset === offset);
        const known = Math.min(isOk(send) ? send.time : Number.POSITIVE_INFINITY, here[0]!.poll.time);
        const isBack = here.some(({ poll }) => beginOf(poll) > fault.time);
        if (offset >= fault.offset! && known < beginOf(fault) && isBack) this.#add('resurrected', p);
      }
    }
  }

  /** Nobody has read it, and its loss is permitted: what was answered says nothing. */
  #isDoubtful(p: string, value: string, send: Line<Send>): boolean {
    return this.#gone.has(`${p} ${value}`) || (this.#sightings(p, value).length === 0 && this.#isPermitted(p, send));
  }

  /** Where a send certainly lies, for the order; undefined if it is not known, or could be moved by a retry. */
  #locationOf(p: string, send: Line<Send>): number | undefined {
    const value = valuesOf(send)[0]!;
    const sends = this.#sendsOf(p, value);
    if (sends[0] !== send || send.outcome === 'failed' || this.#isDoubtful(p, value, send)) return undefined;
    const read = distinct(this.#sightings(p, value).map((at) => at.offset));
    if (read.length > 1) return undefined;
    const isRetried = sends.length > 1 || (send.attempts ?? 1) > 1;
    if (isRetried && send.producerId === undefined) return undefined;
    return send.offset ?? read[0];
  }

  #judgeOrder(p: string): void {
    const told = this.#sends(p).filter((send) => {
      const value = valuesOf(send)[0]!;
      const isCounted = send.offset !== undefined && send.acks !== 0 && send.duplicate !== true;
      return isCounted && this.#sendsOf(p, value)[0] === send && !this.#isDoubtful(p, value, send);
    });
    for (const send of this.#sends(p)) {
      const isBehind = (one: Line<Send>) =>
        one.time < beginOf(send) && one.offset! + valuesOf(one).length - 1 > send.offset!;
      const mine = this.#locationOf(p, send);
      const isCalledBefore = (one: Line<Send>) =>
        String(one.producer) === String(send.producer) &&
        beginOf(one) < beginOf(send) &&
        (this.#locationOf(p, one) ?? -1) > mine!;
      const isWrong =
        (told.includes(send) && told.some(isBehind)) || (mine !== undefined && this.#sends(p).some(isCalledBefore));
      if (isWrong) this.#add('nonmonotonic-send', p);
    }
    this.#judgeFences(p);
  }

  #judgeFences(p: string): void {
    const isAnswered = (send: Send) => isOk(send) && send.acks !== 0;
    const fences = this.#all.filter((one) => one.op === 'fence');
    const unfenced: Line<Send>[] = [];
    for (const send of this.#sends(p)) {
      const value = valuesOf(send)[0]!;
      if (send.producerId === undefined || send.outcome === 'failed' || send.duplicate === true) continue;
      const isStored =
        isAnswered(send) || (this.#sightings(p, value).length > 0 && this.#sendsOf(p, value).length === 1);
      if (!isStored) continue;
      const newer = [...fences, ...this.#sends(p).filter(isAnswered)].filter(
        (one) => String(one.producerId) === String(send.producerId) && one.producerEpoch! > send.producerEpoch!,
      );
      if (newer.some((one) => one.time < beginOf(send))) this.#add('fenced-writer-accepted', p);
      else if (this.#locationOf(p, send) !== undefined) unfenced.push(send);
    }
    for (const send of unfenced) {
      const isBefore = (one: Line<Send>) =>
        String(one.producerId) === String(send.producerId) &&
        one.producerEpoch! > send.producerEpoch! &&
        this.#locationOf(p, one)! < this.#locationOf(p, send)!;
      if (unfenced.some(isBefore)) this.#add('fenced-writer-accepted', p);
    }
  }

  /** High watermarks, log starts and end offsets. */
  #judgeEnds(p: string): void {
    const replicas = this.#settings.get(p)?.replicas;
    const reach = (one: Line<TimedOperation>, isStable: boolean): number => {
      if (one.op === 'send' && isOk(one) && one.offset !== undefined && !isStable) {
        const isCommitted = one.acks === undefined || one.acks === 'all' || (one.acks === 1 && replicas?.length === 1);
        return isCommitted ? one.offset + valuesOf(one).length : 0;
      }
      if (one.op === 'poll' && isOk(one) && (!isStable || one.isolation === 'read_committed')) {
        const records = recordsOf(one).map(([offset]) => offset + 1);
        const told = isStable ? one.lastStableOffset : one.highWatermark;
        return Math.max(told ?? 0, records.length === 0 ? 0 : Math.max(one.next ?? 0, ...records));
      }
      if (one.op === 'end-offset' && isOk(one) && (!isStable || one.isolation === 'read_committed')) return one.offset!;
      return 0;
    };
    const here = this.#all.filter((one) => 'partition' in one && String(one.partition) === p);
    for (const asked of this.#of('end-offset', p).filter(isOk)) {
      const before = here.filter((one) => one.line < asked.line && one.time < beginOf(asked));
      const known = max(before.map((one) => reach(one, asked.isolation === 'read_committed')));
      if (known > asked.offset! && !this.#mayEndAt(p, asked.offset!, beginOf(asked))) this.#add('end-offset-stale', p);
    }
    const marks = this.#watermarks(p);
    for (const { observer, offset, at } of marks) {
      const opened = max(
        here
          .filter((one) => one.op === 'open' && `n ${one.node}` === observer && one.line <= at.line)
          .map((one) => one.line),
      );
      const before = marks.filter(
        (one) =>
          one.observer === observer && one.at.line < at.line && one.at.line >= opened && one.at.time < beginOf(at),
      );
      if (max(before.map((one) => one.offset)) <= offset) continue;
      if (!this.#mayEndAt(p, offset, beginOf(at))) this.#add('hw-regression', p);
    }
    const starts = this.#logStarts(p);
    for (const { observer, offset, at } of starts) {
      const before = starts.filter((one) => one.observer === observer && one.at.time < beginOf(at));
      if (max(before.map((one) => one.offset)) > offset) this.#add('log-start-regression', p);
    }
  }

  #watermarks(p: string): Told[] {
    return this.#all.flatMap((at): Told[] => {
      if (!('partition' in at) || String(at.partition) !== p) return [];
      if (at.op === 'end-offset' && isOk(at) && at.isolation !== 'read_committed') {
        return [{ observer: `e ${at.client}`, offset: (at as EndOffset).offset!, at }];
      }
      if (!('highWatermark' in at) || at.highWatermark === undefined) return [];
      if (at.op === 'poll') return isOk(at) ? [{ observer: `c ${at.consumer}`, offset: at.highWatermark, at }] : [];
      return [{ observer: `n ${at.node}`, offset: at.highWatermark, at }];
    });
  }

  #mayEndAt(p: string, offset: number, before: number): boolean {
    return this.#faults().some((fault) => {
      if (beginOf(fault) > before) return false;
      const { flush = 'sync', replicas } = this.#settings.get(p) ?? {};
      const struck = (fault.nodes ?? []).map(String);
      const isStruck =
        replicas === undefined || replicas.filter((one) => struck.includes(String(one))).length * 2 > replicas.length;
      if (fault.fault === 'unclean-recovery') return String(fault.partition) === p && offset >= fault.offset!;
      return (fault.fault === 'disk-lost' && isStruck) || (fault.fault === 'power-cut' && isStruck && flush !== 'sync');
    });
  }

  #judgeRetention(p: string): void {
    const { retentionMs, retentionBytes, logStart = 0 } = this.#settings.get(p) ?? {};
    if (retentionBytes !== undefined) return;
    let from = logStart;
    let highest = -1;
    for (const { offset, at } of this.#logStarts(p)) {
      if (offset <= highest) continue;
      highest = offset;
      const asked = this.#of('delete-records', p).filter((one) => one.outcome !== 'failed' && beginOf(one) <= at.time);
      from = Math.max(from, max(asked.map((one) => one.offset)));
      if (offset <= from) continue;
      const isYoung = (value: string) => {
        const send = this.#sendsOf(p, value)[0];
        if (send === undefined || send.outcome === 'failed' || retentionMs === undefined) return false;
        const written = this.#timestampOf(p, value) ?? send.time;
        return this.#claimsOf(p, value).some((one) => one >= from && one < offset) && written + retentionMs > at.time;
      };
      if (retentionMs === undefined || this.#valuesIn(p).some(isYoung)) this.#add('retention-ate-live', p);
      from = offset;
    }
  }

  /** Read, acknowledged, or expected because of its batch. */
  #claimsOf(p: string, value: string): number[] {
    const expected = this.#sendsOf(p, value).flatMap((send) => {
      const values = valuesOf(send);
      if (values.length < 2) return [];
      const bases = values.flatMap((other, i) => this.#sightings(p, other).map((at) => at.offset - i));
      return bases
        .map((base) => base + values.indexOf(value))
        .filter((offset, i) => bases[i]! + values.indexOf(value) >= 0 && offset >= 0);
    });
    return distinct([...this.#places(p, value), ...expected]);
  }

  #timestampOf(p: string, value: string): number | undefined {
    const stamps = this.#all.flatMap((one) => {
      if (!('partition' in one) || String(one.partition) !== p) return [];
      if (one.op === 'poll' && isOk(one)) {
        return recordsOf(one)
          .filter(([, other]) => String(other) === value)
          .flatMap(([, , , timestamp]) => timestamp ?? []);
      }
      if (one.op !== 'send' || this.#sendsOf(p, value)[0] !== one) return [];
      return one.timestamps?.[valuesOf(one).indexOf(value)] ?? one.timestamp ?? [];
    });
    return stamps.at(-1);
  }

  /** Records that are certainly there: offset, leader epoch, timestamp, and since when that is known. */
  #knownLog(p: string) {
    return this.#valuesIn(p).flatMap((value) => {
      if (this.#gone.has(`${p} ${value}`)) return [];
      return this.#places(p, value).flatMap((offset) => {
        const read = this.#sightings(p, value).filter((at) => at.offset === offset);
        const first = this.#sendsOf(p, value)[0];
        const told = this.#sendsOf(p, value).find((send) => this.#acknowledgedOffset(send, value) === offset);
        if (read.length === 0 && this.#isDoubtful(p, value, told!)) return [];
        const send = read.length > 0 && told !== first ? undefined : told;
        const epochs = this.#polls(p).flatMap((poll) =>
          recordsOf(poll)
            .filter(([, other]) => String(other) === value)
            .flatMap(([, , epoch]) => epoch ?? []),
        );
        const isCommitted = send !== undefined && (send.acks ?? 'all') === 'all';
        const since = Math.min(
          ...read.map(({ poll }) => poll.time),
          isCommitted ? send.time : Number.POSITIVE_INFINITY,
        );
        const epoch = read.length > 0 ? (epochs.at(-1) ?? send?.epoch) : send?.epoch;
        return { offset, epoch, timestamp: this.#timestampOf(p, value), since };
      });
    });
  }

  #judgeLookups(p: string): void {
    const known = this.#knownLog(p);
    for (const one of known) {
      if (one.epoch === undefined) continue;
      if (known.some((other) => other.epoch !== undefined && other.offset < one.offset && other.epoch > one.epoch!)) {
        this.#add('epoch-regression', p);
      }
    }
    const start = this.#logStart(p);
    for (const asked of this.#of('offset-for-time', p)) {
      const { timestamp, offset } = asked;
      const answer = known.find((one) => one.offset === offset);
      if (answer?.timestamp !== undefined && answer.timestamp < timestamp) this.#add('timestamp-index-wrong', p);
      const isEarlier = (one: (typeof known)[number]) =>
        one.offset >= start &&
        (offset === null || one.offset < offset) &&
        one.timestamp !== undefined &&
        one.timestamp >= timestamp;
      if (this.#settings.get(p)?.compacted === true) continue;
      if (known.some((one) => isEarlier(one) && one.since < beginOf(asked))) this.#add('timestamp-index-wrong', p);
    }
    for (const asked of this.#of('epoch-end', p)) {
      const isTooHigh = known.some(
        (one) => one.epoch !== undefined && one.epoch > asked.epoch && one.offset < asked.offset,
      );
      const isTooLow = known.some(
        (one) =>
          one.epoch !== undefined &&
          one.epoch <= asked.epoch &&
          one.offset >= asked.offset &&
          one.since < beginOf(asked),
      );
      if (isTooHigh || isTooLow) this.#add('epoch-index-mismatch', p);
    }
  }

  #judgeNodes(p: string): void {
    const told = [...this.#of('leader', p), ...this.#of('open', p)].filter((one) => one.epoch !== undefined);
    for (const one of told) {
      const isOlder = (other: (typeof told)[number]) =>
        String(other.node) === String(one.node) && other.line < one.line && other.epoch! > one.epoch!;
      if (told.some(isOlder)) this.#add('epoch-regression', p);
    }
    const leads = this.#all.filter(
      (one) =>
        (one.op === 'leader' || (one.op === 'send' && isOk(one) && one.acks !== 0)) &&
        String(one.partition) === p &&
        one.epoch !== undefined &&
        one.node !== undefined,
    ) as Line<{ op: 'leader'; partition: string; node: number; epoch: number; time: number }>[];
    for (const one of leads) {
      const first = leads.find((other) => other.epoch === one.epoch)!;
      if (String(first.node) !== String(one.node)) this.#add('two-leaders-one-epoch', p);
    }
    for (const send of this.#sends(p)) {
      if (!isOk(send) || send.acks === 0 || send.node === undefined) continue;
      const failed = this.#faults().filter(
        (fault) =>
          fault.fault === 'sync-error' &&
          fault.line < send.line &&
          fault.nodes!.map(String).includes(String(send.node)),
      );
      const last = failed.at(-1);
      const isReopened = this.#all.some(
        (one) =>
          one.op === 'open' &&
          String(one.node) === String(send.node) &&
          last !== undefined &&
          one.line > last.line &&
          one.line < send.line,
      );
      if (last !== undefined && !isReopened && beginOf(send) > last.time) this.#add('ack-after-sync-error', p);
    }
    this.#judgeStops(p);
  }

  /** After a stop: is there a majority that can have what had been acknowledged? */
  #judgeStops(p: string): void {
    const replicas = this.#settings.get(p)?.replicas?.map(String);
    if (replicas === undefined) return;
    const stops = this.#faults().filter((fault) => fault.fault === 'kill' || fault.fault === 'power-cut');
    for (const stop of stops) {
      const ends = replicas.map((node) => {
        if (!stop.nodes!.map(String).includes(node)) return Number.POSITIVE_INFINITY;
        const next = stops.find((other) => other.line > stop.line && other.nodes!.map(String).includes(node));
        const opened = this.#of('open', p).find(
          (open) =>
            open.line > stop.line && open.line < (next?.line ?? Number.POSITIVE_INFINITY) && String(open.node) === node,
        );
        return opened?.logEnd ?? Number.POSITIVE_INFINITY;
      });
      for (const send of this.#sends(p)) {
        const isForGood =
          isOk(send) &&
          send.offset !== undefined &&
          (send.acks ?? 'all') !== 0 &&
          ((send.acks ?? 'all') === 'all' || replicas.length === 1);
        if (!isForGood || send.time >= beginOf(stop)) continue;
        const holders = ends.filter((end) => end >= send.offset! + valuesOf(send).length).length;
        if (holders * 2 > replicas.length) continue;
        if (!this.#isTakenByFault(p, beginOf(send), send.time, send.offset, false, undefined))
          this.#add('ack-not-durable', p);
      }
    }
  }

  #judgeConfigs(p: string): void {
    const configs = this.#of('config', p);
    const textOf = (config: Config) =>
      [config.voters, config.outgoing].map((set) => (set === undefined ? '' : set.map(String).sort().join())).join('/');
    const firsts = configs.filter((one) => configs.find((other) => other.offset === one.offset) === one);
    for (const one of configs) {
      if (textOf(firsts.find((first) => first.offset === one.offset)!) !== textOf(one)) this.#add('config-fork', p);
    }
    firsts.sort((a, b) => a.offset - b.offset);
    for (const [i, one] of firsts.slice(1).entries()) {
      if (!this.#mustMeet(firsts[i]!, one)) this.#add('config-fork', p);
    }
  }

  /** Tries all majorities. */
  #mustMeet(a: Config, b: Config): boolean {
    const majorities = (voters: readonly unknown[]): string[][] => {
      const names = voters.map(String);
      return Array.from({ length: 2 ** names.length }, (_, bits) => names.filter((_, i) => (bits >> i) & 1)).filter(
        (set) => set.length * 2 > names.length,
      );
    };
    const setsOf = (config: Config) => [config.voters, ...(config.outgoing === undefined ? [] : [config.outgoing])];
    return setsOf(a).some((one) =>
      setsOf(b).some((other) =>
        majorities(one).every((x) => majorities(other).every((y) => x.some((voter) => y.includes(voter)))),
      ),
    );
  }

  #judgeGroups(p: string): void {
    const commits = this.#of('commit-offset', p).filter((one) => one.outcome !== 'failed');
    for (const fetch of this.#of('fetch-offset', p)) {
      const mine = commits.filter((one) => String(one.group) === String(fetch.group));
      const over = mine.filter((one) => isOk(one) && one.time < beginOf(fetch));
      if (over.length === 0) continue;
      const newest = over.find((one) => beginOf(one) === max(over.map(beginOf)))!;
      const isPossible = mine.some(
        (one) =>
          one.offset === fetch.offset && beginOf(one) <= fetch.time && !(isOk(one) && one.time < beginOf(newest)),
      );
      if (!isPossible && (fetch.offset === null || fetch.offset < newest.offset))
        this.#add('committed-offset-regression', p);
    }
  }
}
