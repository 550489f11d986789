/**
 * Who wrote a batch, as its header says it (KIP-98): what a log needs to store a batch that is sent again only once, and
 * to tell the batches of a transaction.
 */
import { VarveError } from '../errors.js';
import { checkOptionNames } from '../option-names.js';
import { shown } from '../shown.js';

/** Of an idempotent producer (KIP-98). The log remembers a producer's last five batches per partition. */
export interface BatchProducer {
  /** From 0. Whoever gives ids out gives each to one producer only. */
  readonly producerId: number;
  /** From 0 to 32767. A higher one fences the producer's earlier incarnations, and its sequences start at 0 again. */
  readonly producerEpoch: number;
  /**
   * Sequence of the batch's first record, from 0 to 2^31 − 1: that of the batch before plus its number of records, and 0
   * again after 2^31 − 1. A gap is refused with OUT_OF_ORDER_SEQUENCE.
   */
  readonly baseSequence: number;
  /** The batch belongs to a transaction, which `log.appendMarker` ends. Default false. */
  readonly transactional?: boolean;
}

const NAMES = ['producerId', 'producerEpoch', 'baseSequence', 'transactional'];
const MAX_INT16 = 0x7fff;
const MAX_INT32 = 0x7fff_ffff;

/** @throws VarveError INVALID_ARGUMENT */
export function checkBatchProducer(producer: BatchProducer): void {
  checkOptionNames(producer, NAMES);
  const { producerId, producerEpoch, baseSequence, transactional } = producer;
  checkNumber('producerId', producerId, Number.MAX_SAFE_INTEGER);
  checkNumber('producerEpoch', producerEpoch, MAX_INT16);
  checkNumber('baseSequence', baseSequence, MAX_INT32);
  if (transactional === undefined || typeof transactional === 'boolean') return;
  throw new VarveError('INVALID_ARGUMENT', `transactional ${shown(transactional)}: give true or false`);
}

function checkNumber(name: string, value: unknown, max: number): void {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max) return;
  const all = 'a batch of an idempotent producer has producerId, producerEpoch and baseSequence';
  throw new VarveError('INVALID_ARGUMENT', `${name} ${shown(value)}: give a whole number from 0 to ${max}; ${all}`);
}
