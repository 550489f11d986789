/**
 * Polls: writes what was read into the tables, follows the position of each consumer, and remembers which offsets it went
 * past without being given anything. What of that is wrong is known at the end, when everything that was sent is.
 */
import type { HistoryState, Partition, Sighting } from './history-state.js';
import type { Poll, Seek } from './operation.js';

const SIGHTINGS_MAX = 1000;

export class Consumers {
  readonly #state: HistoryState;
  /** Position behind the last poll, by partition and consumer. */
  readonly #positions = new Map<string, { next: number; line: number }>();

  constructor(state: HistoryState) {
    this.#state = state;
  }

  seek({ consumer, offset }: Seek, partition: Partition, line: number): void {
    this.#positions.set(`${partition.number} ${consumer}`, { next: offset, line });
  }

  poll(poll: Poll, partition: Partition, line: number): void {
    this.#follow(poll, partition, line);
    const { records = [], from, next, begin = poll.time } = poll;
    for (const one of records) this.#see(poll, partition, one, line);
    this.#checkVisible(poll, partition, line);
    if (poll.final !== true) return;
    partition.finalFrom = Math.min(partition.finalFrom, from!);
    partition.finalNext = Math.max(partition.finalNext, next!);
    partition.finalBegin = Math.min(partition.finalBegin, begin);
    partition.finalLine = line;
  }

  #follow(poll: Poll, partition: Partition, line: number): void {
    const { records = [], from, begin = poll.time, time } = poll;
    const key = `${partition.number} ${poll.consumer}`;
    const position = this.#positions.get(key);
    const first = from ?? records[0]?.[0];
    let cursor = position?.next ?? first;
    if (cursor === undefined) {
      if (poll.next !== undefined) this.#positions.set(key, { next: poll.next, line });
      return;
    }
    let back: { readonly offset: number; readonly line: number } | undefined;
    if (position !== undefined && first !== undefined && first < position.next) {
      back = { offset: first, line: position.line };
      cursor = first;
    }
    const isCommitted = poll.isolation === 'read_committed';
    const miss = (until: number): void => {
      partition.missed.push({
        from: cursor!,
        to: until,
        line,
        begin,
        time,
        isCommitted,
        consumer: String(poll.consumer),
      });
    };
    if (from !== undefined && from > cursor) {
      miss(from);
      cursor = from;
    }
    for (const [offset] of records) {
      if (offset < cursor) back ??= { offset, line };
      else if (offset > cursor) miss(offset);
      cursor = Math.max(cursor, offset + 1);
    }
    if (poll.next !== undefined && poll.next > cursor) {
      miss(poll.next);
      cursor = poll.next;
    }
    this.#positions.set(key, { next: cursor, line });
    if (back === undefined) return;
    const where = back.line === line ? 'within one poll' : `behind the poll of line ${back.line}`;
    this.#state.findings.report(
      'nonmonotonic-poll',
      { partition: partition.name, offset: back.offset },
      [back.line, line],
      () => `consumer ${poll.consumer} went back to offset ${back.offset}, ${where}, and no seek says so`,
    );
  }

  #see(poll: Poll, partition: Partition, one: NonNullable<Poll['records']>[number], line: number): void {
    const { records, permittedLoss } = this.#state;
    const [offset, value, epoch, timestamp] = one;
    const text = String(value);
    let record = partition.values.get(text);
    if (record === undefined) {
      record = records.add(partition.number, text);
      partition.values.set(text, record);
    }
    if (epoch !== undefined && epoch !== null) {
      permittedLoss.addEpoch(partition.name, epoch);
      records.epoch.set(record, epoch);
    }
    if (timestamp !== undefined) records.timestamp.set(record, timestamp);
    if (poll.isolation === 'read_committed' && poll.time < records.committedTime.at(record)) {
      records.committedTime.set(record, poll.time);
      records.committedLine.set(record, line);
    }
    if (this.#sight(record, offset, poll.begin ?? poll.time, poll.time, line))
      this.#occupy(partition, record, offset, line);
  }

  /** True if nobody had the record at that offset before. */
  #sight(record: number, offset: number, begin: number, time: number, line: number): boolean {
    const { records } = this.#state;
    const known = records.offset.at(record);
    if (known < 0) {
      records.offset.set(record, offset);
      records.seenLine.set(record, line);
      records.seenTime.set(record, time);
    }
    if (known < 0 || known === offset) {
      if (begin > records.lastBegin.at(record)) {
        records.lastBegin.set(record, begin);
        records.lastLine.set(record, line);
      }
      return known < 0;
    }
    let more = records.moreSightings.get(record);
    if (more === undefined) {
      more = [];
      records.moreSightings.set(record, more);
    }
    const same = more.find((sighting: Sighting) => sighting.offset === offset);
    // One record at so many offsets is found by a few of them.
    if (same === undefined && more.length === SIGHTINGS_MAX) return false;
    if (same === undefined) {
      more.push({ offset, line, time, lastBegin: begin, lastLine: line });
      return true;
    }
    if (begin > same.lastBegin) {
      same.lastBegin = begin;
      same.lastLine = line;
    }
    return false;
  }

  #occupy(partition: Partition, record: number, offset: number, line: number): void {
    const earlier = partition.readAt.get(offset);
    if (earlier < 0) {
      partition.readAt.set(offset, record);
      return;
    }
    const sighting = this.#state.records.sightingsOf(earlier).find((one) => one.offset === offset);
    partition.readConflicts.push({ offset, earlier, earlierLine: sighting?.line ?? 0, later: record, laterLine: line });
  }

  /** What a reader must not have been given, whatever it is: records at and above the ends, and below the log start. */
  #checkVisible(poll: Poll, partition: Partition, line: number): void {
    const { records = [], highWatermark = Number.POSITIVE_INFINITY, begin = poll.time } = poll;
    const stable = poll.isolation === 'read_committed' ? poll.lastStableOffset : undefined;
    const end = Math.min(highWatermark, stable ?? Number.POSITIVE_INFINITY);
    const { findings } = this.#state;
    const above = records.find(([offset]) => offset >= end);
    if (above !== undefined) {
      findings.report('precommitted-read', { partition: partition.name, offset: above[0] }, [line], () => {
        const name = stable === end ? 'last stable offset' : 'high watermark';
        return `consumer ${poll.consumer} was given offset ${above[0]}, and the ${name} of the same answer is ${end}`;
      });
    }
    const start = partition.logStart.before(begin);
    const deleted = start && records.find(([offset]) => offset < start.value);
    if (deleted !== undefined) {
      findings.report('resurrected', { partition: partition.name, offset: deleted[0] }, [start!.line, line], () => {
        return `consumer ${poll.consumer} was given offset ${deleted[0]}, and the log had been deleted up to ${start!.value} before`;
      });
    }
  }
}
