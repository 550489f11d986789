/** What a log answers to its producers and to consumers of committed records, against the model of what it holds. */
import { expect } from 'vitest';
import type { VarveError } from '../../src/errors.js';
import type { Log } from '../../src/log/log.js';
import type { PartitionLog } from '../../src/log/partition-log.js';
import { batchSizeAt, readBatchHeader } from '../../src/record/record-batch.js';
import { decodeMarker } from '../../src/record/transaction-marker.js';
import { type Produced, ProducerModel, producedBatch } from './producer-model.js';

const ALL = 64 * 1024 * 1024;

/** The model of the batches that the log holds. */
export function modelOf(log: Log): ProducerModel {
  const model = new ProducerModel();
  for (let offset = log.start; offset < log.end; ) {
    const { views, nextOffset } = log.viewsFrom(offset, ALL, 'end');
    for (const view of views) {
      for (let at = 0; at < view.length; at += batchSizeAt(view, at)) {
        const { baseOffset, lastOffset, producerId, producerEpoch, baseSequence, ...header } = readBatchHeader(
          view,
          at,
        );
        if (producerId < 0) continue;
        if (header.isControl) {
          const { result, coordinatorEpoch } = decodeMarker(view, at)!;
          model.mark(baseOffset, producerId, producerEpoch, result, coordinatorEpoch);
        } else {
          const count = lastOffset - baseOffset + 1;
          const transactional = header.isTransactional;
          model.append(baseOffset, { producerId, epoch: producerEpoch, sequence: baseSequence, count, transactional });
        }
      }
    }
    offset = nextOffset;
  }
  return model;
}

/** Every answer that a producer could get, and how far everything is decided. */
export function expectAnswers(log: Log, model: ProducerModel): void {
  expect(log.lastStableOffset).toBe(Math.max(log.start, model.lastStableOffset(log.highWatermark)));
  for (const producerId of model.producerIds) {
    const epoch = model.epochOf(producerId);
    const next: Produced = { producerId, epoch, sequence: model.nextSequence(producerId), count: 1 };
    const probes: Produced[] = [
      next,
      { ...next, transactional: true },
      { ...next, sequence: next.sequence + 1 },
      { ...next, epoch: epoch + 1, sequence: 0 },
      { ...next, epoch: epoch + 1, sequence: 1 },
      ...model.batchesOf(producerId).slice(-7),
    ];
    if (epoch > 0) probes.push({ ...next, epoch: epoch - 1 });
    for (const probe of probes) expect([probe, verdict(log, probe)]).toEqual([probe, model.verdict(probe)]);
  }
}

/** What has a producer id, was committed, and lies below the last stable offset. */
export async function expectCommitted(log: Log, model: ProducerModel): Promise<void> {
  const stable = log.lastStableOffset;
  const { records, nextOffset } = await log.read(log.start, { maxBytes: ALL, isolation: 'read_committed' });
  expect(nextOffset).toBe(stable);
  const known = new Set(model.committedOffsets(log.start, log.end));
  const idempotent = new Set(
    model.items.flatMap((item) => Array.from({ length: item.end - item.base }, (_, i) => item.base + i)),
  );
  const seen = records.map((record) => record.offset).filter((offset) => idempotent.has(offset));
  expect(seen).toEqual([...known].filter((offset) => offset < stable));
}

function verdict(log: Log, batch: Produced): string | [number, number] {
  const bytes = producedBatch(batch);
  try {
    const found = (log as PartitionLog).producers.check(bytes, 0, bytes.length, 't-0');
    return found === undefined ? 'new' : [found.baseOffset, found.lastOffset];
  } catch (error) {
    return (error as VarveError).code;
  }
}
