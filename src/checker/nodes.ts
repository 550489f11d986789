/**
 * What nodes said of themselves: who led which epoch, what a log still held when it was opened after a fault, where it was
 * cut, what it consists of, and who answered after its disk had failed.
 */
import { RunningMaximum } from './columns.js';
import { type HistoryState, OK, type Partition } from './history-state.js';
import type { Observers } from './observers.js';
import type { Fault, Leader, Name, Open, Replica, Truncate } from './operation.js';
import { ACKS_ALL } from './permitted-loss.js';
import { majorityOf } from './settings.js';

/** A kill or power cut, and where each log ended when its node came back. */
interface Stop {
  readonly fault: Fault;
  readonly line: number;
  readonly nodes: ReadonlySet<string>;
  /** By partition number and node. */
  readonly ends: Map<number, Map<string, { readonly end: number; readonly line: number }>>;
}

interface Rot {
  readonly node: string;
  readonly offset: number;
  readonly line: number;
}

/** The batch that was seen first at a base offset, below its replica's high watermark. */
interface KnownBatch {
  readonly last: number;
  readonly epoch: number;
  readonly hash: string | undefined;
  readonly node: string;
  readonly line: number;
}

interface Dumps {
  readonly batches: Map<number, KnownBatch>;
  readonly ranges: { readonly from: number; readonly to: number; readonly node: string; readonly line: number }[];
}

export class Nodes {
  readonly #state: HistoryState;
  readonly #observers: Observers;
  readonly #leaders = new Map<string, { readonly node: string; readonly line: number }>();
  readonly #epochs = new Map<string, { readonly epoch: number; readonly line: number }>();
  readonly #failed = new Map<string, { readonly time: number; readonly line: number }>();
  readonly #stops: Stop[] = [];
  /** The stop that the next opening of a log of this node belongs to. */
  readonly #stopOf = new Map<string, Stop>();
  readonly #rot = new Map<number, Rot[]>();
  readonly #dumps = new Map<number, Dumps>();
  /** The end of what had been acknowledged for good, by partition. */
  readonly #promised = new Map<number, RunningMaximum>();

  constructor(state: HistoryState, observers: Observers) {
    this.#state = state;
    this.#observers = observers;
  }

  fault(fault: Fault, partitionOf: (name: Name) => Partition, line: number): void {
    const nodes = new Set((fault.nodes ?? []).map(String));
    if (fault.fault === 'sync-error') for (const node of nodes) this.#failed.set(node, { time: fault.time, line });
    if (fault.fault === 'bit-rot') {
      const { number } = partitionOf(fault.partition!);
      const rot = this.#rot.get(number) ?? [];
      for (const node of nodes) rot.push({ node, offset: fault.offset!, line });
      this.#rot.set(number, rot);
    }
    if (fault.fault !== 'kill' && fault.fault !== 'power-cut') return;
    const stop = { fault, line, nodes, ends: new Map() };
    this.#stops.push(stop);
    for (const node of nodes) this.#stopOf.set(node, stop);
  }

  leader({ node, epoch }: Leader, partition: Partition, line: number): void {
    this.#state.permittedLoss.addEpoch(partition.name, epoch);
    this.#leads(partition, epoch, String(node), line);
    this.#reachEpoch(partition, String(node), epoch, line);
  }

  addSend(send: number): void {
    const { sends, nodes, partitions } = this.#state;
    if (sends.outcome.at(send) !== OK || sends.acks.at(send) === 0) return;
    const line = sends.line.at(send);
    const partition = partitions[sends.partition.at(send)] as Partition;
    if (this.#isForGood(send, partition)) {
      let promised = this.#promised.get(partition.number);
      if (promised === undefined) {
        promised = new RunningMaximum();
        this.#promised.set(partition.number, promised);
      }
      promised.add(sends.time.at(send), sends.offset.at(send) + sends.count.at(send), line);
    }
    if (sends.node.at(send) < 0) return;
    const node = nodes.name(sends.node.at(send));
    if (sends.epoch.at(send) >= 0) this.#leads(partition, sends.epoch.at(send), node, line);
    const failed = this.#failed.get(node);
    if (failed === undefined || sends.begin.at(send) <= failed.time) return;
    this.#state.findings.report(
      'ack-after-sync-error',
      { partition: partition.name, offset: sends.offset.at(send) < 0 ? undefined : sends.offset.at(send) },
      [failed.line, line],
      () =>
        `node ${node} acknowledged a send although one of its writes or syncs had failed, and it had not been restarted`,
    );
  }

  /** A promise that does not end with the leader. */
  #isForGood(send: number, { settings }: Partition): boolean {
    const { sends } = this.#state;
    if (sends.offset.at(send) < 0 || sends.acks.at(send) === 0) return false;
    return sends.acks.at(send) === ACKS_ALL || settings.replicas?.length === 1;
  }

  #leads(partition: Partition, epoch: number, node: string, line: number): void {
    const key = `${partition.number} ${epoch}`;
    const known = this.#leaders.get(key);
    if (known === undefined) this.#leaders.set(key, { node, line });
    if (known === undefined || known.node === node) return;
    this.#state.findings.report(
      'two-leaders-one-epoch',
      { partition: partition.name },
      [known.line, line],
      () => `nodes ${known.node} and ${node} both led epoch ${epoch}`,
    );
  }

  #reachEpoch(partition: Partition, node: string, epoch: number, line: number): void {
    const key = `${partition.number} ${node}`;
    const known = this.#epochs.get(key);
    if (known === undefined || epoch > known.epoch) this.#epochs.set(key, { epoch, line });
    if (known === undefined || epoch >= known.epoch) return;
    this.#state.findings.report(
      'epoch-regression',
      { partition: partition.name },
      [known.line, line],
      () => `node ${node} is at leader epoch ${epoch}, and had reached ${known.epoch}`,
    );
  }

  open(open: Open, partition: Partition, line: number): void {
    const { time, begin = time, logStart, highWatermark, epoch, logEnd } = open;
    const node = String(open.node);
    const observer = `node ${node}`;
    this.#failed.delete(node);
    this.#observers.forgetHighWatermark(observer, partition);
    if (highWatermark !== undefined) {
      this.#observers.highWatermark(observer, highWatermark, partition, begin, time, line);
    }
    if (logStart !== undefined) this.#observers.logStart(observer, logStart, partition, begin, time, line);
    if (epoch !== undefined) this.#reachEpoch(partition, node, epoch, line);
    this.#judgeRot(open, partition, line);
    const stop = this.#stopOf.get(node);
    if (stop === undefined) return;
    let ends = stop.ends.get(partition.number);
    if (ends === undefined) {
      ends = new Map();
      stop.ends.set(partition.number, ends);
    }
    // Only the first opening says what the stop left.
    if (!ends.has(node)) ends.set(node, { end: logEnd, line });
  }

  #judgeRot({ node, logEnd, damaged = [] }: Open, partition: Partition, line: number): void {
    const rot = this.#rot.get(partition.number);
    if (rot === undefined) return;
    for (const one of rot) {
      if (one.node !== String(node) || logEnd > one.offset) continue;
      if (damaged.some(([from, to]) => from <= one.offset && one.offset < to)) continue;
      this.#state.findings.report(
        'silent-repair-by-truncation',
        { partition: partition.name, offset: one.offset },
        [one.line, line],
        () => `node ${node} opened a log that ends at ${logEnd}, and reported no damage at offset ${one.offset}`,
      );
    }
    this.#rot.set(
      partition.number,
      rot.filter((one) => one.node !== String(node)),
    );
  }

  truncate({ node, offset, highWatermark, time, begin = time }: Truncate, partition: Partition, line: number): void {
    const observer = `node ${node}`;
    const known = this.#observers.highestWatermark(observer, partition, begin);
    const highest = Math.max(highWatermark ?? -1, known?.value ?? -1);
    if (highWatermark !== undefined) {
      this.#observers.highWatermark(observer, highWatermark, partition, begin, time, line);
    }
    if (offset >= highest) return;
    const { findings, permittedLoss } = this.#state;
    const reason = permittedLoss.reasonForLowerEnd(partition.name, partition.settings, offset, begin);
    if (reason !== undefined) {
      findings.permit('committed-truncated', reason, line);
      return;
    }
    findings.report(
      'committed-truncated',
      { partition: partition.name, offset },
      [known?.line ?? 0, line],
      () => `node ${node} cut its log at ${offset}, below its high watermark ${highest}`,
    );
  }

  replica(replica: Replica, partition: Partition, line: number): void {
    const { time, begin = time, logStart, highWatermark, batches, epochs } = replica;
    const observer = `node ${replica.node}`;
    this.#observers.highWatermark(observer, highWatermark, partition, begin, time, line);
    if (logStart !== undefined) this.#observers.logStart(observer, logStart, partition, begin, time, line);
    this.#judgeChain(replica, partition, line);
    if (epochs !== undefined) this.#judgeEpochIndex(replica, epochs, partition, line);
    if (!partition.settings.compacted) this.#compare(replica, partition, line);
    const last = batches.at(-1);
    if (last !== undefined) this.#state.permittedLoss.addEpoch(partition.name, last[2]);
  }

  #judgeChain({ node, batches }: Replica, partition: Partition, line: number): void {
    for (let i = 1; i < batches.length; i += 1) {
      const [, before, epochBefore] = batches[i - 1]!;
      const [base, , epoch] = batches[i]!;
      const where = { partition: partition.name, offset: base };
      if (base !== before + 1) {
        this.#state.findings.report(
          'offset-gap',
          where,
          [line],
          () => `node ${node} has a batch that ends at ${before}, and the next begins at ${base}`,
        );
      }
      if (epoch < epochBefore) {
        this.#state.findings.report(
          'epoch-regression',
          where,
          [line],
          () => `node ${node} has a batch of epoch ${epoch} behind one of epoch ${epochBefore}`,
        );
      }
    }
  }

  #judgeEpochIndex(
    { node, batches }: Replica,
    epochs: NonNullable<Replica['epochs']>,
    partition: Partition,
    line: number,
  ): void {
    let entry = -1;
    for (const [base, last, epoch] of batches) {
      while (entry + 1 < epochs.length && epochs[entry + 1]![1] <= base) entry += 1;
      const next = epochs[entry + 1];
      // An epoch that begins inside the batch is as wrong as another one at its base.
      const indexed = next !== undefined && next[1] <= last ? next[0] : epochs[entry]?.[0];
      if (indexed === epoch) continue;
      this.#state.findings.report('epoch-index-mismatch', { partition: partition.name, offset: base }, [line], () => {
        const says = indexed === undefined ? 'no epoch' : `epoch ${indexed}`;
        return `node ${node} has a batch of epoch ${epoch} at ${base}, and its epoch index says ${says}`;
      });
      return;
    }
  }

  #compare({ node, batches, highWatermark, logStart }: Replica, partition: Partition, line: number): void {
    let dumps = this.#dumps.get(partition.number);
    if (dumps === undefined) {
      dumps = { batches: new Map(), ranges: [] };
      this.#dumps.set(partition.number, dumps);
    }
    const from = logStart ?? batches[0]?.[0] ?? highWatermark;
    let isReported = false;
    for (const [base, last, epoch, hash] of batches) {
      if (last >= highWatermark) break;
      const other = dumps.batches.get(base);
      const mine = { last, epoch, hash: hash === undefined ? undefined : String(hash), node: String(node), line };
      if (other === undefined) dumps.batches.set(base, mine);
      const range = other === undefined ? dumps.ranges.find((one) => one.from <= base && last < one.to) : undefined;
      const differs =
        other === undefined
          ? range !== undefined
          : other.last !== last ||
            other.epoch !== epoch ||
            (mine.hash !== undefined && other.hash !== undefined && mine.hash !== other.hash);
      if (!differs || isReported) continue;
      isReported = true;
      const against = other ?? range!;
      this.#state.findings.report(
        'replica-divergence',
        { partition: partition.name, offset: base },
        [against.line, line],
        () => `nodes ${against.node} and ${node} hold different batches at offset ${base}`,
      );
    }
    dumps.ranges.push({ from, to: highWatermark, node: String(node), line });
  }

  /** Did a majority still have, when it came back, what had been acknowledged? */
  judge(): void {
    for (const stop of this.#stops) {
      for (const [number, ends] of stop.ends) {
        this.#judgeStop(stop, this.#state.partitions[number] as Partition, ends);
      }
    }
  }

  #judgeStop(
    { fault, line, nodes }: Stop,
    partition: Partition,
    ends: ReadonlyMap<string, { readonly end: number; readonly line: number }>,
  ): void {
    const { replicas } = partition.settings;
    if (replicas === undefined) return;
    // Whoever was not stopped, or has not come back, may have everything.
    const kept = replicas.map(
      (node) => (nodes.has(node) ? ends.get(node)?.end : undefined) ?? Number.POSITIVE_INFINITY,
    );
    const reached = kept.sort((a, b) => b - a)[majorityOf(replicas.length) - 1]!;
    const began = fault.begin ?? fault.time;
    if ((this.#promised.get(partition.number)?.before(began)?.value ?? 0) <= reached) return;
    const { sends, findings, permittedLoss } = this.#state;
    for (let send = 0; send < sends.length; send += 1) {
      const end = sends.offset.at(send) + sends.count.at(send);
      if (sends.partition.at(send) !== partition.number || end <= reached) continue;
      if (sends.time.at(send) >= began) return;
      if (sends.outcome.at(send) !== OK || !this.#isForGood(send, partition)) continue;
      const promised = {
        acks: ACKS_ALL,
        begin: sends.begin.at(send),
        time: sends.time.at(send),
        epoch: -1,
        node: undefined,
        offset: sends.offset.at(send),
      };
      const reason = permittedLoss.reason(partition.name, partition.settings, promised);
      if (reason !== undefined) {
        findings.permit('ack-not-durable', reason, sends.line.at(send));
        continue;
      }
      const lines = [sends.line.at(send), line, ...[...ends.values()].map((one) => one.line)];
      findings.report(
        'ack-not-durable',
        { partition: partition.name, offset: sends.offset.at(send) },
        lines,
        () => `acknowledged up to ${end}, and after the ${fault.fault} a majority came back only to ${reached}`,
      );
    }
  }
}
