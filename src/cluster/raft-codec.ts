/**
 * Raft messages as they travel: arrays of numbers behind a number for the type. Who sent a message (node, directory,
 * incarnation) is known from the handshake of its connection, and whom it is for is whoever reads it: the sender's link
 * lets nothing through that is meant for another directory, nor what recovers another process than the one it is
 * connected to. So neither is packed and neither can be forged.
 *
 *   1 pre-vote, 2 vote               [type, term, last epoch, end, transfer 0 | 1, led]
 *   3 pre-vote-reply, 4 vote-reply   [type, term, granted 0 | 1]
 *   5 append                         [type, term, start, prev epoch, end, high watermark, counted, recovery end or −1]
 *                                    + batches in the body
 *   6 append-reply                   [type, term, rejected start, hint epoch, hint end, written, durable, generation,
 *                                     forgetful 0 | 1]
 *   7 heartbeat                      [type, term, high watermark, round, counted, recovery end or −1]
 *   8 heartbeat-reply                [type, term, round, forgetful 0 | 1]
 *   9 timeout-now                    [type, term]
 *   10 reset                         [type, term, log start, prev epoch, configuration's offset]
 *                                    + configuration in the body
 *
 * The body of an append is checked here before the core hears of it: whole batches, intact, joining from `start` to `end`,
 * epochs that never go back and never exceed the term. What the core is told has arrived has arrived.
 */
import { VarveError } from '../errors.js';
import type { AppendRequest, BatchSpan, Member, Message, Recovery, Sender } from '../raft/types.js';
import { malformed } from '../raft/validate.js';
import { baseOffsetAt, epochAt, isControlAt, lastOffsetDeltaAt } from '../record/record-batch.js';
import { validateStoredBatch } from '../record/validate-batch.js';
import { type Frame, unpackHeader } from '../rpc/frame.js';
import { MAX_BATCH_BYTES } from '../rpc/protocol.js';
import { configurationAt, decodeConfiguration } from './control-batches.js';

const TYPES = [
  '',
  'pre-vote',
  'vote',
  'pre-vote-reply',
  'vote-reply',
  'append',
  'append-reply',
  'heartbeat',
  'heartbeat-reply',
  'timeout-now',
  'reset',
] as const satisfies readonly (Message['type'] | '')[];

/** An append as it arrived: the message for the core, and the bytes behind it for the log. */
export interface ReceivedAppend extends AppendRequest {
  readonly body: Buffer;
  readonly batches: readonly ReceivedBatch[];
}

export interface ReceivedBatch extends BatchSpan {
  /** Where it begins in `body`. */
  readonly position: number;
  readonly isControl: boolean;
}

export function packMessage(message: Message): number[] {
  const { term } = message;
  switch (message.type) {
    case 'pre-vote':
      return [1, term, message.lastEpoch, message.end, message.transfer ? 1 : 0, message.led];
    case 'vote':
      return [2, term, message.lastEpoch, message.end, message.transfer ? 1 : 0, message.led];
    case 'pre-vote-reply':
      return [3, term, message.granted ? 1 : 0];
    case 'vote-reply':
      return [4, term, message.granted ? 1 : 0];
    case 'append':
      return [
        5,
        term,
        message.start,
        message.prevEpoch,
        message.end,
        message.highWatermark,
        message.counted,
        message.recovery?.end ?? NO_RECOVERY,
      ];
    case 'append-reply': {
      const { rejectedStart, hint, written, durable, generation, forgetful } = message;
      return [6, term, rejectedStart, hint.epoch, hint.end, written, durable, generation, forgetful ? 1 : 0];
    }
    case 'heartbeat':
      return [7, term, message.highWatermark, message.round, message.counted, message.recovery?.end ?? NO_RECOVERY];
    case 'heartbeat-reply':
      return [8, term, message.round, message.forgetful ? 1 : 0];
    case 'timeout-now':
      return [9, term];
    case 'reset':
      return [10, term, message.logStart, message.prevEpoch, message.configuration.offset];
  }
}

const FIELDS = [0, 6, 6, 3, 3, 8, 9, 6, 4, 2, 5];
const NO_RECOVERY = -1;

/**
 * @param body the batches of an append: the message keeps them
 * @throws VarveError PROTOCOL_ERROR, or what is wrong with a batch
 */
export function unpackMessage(packed: unknown, from: Sender, to: Sender, body: Buffer): Message {
  const message = unpack(packed, from, to, body);
  const problem = malformed(message);
  if (problem !== undefined) throw refused(problem);
  return message;
}

function unpack(packed: unknown, from: Sender, to: Sender, body: Buffer): Message {
  if (!Array.isArray(packed)) throw refused('it is not an array');
  const fields = packed as unknown[];
  const type = fields[0] as number;
  const name = TYPES[type];
  if (name === undefined || name === '') throw refused(`its type is ${String(type)}`);
  if (fields.length !== FIELDS[type]) throw refused(`a ${name} has ${fields.length} fields`);
  for (let i = 1; i < fields.length; i++) {
    if (!Number.isSafeInteger(fields[i]) || (fields[i] as number) < -1) {
      throw refused(`field ${i} of a ${name} is ${String(fields[i])}`);
    }
  }
  const [, term, a, b, c, d, e, f, g] = fields as number[] & { length: 9 };
  if (name !== 'append' && name !== 'reset' && body.length > 0) throw refused(`a ${name} carries ${body.length} bytes`);
  const base = { from, to, term: term! };
  switch (name) {
    case 'pre-vote':
    case 'vote':
      return { ...base, type: name, lastEpoch: a!, end: b!, transfer: c === 1, led: d! };
    case 'pre-vote-reply':
    case 'vote-reply':
      return { ...base, type: name, granted: a === 1 };
    case 'append':
      return { ...receivedAppend(base, a!, b!, c!, d!, body), counted: e!, ...recoveryOf(to, f!) };
    case 'append-reply':
      return {
        ...base,
        type: name,
        rejectedStart: a!,
        hint: { epoch: b!, end: c! },
        written: d!,
        durable: e!,
        generation: f!,
        forgetful: g === 1,
      };
    case 'heartbeat':
      return { ...base, type: name, highWatermark: a!, round: b!, counted: c!, ...recoveryOf(to, d!) };
    case 'heartbeat-reply':
      return { ...base, type: name, round: a!, forgetful: b === 1 };
    case 'timeout-now':
      return { ...base, type: name };
    case 'reset': {
      const configuration = decodeConfiguration(body, 'a reset message');
      return { ...base, type: name, logStart: a!, prevEpoch: b!, configuration: { offset: c!, configuration } };
    }
  }
}

function recoveryOf({ incarnation }: Sender, end: number): { readonly recovery?: Recovery } {
  return end < 0 ? {} : { recovery: { incarnation, end } };
}

function receivedAppend(
  base: { from: Sender; to: Member; term: number },
  start: number,
  prevEpoch: number,
  end: number,
  highWatermark: number,
  body: Buffer,
): Omit<ReceivedAppend, 'counted'> {
  const batches: ReceivedBatch[] = [];
  let offset = start;
  let epoch = prevEpoch;
  let position = 0;
  while (position < body.length) {
    const size = validateStoredBatch(body, position, body.length, MAX_BATCH_BYTES);
    const batchEpoch = epochAt(body, position);
    if (baseOffsetAt(body, position) !== offset) {
      throw new VarveError(
        'CORRUPT_BATCH',
        `an append has a batch with base offset ${baseOffsetAt(body, position)} where ${offset} follows`,
      );
    }
    if (batchEpoch < epoch || batchEpoch > base.term) {
      throw new VarveError(
        'CORRUPT_BATCH',
        `an append of term ${base.term} has a batch of epoch ${batchEpoch} after one of epoch ${epoch}`,
      );
    }
    const next = offset + lastOffsetDeltaAt(body, position) + 1;
    const isControl = isControlAt(body, position);
    const configuration = isControl ? configurationAt(body, position) : undefined;
    const span = { start: offset, end: next, epoch: batchEpoch, position, isControl };
    batches.push(configuration === undefined ? span : { ...span, configuration });
    offset = next;
    epoch = batchEpoch;
    position += size;
  }
  if (offset !== end) throw refused(`an append of [${start}, ${end}) carries batches up to ${offset}`);
  return { ...base, type: 'append', start, prevEpoch, end, bytes: body.length, batches, highWatermark, body };
}

function refused(what: string): VarveError {
  return new VarveError('PROTOCOL_ERROR', `a Raft message is malformed: ${what}`);
}

/** One message of a Raft frame, not unpacked yet, and the batches that travel with it. */
export interface RaftEntry {
  readonly topicId: string;
  readonly partition: number;
  readonly packed: unknown;
  readonly body: Buffer;
}

/** The messages of a frame, of many groups. @throws VarveError PROTOCOL_ERROR, at the entry that is at fault */
export function* raftEntries({ header, body }: Frame): Generator<RaftEntry> {
  let position = 0;
  for (const entry of unpackHeader(header)) {
    if (!Array.isArray(entry)) throw new VarveError('PROTOCOL_ERROR', 'an entry of a Raft frame is not an array');
    const [topicId, partition, packed, byteLength] = entry as unknown[];
    if (!Number.isSafeInteger(partition) || !Number.isSafeInteger(byteLength) || (byteLength as number) < 0) {
      throw new VarveError('PROTOCOL_ERROR', 'an entry of a Raft frame has no partition or no length');
    }
    const end = position + (byteLength as number);
    if (end > body.length) throw new VarveError('PROTOCOL_ERROR', 'a Raft frame is shorter than its entries say');
    const batches = body.subarray(position, end);
    yield { topicId: topicId as string, partition: partition as number, packed, body: batches };
    position = end;
  }
}
