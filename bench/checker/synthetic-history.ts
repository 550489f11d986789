/**
 * A history without anomalies, as large as wanted: an imaginary broker with three partitions that elects a leader now and
 * then (a control batch each), eight producers of which one is idempotent, retries and unknown outcomes, two consumers and
 * a final read of everything, lookups by time and epoch, group offsets. The same for the same seed.
 */
import type { Operation, ReadRecord } from '../../src/checker/operation.js';

const PARTITIONS = 3;
const PRODUCERS = 8;
const CONSUMERS = 2;
const READ_RECORDS = 8;

interface ImaginaryPartition {
  readonly name: string;
  /** Undefined: a control batch. */
  readonly log: (ReadRecord | undefined)[];
  epoch: number;
  readonly positions: number[];
  readonly sequences: number[];
}

export function* syntheticHistory(operations: number, seed: number): Generator<Operation> {
  const random = randomFrom(seed);
  const partitions = Array.from({ length: PARTITIONS }, (_, i): ImaginaryPartition => {
    return { name: `events-${i}`, log: [], epoch: 0, positions: [], sequences: [] };
  });
  yield { op: 'history', version: 1 };
  for (const { name } of partitions) yield { op: 'partition', partition: name, replicas: [1, 2, 3] };
  let time = 0;
  for (let i = 0; i < operations; i += 1) {
    time += 0.25;
    const partition = partitions[Math.floor(random() * PARTITIONS)]!;
    const kind = random();
    if (partition.epoch === 0 || kind < 0.0002) yield elect(partition, time, random);
    else if (kind < 0.6) yield send(partition, i, time, random);
    else if (kind < 0.9) yield poll(partition, Math.floor(random() * CONSUMERS), time);
    else yield ask(partition, time, random);
  }
  for (const { name, log } of partitions) {
    time += 1;
    const records = log.filter((record) => record !== undefined);
    yield { op: 'poll', partition: name, consumer: 'final', from: 0, next: log.length, records, final: true, time };
  }
}

function elect(partition: ImaginaryPartition, time: number, random: () => number): Operation {
  partition.epoch += 1;
  partition.log.push(undefined);
  return { op: 'leader', partition: partition.name, node: 1 + Math.floor(random() * 3), epoch: partition.epoch, time };
}

function send(partition: ImaginaryPartition, number: number, time: number, random: () => number): Operation {
  const producer = Math.floor(random() * PRODUCERS);
  const value = `${producer}-${number}`;
  const offset = partition.log.length;
  const sequence = partition.sequences[producer] ?? 0;
  const isIdempotent = producer === 0;
  const chance = random();
  // What is sent again without idempotence lies there twice now and then.
  const copies = chance < 0.99 || isIdempotent ? 1 : 2;
  const isStored = chance > 0.005;
  for (let copy = 0; copy < copies && isStored; copy += 1)
    partition.log.push([partition.log.length, value, partition.epoch, time]);
  if (isIdempotent && isStored) partition.sequences[producer] = sequence + 1;
  return {
    op: 'send',
    partition: partition.name,
    producer,
    value,
    timestamp: time,
    attempts: copies,
    ...(isIdempotent && { producerId: 1, producerEpoch: 0, sequence }),
    ...(chance < 0.01 ? { outcome: 'unknown' as const } : { offset, epoch: partition.epoch }),
    begin: time - 0.125,
    time,
  };
}

function poll(partition: ImaginaryPartition, consumer: number, time: number): Operation {
  const { name, log, positions } = partition;
  const from = positions[consumer] ?? 0;
  const next = Math.min(log.length, from + READ_RECORDS);
  positions[consumer] = next;
  const records = log.slice(from, next).filter((record) => record !== undefined);
  return { op: 'poll', partition: name, consumer, from, next, records, highWatermark: log.length, logStart: 0, time };
}

function ask({ name, log, epoch, positions }: ImaginaryPartition, time: number, random: () => number): Operation {
  const kind = Math.floor(random() * 4);
  const at = Math.floor(random() * log.length);
  const record = log[at];
  if (kind === 0 || record === undefined)
    return { op: 'end-offset', partition: name, client: 'a', offset: log.length, time };
  if (kind === 1) {
    const timestamp = record[3]!;
    let offset = at;
    while (offset > 0 && (log[offset - 1] === undefined || log[offset - 1]![3]! >= timestamp)) offset -= 1;
    while (log[offset] === undefined) offset += 1;
    return { op: 'offset-for-time', partition: name, timestamp, offset, time };
  }
  if (kind === 2) return { op: 'epoch-end', partition: name, epoch, offset: log.length, time };
  return { op: 'commit-offset', partition: name, group: 'g', offset: positions[0] ?? 0, time };
}

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
