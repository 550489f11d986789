/**
 * Power cuts while producers write, their transactions end, snapshots and transaction indexes are made: whatever of the log
 * survives, its producers and the readers of committed records get the answers that the surviving batches ask for.
 */
import { Trace, type TraceEvent } from '../../src/disk/trace.js';
import type { Log } from '../../src/log/log.js';
import { expectAnswers, expectCommitted, modelOf } from '../log/producer-answers.js';
import { type Produced, type ProducerModel, producedBatch } from '../log/producer-model.js';
import { type CampaignOptions, shortly, type Tally } from './campaign.js';
import { DiskModel } from './disk-model.js';
import { IMAGE_KINDS, type Image, makeImage } from './image-kinds.js';
import { type Random, seeded } from './random.js';
import type { Scratch } from './scratch.js';
import { logSpec, openStoreAt, STORE_OPTIONS } from './workbench.js';

const spec = logSpec('t');

function produce(log: Log, batch: Produced): void {
  const bytes = producedBatch(batch);
  log.appendProduced(bytes, 0, bytes.length, Math.max(0, log.lastEpoch));
}

/**
 * Rolls, aborted and committed transactions, checkpoints with snapshots, truncations, closing and opening.
 * @returns the events of each session; those of formatting, as the first
 */
async function work(directory: string, random: Random): Promise<TraceEvent[][]> {
  const sequences = [0, 0, 0];
  const sessions: TraceEvent[][] = [];
  for (let session = 0; session < 3; session++) {
    const trace = new Trace();
    const store = await openStoreAt(directory, 'first boot', STORE_OPTIONS, trace);
    const log = await store.openLog(spec.name, 0, spec.options);
    if (session === 0) sessions.push(trace.take());
    for (let round = 0; round < 8; round++) {
      for (const [producerId, transactional] of [false, true, true].entries()) {
        const count = 1 + random.below(3);
        const bytes = random.below(3) === 0 ? 150_000 : 10;
        produce(log, { producerId, epoch: 0, sequence: sequences[producerId]!, count, transactional, bytes });
        sequences[producerId]! += count;
        if (random.below(3) === 0) log.appendMarker(producerId, 0, random.below(3) === 0 ? 'commit' : 'abort', 0);
      }
      if (random.below(2) === 0) {
        await log.flush();
        log.advanceHighWatermark(log.end);
      } else if (random.below(3) === 0) {
        log.truncate(log.highWatermark);
        const model = modelOf(log);
        for (const producerId of sequences.keys()) sequences[producerId] = model.nextSequence(producerId);
      }
      if (random.below(3) === 0) await store.checkpoint();
    }
    await store.close();
    sessions.push(trace.take());
  }
  return sessions;
}

/** Opens what a power cut left, twice: the second time has what the first one wrote. @returns true if it held producers */
async function check(scratch: Scratch, image: Image): Promise<boolean> {
  const directory = scratch.directory(image);
  let found: ProducerModel | undefined;
  for (let opening = 0; opening < 2; opening++) {
    const store = await openStoreAt(directory, 'second boot', STORE_OPTIONS);
    const log = await store.openLog(spec.name, 0, spec.options);
    found ??= modelOf(log);
    expectAnswers(log, found);
    await expectCommitted(log, found);
    await store.close();
  }
  scratch.remove(directory);
  return found!.producerIds.length > 0;
}

/** @returns how many of the images held producers */
export async function cutTransactions(options: CampaignOptions, tally: Tally): Promise<number> {
  const { scratch, seed, images, kinds = IMAGE_KINDS } = options;
  const directory = scratch.directory();
  const model = new DiskModel(new Map());
  const [formatting, ...sessions] = await work(directory, seeded(seed, 'work'));
  scratch.remove(directory);
  for (const event of formatting!) model.apply(event);
  const random = seeded(seed, 'cuts');
  let withProducers = 0;
  for (const [session, events] of sessions.entries()) {
    if (session > 0) model.nextTrace();
    const every = Math.max(1, Math.floor((events.length * sessions.length) / images));
    for (const [index, event] of events.entries()) {
      model.apply(event);
      if (random.below(every) > 0) continue;
      const kind = kinds[random.below(kinds.length)]!;
      const image = makeImage(model, kind, random);
      if (image === undefined) continue;
      const problems: string[] = [];
      try {
        if (await check(scratch, image)) withProducers++;
      } catch (error) {
        problems.push(`session ${session}: ${(error as Error).message}`);
      }
      tally.count('transactions', kind);
      const context = events.slice(Math.max(0, index - 4), index + 1).map(shortly);
      if (problems.length > 0) {
        tally.failures.push({ operation: 'transactions', seed, event: index, kind, problems, context });
      }
    }
  }
  return withProducers;
}
