/**
 * Judges a history (docs/HISTORY.md): takes its lines one after the other, and says at the end what was wrong. What lines
 * say at once, is judged at once; what needs the rest of the history (was it ever sent, is it ever read?) at the end. Memory
 * grows with the number of records, not with that of reads. Time is O(n log n).
 */
import { VarveError } from '../errors.js';
import { type Anomaly, type AnomalyName, Findings, type Permitted } from './anomaly.js';
import { collectClaims } from './claims.js';
import { Configurations } from './configurations.js';
import { Consumers } from './consumers.js';
import { GroupOffsets } from './group-offsets.js';
import { type HistoryState, Names, Partition, Records, Sends, UNKNOWN } from './history-state.js';
import { Liveness } from './liveness.js';
import { Lookups } from './lookups.js';
import { Nodes } from './nodes.js';
import { Observers } from './observers.js';
import type { HistoryHeader, Name, Operation, PartitionSettings, Poll, Send, TimedOperation } from './operation.js';
import { faultOfOperation } from './operation-fields.js';
import { PermittedLoss } from './permitted-loss.js';
import { judgePolls } from './poll-verdict.js';
import { RecordVerdict } from './record-verdict.js';
import { SendOrder } from './send-order.js';
import { SameValueError, takeSend } from './send-intake.js';
import { resolveSettings } from './settings.js';
import { Transactions } from './transactions.js';

export interface CheckOptions {
  /** What messages call the history. Default: `history`. */
  readonly name?: string;
  /** Anomalies of each kind that are kept whole; all are counted. Default 10. */
  readonly keep?: number;
}

export interface Verdict {
  /** Lines that say what happened: without header and settings. */
  readonly operations: number;
  readonly partitions: number;
  readonly sends: { readonly ok: number; readonly failed: number; readonly unknown: number };
  /** Records of sends of unknown outcome only, and how many of them readers were given. */
  readonly unknown: { readonly records: number; readonly read: number };
  /** No anomaly. */
  readonly clean: boolean;
  readonly counts: Readonly<Partial<Record<AnomalyName, number>>>;
  readonly anomalies: readonly Anomaly[];
  /** Losses and duplicates that the settings permit. */
  readonly permitted: readonly Permitted[];
}

const ATTEMPTS_MAX = 1000;
const STUCK_MS = 30_000;

export class HistoryChecker {
  readonly #name: string;
  readonly #state: HistoryState;
  readonly #partitions = new Map<string, Partition>();
  readonly #consumers: Consumers;
  readonly #transactions: Transactions;
  readonly #order: SendOrder;
  readonly #observers: Observers;
  readonly #nodes: Nodes;
  readonly #lookups: Lookups;
  readonly #configurations: Configurations;
  readonly #groups: GroupOffsets;
  #liveness: Liveness | undefined;
  #line = 0;
  #operations = 0;
  #latest = Number.NEGATIVE_INFINITY;
  #latestLine = 0;
  #isFinished = false;

  constructor({ name = 'history', keep = 10 }: CheckOptions = {}) {
    this.#name = name;
    const state: HistoryState = {
      findings: new Findings(keep),
      permittedLoss: new PermittedLoss(),
      partitions: [],
      sends: new Sends(),
      records: new Records(),
      producers: new Names(),
      producerIds: new Names(),
      transactions: new Names(),
      nodes: new Names(),
      keys: new Names(),
    };
    this.#state = state;
    this.#consumers = new Consumers(state);
    this.#transactions = new Transactions(state);
    this.#order = new SendOrder(state);
    this.#observers = new Observers(state);
    this.#nodes = new Nodes(state, this.#observers);
    this.#lookups = new Lookups(state);
    this.#configurations = new Configurations(state);
    this.#groups = new GroupOffsets(state);
  }

  /**
   * Takes the next line. `line` is its number for messages; default: one more than the last.
   * @throws VarveError INVALID_HISTORY: it is not of the documented form, or out of order
   */
  add(operation: Operation, line = this.#line + 1): void {
    if (this.#isFinished) throw new VarveError('INVALID_ARGUMENT', 'the verdict was given: make a new HistoryChecker');
    this.#line = line;
    const fault = faultOfOperation(operation);
    if (fault !== undefined) throw this.#wrong(fault);
    if (operation.op === 'history') {
      this.#begin(operation);
      return;
    }
    if (this.#liveness === undefined) {
      throw this.#wrong('a history begins with {"op":"history","version":1}');
    }
    if (operation.op === 'partition') {
      this.#settle(operation);
      return;
    }
    if (operation.time < this.#latest) {
      throw this.#wrong(
        `time ${operation.time} is before ${this.#latest} of line ${this.#latestLine}: lines stand in the order of their time; sort them`,
      );
    }
    this.#latest = operation.time;
    this.#latestLine = line;
    this.#operations += 1;
    this.#take(operation, this.#liveness, line);
  }

  /** Call it once. */
  finish(): Verdict {
    if (this.#liveness === undefined) {
      throw new VarveError(
        'INVALID_HISTORY',
        `${this.#name} is empty: a history begins with {"op":"history","version":1}`,
      );
    }
    if (this.#isFinished) throw new VarveError('INVALID_ARGUMENT', 'the verdict was given: make a new HistoryChecker');
    this.#isFinished = true;
    const state = this.#state;
    this.#transactions.markSeen();
    const claims = collectClaims(state, this.#transactions);
    const skips = claims.map((one) => one.markMissed());
    const verdict = new RecordVerdict(state, this.#transactions, claims);
    verdict.judge();
    judgePolls(state, claims, skips);
    this.#order.judge(verdict);
    this.#lookups.judge(claims, verdict);
    this.#observers.judge(claims);
    this.#nodes.judge();
    this.#configurations.judge();
    this.#groups.judge();
    return this.#verdict();
  }

  #verdict(): Verdict {
    const { findings, sends, partitions, records } = this.#state;
    const outcomes = [0, 0, 0];
    for (let send = 0; send < sends.length; send += 1) outcomes[sends.outcome.at(send)]! += 1;
    const unknown = { records: 0, read: 0 };
    for (let record = 0; record < records.length; record += 1) {
      const first = records.send.at(record);
      if (first < 0 || sends.outcome.at(first) !== UNKNOWN || records.moreSends.has(record)) continue;
      unknown.records += 1;
      if (records.offset.at(record) >= 0) unknown.read += 1;
    }
    return {
      operations: this.#operations,
      partitions: partitions.length,
      sends: { ok: outcomes[0]!, failed: outcomes[1]!, unknown: outcomes[2]! },
      unknown,
      clean: Object.keys(findings.counts).length === 0,
      counts: findings.counts,
      anomalies: findings.anomalies,
      permitted: findings.permitted,
    };
  }

  #begin({ attemptsMax = ATTEMPTS_MAX, stuckMs = STUCK_MS }: HistoryHeader): void {
    if (this.#liveness !== undefined) throw this.#wrong('a history has one header, in its first line');
    this.#liveness = new Liveness(this.#state, stuckMs, attemptsMax);
  }

  #settle(given: PartitionSettings): void {
    const name = String(given.partition);
    if (this.#partitions.has(name)) {
      throw this.#wrong(`settings of partition "${name}" come once, and before anything else of it`);
    }
    this.#make(name, given);
  }

  #make(name: string, given: Partial<PartitionSettings>): Partition {
    const { partitions } = this.#state;
    const partition = new Partition(name, partitions.length, resolveSettings(given));
    partitions.push(partition);
    this.#partitions.set(name, partition);
    return partition;
  }

  readonly #partition = (name: Name): Partition => {
    const text = String(name);
    return this.#partitions.get(text) ?? this.#make(text, {});
  };

  #take(operation: TimedOperation, liveness: Liveness, line: number): void {
    switch (operation.op) {
      case 'send':
        this.#takeSend(operation, liveness, line);
        break;
      case 'poll':
        this.#takePoll(operation, liveness, line);
        break;
      case 'end-transaction':
        this.#transactions.end(operation, line);
        break;
      case 'fence':
        this.#order.fence(operation, line);
        break;
      case 'fault':
        this.#state.permittedLoss.addFault(operation);
        liveness.fault();
        this.#nodes.fault(operation, this.#partition, line);
        break;
      case 'heal':
        liveness.heal(operation.time, line);
        break;
      default:
        this.#takeOfPartition(operation, this.#partition(operation.partition), line);
    }
  }

  #takeSend(send: Send, liveness: Liveness, line: number): void {
    const partition = this.#partition(send.partition);
    const number = this.#takeRecords(send, partition, line);
    this.#order.addSend(number);
    this.#observers.addSend(number);
    this.#nodes.addSend(number);
    const { outcome = 'ok', time, begin = time, attempts = 1 } = send;
    liveness.add('sends', partition, outcome, begin, time, line);
    liveness.attempts(attempts, partition, line);
  }

  #takeRecords(send: Send, partition: Partition, line: number): number {
    try {
      return takeSend(this.#state, send, partition, line);
    } catch (error) {
      throw error instanceof SameValueError ? this.#wrong(error.message) : error;
    }
  }

  #takePoll(poll: Poll, liveness: Liveness, line: number): void {
    const partition = this.#partition(poll.partition);
    const { outcome = 'ok', time, begin = time } = poll;
    liveness.add('polls', partition, outcome, begin, time, line);
    if (outcome !== 'ok') return;
    this.#consumers.poll(poll, partition, line);
    this.#observers.poll(poll, partition, line);
  }

  #takeOfPartition(
    operation: Exclude<TimedOperation, { op: 'send' | 'poll' | 'end-transaction' | 'fence' | 'fault' | 'heal' }>,
    partition: Partition,
    line: number,
  ): void {
    switch (operation.op) {
      case 'seek':
        this.#consumers.seek(operation, partition, line);
        break;
      case 'end-offset':
        if ((operation.outcome ?? 'ok') === 'ok') this.#observers.endOffset(operation, partition, line);
        break;
      case 'offset-for-time':
        this.#lookups.addTime(operation, partition, line);
        break;
      case 'epoch-end':
        this.#lookups.addEnd(operation, partition, line);
        break;
      case 'delete-records':
        this.#observers.deleteRecords(operation, partition);
        break;
      case 'commit-offset':
        this.#groups.commit(operation, partition, line);
        break;
      case 'fetch-offset':
        this.#groups.fetch(operation, partition, line);
        break;
      case 'leader':
        this.#nodes.leader(operation, partition, line);
        break;
      case 'open':
        this.#nodes.open(operation, partition, line);
        break;
      case 'truncate':
        this.#nodes.truncate(operation, partition, line);
        break;
      case 'replica':
        this.#nodes.replica(operation, partition, line);
        break;
      case 'config':
        this.#configurations.add(operation, partition, line);
        break;
    }
  }

  #wrong(what: string): VarveError {
    return new VarveError('INVALID_HISTORY', `${this.#name}:${this.#line}: ${what}`);
  }
}

/** Judges a whole history. @throws VarveError INVALID_HISTORY */
export async function checkHistory(
  operations: Iterable<Operation> | AsyncIterable<Operation>,
  options: CheckOptions = {},
): Promise<Verdict> {
  const checker = new HistoryChecker(options);
  for await (const operation of operations) checker.add(operation);
  return checker.finish();
}
