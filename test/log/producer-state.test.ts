// The pure producer state against a model that looks through the whole log at every question.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { VarveError } from '../../src/errors.js';
import { ProducerState, sequenceAfter } from '../../src/log/producer-state.js';
import { stampBatch } from '../../src/record/record-batch.js';
import { encodeMarker } from '../../src/record/transaction-marker.js';
import { type Produced, ProducerModel, producedBatch } from './producer-model.js';

/** A log without bytes: what a partition does with its state. */
class Partition {
  readonly state = new ProducerState(0);
  readonly model = new ProducerModel();
  end = 0;
  highWatermark = 0;
  aborted: { firstOffset: number; lastOffset: number; lastStableOffset: number }[] = [];

  /** @returns the verdict */
  produce(batch: Produced): string | [number, number] {
    const bytes = producedBatch(batch);
    try {
      const duplicate = this.state.check(bytes, 0, bytes.length, 't-0');
      if (duplicate !== undefined) return [duplicate.baseOffset, duplicate.lastOffset];
    } catch (error) {
      return (error as VarveError).code;
    }
    stampBatch(bytes, 0, this.end, 1);
    this.state.apply(bytes, 0);
    this.model.append(this.end, batch);
    this.end += batch.count;
    return 'new';
  }

  mark(producerId: number, epoch: number, result: 'commit' | 'abort', coordinatorEpoch = 0): void {
    const bytes = encodeMarker(producerId, epoch, { result, coordinatorEpoch }, this.end, 1, 5);
    const aborted = this.state.apply(bytes, 0);
    if (aborted !== undefined) this.aborted.push(aborted);
    this.model.mark(this.end, producerId, epoch, result, coordinatorEpoch);
    this.end++;
  }

  commit(to: number): void {
    this.highWatermark = Math.max(this.highWatermark, to);
    this.state.commit(this.highWatermark);
  }

  truncate(to: number): void {
    this.state.truncate(to);
    this.model.truncate(to);
    this.aborted = this.aborted.filter((each) => each.lastOffset < to);
    this.end = to;
  }

  get lastStableOffset(): number {
    return Math.min(this.highWatermark, this.state.firstUnstableOffset);
  }

  check(): void {
    expect(this.lastStableOffset).toBe(this.model.lastStableOffset(this.highWatermark));
    expect(this.aborted.map(({ firstOffset, lastOffset }) => [firstOffset, lastOffset]).sort()).toEqual(
      this.model
        .aborted()
        .map(({ first, marker }) => [first, marker])
        .sort(),
    );
    for (const producerId of this.model.producerIds) {
      const entry = this.state.get(producerId)!;
      const batches = this.model.batchesOf(producerId).slice(-5);
      expect(entry.batches.map(({ baseOffset, firstSequence }) => [baseOffset, firstSequence])).toEqual(
        batches.map(({ base, sequence }) => [base, sequence]),
      );
      expect([entry.epoch, entry.coordinatorEpoch]).toEqual([
        this.model.epochOf(producerId),
        this.model.coordinatorEpochOf(producerId),
      ]);
    }
  }
}

describe('a producer', () => {
  const first: Produced = { producerId: 7, epoch: 0, sequence: 0, count: 3 };

  test('that sends one of its last five batches again learns where it is; an older one is a gap', () => {
    const partition = new Partition();
    for (let i = 0; i < 6; i++) partition.produce({ ...first, sequence: 3 * i });
    for (let i = 1; i < 6; i++) expect(partition.produce({ ...first, sequence: 3 * i })).toEqual([3 * i, 3 * i + 2]);
    expect(partition.produce(first)).toBe('OUT_OF_ORDER_SEQUENCE');
    expect(partition.produce({ ...first, sequence: 3, count: 2 })).toBe('OUT_OF_ORDER_SEQUENCE');
  });

  test('that is unknown may begin anywhere, and goes on from there', () => {
    const partition = new Partition();
    expect(partition.produce({ ...first, sequence: 500 })).toBe('new');
    expect(partition.produce({ ...first, sequence: 504 })).toBe('OUT_OF_ORDER_SEQUENCE');
    expect(partition.produce({ ...first, sequence: 503 })).toBe('new');
  });

  test('begins a new epoch with sequence 0, which fences the old one', () => {
    const partition = new Partition();
    partition.produce(first);
    expect(partition.produce({ ...first, epoch: 1, sequence: 3 })).toBe('OUT_OF_ORDER_SEQUENCE');
    expect(partition.produce({ ...first, epoch: 1 })).toBe('new');
    expect(partition.produce({ ...first, sequence: 3 })).toBe('PRODUCER_FENCED');
    expect(partition.produce(first)).toBe('PRODUCER_FENCED');
  });

  test('counts to 2^31 − 1 and begins again with 0', () => {
    const partition = new Partition();
    const last: Produced = { ...first, sequence: 2 ** 31 - 2 };
    expect(partition.produce(last)).toBe('new');
    expect(partition.produce({ ...first, sequence: 0 })).toBe('OUT_OF_ORDER_SEQUENCE');
    expect(partition.produce({ ...first, sequence: 1 })).toBe('new');
    expect(partition.produce(last)).toEqual([0, 2]);
    expect([sequenceAfter(2 ** 31 - 1, 1), sequenceAfter(2 ** 31 - 2, 1)]).toEqual([0, 2 ** 31 - 1]);
  });

  test('must stay inside its transaction', () => {
    const partition = new Partition();
    partition.produce({ ...first, transactional: true });
    expect(partition.produce({ ...first, sequence: 3 })).toBe('INVALID_BATCH');
    partition.mark(7, 0, 'commit');
    expect(partition.produce({ ...first, sequence: 3 })).toBe('new');
  });

  test('is forgotten after its time, unless a transaction is open', () => {
    const partition = new Partition();
    partition.produce(first);
    partition.produce({ ...first, producerId: 8, transactional: true });
    partition.state.expire(0, 1000);
    partition.state.expire(999, 1000);
    expect(partition.state.size).toBe(2);
    partition.produce({ ...first, producerId: 9 });
    partition.state.expire(1000, 1000);
    expect([7, 8, 9].map((id) => partition.state.get(id) !== undefined)).toEqual([false, true, true]);
    partition.mark(8, 0, 'commit');
    partition.state.expire(2000, 1000);
    expect(partition.state.size).toBe(1);
    partition.state.expire(3000, 1000);
    expect(partition.state.size).toBe(0);
  });
});

describe('a run of batches', () => {
  const run = (...batches: Produced[]): Buffer => Buffer.concat(batches.map((batch) => producedBatch(batch)));
  const a: Produced = { producerId: 1, epoch: 0, sequence: 0, count: 2 };
  const b: Produced = { producerId: 1, epoch: 0, sequence: 2, count: 1 };
  const check = (partition: Partition, bytes: Buffer) => partition.state.check(bytes, 0, bytes.length, 't-0');

  test('may hold batches that follow each other, and is judged as one', () => {
    const partition = new Partition();
    expect(check(partition, run(a, b))).toBeUndefined();
    const gap = run(a, { ...b, sequence: 3 });
    expect(() => check(partition, gap)).toThrow(expect.objectContaining({ code: 'OUT_OF_ORDER_SEQUENCE' }));
    expect(() => check(partition, run(a, a))).toThrow(expect.objectContaining({ code: 'INVALID_BATCH' }));
  });

  test('is answered whole when all of it is there already, and refused when it is a mix', () => {
    const partition = new Partition();
    partition.produce(a);
    partition.produce(b);
    expect(check(partition, run(a, b))).toEqual({ baseOffset: 0, lastOffset: 2, duplicate: true });
    const mixed = run(b, { ...b, sequence: 3 });
    expect(() => check(partition, mixed)).toThrow(expect.objectContaining({ code: 'INVALID_BATCH' }));
    const plain = Buffer.concat([run(b), producedBatch({ ...b, producerId: -1, epoch: -1, sequence: -1 })]);
    expect(() => check(partition, plain)).toThrow(expect.objectContaining({ code: 'INVALID_BATCH' }));
    expect(() => check(partition, run(b, a))).toThrow(expect.objectContaining({ code: 'INVALID_BATCH' }));
  });
});

describe('markers', () => {
  test('of an older producer epoch or coordinator are refused', () => {
    const partition = new Partition();
    partition.produce({ producerId: 1, epoch: 3, sequence: 0, count: 1, transactional: true });
    partition.mark(1, 3, 'commit', 5);
    const check = (epoch: number, coordinator: number) => () =>
      partition.state.checkMarker(1, epoch, coordinator, 't-0');
    expect(check(2, 5)).toThrow(expect.objectContaining({ code: 'PRODUCER_FENCED' }));
    expect(check(3, 4)).toThrow(expect.objectContaining({ code: 'COORDINATOR_FENCED' }));
    expect(check(4, 5)).not.toThrow();
    partition.state.checkMarker(99, 0, 0, 't-0');
  });

  test('of a newer epoch fence the producer', () => {
    const partition = new Partition();
    partition.produce({ producerId: 1, epoch: 0, sequence: 0, count: 1, transactional: true });
    partition.mark(1, 1, 'abort');
    expect(partition.produce({ producerId: 1, epoch: 0, sequence: 1, count: 1 })).toBe('PRODUCER_FENCED');
    expect(partition.produce({ producerId: 1, epoch: 1, sequence: 1, count: 1 })).toBe('OUT_OF_ORDER_SEQUENCE');
    expect(partition.produce({ producerId: 1, epoch: 1, sequence: 0, count: 1 })).toBe('new');
  });

  test('say how far everything is decided', () => {
    const partition = new Partition();
    const one: Produced = { producerId: 1, epoch: 0, sequence: 0, count: 1, transactional: true };
    partition.produce(one);
    partition.produce({ ...one, producerId: 2 });
    partition.mark(1, 0, 'abort');
    partition.mark(2, 0, 'abort');
    expect(partition.aborted.map((each) => each.lastStableOffset)).toEqual([1, 4]);
    partition.commit(3);
    expect(partition.lastStableOffset).toBe(1);
    partition.commit(4);
    expect(partition.lastStableOffset).toBe(4);
  });
});

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('produce' as const),
      producer: fc.integer({ min: 0, max: 3 }),
      what: fc.constantFrom('next', 'next', 'next', 'gap', 'again', 'older-epoch', 'new-epoch' as const),
      back: fc.integer({ min: 1, max: 7 }),
      count: fc.integer({ min: 1, max: 4 }),
      transactional: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('mark' as const),
      producer: fc.integer({ min: 0, max: 3 }),
      newEpoch: fc.boolean(),
      result: fc.constantFrom('commit' as const, 'abort' as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('commit' as const, 'truncate' as const), back: fc.nat({ max: 12 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reload' as const) }) },
);

test('whatever is produced, repeated, committed and cut, the state is what the log says', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      let partition = new Partition();
      for (const each of steps) {
        const { model } = partition;
        if (each.do === 'produce') {
          const id = each.producer;
          const epoch = Math.max(0, model.epochOf(id));
          let batch: Produced = { ...each, producerId: id, epoch, sequence: model.nextSequence(id) };
          if (each.what === 'gap') batch = { ...batch, sequence: batch.sequence + each.back };
          if (each.what === 'older-epoch') batch = { ...batch, epoch: Math.max(0, epoch - 1) };
          if (each.what === 'new-epoch') batch = { ...batch, epoch: epoch + 1, sequence: 0 };
          const old = model.batchesOf(id).at(-each.back);
          if (each.what === 'again' && old !== undefined) {
            batch = { ...batch, sequence: old.sequence, count: old.count };
          }
          const expected = model.verdict(batch);
          expect(partition.produce(batch)).toEqual(expected);
        } else if (each.do === 'mark') {
          const epoch = Math.max(0, model.epochOf(each.producer)) + (each.newEpoch ? 1 : 0);
          partition.mark(each.producer, epoch, each.result);
        } else if (each.do === 'commit') {
          partition.commit(model.items.at(-1 - each.back)?.end ?? 0);
        } else if (each.do === 'truncate') {
          const items = model.items.filter((item) => item.base >= partition.highWatermark);
          const cut = items.at(-each.back)?.base;
          if (cut !== undefined) partition.truncate(cut);
        } else {
          // What a snapshot at the high watermark holds is the state of a log that ends there.
          const committed = partition.state.committedEntries();
          const cut = new Partition();
          cut.model.items = model.items.filter((item) => item.end <= partition.highWatermark);
          cut.end = partition.highWatermark;
          const loaded = new Partition();
          Object.assign(loaded, { state: new ProducerState(0, committed), model: cut.model });
          loaded.aborted = partition.aborted.filter((aborted) => aborted.lastOffset < partition.highWatermark);
          loaded.end = partition.highWatermark;
          loaded.commit(partition.highWatermark);
          loaded.check();
          partition = loaded;
        }
        partition.check();
      }
    }),
    { numRuns: 400 },
  );
});
