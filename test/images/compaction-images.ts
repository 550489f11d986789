/** Power cuts at every place of a compaction's trace, judged by what compaction may take: no last record of a key. */
import { Trace, type TraceEvent } from '../../src/disk/trace.js';
import type { Log } from '../../src/log/log.js';
import type { StoreOptions } from '../../src/log/options.js';
import type { OpenLogOptions } from '../../src/log/partition-store.js';
import { COMPRESSIONS, type RecordInput } from '../../src/record/types.js';
import { type CampaignOptions, shortly, type Tally } from './campaign.js';
import { DiskModel } from './disk-model.js';
import { IMAGE_KINDS, type Image, makeImage } from './image-kinds.js';
import { type Random, seeded } from './random.js';
import type { Scratch } from './scratch.js';
import { openStoreAt, STORE_OPTIONS } from './workbench.js';

const KEYS = 9;
const STORE: Partial<StoreOptions> = { ...STORE_OPTIONS, compactionBufferBytes: 4096 };
/** Tombstones go with the second compaction. */
const LOG: OpenLogOptions = {
  cleanup: 'compact',
  topicId: 'c0'.repeat(16),
  segmentBytes: 1024 * 1024,
  deleteRetentionMs: 0,
};

/** What the log was given, by offset. */
interface Given {
  readonly key: string;
  readonly value: string | null;
}

/** What was promised when an image was taken. */
interface Promises {
  /** Everything below it is acknowledged. */
  acked: number;
  /** A compaction up to here was answered. */
  compacted: number;
  /** Deleted below it, for certain. */
  deleted: number;
  /** … and perhaps. */
  deleting: number;
}

interface Recording {
  readonly events: readonly TraceEvent[];
  readonly given: readonly Given[];
}

async function record(scratch: Scratch, random: Random): Promise<Recording> {
  const directory = scratch.directory();
  const trace = new Trace();
  const given: Given[] = [];
  const store = await openStoreAt(directory, 'first boot', STORE, trace);
  const log = await store.openLog('t', 0, LOG);
  const say = (promise: Partial<Promises>) => trace.note(JSON.stringify(promise));
  for (let round = 0; round < 5; round++) {
    for (let i = 2 + random.below(5); i > 0; i--) {
      const records: RecordInput[] = [];
      for (let n = 1 + random.below(8); n > 0; n--) {
        const value = random.below(4) === 0 ? null : `${given.length} ${'v'.repeat(random.below(900))}`;
        records.push({ key: `key ${random.below(KEYS)}`, value, timestamp: 1_700_000_000_000 + given.length });
        given.push({ key: records.at(-1)!.key as string, value });
      }
      await log.append(records, { compression: COMPRESSIONS[random.below(COMPRESSIONS.length)]! });
      say({ acked: log.end });
    }
    if (random.below(3) === 0) await store.checkpoint();
    const compacting = log.compact();
    if (random.below(2) === 0) {
      given.push({ key: 'meanwhile', value: String(given.length) });
      await log.append([{ key: 'meanwhile', value: given.at(-1)!.value }]);
      say({ acked: log.end });
    }
    const { end, to } = await compacting;
    // The store may have been faster: it compacts by itself behind a checkpoint.
    if (end !== 'complete' && end !== 'nothing-to-do') throw new Error(`a compaction without any fault ends as ${end}`);
    say({ compacted: to });
    if (random.below(3) === 0) await store.checkpoint();
    if (random.below(4) === 0) {
      const before = log.start + random.below(log.end - log.start);
      say({ deleting: before });
      await log.deleteBefore(before);
      say({ deleted: before });
    }
  }
  await store.close();
  return { events: trace.take(), given };
}

/** @returns what is wrong with what the log shows */
async function judge(log: Log, given: readonly Given[], promises: Promises): Promise<string[]> {
  const problems: string[] = [];
  if (log.recovery.damaged.length > 0) problems.push(`damage: ${JSON.stringify(log.recovery.damaged)}`);
  if (log.end < promises.acked) problems.push(`ends at ${log.end}, ${promises.acked} was acknowledged`);
  if (log.start < promises.deleted || log.start > Math.max(promises.deleted, promises.deleting)) {
    problems.push(`starts at ${log.start}, should at ${promises.deleted} or ${promises.deleting}`);
  }
  const latest = new Map<string, number>();
  const latestCompacted = new Map<string, number>();
  for (const [offset, { key }] of given.slice(0, log.end).entries()) {
    latest.set(key, offset);
    if (offset < promises.compacted) latestCompacted.set(key, offset);
  }
  const shown = new Map<number, Given>();
  for (let offset = log.start; offset < log.end; ) {
    const { records, nextOffset } = await log.read(offset);
    for (const { offset: at, key, value } of records) {
      shown.set(at, { key: String(key), value: value === null ? null : String(value) });
    }
    offset = nextOffset;
  }
  for (const [offset, { key, value }] of shown) {
    const wanted = given[offset];
    if (wanted?.key !== key || wanted.value !== value) problems.push(`offset ${offset}: ${key} = ${value}`);
    if (offset < promises.compacted && latestCompacted.get(key) !== offset) problems.push(`offset ${offset} came back`);
  }
  for (const [key, offset] of latest) {
    if (offset < log.start || shown.has(offset)) continue;
    if (given[offset]!.value !== null) problems.push(`the last record of ${key}, at ${offset}, is gone`);
    const older = [...shown].find(([, record]) => record.key === key);
    if (older !== undefined) problems.push(`the tombstone of ${key} at ${offset} is gone, but not ${older[0]}`);
  }
  return problems;
}

async function check(scratch: Scratch, image: Image, given: readonly Given[], promises: Promises): Promise<string[]> {
  const directory = scratch.directory(image);
  try {
    let store = await openStoreAt(directory, 'second boot', STORE);
    let log = await store.openLog('t', 0, LOG);
    const problems = await judge(log, given, promises);
    const { to } = await log.compact();
    const after = { ...promises, compacted: Math.max(promises.compacted, to) };
    problems.push(...(await judge(log, given, after)).map((problem) => `compacted again: ${problem}`));
    await store.close();
    store = await openStoreAt(directory, 'second boot', STORE);
    log = await store.openLog('t', 0, LOG);
    problems.push(...(await judge(log, given, after)).map((problem) => `opened again: ${problem}`));
    await store.close();
    return problems;
  } catch (error) {
    return [`${(error as { code?: string }).code ?? ''} ${(error as Error).message}`];
  } finally {
    scratch.remove(directory);
  }
}

/** @returns how many compactions were answered */
export async function cutCompaction(options: CampaignOptions, tally: Tally): Promise<number> {
  const { scratch, seed, images, kinds = IMAGE_KINDS } = options;
  const { events, given } = await record(scratch, seeded(seed));
  const model = new DiskModel(new Map());
  const promises: Promises = { acked: 0, compacted: 0, deleted: 0, deleting: 0 };
  let opened = false;
  let compactions = 0;
  const random = seeded(seed, 'images');
  for (const [index, event] of events.entries()) {
    if (event.kind === 'note') {
      Object.assign(promises, JSON.parse(event.text));
      opened = true;
      if (event.text.includes('compacted')) compactions++;
      continue;
    }
    model.apply(event);
    if (!opened || random.below(events.length) >= images) continue;
    const kind = kinds[random.below(kinds.length)]!;
    const image = makeImage(model, kind, random);
    if (image === undefined) continue;
    const problems = await check(scratch, image, given, { ...promises });
    tally.count('compaction', kind);
    const context = events.slice(Math.max(0, index - 4), index + 1).map(shortly);
    if (problems.length > 0) {
      tally.failures.push({ operation: 'compaction', seed, event: index, kind, problems, context });
    }
  }
  return compactions;
}
