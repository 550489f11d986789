/** Logs of random batches for compaction, and what is to become of them by a naive model. */
import fc from 'fast-check';
import { crc32c } from '../../src/disk/addon.js';
import { encodeControlBatch } from '../../src/record/control-batch.js';
import {
  ATTRIBUTES_AT,
  BASE_SEQUENCE_AT,
  CRC_AT,
  CRC_START,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  TRANSACTIONAL_BIT,
  attributesAt,
  stampBatch,
  writeInt64,
} from '../../src/record/record-batch.js';
import { COMPRESSIONS, type Compression, type RecordInput } from '../../src/record/types.js';
import { buildBatch } from '../record/records.js';

export const START_TIME = 1_700_000_000_000;

/** A batch as it is to be made. */
export interface BatchPlan {
  readonly compression: Compression;
  readonly newEpoch: boolean;
  /** 0: none. */
  readonly producer: number;
  readonly transactional: boolean;
  /** Undefined: a control batch. */
  readonly records: readonly Required<RecordInput>[] | undefined;
}

const record = fc.record({
  timestamp: fc.oneof(fc.constant(-1), fc.integer({ min: START_TIME, max: START_TIME + 10_000 })),
  key: fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 0, max: 12 }).map((n) => `key ${n}`) },
    { weight: 1, arbitrary: fc.constantFrom('', null) },
  ),
  value: fc.oneof({ weight: 3, arbitrary: fc.string({ maxLength: 40 }) }, { weight: 1, arbitrary: fc.constant(null) }),
  headers: fc.array(fc.record({ key: fc.string({ maxLength: 5 }), value: fc.constantFrom(null, Buffer.from('h')) }), {
    maxLength: 2,
  }),
});

export const batchPlan: fc.Arbitrary<BatchPlan> = fc.record({
  compression: fc.constantFrom(...COMPRESSIONS),
  newEpoch: fc.boolean(),
  producer: fc.integer({ min: 0, max: 3 }),
  transactional: fc.constant(false),
  records: fc.oneof(
    { weight: 8, arbitrary: fc.array(record, { minLength: 1, maxLength: 12 }) },
    { weight: 1, arbitrary: fc.constant(undefined) },
  ),
});

export interface MadeBatch {
  readonly bytes: Buffer;
  readonly baseOffset: number;
  readonly epoch: number;
  readonly plan: BatchPlan;
}

/** Gives a batch producer fields, and makes its CRC right again. */
export function asProducer(batch: Buffer, id: number, epoch: number, sequence: number, transactional = false): Buffer {
  writeInt64(batch, PRODUCER_ID_AT, id);
  batch.writeInt16BE(epoch, PRODUCER_EPOCH_AT);
  batch.writeInt32BE(sequence, BASE_SEQUENCE_AT);
  if (transactional) batch.writeInt16BE(attributesAt(batch, 0) | TRANSACTIONAL_BIT, ATTRIBUTES_AT);
  batch.writeUInt32BE(crc32c(batch, CRC_START, batch.length), CRC_AT);
  return batch;
}

/** Stamped batches that join end to end. */
export async function makeBatches(plans: readonly BatchPlan[], baseOffset = 0): Promise<MadeBatch[]> {
  const made: MadeBatch[] = [];
  const sequences = new Map<number, number>();
  let offset = baseOffset;
  let epoch = 1;
  for (const plan of plans) {
    if (plan.newEpoch) epoch++;
    let bytes: Buffer;
    if (plan.records === undefined) {
      bytes = encodeControlBatch(1000, Buffer.from('c'), offset, epoch, START_TIME);
    } else {
      bytes = await buildBatch(plan.records, plan.compression);
      const sequence = sequences.get(plan.producer) ?? 0;
      if (plan.producer > 0) asProducer(bytes, plan.producer, 7, sequence, plan.transactional);
      sequences.set(plan.producer, sequence + plan.records.length);
      stampBatch(bytes, 0, offset, epoch);
    }
    made.push({ bytes, baseOffset: offset, epoch, plan });
    offset += plan.records?.length ?? 1;
  }
  return made;
}
