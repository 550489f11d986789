/**
 * Producer state as plainly as it can be said: the list of what the log holds, looked through from the start at every
 * question. It shares nothing with src/log/producer-state.ts.
 */
import { crc32c } from '../../src/disk/addon.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';

export interface Produced {
  readonly producerId: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly count: number;
  readonly transactional?: boolean;
  readonly timestamp?: number;
  /** Bytes of the first record's value. */
  readonly bytes?: number;
}

/** A batch of an idempotent producer, as it would send it. */
export function producedBatch(batch: Produced): Buffer {
  const { producerId, epoch, sequence, count, transactional = false, timestamp = 1_700_000_000_000 } = batch;
  const builder = new BatchBuilder();
  for (let i = 0; i < count; i++) {
    builder.append(timestamp, null, i === 0 ? Buffer.alloc(batch.bytes ?? 3, 'x') : `${producerId}:${i}`);
  }
  const bytes = Buffer.from(builder.finish());
  bytes.writeInt16BE(transactional ? 0x10 : 0, 21);
  bytes.writeBigInt64BE(BigInt(producerId), 43);
  bytes.writeInt16BE(epoch, 51);
  bytes.writeInt32BE(sequence, 53);
  bytes.writeUInt32BE(crc32c(bytes, 21, bytes.length), 17);
  return bytes;
}

type Item =
  | (Produced & { readonly kind: 'batch'; readonly base: number; readonly end: number })
  | {
      readonly kind: 'marker';
      readonly base: number;
      readonly end: number;
      readonly producerId: number;
      readonly epoch: number;
      readonly result: 'commit' | 'abort';
      readonly coordinatorEpoch: number;
    };

export interface ModelTransaction {
  readonly producerId: number;
  readonly first: number;
  /** Offset of the marker; undefined while it is open. */
  marker?: number;
  result?: 'commit' | 'abort';
}

const SEQUENCES = 2 ** 31;

export class ProducerModel {
  items: Item[] = [];

  append(base: number, batch: Produced): void {
    this.items.push({ ...batch, kind: 'batch', base, end: base + batch.count });
  }

  mark(base: number, producerId: number, epoch: number, result: 'commit' | 'abort', coordinatorEpoch: number): void {
    this.items.push({ kind: 'marker', base, end: base + 1, producerId, epoch, result, coordinatorEpoch });
  }

  truncate(to: number): void {
    this.items = this.items.filter((item) => item.base < to);
  }

  get producerIds(): number[] {
    return [...new Set(this.items.map((item) => item.producerId))];
  }

  epochOf(producerId: number): number {
    return this.items.findLast((item) => item.producerId === producerId)?.epoch ?? -1;
  }

  coordinatorEpochOf(producerId: number): number {
    const marker = this.items.findLast((item) => item.kind === 'marker' && item.producerId === producerId);
    return marker?.kind === 'marker' ? marker.coordinatorEpoch : -1;
  }

  /** Its batches in its present epoch. */
  batchesOf(producerId: number): Extract<Item, { kind: 'batch' }>[] {
    const epoch = this.epochOf(producerId);
    return this.items.filter(
      (item) => item.kind === 'batch' && item.producerId === producerId && item.epoch === epoch,
    ) as Extract<Item, { kind: 'batch' }>[];
  }

  nextSequence(producerId: number): number {
    const last = this.batchesOf(producerId).at(-1);
    return last === undefined ? 0 : (last.sequence + last.count) % SEQUENCES;
  }

  /** What the log should say to this batch: an error code, the offsets of its original, or 'new'. */
  verdict(batch: Produced): string | [base: number, last: number] {
    const { producerId, epoch, sequence, count } = batch;
    if (!this.producerIds.includes(producerId)) return 'new';
    const current = this.epochOf(producerId);
    if (epoch < current) return 'PRODUCER_FENCED';
    if (epoch === current) {
      const original = this.batchesOf(producerId)
        .slice(-5)
        .find((known) => known.sequence === sequence && known.count === count);
      if (original !== undefined) return [original.base, original.end - 1];
    }
    if (sequence !== (epoch === current ? this.nextSequence(producerId) : 0)) return 'OUT_OF_ORDER_SEQUENCE';
    const open = this.transactions().some((each) => each.producerId === producerId && each.marker === undefined);
    return open && batch.transactional !== true ? 'INVALID_BATCH' : 'new';
  }

  transactions(): ModelTransaction[] {
    const all: ModelTransaction[] = [];
    for (const item of this.items) {
      const open = all.find((each) => each.producerId === item.producerId && each.marker === undefined);
      if (item.kind === 'batch' && item.transactional && open === undefined) {
        all.push({ producerId: item.producerId, first: item.base });
      }
      if (item.kind === 'marker' && open !== undefined) {
        open.marker = item.base;
        open.result = item.result;
      }
    }
    return all;
  }

  lastStableOffset(highWatermark: number): number {
    const undecided = this.transactions().filter(({ marker }) => marker === undefined || marker >= highWatermark);
    return Math.min(highWatermark, ...undecided.map(({ first }) => first));
  }

  aborted(): ModelTransaction[] {
    return this.transactions().filter(({ result }) => result === 'abort');
  }

  /** Offsets in [from, to) that a consumer of committed records sees; of what has a producer id. */
  committedOffsets(from: number, to: number): number[] {
    const offsets: number[] = [];
    for (const item of this.items) {
      if (item.kind !== 'batch') continue;
      const isAborted =
        item.transactional &&
        this.aborted().some(
          (each) => each.producerId === item.producerId && each.first <= item.base && each.marker! > item.base,
        );
      if (isAborted) continue;
      for (let offset = item.base; offset < item.end; offset++) if (offset >= from && offset < to) offsets.push(offset);
    }
    return offsets;
  }
}
