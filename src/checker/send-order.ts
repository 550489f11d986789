/** The order of sends against the order of the log, and producer epochs that were fenced. */
import { RunningMaximum } from './columns.js';
import { FAILED, type HistoryState, OK, type Partition } from './history-state.js';
import type { Fence } from './operation.js';
import type { RecordVerdict } from './record-verdict.js';

export class SendOrder {
  readonly #state: HistoryState;
  /** Epochs of each producer id, by time: fenced everywhere, and written in a partition. */
  readonly #fences = new Map<string, RunningMaximum>();

  constructor(state: HistoryState) {
    this.#state = state;
  }

  fence({ producerId, producerEpoch, time }: Fence, line: number): void {
    this.#fence(`${this.#state.producerIds.number(producerId)}`, time, producerEpoch, line);
  }

  /** Call for each send when its line is read. */
  addSend(send: number): void {
    const { sends } = this.#state;
    if (sends.producerId.at(send) < 0 || sends.outcome.at(send) !== OK || sends.acks.at(send) === 0) return;
    const key = `${sends.producerId.at(send)} ${sends.partition.at(send)}`;
    this.#fence(key, sends.time.at(send), sends.producerEpoch.at(send), sends.line.at(send));
  }

  #fence(key: string, time: number, epoch: number, line: number): void {
    let fences = this.#fences.get(key);
    if (fences === undefined) {
      fences = new RunningMaximum();
      this.#fences.set(key, fences);
    }
    fences.add(time, epoch, line);
  }

  judge(verdict: RecordVerdict): void {
    const reported = new Set<number>();
    this.#judgeRealTime(verdict, reported);
    this.#judgeProducers(verdict, reported);
    this.#judgeFences(verdict);
  }

  /** A send that was called after another had been acknowledged lies behind it, whoever sent it. */
  #judgeRealTime(verdict: RecordVerdict, reported: Set<number>): void {
    const { sends, partitions } = this.#state;
    const highest = partitions.map(() => new RunningMaximum());
    for (let send = 0; send < sends.length; send += 1) {
      if (sends.offset.at(send) < 0 || sends.acks.at(send) === 0 || sends.duplicate.at(send) === 1) continue;
      const record = sends.record(send);
      if (this.#state.records.send.at(record) !== send || !verdict.isCertain(record, send)) continue;
      const maximum = highest[sends.partition.at(send)]!;
      const before = maximum.before(sends.begin.at(send));
      if (before !== undefined && before.value > sends.offset.at(send)) {
        reported.add(send);
        this.#report(send, before.line, sends.offset.at(send), before.value);
      }
      maximum.add(sends.time.at(send), sends.offset.at(send) + sends.count.at(send) - 1, sends.line.at(send));
    }
  }

  /** The sends of one producer lie in the order in which they were called, also if several are under way. */
  #judgeProducers(verdict: RecordVerdict, reported: ReadonlySet<number>): void {
    const { sends } = this.#state;
    const located = new Float64Array(sends.length).fill(-1);
    for (let send = 0; send < sends.length; send += 1) located[send] = this.#offsetOf(send, verdict);
    const order = Uint32Array.from({ length: sends.length }, (_, i) => i).filter((send) => located[send]! >= 0);
    order.sort(
      (a, b) =>
        sends.partition.at(a) - sends.partition.at(b) ||
        sends.producer.at(a) - sends.producer.at(b) ||
        sends.begin.at(a) - sends.begin.at(b) ||
        a - b,
    );
    // The highest among those called earlier, and among those called at the same moment: these are in no order.
    let highest = -1;
    let tied = -1;
    for (const [place, send] of order.entries()) {
      const previous = order[place - 1];
      const isSame =
        previous !== undefined &&
        sends.partition.at(previous) === sends.partition.at(send) &&
        sends.producer.at(previous) === sends.producer.at(send);
      if (!isSame) {
        highest = -1;
        tied = send;
      } else if (sends.begin.at(previous) !== sends.begin.at(send)) {
        if (highest < 0 || located[tied]! > located[highest]!) highest = tied;
        tied = send;
      } else if (located[send]! > located[tied]!) {
        tied = send;
      }
      if (highest >= 0 && located[highest]! > located[send]! && !reported.has(send)) {
        this.#report(send, sends.line.at(highest), located[send]!, located[highest]!);
      }
    }
  }

  /** The one place of a send; −1 if it is not known, or a retry without idempotence may have moved it. */
  #offsetOf(send: number, verdict: RecordVerdict): number {
    const { sends, records } = this.#state;
    const record = sends.record(send);
    if (records.send.at(record) !== send || sends.outcome.at(send) === FAILED || !verdict.isCertain(record, send))
      return -1;
    if (records.moreSightings.has(record)) return -1;
    const isRetried = records.moreSends.has(record) || sends.attempts.at(send) > 1;
    if (isRetried && sends.producerId.at(send) < 0) return -1;
    return sends.offset.at(send) >= 0 ? sends.offset.at(send) : records.offset.at(record);
  }

  #report(send: number, earlierLine: number, offset: number, earlierOffset: number): void {
    const { sends, partitions, findings } = this.#state;
    const { name } = partitions[sends.partition.at(send)] as Partition;
    findings.report(
      'nonmonotonic-send',
      { partition: name, offset },
      [earlierLine, sends.line.at(send)],
      () => `a send lies at offset ${offset}, and one that came before it at ${earlierOffset}`,
    );
  }

  #judgeFences(verdict: RecordVerdict): void {
    const { sends, records, findings, partitions, producerIds } = this.#state;
    const located: number[] = [];
    for (let send = 0; send < sends.length; send += 1) {
      const id = sends.producerId.at(send);
      if (id < 0 || sends.outcome.at(send) === FAILED || sends.duplicate.at(send) === 1) continue;
      const record = sends.record(send);
      const isStored =
        (sends.outcome.at(send) === OK && sends.acks.at(send) !== 0) ||
        (records.offset.at(record) >= 0 && !records.moreSends.has(record));
      if (!isStored) continue;
      const fence = this.#fenceBefore(send);
      if (fence === undefined) {
        if (records.send.at(record) === send && this.#offsetOf(send, verdict) >= 0) located.push(send);
        continue;
      }
      const { name } = partitions[sends.partition.at(send)] as Partition;
      const offset = this.#offsetOf(send, verdict);
      findings.report(
        'fenced-writer-accepted',
        { partition: name, offset: offset < 0 ? undefined : offset },
        [fence.line, sends.line.at(send)],
        () =>
          `producer id ${producerIds.name(id)} wrote with epoch ${sends.producerEpoch.at(send)} after epoch ${fence.value} had begun`,
      );
    }
    this.#judgeEpochsInLog(located, verdict);
  }

  /** Whatever the clocks say: an older producer epoch never lies behind a newer one. */
  #judgeEpochsInLog(located: number[], verdict: RecordVerdict): void {
    const { sends, findings, partitions, producerIds } = this.#state;
    located.sort(
      (a, b) =>
        sends.partition.at(a) - sends.partition.at(b) ||
        sends.producerId.at(a) - sends.producerId.at(b) ||
        this.#offsetOf(a, verdict) - this.#offsetOf(b, verdict),
    );
    let highest = -1;
    for (const [place, send] of located.entries()) {
      const previous = located[place - 1];
      const isSame =
        previous !== undefined &&
        sends.partition.at(previous) === sends.partition.at(send) &&
        sends.producerId.at(previous) === sends.producerId.at(send);
      if (!isSame) highest = send;
      if (sends.producerEpoch.at(send) >= sends.producerEpoch.at(highest)) {
        highest = send;
        continue;
      }
      const { name } = partitions[sends.partition.at(send)] as Partition;
      const id = producerIds.name(sends.producerId.at(send));
      const older = sends.producerEpoch.at(send);
      const newer = sends.producerEpoch.at(highest);
      findings.report(
        'fenced-writer-accepted',
        { partition: name, offset: this.#offsetOf(send, verdict) },
        [sends.line.at(highest), sends.line.at(send)],
        () => `producer id ${id}: epoch ${older} lies behind epoch ${newer} in the log`,
      );
    }
  }

  #fenceBefore(send: number): { readonly value: number; readonly line: number } | undefined {
    const { sends } = this.#state;
    const id = sends.producerId.at(send);
    for (const key of [`${id}`, `${id} ${sends.partition.at(send)}`]) {
      const fence = this.#fences.get(key)?.before(sends.begin.at(send));
      if (fence !== undefined && fence.value > sends.producerEpoch.at(send)) return fence;
    }
    return undefined;
  }
}
