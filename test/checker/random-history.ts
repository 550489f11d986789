/**
 * Small random histories: a right one of an imaginary log, with retries, unknown outcomes, transactions, deletions, faults and
 * questions, and then a few planted changes: numbers that are off by one or two, values, outcomes and records that are not
 * what they were. Most are wrong somewhere; the oracle says where.
 */
import type { Operation, ReadRecord } from '../../src/checker/operation.js';

export interface Random {
  /** From 0 on, below `count`. */
  below(count: number): number;
  chance(probability: number): boolean;
}

interface Log {
  readonly name: string;
  readonly records: (ReadRecord | undefined)[];
  epoch: number;
  readonly positions: Map<number, number>;
}

type Loose = Record<string, unknown> & { time: number; begin?: number };

export function randomHistory(random: Random): Operation[] {
  const logs = ['p', 'q']
    .slice(0, 1 + random.below(2))
    .map((name): Log => ({ name, records: [], epoch: 1, positions: new Map() }));
  const lines: Loose[] = [];
  let time = 0;
  let number = 0;
  for (let i = 4 + random.below(14); i > 0; i -= 1) {
    const log = logs[random.below(logs.length)]!;
    const begin = time + random.below(3);
    time = begin + random.below(2);
    number += 1;
    if (random.chance(0.05)) {
      time = outage(random, log, time, lines);
      continue;
    }
    lines.push({
      partition: log.name,
      ...randomOperation(random, log, number, time, lines),
      begin: random.chance(0.3) ? Math.max(0, begin - 3) : begin,
      time,
    });
  }
  if (random.chance(0.5)) {
    for (const log of logs) {
      time += 2;
      const records = log.records.filter((record) => record !== undefined);
      lines.push({
        op: 'poll',
        partition: log.name,
        consumer: 9,
        from: 0,
        next: log.records.length,
        records,
        final: true,
        time,
      });
    }
  }
  for (let i = random.below(4); i > 0; i -= 1) plant(random, lines);
  lines.sort((a, b) => a.time - b.time);
  const header: Operation = { op: 'history', version: 1, stuckMs: 1e9 };
  return [header, ...logs.map((log) => randomSettings(random, log.name)), ...(lines as unknown as Operation[])];
}

/** Most nodes stop at once, and come back one after the other with a little less, or not. */
function outage(random: Random, { name, records }: Log, began: number, lines: Loose[]): number {
  const nodes = random.chance(0.7) ? [1, 2, 3] : [2, 3];
  lines.push({
    op: 'fault',
    fault: random.chance(0.5) ? 'kill' : 'power-cut',
    nodes,
    begin: began + 1,
    time: began + 1,
  });
  let time = began + 1;
  for (const node of nodes.filter(() => random.chance(0.9))) {
    time += 1;
    for (let times = random.chance(0.2) ? 2 : 1; times > 0; times -= 1) {
      lines.push({ op: 'open', partition: name, node, logEnd: Math.max(0, records.length - random.below(3)), time });
    }
  }
  return time;
}

function randomSettings(random: Random, partition: string): Operation {
  const flush = (['sync', 'async', 'none'] as const)[random.below(3)]!;
  return {
    op: 'partition',
    partition,
    flush,
    flushMs: 5,
    ...(random.chance(0.7) && { replicas: [1, 2, 3].slice(0, random.chance(0.8) ? 3 : 1) }),
    ...(random.chance(0.2) && { dense: true }),
    ...(random.chance(0.15) && { compacted: true }),
    ...(random.chance(0.2) && { retentionMs: 10 }),
  };
}

function randomOperation(
  random: Random,
  log: Log,
  number: number,
  time: number,
  lines: readonly Loose[],
): Record<string, unknown> {
  const kind = random.below(22);
  if (kind < 8) return randomSend(random, log, number, time, lines);
  if (kind < 14) return randomPoll(random, log);
  const at = random.below(log.records.length + 1);
  if (kind > 19) return randomGroupOperation(random, log, at);
  switch (random.below(12)) {
    case 0:
      return { op: 'end-offset', client: random.below(2), offset: Math.max(0, log.records.length - random.below(3)) };
    case 1:
      return { op: 'offset-for-time', timestamp: time - random.below(6), offset: random.chance(0.3) ? null : at };
    case 2:
      return { op: 'epoch-end', epoch: log.epoch, offset: at };
    case 3:
      return { op: 'delete-records', offset: random.below(3), outcome: ['ok', 'failed', 'unknown'][random.below(3)] };
    case 4:
      return {
        op: 'end-transaction',
        partition: undefined,
        transaction: random.below(2),
        decision: random.chance(0.6) ? 'commit' : 'abort',
        outcome: ['ok', 'failed', 'unknown'][random.below(3)],
      };
    case 5:
      return { op: 'fence', partition: undefined, producerId: 1, producerEpoch: 1 + random.below(2) };
    case 6:
      log.epoch += 1;
      log.records.push(undefined);
      return { op: 'leader', node: 1 + random.below(3), epoch: log.epoch };
    case 7:
      return {
        op: 'open',
        node: 1 + random.below(3),
        logEnd: Math.max(0, log.records.length - random.below(2)),
        highWatermark: at,
      };
    case 8:
      return {
        op: 'config',
        offset: random.below(4),
        voters: [1, 2, 3, 4, 5].filter(() => random.chance(0.6)).concat(6),
      };
    case 9:
      return { op: 'seek', consumer: random.below(2), offset: at };
    case 10:
      return { op: 'fault', partition: undefined, fault: 'sync-error', nodes: [1 + random.below(3)] };
    default: {
      const fault = (['kill', 'power-cut', 'disk-lost', 'unclean-recovery', 'network'] as const)[random.below(5)]!;
      if (fault === 'unclean-recovery') return { op: 'fault', fault, offset: at };
      return { op: 'fault', partition: undefined, fault, nodes: [1, 2, 3].slice(random.below(3)) };
    }
  }
}

function randomGroupOperation(random: Random, { name }: Log, at: number): Record<string, unknown> {
  const partition = random.chance(0.8) ? 'p' : name;
  if (random.chance(0.4)) return { op: 'fetch-offset', partition, group: 'g', offset: random.chance(0.2) ? null : at };
  return { op: 'commit-offset', partition, group: 'g', offset: at, outcome: ['ok', 'ok', 'unknown'][random.below(3)] };
}

function randomSend(
  random: Random,
  log: Log,
  number: number,
  time: number,
  lines: readonly Loose[],
): Record<string, unknown> {
  const outcome = (['ok', 'ok', 'ok', 'ok', 'failed', 'unknown'] as const)[random.below(6)]!;
  const earlier = lines.filter((line) => line['op'] === 'send' && line['partition'] === log.name);
  const again = random.chance(0.2) ? earlier[random.below(Math.max(1, earlier.length))] : undefined;
  const values =
    (again?.['values'] as string[] | undefined) ??
    Array.from({ length: random.chance(0.3) ? 2 : 1 }, (_, i) => `${number}${'ab'[i]}`);
  const attempts = random.chance(0.2) ? 2 : 1;
  const copies = outcome === 'failed' ? 0 : outcome === 'unknown' ? random.below(attempts + 1) : 1;
  const offset = log.records.length;
  for (let copy = 0; copy < copies; copy += 1) {
    for (const value of values)
      log.records.push([log.records.length, value, random.chance(0.5) ? log.epoch : null, time]);
  }
  const isIdempotent = again === undefined ? random.chance(0.3) : again['producerId'] !== undefined;
  const identity = again ?? { producerEpoch: random.below(2), sequence: number };
  return {
    op: 'send',
    producer: random.below(2),
    values,
    outcome,
    attempts,
    acks: ['all', 'all', 1, 0][random.below(4)],
    ...(isIdempotent && {
      producerId: 1,
      producerEpoch: identity['producerEpoch'] ?? 0,
      sequence: identity['sequence'] ?? number,
    }),
    ...(outcome === 'ok' && random.chance(0.9) && { offset, epoch: log.epoch }),
    ...(outcome === 'ok' && random.chance(0.04) && { duplicate: true }),
    ...(random.chance(0.3) && { node: 1 + random.below(3) }),
    ...(random.chance(0.2) && { transaction: random.below(2) }),
    ...(random.chance(0.5) && { timestamp: time }),
    ...(random.chance(0.5) && { key: random.below(2), tombstone: random.chance(0.2) }),
  };
}

function randomPoll(random: Random, log: Log): Record<string, unknown> {
  const consumer = random.below(2);
  const from = Math.min(log.positions.get(consumer) ?? random.below(2), log.records.length);
  const next = Math.min(log.records.length, from + 1 + random.below(5));
  log.positions.set(consumer, next);
  if (random.chance(0.1)) return { op: 'poll', consumer, from, next: from + random.below(3), records: [] };
  return {
    op: 'poll',
    consumer,
    ...(random.chance(0.7) && { from }),
    ...(random.chance(0.8) && { next }),
    records: log.records.slice(from, next).filter((record) => record !== undefined),
    ...(random.chance(0.3) && { isolation: 'read_committed', lastStableOffset: log.records.length }),
    ...(random.chance(0.5) && { highWatermark: log.records.length }),
    ...(random.chance(0.08) && { logStart: random.below(3) }),
  };
}

/** Makes one line say something else. What makes it no history any more is left out by the caller. */
function plant(random: Random, lines: Loose[]): void {
  const line = lines[random.below(lines.length)];
  if (line === undefined) return;
  const records = line['records'] as unknown[][] | undefined;
  switch (random.below(9)) {
    case 8: {
      // Two sends change places, and may have been called at one moment.
      const other = lines.find((one) => one !== line && one['op'] === 'send' && typeof one['offset'] === 'number');
      if (line['op'] !== 'send' || typeof line['offset'] !== 'number' || other === undefined) return;
      [line['offset'], other['offset']] = [other['offset'], line['offset']];
      if (random.chance(0.5)) line.begin = other.begin = Math.min(line.begin ?? 0, other.begin ?? 0);
      return;
    }
    case 7: {
      // The final read ends too early.
      const final = lines.find((one) => one['final'] === true);
      if (final === undefined) return;
      const next = random.below(1 + (final['next'] as number));
      final['records'] = (final['records'] as unknown[][]).filter((record) => (record[0] as number) < next);
      final['next'] = next;
      return;
    }
    case 5: {
      const other = lines[random.below(lines.length)]!['values'] as string[] | undefined;
      if (records !== undefined && records.length > 0 && other !== undefined) records[0] = [records[0]![0], other[0]];
      return;
    }
    case 6:
      if (typeof line['highWatermark'] === 'number') line['highWatermark'] = Math.max(0, line['highWatermark'] - 2);
      return;
    case 0: {
      const numbers = [
        'offset',
        'next',
        'from',
        'highWatermark',
        'logEnd',
        'epoch',
        'logStart',
        'sequence',
        'producerEpoch',
      ];
      const name = numbers.filter((key) => typeof line[key] === 'number')[0];
      if (name !== undefined) line[name] = Math.max(0, (line[name] as number) + random.below(5) - 2);
      return;
    }
    case 1:
      if (records !== undefined && records.length > 0) records.splice(random.below(records.length), 1);
      return;
    case 2:
      if (records !== undefined && records.length > 0) {
        const at = random.below(records.length);
        records[at] = [(records[at]![0] as number) + random.below(2), random.chance(0.3) ? 'x' : records[at]![1]];
      }
      return;
    case 3:
      if (records !== undefined && records.length > 1) records.reverse();
      return;
    default:
      line.time += random.below(4);
  }
}
