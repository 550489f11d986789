/** What became of every record: where it was said to be, where readers found it, and what of that its setting permits. */
import type { PermitReason } from './anomaly.js';
import { batchBases, type Claims, SEEN } from './claims.js';
import { FAILED, type HistoryState, OK, type Partition } from './history-state.js';
import { ACKS_ALL } from './permitted-loss.js';
import type { Transactions } from './transactions.js';

export class RecordVerdict {
  readonly #state: HistoryState;
  readonly #transactions: Transactions;
  readonly #claims: readonly Claims[];
  /** Records that something was said about already, or that are gone by permission. */
  readonly #isSettled: Uint8Array;

  constructor(state: HistoryState, transactions: Transactions, claims: readonly Claims[]) {
    this.#state = state;
    this.#transactions = transactions;
    this.#claims = claims;
    this.#isSettled = new Uint8Array(state.records.length);
  }

  /** Lost, torn, or given an answer that was another's: its offset says nothing. */
  isGone(record: number): boolean {
    return this.#isSettled[record] === 1;
  }

  /**
   * Does an acknowledgement say for sure where a record is? Not if nobody has read it and its setting permits its loss: a
   * leader's word may be lost with the leader, and its offset be given to another.
   */
  isCertain(record: number, send: number): boolean {
    if (this.#isSettled[record] === 1) return false;
    return this.#state.records.offset.at(record) >= 0 || this.#permits(record, send) === undefined;
  }

  judge(): void {
    const { sends, records } = this.#state;
    for (const partition of this.#state.partitions) this.#judgeDedupeConflicts(partition);
    for (let send = 0; send < sends.length; send += 1) {
      if (sends.duplicate.at(send) === 1) this.#judgeDuplicateAnswer(send);
      if (sends.count.at(send) > 1 && sends.outcome.at(send) !== FAILED) this.#judgeBatch(send);
    }
    for (let record = 0; record < records.length; record += 1) this.#judgeRecord(record);
    for (const partition of this.#state.partitions) this.#judgeConflicts(partition);
  }

  #judgeRecord(record: number): void {
    const { records, sends } = this.#state;
    const first = records.send.at(record);
    if (first < 0) {
      this.#judgeForeign(record);
      return;
    }
    const isSeen = records.offset.at(record) >= 0;
    if (this.#isCertainlyFailed(record)) {
      if (isSeen)
        this.#report('aborted-read', record, this.#linesOf(record), 'was given to a reader, and its send had failed');
      return;
    }
    if (sends.transaction.at(first) >= 0) this.#judgeTransaction(record, first);
    if (this.#isSettled[record] === 1) return;
    const acknowledged = this.#acknowledgedOffsets(record);
    if (isSeen) this.#judgeSeen(record, acknowledged);
    else if (acknowledged.size === 0) this.#judgeUnplaced(record);
    else this.#judgeUnseen(record, acknowledged);
  }

  /** Nobody sent it to this partition. */
  #judgeForeign(record: number): void {
    const { records, partitions, sends } = this.#state;
    const own = records.partition.at(record);
    const value = records.value[record] as string;
    for (const { number, values, name } of partitions) {
      const other = number === own ? undefined : values.get(value);
      if (other === undefined || records.send.at(other) < 0) continue;
      const lines = [sends.line.at(records.send.at(other)), records.seenLine.at(record)];
      this.#report('cross-partition-leak', record, lines, `was given to a reader here, and was sent to ${name}`);
      return;
    }
    this.#report('corrupt-served', record, [records.seenLine.at(record)], 'was given to a reader, and nobody sent it');
  }

  #judgeTransaction(record: number, send: number): void {
    const { records } = this.#state;
    const time = records.committedTime.at(record);
    if (time === Number.POSITIVE_INFINITY) return;
    const { begin, line } = this.#transactions.commitOf(send);
    const lines = [this.#state.sends.line.at(send), line, records.committedLine.at(record)];
    if (this.#transactions.endOf(send) === 'aborted') {
      this.#report(
        'aborted-read',
        record,
        lines,
        'was given to a read_committed reader, and its transaction was aborted',
      );
    } else if (begin > time) {
      this.#report(
        'precommitted-read',
        record,
        lines,
        'was given to a read_committed reader before its commit was called',
      );
    }
  }

  #judgeSeen(record: number, acknowledged: ReadonlyMap<number, number>): void {
    const { findings, records, sends } = this.#state;
    const claims = this.#claimsOf(record);
    const sightings = records.sightingsOf(record);
    const attempts = this.#attempts(record);
    const isIdempotent = this.#isIdempotent(record);
    const copies = Math.max(sightings.length, acknowledged.size);
    if (copies > 1) this.#judgeCopies(record, copies, attempts, isIdempotent, acknowledged);
    for (const [offset, send] of acknowledged) {
      if (sightings.some((one) => one.offset === offset)) continue;
      const isElsewhere = copies === 1 && (attempts === 1 || isIdempotent);
      if (!isElsewhere && !claims.isProvenMissing(record, offset)) continue;
      const reason = attempts > 1 ? this.#permits(record, send) : undefined;
      const lines = [sends.line.at(send), records.seenLine.at(record)];
      if (reason === undefined) {
        const found = records.offset.at(record);
        this.#report(
          'inconsistent-offsets',
          record,
          lines,
          `was acknowledged at offset ${offset} and is at ${found}`,
          offset,
        );
      } else {
        findings.permit('inconsistent-offsets', reason, lines[0]!);
      }
    }
    this.#judgeVanished(record, claims);
  }

  /** Stored more than once. */
  #judgeCopies(
    record: number,
    copies: number,
    attempts: number,
    isIdempotent: boolean,
    acknowledged: ReadonlyMap<number, number>,
  ): void {
    const { findings, records, sends } = this.#state;
    const sightings = records.sightingsOf(record);
    const isRead = sightings.length >= acknowledged.size;
    const offsets = isRead ? sightings.map((one) => one.offset) : [...acknowledged.keys()];
    const lines = isRead
      ? sightings.map((one) => one.line)
      : [...acknowledged.values()].map((send) => sends.line.at(send));
    const at = `${isRead ? 'was read' : 'was acknowledged'} at offsets ${offsets.slice(0, 2).join(' and ')}`;
    const evidence = [sends.line.at(records.send.at(record)), ...lines.slice(0, 2)];
    if (isIdempotent) {
      const reason = copies <= attempts ? this.#permits(record, records.send.at(record)) : undefined;
      if (reason !== undefined) findings.permit('dedupe-miss', reason, evidence[0]!);
      else this.#report('dedupe-miss', record, evidence, `${at}; it was sent by an idempotent producer`);
    } else if (copies <= attempts) {
      findings.permit('duplicate', 'retried', evidence[0]!);
    } else {
      this.#report(
        'duplicate',
        record,
        evidence,
        `${at}; it was tried ${attempts === 1 ? 'once' : `${attempts} times`}`,
      );
    }
  }

  /** Readers had it, and a later one went past it. */
  #judgeVanished(record: number, claims: Claims): void {
    const { findings, records, sends } = this.#state;
    const sightings = records.sightingsOf(record);
    const vanished = sightings.filter(({ offset }) => {
      const claim = claims.find(record, offset);
      return claim >= 0 && claims.kind.at(claim) === SEEN && claims.missedBy.at(claim) >= 0;
    });
    if (vanished.length === 0) return;
    const isPromised = [...records.sendsOf(record)].some(({ send }) => this.#transactions.isPromised(send));
    const isElsewhere = vanished.length < sightings.length;
    for (const sighting of vanished) {
      const missed = claims.partition.missed[claims.missedBy.at(claims.find(record, sighting.offset))]!;
      const lines = [sends.line.at(records.send.at(record)), sighting.lastLine, missed.line];
      const reason = this.#permitsVisible(record, sighting.offset, sighting.time);
      const anomaly = claims.partition.settings.compacted
        ? 'retention-ate-live'
        : isPromised && !isElsewhere
          ? 'lost-write'
          : 'committed-truncated';
      if (reason === undefined) {
        const found = `was read at offset ${sighting.offset}, and a later poll went past it without it`;
        this.#report(anomaly, record, lines, found, sighting.offset);
      } else {
        findings.permit(anomaly, reason, lines[0]!);
      }
    }
    if (!isElsewhere) this.#isSettled[record] = 1;
  }

  /** Acknowledged with an offset, and nobody had it. */
  #judgeUnseen(record: number, acknowledged: ReadonlyMap<number, number>): void {
    const { findings, sends } = this.#state;
    const claims = this.#claimsOf(record);
    const promised = [...acknowledged].filter(([, send]) => this.#transactions.isPromised(send));
    if (promised.length === 0) return;
    const offsets = promised.map(([offset]) => offset);
    const lines = promised.map(([, send]) => sends.line.at(send)).slice(0, 1);
    const { partition } = claims;
    const isLost = offsets.every((offset) => claims.isProvenMissing(record, offset));
    const isBehind = promised.every(
      ([offset, send]) =>
        !claims.isExcused(record, offset) &&
        offset >= partition.finalNext &&
        sends.time.at(send) < partition.finalBegin,
    );
    if (!isLost && !(isBehind && partition.finalNext >= 0)) {
      // Several acknowledged offsets are several copies, whether anybody reads them or not.
      if (acknowledged.size > 1) {
        this.#judgeCopies(record, acknowledged.size, this.#attempts(record), this.#isIdempotent(record), acknowledged);
      }
      return;
    }
    const anomaly = isLost ? 'lost-write' : 'unseen';
    this.#isSettled[record] = isLost ? 1 : 0;
    const reasons = promised.map(([, send]) => this.#permits(record, send));
    const [reason] = reasons;
    if (reason !== undefined && !reasons.includes(undefined)) {
      findings.permit(anomaly, reason, lines[0]!);
      return;
    }
    const [offset] = offsets;
    const how = isLost
      ? 'and readers that went past it were given nothing, or something else'
      : `and the final read ended at ${partition.finalNext}`;
    this.#report(
      anomaly,
      record,
      [...lines, this.#missedLine(claims, record, offset!)],
      `was acknowledged at offset ${offset}, ${how}`,
      offset,
    );
  }

  /** Acknowledged without an offset, and nobody had it: only a final read of everything can say that it is not there. */
  #judgeUnplaced(record: number): void {
    const { findings, records, sends } = this.#state;
    const { partition, highestOfKey } = this.#claimsOf(record);
    const key = records.key.at(record);
    if (partition.finalNext < 0 || partition.finalFrom > partition.settings.logStart) return;
    if (partition.highestLogStart > partition.settings.logStart) return;
    if (partition.settings.compacted && (key < 0 ? false : highestOfKey.has(key))) return;
    const promised = [...records.sendsOf(record)].filter(
      ({ send }) => this.#transactions.isPromised(send) && sends.time.at(send) < partition.finalBegin,
    );
    if (promised.length === 0 || sends.tombstone.at(promised[0]!.send) === 1) return;
    const reasons = promised.map(({ send }) => this.#permits(record, send));
    const line = sends.line.at(promised[0]!.send);
    if (reasons[0] !== undefined && !reasons.includes(undefined)) {
      findings.permit('unseen', reasons[0], line);
      return;
    }
    this.#report(
      'unseen',
      record,
      [line, partition.finalLine],
      'was acknowledged, and the final read does not have it',
    );
  }

  #judgeBatch(send: number): void {
    const { sends, records } = this.#state;
    const first = sends.record(send);
    // Another attempt of the same batch is judged with the first.
    if (records.send.at(first) !== send) return;
    const bases = batchBases(this.#state, send);
    const claims = this.#claimsOf(first);
    const count = sends.count.at(send);
    const attempts = this.#isIdempotent(first) ? 1 : this.#attempts(first);
    for (const base of bases) {
      const absent: number[] = [];
      let present = -1;
      for (let index = 0; index < count; index += 1) {
        const record = sends.record(send, index);
        if (records.sightingsOf(record).some((one) => one.offset === base + index)) present = record;
        else absent.push(index);
      }
      const missing = absent.find((index) => claims.isProvenMissing(sends.record(send, index), base + index));
      if (absent.length === 0 || (missing === undefined && bases.length <= attempts)) continue;
      const one = missing ?? (absent[0] as number);
      const lost = sends.record(send, one);
      const lines = [sends.line.at(send), records.seenLine.at(present), this.#missedLine(claims, lost, base + one)];
      const text = `is not at offset ${base + one}, and another record of its batch is at ${records.offset.at(present)}`;
      this.#report('torn-batch', lost, lines, text, base + one);
      for (const index of absent) this.#isSettled[sends.record(send, index)] = 1;
      return;
    }
  }

  /** The answer was "you have sent this before", and it had not been. */
  #judgeDuplicateAnswer(send: number): void {
    const { sends, records } = this.#state;
    if (sends.attempts.at(send) > 1) return;
    const record = sends.record(send);
    for (const { send: other } of records.sendsOf(record)) {
      if (other === send || sends.outcome.at(other) === FAILED) continue;
      if (sends.begin.at(other) < sends.time.at(send)) return;
    }
    const line = sends.line.at(send);
    this.#report('dedupe-false-positive', record, [line], 'was answered as a duplicate, and had not been sent before');
    this.#isSettled[record] = 1;
  }

  /** Two sends of one idempotent producer acknowledged at one offset: the second was taken for the first. */
  #judgeDedupeConflicts(partition: Partition): void {
    const { sends, records } = this.#state;
    for (const { offset, earlier, later } of partition.acknowledgedConflicts) {
      const id = sends.producerId.at(later);
      if (id < 0 || sends.producerId.at(earlier) !== id) continue;
      const record = sends.record(later, offset - sends.offset.at(later));
      const lines = [sends.line.at(earlier), sends.line.at(later)];
      if (this.#isSettled[record] === 1) continue;
      const other = records.value[sends.record(earlier, offset - sends.offset.at(earlier))];
      this.#report(
        'dedupe-false-positive',
        record,
        lines,
        `was acknowledged at offset ${offset}, which record "${other}" of the same producer has`,
        offset,
      );
      this.#isSettled[record] = 1;
    }
  }

  #judgeConflicts(partition: Partition): void {
    const { findings, sends, records } = this.#state;
    for (const { offset, earlier, later } of partition.acknowledgedConflicts) {
      const one = sends.record(earlier, offset - sends.offset.at(earlier));
      const other = sends.record(later, offset - sends.offset.at(later));
      if (this.#isSettled[one] === 1 || this.#isSettled[other] === 1) continue;
      const lines = [sends.line.at(earlier), sends.line.at(later)];
      const reason = this.#permits(one, earlier) ?? this.#permits(other, later);
      if (reason !== undefined) findings.permit('inconsistent-offsets', reason, lines[0]!);
      else
        this.#report(
          'inconsistent-offsets',
          other,
          lines,
          `was acknowledged at offset ${offset}, and so was record "${records.value[one]}"`,
          offset,
        );
    }
    for (const { offset, earlier, earlierLine, later, laterLine } of partition.readConflicts) {
      const sighting = records.sightingsOf(earlier).find((one) => one.offset === offset);
      const reason = this.#permitsVisible(earlier, offset, sighting?.time ?? 0);
      const lines = [earlierLine, laterLine];
      if (reason !== undefined) findings.permit('unstable-read', reason, laterLine);
      else
        this.#report(
          'unstable-read',
          later,
          lines,
          `was read at offset ${offset}, where record "${records.value[earlier]}" had been read`,
          offset,
        );
    }
  }

  /** Offsets of its acknowledgements, and the first send that was acknowledged there. */
  #acknowledgedOffsets(record: number): ReadonlyMap<number, number> {
    const { sends, records } = this.#state;
    const offsets = new Map<number, number>();
    for (const { send, index } of records.sendsOf(record)) {
      const offset = sends.offset.at(send) + index;
      if (sends.offset.at(send) >= 0 && !offsets.has(offset)) offsets.set(offset, send);
    }
    return offsets;
  }

  #isCertainlyFailed(record: number): boolean {
    for (const { send } of this.#state.records.sendsOf(record)) {
      if (this.#state.sends.outcome.at(send) !== FAILED) return false;
    }
    return true;
  }

  #attempts(record: number): number {
    const { sends, records } = this.#state;
    let attempts = 0;
    for (const { send } of records.sendsOf(record)) {
      if (sends.outcome.at(send) !== FAILED) attempts += sends.attempts.at(send);
    }
    return attempts;
  }

  /** All of its sends, with one identity: dedupe has to make one of them. */
  #isIdempotent(record: number): boolean {
    const { sends, records } = this.#state;
    const first = records.send.at(record);
    if (sends.producerId.at(first) < 0) return false;
    for (const { send, index } of records.sendsOf(record)) {
      if (
        sends.producerId.at(send) !== sends.producerId.at(first) ||
        sends.producerEpoch.at(send) !== sends.producerEpoch.at(first) ||
        sends.sequence.at(send) + index !== sends.sequence.at(first) + records.index.at(record)
      ) {
        return false;
      }
    }
    return true;
  }

  #permits(record: number, send: number): PermitReason | undefined {
    const { sends, records, nodes, permittedLoss, partitions } = this.#state;
    const partition = partitions[records.partition.at(record)] as Partition;
    return permittedLoss.reason(partition.name, partition.settings, {
      acks: sends.acks.at(send),
      begin: sends.begin.at(send),
      time: sends.time.at(send),
      epoch: sends.epoch.at(send),
      node: sends.node.at(send) < 0 ? undefined : nodes.name(sends.node.at(send)),
      offset: sends.offset.at(send),
    });
  }

  /** Of a record that readers had: it was committed by then. */
  #permitsVisible(record: number, offset: number, seenTime: number): PermitReason | undefined {
    const { sends, records, permittedLoss, partitions } = this.#state;
    const partition = partitions[records.partition.at(record)] as Partition;
    let time = seenTime;
    let begin = records.send.at(record) < 0 ? seenTime : Number.POSITIVE_INFINITY;
    for (const { send } of records.sendsOf(record)) {
      begin = Math.min(begin, sends.begin.at(send));
      if (sends.outcome.at(send) === OK && sends.acks.at(send) !== 0) time = Math.min(time, sends.time.at(send));
    }
    return permittedLoss.reason(partition.name, partition.settings, {
      acks: ACKS_ALL,
      begin,
      time,
      epoch: -1,
      node: undefined,
      offset,
    });
  }

  #claimsOf(record: number): Claims {
    return this.#claims[this.#state.records.partition.at(record)] as Claims;
  }

  /** The line of a poll that shows that a record is not at an offset; 0: none does. */
  #missedLine(claims: Claims, record: number, offset: number): number {
    const claim = claims.find(record, offset);
    if (claim >= 0 && claims.missedBy.at(claim) >= 0) return claims.partition.missed[claims.missedBy.at(claim)]!.line;
    const other = claims.partition.readAt.get(offset);
    if (other < 0 || other === record) return claims.partition.finalLine;
    return this.#state.records.sightingsOf(other).find((one) => one.offset === offset)?.line ?? 0;
  }

  #linesOf(record: number): number[] {
    const { records, sends } = this.#state;
    return [sends.line.at(records.send.at(record)), records.seenLine.at(record)];
  }

  #report(
    anomaly: Parameters<HistoryState['findings']['report']>[0],
    record: number,
    lines: readonly number[],
    text: string,
    offset?: number,
  ): void {
    const { records, partitions, findings } = this.#state;
    const seen = records.offset.at(record);
    const at = offset ?? (seen < 0 ? undefined : seen);
    const partition = (partitions[records.partition.at(record)] as Partition).name;
    findings.report(anomaly, { partition, offset: at }, lines, () => `record "${records.value[record]}" ${text}`);
  }
}
