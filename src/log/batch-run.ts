/**
 * A run of whole batches that is about to be appended: checked as one, before any of it is stored.
 */
import { VarveError } from '../errors.js';
import type { HardState } from '../raft/types.js';
import { asBuffer } from '../record/bytes.js';
import {
  baseOffsetAt,
  batchSizeAt,
  epochAt,
  hasProducerAt,
  isControlAt,
  lastOffsetAt,
  lastOffsetDeltaAt,
  stampBatch,
} from '../record/record-batch.js';
import type { TransactionResult } from '../record/transaction-marker.js';
import { validateProducedBatch, validateStoredBatch } from '../record/validate-batch.js';
import { shown } from '../shown.js';

/** The largest run given to one append: what one frame can carry. */
export const MAX_RUN_BYTES = 8 * 1024 * 1024;

const MAX_INT16 = 0x7fff;
const MAX_INT32 = 0x7fff_ffff;
const MAX_UINT32 = 0xffff_ffff;

/**
 * What a caller, perhaps one without types, calls a run of batches.
 * @returns the bytes as a Buffer: no copy
 * @throws VarveError INVALID_ARGUMENT
 */
export function checkRunArguments(bytes: Uint8Array, start: number, end: number, name: string): Buffer {
  if (!(bytes instanceof Uint8Array)) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `${name}: bytes ${shown(bytes)}: give a Uint8Array of whole record batches`,
    );
  }
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end > bytes.length) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `${name}: a run from ${shown(start)} to ${shown(end)}: give positions within the ${bytes.length} bytes`,
    );
  }
  checkRunSize(start, end, name);
  return asBuffer(bytes);
}

/** @throws VarveError INVALID_ARGUMENT */
export function checkEpoch(epoch: number, lastEpoch: number, name: string): void {
  const min = Math.max(lastEpoch, 0);
  if (Number.isInteger(epoch) && epoch >= min && epoch <= MAX_INT32) return;
  throw new VarveError(
    'INVALID_ARGUMENT',
    `${name}: epoch ${shown(epoch)}: leader epochs never go back: give a whole number from ${min} to ${MAX_INT32}, or leave it out for that of the last record`,
  );
}

/** @throws VarveError INVALID_ARGUMENT */
export function checkHardState(state: HardState, done: unknown, name: string): void {
  const { term, vote, forgot = 0 } = state ?? {};
  const areTerms = [term, forgot].every((each) => Number.isSafeInteger(each) && each >= 0);
  if (!areTerms || !isWithin(vote, MAX_UINT32)) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `${name}: hard state ${shown(state)}: give { term, vote }, whole numbers from 0 that fit in 53 and 32 bits`,
    );
  }
  if (typeof done === 'function') return;
  throw new VarveError('INVALID_ARGUMENT', `${name}: saveHardState takes a function to call when it is durable`);
}

/** @throws VarveError INVALID_ARGUMENT */
export function checkRunSize(start: number, end: number, name: string): void {
  if (start >= end || end - start > MAX_RUN_BYTES) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `${name}: an append of ${end - start} bytes: give at least one batch and at most ${MAX_RUN_BYTES} bytes`,
    );
  }
}

/**
 * What a producer sent.
 * @returns true when a batch of it has a producer id
 * @throws VarveError CORRUPT_BATCH, INVALID_BATCH, BATCH_TOO_LARGE, UNSUPPORTED_CODEC
 */
export function checkProduced(bytes: Buffer, start: number, end: number, maxBatchBytes: number): boolean {
  let hasProducer = false;
  for (let pos = start; pos < end; ) {
    const size = validateProducedBatch(bytes, pos, end, maxBatchBytes);
    if (hasProducerAt(bytes, pos)) hasProducer = true;
    pos += size;
  }
  return hasProducer;
}

/** @throws VarveError INVALID_ARGUMENT */
export function checkMarkerArguments(
  producerId: number,
  producerEpoch: number,
  result: TransactionResult,
  coordinatorEpoch: number,
  name: string,
): void {
  const numbersFit =
    Number.isSafeInteger(producerId) &&
    producerId >= 0 &&
    isWithin(producerEpoch, MAX_INT16) &&
    isWithin(coordinatorEpoch, MAX_INT32);
  if (numbersFit && (result === 'commit' || result === 'abort')) return;
  throw new VarveError(
    'INVALID_ARGUMENT',
    `${name}: a marker '${result}' of producer ${producerId}, epoch ${producerEpoch}, coordinator epoch ${coordinatorEpoch}: give 'commit' or 'abort', and whole numbers from 0 that fit in 53, 16 and 32 bits`,
  );
}

function isWithin(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

/**
 * Stamps checked batches, in place.
 * @returns the offset after the run
 * @throws VarveError INVALID_BATCH
 */
export function stampProduced(bytes: Buffer, start: number, end: number, baseOffset: number, epoch: number): number {
  let offset = baseOffset;
  for (let pos = start; pos < end; pos += batchSizeAt(bytes, pos)) {
    stampBatch(bytes, pos, offset, epoch);
    offset += lastOffsetDeltaAt(bytes, pos) + 1;
  }
  if (!Number.isSafeInteger(offset)) {
    throw new VarveError('INVALID_BATCH', `offsets end below 2^53: a run that would end at ${offset} is not stored`);
  }
  return offset;
}

/**
 * What a leader sent: it starts at `baseOffset`, joins end to end, and its epochs lie in [minEpoch, maxEpoch] and do not
 * go back.
 * @returns the offset after the run, and whether it has a control batch
 * @throws VarveError CORRUPT_BATCH, UNSUPPORTED_CODEC
 */
export function checkReplicated(
  bytes: Buffer,
  start: number,
  end: number,
  baseOffset: number,
  minEpoch: number,
  maxEpoch: number,
  name: string,
): { readonly endOffset: number; readonly hasControl: boolean } {
  let offset = baseOffset;
  let epoch = minEpoch;
  let hasControl = false;
  for (let pos = start; pos < end; ) {
    // The hard limit, not the setting: a setting lowered later must not strand what a leader accepted.
    const size = validateStoredBatch(bytes, pos, end, MAX_RUN_BYTES);
    const batchEpoch = epochAt(bytes, pos);
    if (baseOffsetAt(bytes, pos) !== offset || batchEpoch < epoch || batchEpoch > maxEpoch) {
      throw new VarveError(
        'CORRUPT_BATCH',
        `${name}: a replicated batch has base offset ${baseOffsetAt(bytes, pos)} and epoch ${batchEpoch}; it must start at ${offset} with an epoch from ${epoch} to ${maxEpoch}`,
      );
    }
    epoch = batchEpoch;
    hasControl ||= isControlAt(bytes, pos);
    offset = lastOffsetAt(bytes, pos) + 1;
    pos += size;
  }
  return { endOffset: offset, hasControl };
}
