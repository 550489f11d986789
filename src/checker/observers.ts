/**
 * Ends and starts of the log as their observers were told: the high watermark and the log start of one observer never go
 * back, an end offset is never below what was committed before it was asked for, and a log start moves only as far as
 * retention permits.
 */
import type { Claims } from './claims.js';
import { RunningMaximum } from './columns.js';
import { FAILED, type HistoryState, OK, type Partition } from './history-state.js';
import type { DeleteRecords, EndOffset, Poll } from './operation.js';
import { ACKS_ALL } from './permitted-loss.js';

interface Deleted {
  readonly from: number;
  readonly to: number;
  readonly line: number;
  readonly time: number;
}

/** An end below a known one: whether a fault explains it is known when all faults are. */
interface Doubt {
  readonly anomaly: 'hw-regression' | 'end-offset-stale';
  readonly partition: Partition;
  readonly offset: number;
  readonly begin: number;
  readonly lines: readonly [number, number];
  readonly message: string;
}

export class Observers {
  readonly #state: HistoryState;
  readonly #watermarks = new Map<string, RunningMaximum>();
  readonly #logStarts = new Map<string, RunningMaximum>();
  /** Committed by these moments: the log's end, and the last stable offset. */
  readonly #ends = new Map<number, RunningMaximum>();
  readonly #stableEnds = new Map<number, RunningMaximum>();
  /** What somebody asked to delete, by partition. */
  readonly #requests = new Map<number, { readonly begin: number; readonly offset: number }[]>();
  readonly #doubts: Doubt[] = [];

  constructor(state: HistoryState) {
    this.#state = state;
  }

  poll(poll: Poll, partition: Partition, line: number): void {
    const { records = [], next, highWatermark, lastStableOffset, logStart, consumer, time, begin = time } = poll;
    const observer = `consumer ${consumer}`;
    if (logStart !== undefined) this.logStart(observer, logStart, partition, begin, time, line);
    if (highWatermark !== undefined) this.highWatermark(observer, highWatermark, partition, begin, time, line);
    let end = next ?? 0;
    for (const [offset] of records) end = Math.max(end, offset + 1);
    // A position says that there was something below it only if the consumer came there by reading.
    const read = records.length === 0 ? 0 : end;
    maximumOf(this.#ends, partition.number).add(time, Math.max(read, highWatermark ?? 0), line);
    if (poll.isolation !== 'read_committed') return;
    maximumOf(this.#stableEnds, partition.number).add(time, Math.max(read, lastStableOffset ?? 0), line);
  }

  addSend(send: number): void {
    const { sends, partitions } = this.#state;
    if (sends.outcome.at(send) !== OK || sends.offset.at(send) < 0) return;
    const { number, settings } = partitions[sends.partition.at(send)] as Partition;
    if (sends.acks.at(send) === 0 || (sends.acks.at(send) !== ACKS_ALL && settings.replicas?.length !== 1)) return;
    const end = sends.offset.at(send) + sends.count.at(send);
    maximumOf(this.#ends, number).add(sends.time.at(send), end, sends.line.at(send));
  }

  endOffset(asked: EndOffset, partition: Partition, line: number): void {
    const { client, logStart, time, begin = time, isolation } = asked;
    if (logStart !== undefined) this.logStart(`client ${client}`, logStart, partition, begin, time, line);
    const offset = asked.offset!;
    const isStable = isolation === 'read_committed';
    const ends = maximumOf(isStable ? this.#stableEnds : this.#ends, partition.number);
    const known = ends.before(begin);
    if (known !== undefined && known.value > offset) {
      const message = `the log was said to end at ${offset}, and was known to reach ${known.value} before that was asked`;
      this.#doubts.push({ anomaly: 'end-offset-stale', partition, offset, begin, lines: [known.line, line], message });
    }
    ends.add(time, offset, line);
    if (isStable) maximumOf(this.#ends, partition.number).add(time, offset, line);
    else this.highWatermark(`client ${client}`, offset, partition, begin, time, line);
  }

  highWatermark(
    observer: string,
    offset: number,
    partition: Partition,
    begin: number,
    time: number,
    line: number,
  ): void {
    const maximum = maximumOf(this.#watermarks, `${partition.number} ${observer}`);
    const known = maximum.before(begin);
    maximum.add(time, offset, line);
    if (known === undefined || known.value <= offset) return;
    const message = `${observer} was told a high watermark of ${offset} after ${known.value}`;
    this.#doubts.push({ anomaly: 'hw-regression', partition, offset, begin, lines: [known.line, line], message });
  }

  /** A node was started: its high watermark in memory is gone, and it may begin with a lower one. */
  forgetHighWatermark(observer: string, partition: Partition): void {
    this.#watermarks.delete(`${partition.number} ${observer}`);
  }

  /** The highest an observer was told of. */
  highestWatermark(observer: string, partition: Partition, begin: number): { value: number; line: number } | undefined {
    return this.#watermarks.get(`${partition.number} ${observer}`)?.before(begin);
  }

  logStart(observer: string, offset: number, partition: Partition, begin: number, time: number, line: number): void {
    const maximum = maximumOf(this.#logStarts, `${partition.number} ${observer}`);
    const known = maximum.before(begin);
    maximum.add(time, offset, line);
    partition.logStart.add(time, offset, line);
    if (known === undefined || known.value <= offset) return;
    this.#state.findings.report(
      'log-start-regression',
      { partition: partition.name, offset },
      [known.line, line],
      () => `${observer} was told a log start of ${offset} after ${known.value}`,
    );
  }

  deleteRecords({ offset, outcome = 'ok', time, begin = time }: DeleteRecords, partition: Partition): void {
    if (outcome === 'failed') return;
    const requests = this.#requests.get(partition.number);
    if (requests === undefined) this.#requests.set(partition.number, [{ begin, offset }]);
    else requests.push({ begin, offset });
  }

  judge(all: readonly Claims[]): void {
    const { findings, permittedLoss } = this.#state;
    for (const { anomaly, partition, offset, begin, lines, message } of this.#doubts) {
      const reason = permittedLoss.reasonForLowerEnd(partition.name, partition.settings, offset, begin);
      if (reason !== undefined) findings.permit(anomaly, reason, lines[1]);
      else findings.report(anomaly, { partition: partition.name, offset }, lines, () => message);
    }
    for (const claims of all) this.#judgeRetention(claims);
  }

  /** What was deleted without a request for it: did retention permit it? */
  #judgeRetention(claims: Claims): void {
    const { findings } = this.#state;
    const { settings, name, number, logStart } = claims.partition;
    if (settings.retentionBytes !== undefined) return;
    const requests = this.#requests.get(number) ?? [];
    let from = settings.logStart;
    for (const { value: to, line, time } of logStart.steps()) {
      for (const { begin, offset } of requests) if (begin <= time) from = Math.max(from, offset);
      if (to <= from) continue;
      const first = from;
      from = to;
      if (settings.retentionMs !== undefined) {
        this.#judgeAges(claims, { from: first, to, line, time }, settings.retentionMs);
        continue;
      }
      findings.report('retention-ate-live', { partition: name, offset: first }, [line], () => {
        return `the log start moved to ${to}; nobody asked for more than ${first}, and the history names no retention`;
      });
    }
  }

  #judgeAges(claims: Claims, { from, to, line, time }: Deleted, retentionMs: number): void {
    const { findings, records, sends } = this.#state;
    for (let place = claims.lowerBound(from); place < claims.length; place += 1) {
      const claim = claims.inOrder(place);
      const offset = claims.offset.at(claim);
      if (offset >= to) return;
      const record = claims.record.at(claim);
      const send = records.send.at(record);
      if (send < 0 || sends.outcome.at(send) === FAILED) continue;
      const stamped = records.timestamp.at(record);
      const written = Number.isNaN(stamped) ? sends.time.at(send) : stamped;
      if (written + retentionMs <= time) continue;
      findings.report(
        'retention-ate-live',
        { partition: claims.partition.name, offset },
        [sends.line.at(send), line],
        () => {
          return `offset ${offset} was deleted ${time - written} ms after it had been written; retention is ${retentionMs} ms`;
        },
      );
      return;
    }
  }
}

function maximumOf<K>(all: Map<K, RunningMaximum>, key: K): RunningMaximum {
  let maximum = all.get(key);
  if (maximum === undefined) {
    maximum = new RunningMaximum();
    all.set(key, maximum);
  }
  return maximum;
}
