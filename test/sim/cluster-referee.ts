/**
 * The referee of the cluster simulation: it looks at every replica from outside after each event, and asserts the properties
 * of Raft (paper, figure 3) on the batches that the logs really hold, what was promised to clients, and that a restart takes
 * nothing back that was durable. It shares no code with the core; that of test/raft/invariants.ts is its model for the core
 * alone.
 *
 * Each batch gets an identity from its own content (CRC) and the identity of the batch before: "the logs are equal up to
 * here" is one comparison.
 */
import type { Replica } from '../../src/cluster/replica.js';
import type { FlushMode } from '../../src/disk/disk.js';
import type { Log } from '../../src/log/log.js';
import {
  baseOffsetAt,
  baseSequenceAt,
  batchSizeAt,
  crcAt,
  epochAt,
  isControlAt,
  lastOffsetAt,
  producerIdAt,
} from '../../src/record/record-batch.js';
import { readRecords, type SimHistory } from './sim-history.js';

export interface SeenBatch {
  readonly start: number;
  readonly end: number;
  readonly epoch: number;
  readonly crc: number;
  readonly isControl: boolean;
  /** −1: no idempotent producer. */
  readonly producerId: number;
  readonly sequence: number;
  /** Of this batch and all before it. */
  readonly identity: number;
}

/** What was seen of one replica last. */
interface SeenReplica {
  readonly who: string;
  log: Log | undefined;
  batches: SeenBatch[];
  end: number;
  durable: number;
  written: number;
  generation: number;
  highWatermark: number;
  start: number;
  role: string;
  term: number;
  /** Its vote for itself in this term is on its disk. */
  ledTerm: number;
}

const READ_BYTES = 1024 * 1024;

/** What went wrong is put into words only then: this is asked after every event. */
function must(holds: boolean, what: () => string): asserts holds {
  if (!holds) throw new Error(what());
}

/** One partition over all nodes. */
export class PartitionReferee {
  readonly name: string;
  readonly #countBy: 'durable' | 'written';
  readonly #history: SimHistory;
  /** Somebody has asked for the deletion of what lies below. */
  #deletableTo = 0;
  readonly #replicas: SeenReplica[];
  readonly #chains = new Map<string, number>();
  readonly #identities = new Map<string, number>();
  readonly #leaders = new Map<number, string>();
  readonly #sequences = new Map<string, number>();
  #lastTerm = 0;
  /** Every batch that was ever committed, in order. */
  readonly committed: SeenBatch[] = [];
  readonly happened = { elections: 0, truncations: 0, commits: 0, recoveries: 0 };

  constructor(name: string, nodes: number, flush: FlushMode, history: SimHistory) {
    this.name = name;
    this.#countBy = flush === 'sync' ? 'durable' : 'written';
    this.#history = history;
    this.#replicas = Array.from({ length: nodes }, (_, i) => ({
      who: `${name} on node ${i + 1}`,
      log: undefined,
      batches: [],
      end: 0,
      durable: 0,
      written: 0,
      generation: 0,
      highWatermark: 0,
      start: 0,
      role: '',
      term: 0,
      ledTerm: 0,
    }));
  }

  get committedEnd(): number {
    return this.committed.at(-1)?.end ?? 0;
  }

  /** Every replica has what lies below on its disk: a replica that lacks what the others have deleted would stay behind. */
  get heldByAll(): number {
    return Math.min(this.committedEnd, ...this.#replicas.map(({ durable }) => durable));
  }

  mayDelete(offset: number): void {
    this.#deletableTo = Math.max(this.#deletableTo, offset);
  }

  /**
   * After each event of the node's process.
   * @param wasKilled the process before it lost nothing that was in the page cache
   */
  observe(node: number, replica: Replica, wasKilled: boolean): void {
    const seen = this.#replicas[node - 1]!;
    const { log, highWatermark, role, term } = replica;
    const { end, durable, generation, start } = log;
    if (
      log === seen.log &&
      end === seen.end &&
      durable === seen.durable &&
      highWatermark === seen.highWatermark &&
      generation === seen.generation &&
      role === seen.role &&
      term === seen.term &&
      start === seen.start
    ) {
      return;
    }
    const { who } = seen;
    must(start <= highWatermark, () => `${who}: log start ${start} is above the high watermark ${highWatermark}`);
    must(highWatermark <= end, () => `${who}: high watermark ${highWatermark} is above the log end ${end}`);
    must(
      durable <= log.written && log.written <= end,
      () => `${who}: durable ${durable} ≤ ${log.written} ≤ end ${end}`,
    );
    must(start <= this.#deletableTo, () => `${who}: starts at ${start}; nobody asked to delete what lies below`);
    if (log !== seen.log) this.#recovered(node, seen, replica, wasKilled);
    else this.#moved(node, seen, log, highWatermark);
    seen.log = log;
    seen.end = end;
    seen.durable = durable;
    seen.written = log.written;
    seen.generation = generation;
    seen.start = start;
    const { hardState } = log;
    const { ledTerm } = seen;
    const remembers =
      hardState.term > ledTerm || ledTerm === 0 || (hardState.term === ledTerm && hardState.vote === node);
    must(remembers, () => `${who}: led term ${ledTerm}, and has term ${hardState.term} and vote ${hardState.vote} now`);
    if (role === 'leader') seen.ledTerm = term;
    if (role === 'leader' && (seen.role !== 'leader' || term !== seen.term)) this.#checkComplete(who, seen, term);
    seen.role = role;
    seen.term = term;
    if (highWatermark > seen.highWatermark) this.#committedTo(who, seen, role === 'leader', term, highWatermark);
    seen.highWatermark = highWatermark;
  }

  /** Election safety. */
  elected(node: number, incarnation: string, term: number): void {
    this.happened.elections++;
    const who = `node ${node} (${incarnation.slice(0, 6)})`;
    const other = this.#leaders.get(term);
    must(other === undefined || other === who, () => `${this.name}: ${other} and ${who} both lead term ${term}`);
    this.#leaders.set(term, who);
    this.#lastTerm = Math.max(this.#lastTerm, term);
    this.#history.add({ op: 'leader', partition: this.name, node, epoch: term });
  }

  /** It leads, and nobody was elected after it: what it says of the log's end is the last word. */
  leads(node: number): boolean {
    const { role, term } = this.#replicas[node - 1]!;
    return role === 'leader' && term === this.#lastTerm;
  }

  /** In which epoch a node holds the batch; undefined: it does not. */
  epochOf(node: number, offset: number, crc: number): number | undefined {
    const { batches } = this.#replicas[node - 1]!;
    const batch = batches[this.#indexOf(batches, offset)];
    return batch?.start === offset && batch.crc === crc ? batch.epoch : undefined;
  }

  /** A batch was acknowledged with `acks: all`. */
  acknowledged(baseOffset: number, crc: number): void {
    const batch = this.committed[this.#indexOf(this.committed, baseOffset)];
    must(
      batch !== undefined && batch.start === baseOffset && batch.crc === crc,
      () => `${this.name}: what was acknowledged at offset ${baseOffset} was not committed there`,
    );
  }

  /** A consumer was given these bytes. @returns where the last batch ends */
  read(views: readonly Buffer[], offset: number): number {
    let expected = offset;
    for (const view of views) {
      for (let at = 0; at < view.length; at += batchSizeAt(view, at)) {
        const start = baseOffsetAt(view, at);
        const batch = this.committed[this.#indexOf(this.committed, start)];
        const isRight = batch?.start === start && batch.crc === crcAt(view, at) && batch.epoch === epochAt(view, at);
        must(isRight, () => `${this.name}: a consumer read at ${start} what was never committed there`);
        const isNext = start === expected || (expected === offset && start <= expected && expected < batch.end);
        must(isNext, () => `${this.name}: a consumer was given ${start} where ${expected} comes next`);
        expected = batch.end;
      }
    }
    return expected;
  }

  /** All is healed and quiet: every replica holds the same, and all of it is committed. */
  checkEqual(): void {
    const [first, ...rest] = this.#replicas;
    for (const other of rest) {
      must(other.end === first!.end, () => `${this.name}: replicas end at different offsets`);
      must(other.start === first!.start, () => `${this.name}: replicas start at different offsets`);
      must(other.batches.at(-1)?.identity === first!.batches.at(-1)?.identity, () => `${this.name}: replicas differ`);
    }
    must(first!.end === this.committedEnd, () => `${this.name}: not everything is committed`);
  }

  get areEqual(): boolean {
    const { committedEnd } = this;
    const [first] = this.#replicas;
    return this.#replicas.every(({ start, end, highWatermark }) => {
      return start === first!.start && end === committedEnd && highWatermark === committedEnd;
    });
  }

  /** The last word on the log: one of its replicas is read as a whole, and all say what they hold. */
  record(): void {
    const { log } = this.#replicas[0]!;
    for (let from = log!.start; from < this.committedEnd; ) {
      const { views, nextOffset: next } = log!.viewsFrom(from, READ_BYTES, 'committed');
      const records = readRecords(views, from);
      this.#history.add({ op: 'poll', partition: this.name, consumer: 'final', from, next, records, final: true });
      from = next;
    }
    for (const [i, { start: logStart, highWatermark, batches }] of this.#replicas.entries()) {
      const held = batches
        .filter(({ end }) => end > logStart)
        .map(({ start, end, epoch, crc }): [number, number, number, number] => [start, end - 1, epoch, crc]);
      this.#history.add({ op: 'replica', partition: this.name, node: i + 1, logStart, highWatermark, batches: held });
    }
  }

  // ---- one replica ----

  #moved(node: number, seen: SeenReplica, log: Log, highWatermark: number): void {
    const { who } = seen;
    must(highWatermark >= seen.highWatermark, () => `${who}: the high watermark went back from ${seen.highWatermark}`);
    must(log.start >= seen.start, () => `${who}: the log start went back from ${seen.start} to ${log.start}`);
    must(log.generation >= seen.generation, () => `${who}: the generation went back`);
    if (log.generation === seen.generation) {
      must(log.end >= seen.end, () => `${who}: the log end went back from ${seen.end} to ${log.end} in one generation`);
      must(log.durable >= seen.durable, () => `${who}: durable went back from ${seen.durable} in one generation`);
    } else {
      this.happened.truncations++;
      this.#cut(seen, log);
      const end = Math.max(log.start, seen.batches.at(-1)?.end ?? 0);
      this.#history.add({ op: 'truncate', partition: this.name, node, offset: end, highWatermark: seen.highWatermark });
      must(
        end >= seen.highWatermark,
        () => `${who}: was cut to ${end}, below its high watermark ${seen.highWatermark}`,
      );
    }
    if (log.end > (seen.batches.at(-1)?.end ?? 0)) this.#extend(who, seen, log);
  }

  /** Another process has the log open: what was durable is there, and nothing that was never written. */
  #recovered(node: number, seen: SeenReplica, { log, highWatermark }: Replica, wasKilled: boolean): void {
    const { who } = seen;
    const before = seen.batches;
    const kept = wasKilled ? seen.written : seen.durable;
    if (seen.log !== undefined) this.happened.recoveries++;
    const { start: logStart, end: logEnd } = log;
    must(logEnd >= kept, () => `${who}: recovered to ${logEnd}; ${kept} was ${wasKilled ? 'written' : 'durable'}`);
    // Below its start nothing can be read any more: that much is taken from before.
    seen.batches = before.slice(0, this.#indexOf(before, log.start));
    this.#extend(who, seen, log);
    for (const [at, batch] of before.entries()) {
      if (batch.end > kept) break;
      must(
        seen.batches[at]?.identity === batch.identity,
        () => `${who}: recovered with another batch at ${batch.start}`,
      );
    }
    const epoch = seen.batches.at(-1)?.epoch ?? 0;
    this.#history.add({ op: 'open', partition: this.name, node, logStart, logEnd, highWatermark, epoch });
    seen.highWatermark = 0;
    seen.role = '';
    seen.term = 0;
  }

  /** Forgets what the log no longer holds. */
  #cut(seen: SeenReplica, log: Log): void {
    for (let last = seen.batches.at(-1); last !== undefined; last = seen.batches.at(-1)) {
      if (last.end <= log.start) return;
      if (last.end <= log.end) {
        const [view] = log.viewsFrom(Math.max(last.start, log.start), 1, 'end').views;
        if (view !== undefined && epochAt(view, 0) === last.epoch && crcAt(view, 0) === last.crc) return;
      }
      seen.batches.pop();
    }
  }

  /** Log matching: a batch of one (epoch, start) has one content and one past, on whichever node. */
  #extend(who: string, seen: SeenReplica, log: Log): void {
    let next = Math.max(seen.batches.at(-1)?.end ?? 0, log.start);
    while (next < log.end) {
      const { views, nextOffset } = log.viewsFrom(next, READ_BYTES, 'end');
      for (const view of views) {
        for (let at = 0; at < view.length; at += batchSizeAt(view, at)) {
          const batch = this.#identify(who, view, at, seen.batches.at(-1));
          seen.batches.push(batch);
        }
      }
      next = nextOffset;
    }
  }

  #identify(who: string, view: Buffer, at: number, previous: SeenBatch | undefined): SeenBatch {
    const start = baseOffsetAt(view, at);
    const epoch = epochAt(view, at);
    const crc = crcAt(view, at);
    const key = `${epoch}:${start}`;
    const known = this.#identities.get(key);
    const chain = `${previous?.identity ?? 0}|${start}|${crc}|${epoch}`;
    let identity = this.#chains.get(chain);
    if (identity === undefined) {
      identity = this.#chains.size + 1;
      this.#chains.set(chain, identity);
    }
    must(known === undefined || known === identity, () => `log matching: ${who} has another batch or past at ${key}`);
    this.#identities.set(key, identity);
    return {
      start,
      end: lastOffsetAt(view, at) + 1,
      epoch,
      crc,
      isControl: isControlAt(view, at),
      producerId: producerIdAt(view, at),
      sequence: baseSequenceAt(view, at),
      identity,
    };
  }

  // ---- the cluster ----

  /** Leader completeness. */
  #checkComplete(who: string, seen: SeenReplica, term: number): void {
    const last = this.committed.at(-1);
    if (last === undefined || last.end <= seen.start) return;
    const held = seen.batches[this.#indexOf(seen.batches, last.start)];
    must(
      held?.identity === last.identity,
      () => `${who}: leads term ${term} without the committed batch at ${last.start}`,
    );
  }

  /** State-machine safety; for leaders also that the commit was allowed. */
  #committedTo(who: string, seen: SeenReplica, isLeader: boolean, term: number, to: number): void {
    let at = this.#indexOf(seen.batches, seen.highWatermark);
    for (let batch = seen.batches[at]; batch !== undefined && batch.start < to; batch = seen.batches[++at]) {
      must(batch.end <= to, () => `${who}: the high watermark ${to} is inside a batch`);
      if (batch.start < this.committedEnd) {
        const known = this.committed[this.#indexOf(this.committed, batch.start)];
        must(batch.identity === known?.identity, () => `${who}: committed another batch at ${batch.start}`);
        continue;
      }
      must(isLeader, () => `${who}, no leader, committed ${batch.start} before any leader did`);
      must(batch.start === this.committedEnd, () => `${who}: committed with a gap`);
      this.#commit(batch);
      if (batch.end === to) this.#checkCommit(who, term, batch);
    }
  }

  #commit(batch: SeenBatch): void {
    this.committed.push(batch);
    this.happened.commits++;
    if (batch.producerId < 0 || batch.isControl) return;
    const key = `${batch.producerId}:${batch.sequence}`;
    const other = this.#sequences.get(key);
    must(other === undefined, () => `${this.name}: sequence ${key} was committed at ${other} and at ${batch.start}`);
    this.#sequences.set(key, batch.start);
  }

  #checkCommit(who: string, term: number, last: SeenBatch): void {
    must(last.epoch === term, () => `${who}: of term ${term} committed a batch of epoch ${last.epoch} by count`);
    let holders = 0;
    for (const seen of this.#replicas) {
      if ((this.#countBy === 'durable' ? seen.durable : seen.end) < last.end) continue;
      if (seen.batches[this.#indexOf(seen.batches, last.start)]?.identity === last.identity) holders++;
    }
    const { length } = this.#replicas;
    must(holders > length / 2, () => `${who}: committed up to ${last.end}, which ${holders} of ${length} nodes hold`);
  }

  /** Of the batch that holds the offset, or the first one behind it. */
  #indexOf(batches: readonly SeenBatch[], offset: number): number {
    let low = 0;
    let high = batches.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (batches[middle]!.end <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
