/**
 * Durable appends, one partition: batches of 100 × 1 KiB with one and with eight outstanding, and lone records of 1 KiB by
 * one caller and by 64. Beside them a bare write + fdatasync of the same bytes into blocks that were written before, and
 * the embedded stores. The batches also as a broker appends them: encoded already, by whoever produced them.
 */
import { join } from 'node:path';
import { type Log, openStore, type Store } from '../../src/main.js';
import { RingFile } from '../ring-file.js';
import { spread } from '../statistics.js';
import { inTurn, outstanding } from './clock.js';
import type { PeerStore } from './peers.js';
import { batchOfRecords, encodedBatch, Values } from './records.js';
import type { Check, OpenScenario, Scenario, Variant } from './scenario.js';

const RECORD_BYTES = 1024;
const FILE_BYTES = 64 * 1024 * 1024;
const FILL_BATCH_BYTES = 1024 * 1024 - 1024;
const FILL_BYTES = 512 * 1024 * 1024;

interface Shape {
  readonly name: string;
  readonly title: string;
  /** Records of one append. */
  readonly records: number;
  /** Callers beside the lone one. */
  readonly callers: number;
  /** With a row for batches that come encoded. */
  readonly encoded: boolean;
  readonly checks: (lone: string, many: string, stores: readonly string[]) => readonly Check[];
}

const BARE = 'bare write + fdatasync';
const LONE = 'varve, 1 outstanding';
const ENCODED = 'varve, encoded batch, 1 outstanding';

const BATCHES: Shape = {
  name: 'batches',
  title: 'durable appends of 100 × 1 KiB',
  records: 100,
  callers: 8,
  encoded: true,
  checks: (lone, many, stores) => [
    { says: '1 outstanding ÷ bare write + fdatasync', value: lone, references: [BARE], atLeast: 0.75 },
    { says: '1 outstanding ÷ the better store', value: lone, references: stores, atLeast: 2.5 },
    { says: '8 outstanding ÷ the better store', value: many, references: stores, atLeast: 3.5 },
  ],
};

const RECORDS: Shape = {
  name: 'records',
  title: 'durable appends of 1 KiB',
  records: 1,
  callers: 64,
  encoded: false,
  checks: (lone, many, stores) => [
    { says: 'one at a time ÷ the better store', value: lone, references: stores, atLeast: 1 },
    { says: '64 callers ÷ one caller', value: many, references: [lone], atLeast: 8 },
  ],
};

export function durableAppends(peers: readonly PeerStore[]): Scenario[] {
  return [BATCHES, RECORDS].map((shape) => {
    const many = `varve, ${shape.callers} outstanding`;
    const stores = peers.map(({ name }) => name as string);
    return {
      name: shape.name,
      title: shape.title,
      unit: 'appends/s',
      higherIsBetter: true,
      checks: shape.checks(LONE, many, stores),
      open: (folder) => open(folder, shape, many, peers),
    };
  });
}

async function open(folder: string, shape: Shape, many: string, peers: readonly PeerStore[]): Promise<OpenScenario> {
  const values = new Values(RECORD_BYTES);
  const store = await openStore(join(folder, 'store'), { create: true });
  const log = await store.openLog('appends', 0);
  await fillJournal(store, log);
  const append = () => log.append(values.take(shape.records).map((value) => ({ value })));
  const file = new RingFile(join(folder, 'written'), FILE_BYTES);
  const encoded = batchOfRecords(shape.records, RECORD_BYTES, values);
  const bare: number[] = [];
  const ofEncoded: number[] = [];
  const durable = durableEnd(log);
  const appendEncoded = () => durable(log.appendProduced(encoded, 0, encoded.length).lastOffset + 1);
  const variants: Variant[] = [
    { name: BARE, measure: kept(bare, (seconds) => inTurn(seconds, () => file.commitSync([encoded], encoded.length))) },
    { name: LONE, measure: (seconds) => settled(store, log, inTurn(seconds, append)) },
    ...(shape.encoded
      ? [{ name: ENCODED, measure: kept(ofEncoded, (seconds) => settled(store, log, inTurn(seconds, appendEncoded))) }]
      : []),
    { name: many, measure: (seconds) => settled(store, log, outstanding(seconds, shape.callers, append)) },
    ...peers.flatMap((peer) => peerVariants(peer, join(folder, peer.name), shape, values)),
  ];
  return {
    variants,
    notes: () =>
      shape.encoded ? [`encoded batch, 1 outstanding ÷ bare write + fdatasync: ${ratios(ofEncoded, bare)}`] : [],
    async close() {
      file.close();
      await store.close();
    },
  };
}

type Measure = Variant['measure'];

/** Keeps what is measured, round by round. */
function kept(values: number[], measure: Measure): Measure {
  return async (seconds) => {
    const value = await measure(seconds);
    values.push(value);
    return value;
  };
}

function ratios(values: readonly number[], references: readonly number[]): string {
  const { median, min, max } = spread(values.map((value, round) => value / references[round]!))!;
  return `${median.toFixed(3)} [${min.toFixed(3)}–${max.toFixed(3)}], nothing asked`;
}

/** Waits until a log's durable cursor has reached an offset, one caller at a time. */
function durableEnd(log: Log): (offset: number) => Promise<void> {
  let wanted = 0;
  let reached: (() => void) | undefined;
  log.onProgress = () => {
    if (reached === undefined || log.durable < wanted) return;
    const resolve = reached;
    reached = undefined;
    resolve();
  };
  return (offset) =>
    new Promise((resolve) => {
      wanted = offset;
      reached = resolve;
    });
}

function peerVariants(peer: PeerStore, file: string, shape: Shape, values: Values): Variant[] {
  const lone: Variant = {
    name: peer.name,
    async measure(seconds) {
      const opened = peer.open(file);
      const rate = await inTurn(seconds, () => opened.write(values.take(shape.records)));
      await opened.close();
      return rate;
    },
  };
  const side: Variant = {
    name: `${peer.name}, ${shape.callers} outstanding`,
    async measure(seconds) {
      const opened = peer.open(file);
      const rate = await outstanding(seconds, shape.callers, () => opened.writeAsync!(values.take(shape.records)));
      await opened.close();
      return rate;
    },
  };
  return peer.name === 'lmdb' ? [lone, side] : [lone];
}

/**
 * Writes so much that the journal has files to recycle, as in a store that has run for a while: a file that is used for
 * the first time is written with zeros before.
 */
async function fillJournal(store: Store, log: Log): Promise<void> {
  const batch = encodedBatch(FILL_BATCH_BYTES);
  for (let bytes = 0; bytes < FILL_BYTES; bytes += batch.length) {
    await log.whenWritable();
    log.appendProduced(batch, 0, batch.length, 0);
    if (bytes % (16 * FILL_BATCH_BYTES) === 0) await log.flush();
  }
  await settled(store, log, Promise.resolve(0));
}

/** What a measurement stored is deleted after it, and its journal files are given back, so that rounds are alike. */
async function settled(store: Store, log: Log, measured: Promise<number>): Promise<number> {
  const rate = await measured;
  await log.deleteBefore(log.end);
  await store.checkpoint();
  return rate;
}
