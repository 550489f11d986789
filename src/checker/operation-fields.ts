/** Which fields each line of a history has and what they may be; says in words what is wrong with a line. */
import { shown } from '../shown.js';
import { didYouMean } from '../suggestion.js';
import { FAULTS, type Operation } from './operation.js';

interface Field {
  readonly allows: (value: unknown) => boolean;
  /** What it must be, in words. */
  readonly wants: string;
  readonly required: boolean;
}

type Fields = Readonly<Record<string, Field>>;

function field(wants: string, allows: (value: unknown) => boolean): Field {
  return { allows, wants, required: true };
}

function optional(of: Field): Field {
  return { ...of, required: false };
}

function oneOf(values: readonly unknown[]): Field {
  return field(`one of ${values.map(shown).join(', ')}`, (value) => values.includes(value));
}

function listOf(of: Field, wants: string, isEmptyAllowed = true): Field {
  return field(
    wants,
    (value) => Array.isArray(value) && (isEmptyAllowed || value.length > 0) && value.every((one) => of.allows(one)),
  );
}

const INT32_MAX = 2 ** 31 - 1;

const isOffset = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isName = (value: unknown): boolean => typeof value === 'string' || Number.isSafeInteger(value);
const isEpoch = (value: unknown): boolean => isOffset(value) && (value as number) <= INT32_MAX;

const name = field('a text or a whole number', isName);
const names = listOf(name, 'a list of texts or whole numbers, not empty', false);
const offset = field('a whole number from 0 on', isOffset);
const offsetOrNull = field('a whole number from 0 on, or null', (value) => value === null || isOffset(value));
const small = field(`a whole number from 0 to ${INT32_MAX}`, isEpoch);
const count = field(`a whole number from 1 to ${INT32_MAX}`, (value) => isEpoch(value) && value !== 0);
const milliseconds = field('a number', Number.isFinite);
const duration = field('a number from 0 on', (value) => Number.isFinite(value) && (value as number) >= 0);
const flag = field('true or false', (value) => typeof value === 'boolean');
const outcome = optional(oneOf(['ok', 'failed', 'unknown']));
const isolation = optional(oneOf(['read_uncommitted', 'read_committed']));
const ranges = listOf(
  field('', (one) => Array.isArray(one) && one.length === 2 && one.every(isOffset) && one[0] <= one[1]),
  'a list of [from, to] with from ≤ to',
);
const records = listOf(
  field('', (one) => {
    if (!Array.isArray(one) || one.length < 2 || one.length > 4 || !isOffset(one[0]) || !isName(one[1])) return false;
    return (
      (one[2] === undefined || one[2] === null || isEpoch(one[2])) && (one[3] === undefined || Number.isFinite(one[3]))
    );
  }),
  'a list of [offset, value, epoch?, timestamp?] (epoch null: not known)',
);
const batches = listOf(
  field('', (one) => {
    if (!Array.isArray(one) || one.length < 3 || one.length > 4) return false;
    return (
      isOffset(one[0]) &&
      isOffset(one[1]) &&
      one[0] <= one[1] &&
      isEpoch(one[2]) &&
      (one[3] === undefined || isName(one[3]))
    );
  }),
  'a list of [base offset, last offset, epoch, hash?] with base ≤ last',
);
const epochStarts = listOf(
  field('', (one) => Array.isArray(one) && one.length === 2 && isEpoch(one[0]) && isOffset(one[1])),
  'a list of [epoch, first offset]',
);

const timed: Fields = { time: milliseconds, begin: optional(milliseconds) };
const inPartition: Fields = { ...timed, partition: name };

const OPERATIONS: Readonly<Record<Operation['op'], Fields>> = {
  history: { version: oneOf([1]), attemptsMax: optional(count), stuckMs: optional(duration) },
  partition: {
    partition: name,
    flush: optional(oneOf(['sync', 'async', 'none'])),
    flushMs: optional(duration),
    replicas: optional(names),
    compacted: optional(flag),
    dense: optional(flag),
    retentionMs: optional(duration),
    retentionBytes: optional(offset),
    logStart: optional(offset),
  },
  send: {
    ...inPartition,
    producer: name,
    value: optional(name),
    values: optional(names),
    key: optional(name),
    keys: optional(names),
    timestamp: optional(milliseconds),
    timestamps: optional(listOf(milliseconds, 'a list of numbers, not empty', false)),
    tombstone: optional(flag),
    acks: optional(oneOf(['all', 1, 0])),
    outcome,
    offset: optional(offset),
    attempts: optional(count),
    epoch: optional(small),
    node: optional(name),
    producerId: optional(name),
    producerEpoch: optional(small),
    sequence: optional(small),
    duplicate: optional(flag),
    transaction: optional(name),
  },
  poll: {
    ...inPartition,
    consumer: name,
    records: optional(records),
    from: optional(offset),
    next: optional(offset),
    isolation,
    highWatermark: optional(offset),
    lastStableOffset: optional(offset),
    logStart: optional(offset),
    final: optional(flag),
    outcome,
  },
  seek: { ...inPartition, consumer: name, offset },
  'end-offset': {
    ...inPartition,
    client: name,
    offset: optional(offset),
    isolation,
    logStart: optional(offset),
    outcome,
  },
  'offset-for-time': { ...inPartition, timestamp: milliseconds, offset: offsetOrNull },
  'epoch-end': { ...inPartition, epoch: small, offset },
  'delete-records': { ...inPartition, offset, outcome },
  'end-transaction': { ...timed, transaction: name, decision: oneOf(['commit', 'abort']), outcome },
  fence: { ...timed, producerId: name, producerEpoch: small },
  'commit-offset': { ...inPartition, group: name, offset, outcome },
  'fetch-offset': { ...inPartition, group: name, offset: offsetOrNull },
  leader: { ...inPartition, node: name, epoch: small },
  open: {
    ...inPartition,
    node: name,
    logEnd: offset,
    logStart: optional(offset),
    highWatermark: optional(offset),
    epoch: optional(small),
    damaged: optional(ranges),
  },
  truncate: { ...inPartition, node: name, offset, highWatermark: optional(offset) },
  replica: {
    ...inPartition,
    node: name,
    highWatermark: offset,
    batches,
    logStart: optional(offset),
    epochs: optional(epochStarts),
  },
  config: { ...inPartition, offset, voters: names, outgoing: optional(names), node: optional(name) },
  fault: {
    ...timed,
    fault: oneOf(FAULTS),
    nodes: optional(names),
    partition: optional(name),
    offset: optional(offset),
  },
  heal: { ...timed },
};

const FIELDS = new Map<string, Fields>(Object.entries(OPERATIONS).map(([op, fields]) => [op, Object.freeze(fields)]));
const REQUIRED = new Map(
  [...FIELDS].map(([op, fields]) => [op, Object.keys(fields).filter((key) => fields[key]!.required)]),
);

/** Undefined when the line is right. */
export function faultOfOperation(line: unknown): string | undefined {
  if (typeof line !== 'object' || line === null || Array.isArray(line)) return `${shown(line)} is not an object`;
  const given = line as Readonly<Record<string, unknown>>;
  const { op } = given;
  if (op === undefined) return `there is no "op"; it says what the line is: ${[...FIELDS.keys()].join(', ')}`;
  const fields = typeof op === 'string' ? FIELDS.get(op) : undefined;
  if (fields === undefined) return `there is no operation ${shown(op)}${didYouMean(String(op), [...FIELDS.keys()])}`;
  for (const key in given) {
    if (key === 'op' || key === 'note') continue;
    const known = Object.hasOwn(fields, key) ? fields[key] : undefined;
    if (known === undefined) return `${op} has no field "${key}"${didYouMean(key, [...Object.keys(fields), 'note'])}`;
    if (!known.allows(given[key])) return `${op}: ${key} must be ${known.wants}, not ${shown(given[key])}`;
  }
  for (const key of REQUIRED.get(op as string)!) {
    if (given[key] === undefined) return `${op} needs "${key}": ${fields[key]!.wants}`;
  }
  return faultBetweenFields(line as Operation);
}

function faultBetweenFields(operation: Operation): string | undefined {
  if (operation.op === 'history' || operation.op === 'partition') return undefined;
  const { time, begin = time } = operation;
  if (begin > time) return `begin (${begin}) is after time (${time})`;
  if (operation.op === 'send') return faultOfSend(operation);
  if (operation.op === 'poll') return faultOfPoll(operation);
  if (operation.op === 'end-offset' && (operation.outcome ?? 'ok') === 'ok' && operation.offset === undefined) {
    return 'end-offset needs "offset" when its outcome is ok';
  }
  if (operation.op === 'fault') return faultOfFault(operation);
  return undefined;
}

function faultOfSend(send: Extract<Operation, { op: 'send' }>): string | undefined {
  if ((send.value === undefined) === (send.values === undefined)) return 'send needs either "value" or "values"';
  const length = send.values?.length ?? 1;
  for (const [one, many] of [
    ['key', 'keys'],
    ['timestamp', 'timestamps'],
  ] as const) {
    if (send[many] !== undefined && send[many].length !== length) {
      return `send has ${length} values and ${send[many].length} ${many}: give as many`;
    }
    if (send[one] !== undefined && send[many] !== undefined) return `send has both "${one}" and "${many}": give one`;
  }
  const outcome = send.outcome ?? 'ok';
  if (send.offset !== undefined && outcome !== 'ok') {
    return `send has an offset, and its outcome is ${outcome}: only an answer has one`;
  }
  if (send.duplicate === true && outcome !== 'ok') return `send is a duplicate, and its outcome is ${outcome}`;
  const idempotent = [send.producerId, send.producerEpoch, send.sequence].filter((one) => one !== undefined).length;
  if (idempotent !== 0 && idempotent !== 3) return 'send needs all of producerId, producerEpoch, sequence, or none';
  return undefined;
}

function faultOfPoll(poll: Extract<Operation, { op: 'poll' }>): string | undefined {
  const { records: read = [], from, next } = poll;
  if ((poll.outcome ?? 'ok') !== 'ok') {
    return read.length > 0 ? `poll has records, and its outcome is ${poll.outcome}` : undefined;
  }
  if (from !== undefined && next !== undefined && next < from) return `poll goes back: from ${from}, next ${next}`;
  if (poll.final === true && (from === undefined || next === undefined)) return 'a final poll needs "from" and "next"';
  let highest = -1;
  for (const [at] of read) if (at > highest) highest = at;
  if (next !== undefined && highest >= next) return `poll has a record at ${highest}, and its next is ${next}`;
  return undefined;
}

function faultOfFault({
  fault,
  nodes,
  partition,
  offset: at,
}: Extract<Operation, { op: 'fault' }>): string | undefined {
  const needsNodes = ['kill', 'power-cut', 'disk-lost', 'sync-error', 'bit-rot'].includes(fault);
  if (needsNodes && nodes === undefined) return `fault ${fault} needs "nodes"`;
  const needsPlace = fault === 'bit-rot' || fault === 'unclean-recovery';
  if (needsPlace && (partition === undefined || at === undefined))
    return `fault ${fault} needs "partition" and "offset"`;
  return undefined;
}
