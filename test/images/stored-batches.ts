/**
 * A reader of record batches, segment files and checkpoints that shares nothing with the store: written from docs/FORMAT.md
 * and Kafka's description of magic 2, with a CRC32C of its own.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BatchMark } from './history.js';

const TABLES = crcTables();

/** Eight tables: eight bytes per step. */
function crcTables(): Uint32Array[] {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256));
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    tables[0]![byte] = crc;
  }
  for (let byte = 0; byte < 256; byte++) {
    for (let t = 1; t < 8; t++) {
      const before = tables[t - 1]![byte]!;
      tables[t]![byte] = (before >>> 8) ^ tables[0]![before & 0xff]!;
    }
  }
  return tables;
}

export function castagnoli(bytes: Buffer, from: number, to: number): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  let crc = 0xffffffff;
  let at = from;
  for (; at + 8 <= to; at += 8) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      t7[low & 0xff]! ^
      t6[(low >>> 8) & 0xff]! ^
      t5[(low >>> 16) & 0xff]! ^
      t4[low >>> 24]! ^
      t3[bytes[at + 4]!]! ^
      t2[bytes[at + 5]!]! ^
      t1[bytes[at + 6]!]! ^
      t0[bytes[at + 7]!]!;
  }
  for (; at < to; at++) crc = t0[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** The batches in a run of whole ones. Throws at the first that is none. */
export function readBatches(bytes: Buffer): BatchMark[] {
  const batches: BatchMark[] = [];
  for (let at = 0; at < bytes.length; ) {
    const batch = readBatch(bytes, at);
    batches.push(batch);
    at += batch.bytes;
  }
  return batches;
}

function readBatch(bytes: Buffer, at: number): BatchMark {
  const refuse = (what: string): never => {
    throw new Error(`batch at byte ${at} of ${bytes.length}: ${what}`);
  };
  if (bytes.length - at < 61) refuse('the header is cut short');
  const base = Number(bytes.readBigInt64BE(at));
  const length = bytes.readInt32BE(at + 8) + 12;
  if (length < 61 || length > bytes.length - at) refuse(`says that it is ${length} bytes long`);
  if (bytes[at + 16] !== 2) refuse(`magic ${bytes[at + 16]}`);
  const crc = bytes.readUInt32BE(at + 17);
  const computed = castagnoli(bytes, at + 21, at + length);
  if (crc !== computed) refuse(`CRC ${crc}, computed ${computed}`);
  const deltas = bytes.readInt32BE(at + 23);
  const codec = bytes.readInt16BE(at + 21) & 7;
  const count = bytes.readInt32BE(at + 57);
  if (codec === 0 && count > 0) walkRecords(bytes, at + 61, at + length, count, deltas, refuse);
  return { base, end: base + deltas + 1, epoch: bytes.readInt32BE(at + 12), bytes: length, crc };
}

/** Records join end to end, their offset deltas rise, and the last one ends where the batch does. */
function walkRecords(
  bytes: Buffer,
  from: number,
  to: number,
  count: number,
  deltas: number,
  refuse: (what: string) => never,
): void {
  let at = from;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
  };
  let last = -1;
  for (let i = 0; i < count; i++) {
    const length = varint();
    const end = at + length;
    at++;
    varint();
    const delta = varint();
    if (delta <= last || delta > deltas) refuse(`record ${i} has offset delta ${delta} after ${last}`);
    last = delta;
    at = end;
  }
  if (at !== to) refuse(`its records end at ${at}, it at ${to}`);
}

interface CheckpointRow {
  readonly topic: string;
  readonly partition: number;
  readonly topicId: string;
  readonly logStart: number;
  readonly end: number;
  readonly term: number;
  readonly vote: number;
  readonly segments: readonly { readonly base: number; readonly tag: number; readonly length: number }[];
}

export interface StoredLog {
  readonly row: CheckpointRow;
  readonly batches: readonly BatchMark[];
}

/** The logs of a store that was closed, as its files say: by topic and partition, "topic-0". */
export function readClosedStore(root: string): Map<string, StoredLog> {
  const file = readFileSync(join(root, 'checkpoint'));
  if (file.toString('latin1', 0, 8) !== 'VARVECKP') throw new Error('the checkpoint has another magic');
  if (castagnoli(file, 20, file.length) !== file.readUInt32LE(16)) throw new Error('the checkpoint has a bad CRC');
  const { logs } = JSON.parse(file.toString('utf8', 20)) as { readonly logs: readonly CheckpointRow[] };
  const found = new Map<string, StoredLog>();
  for (const row of logs) {
    const directory = join(root, `${row.topic}-${row.partition}.${row.topicId}`);
    const names = readdirSync(directory);
    const batches = row.segments.flatMap(({ base, tag, length }) => {
      const name = `${String(base).padStart(20, '0')}${tag === 0 ? '' : `.${tag}`}.log`;
      if (length === 0 && !names.includes(name)) return [];
      const bytes = readFileSync(join(directory, name));
      if (bytes.length < length) throw new Error(`${name} has ${bytes.length} of its ${length} bytes`);
      return readBatches(bytes.subarray(0, length));
    });
    found.set(`${row.topic}-${row.partition}`, { row, batches });
  }
  return found;
}
