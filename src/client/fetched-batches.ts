/**
 * What a fetch brought, checked before anybody sees it: whole batches, each with a good CRC, that join on to each other
 * and to the position asked for, and a next offset that leaves nothing out. A leader that answers anything else is
 * wrong, and saying so beats skipping records in silence.
 */
import { VarveError } from '../errors.js';
import { baseOffsetAt, isControlAt, lastOffsetAt } from '../record/record-batch.js';
import { validateStoredBatch } from '../record/validate-batch.js';
import { MAX_BATCH_BYTES } from '../rpc/protocol.js';

export interface FetchedBatches {
  /** Record batches (magic 2), oldest first, control batches among them; the first may begin below the position. */
  readonly batches: readonly Buffer[];
  /** Where to go on; above the last record also when the last batches are control batches. */
  readonly nextOffset: number;
  readonly highWatermark: number;
  readonly logStart: number;
}

/**
 * @param name of the partition, for messages
 * @throws VarveError CORRUPT_BATCH, PROTOCOL_ERROR, UNSUPPORTED_CODEC
 */
export function checkFetched(name: string, position: number, header: readonly unknown[], body: Buffer): FetchedBatches {
  const [highWatermark, logStart, nextOffset] = header;
  if (!isOffset(highWatermark) || !isOffset(logStart) || !isOffset(nextOffset)) {
    throw new VarveError('PROTOCOL_ERROR', `${name}: a fetch reply lacks its high watermark, log start or next offset`);
  }
  const batches: Buffer[] = [];
  let expected = -1;
  for (let at = 0; at < body.length; ) {
    const size = validateAt(name, position, body, at);
    const first = baseOffsetAt(body, at);
    const last = lastOffsetAt(body, at);
    const joins = expected === -1 ? first <= position && last >= position : first === expected;
    if (!joins) {
      const wanted = expected === -1 ? position : expected;
      throw new VarveError(
        'PROTOCOL_ERROR',
        `${name}: offset ${wanted} was due, and the batch sent holds ${first} to ${last}`,
      );
    }
    batches.push(body.subarray(at, at + size));
    expected = last + 1;
    at += size;
  }
  if (nextOffset !== (expected === -1 ? position : expected)) {
    throw new VarveError(
      'PROTOCOL_ERROR',
      `${name}: a fetch from offset ${position} names ${nextOffset} as the next one, and its batches end at ${expected}`,
    );
  }
  return { batches, nextOffset, highWatermark, logStart };
}

/** True for batches that carry the log's own records, not a producer's. */
export function isControlBatch(batch: Buffer): boolean {
  return isControlAt(batch, 0);
}

function validateAt(name: string, position: number, body: Buffer, at: number): number {
  try {
    return validateStoredBatch(body, at, body.length, MAX_BATCH_BYTES);
  } catch (cause) {
    if (!(cause instanceof VarveError)) throw cause;
    throw new VarveError(cause.code, `${name}, fetched from offset ${position}: ${cause.message}`, { cause });
  }
}

function isOffset(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
