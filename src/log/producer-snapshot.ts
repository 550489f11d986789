/**
 * Producer snapshots: the producer state of one partition at one offset, `<offset>.snapshot`. The front is Kafka's layout
 * (version 1), so its tools read it; they skip what follows the array, and the CRC covers both. All big-endian.
 *
 *   version i16 = 1, CRC32C u32 (of everything after it), count i32, then per producer, 46 bytes:
 *   +-------------+-------+---------------+-------------+--------------+-----------+-------------+------------------+
 *   | producer id | epoch | last sequence | last offset | offset delta | timestamp | coordinator | first offset of  |
 *   | i64         | i16   | i32           | i64         | i32          | i64       | epoch i32   | the open txn i64 |
 *   +-------------+-------+---------------+-------------+--------------+-----------+-------------+------------------+
 *
 *   trailer: magic "VPRS", version u16 = 1, topic id (16 bytes), partition i32, offset i64,
 *            per producer: seen at i64 (ms), count u8 (0 to 4), the older batches, oldest first, 24 bytes each:
 *            last sequence i32, last offset i64, offset delta i32, timestamp i64
 *            count i32, then per `.txnindex` file: segment base i64, entries u32, CRC32C of those entries u32
 *
 * `decodeSnapshot` answers undefined for anything that cannot be right, is of another partition, or has no trailer.
 */
import { crc32c } from '../disk/addon.js';
import { writeInt64 } from '../record/record-batch.js';
import { REMEMBERED_BATCHES } from '../compaction/producer-batches.js';
import { NO_OFFSET, type ProducerBatch, type ProducerEntry } from './producer-state.js';

const VERSION = 1;
const CRC_AT = 2;
const BODY_AT = 6;
const HEAD_BYTES = 10;
const ENTRY_BYTES = 46;
const TRAILER_MAGIC = 0x56505253;
const TRAILER_VERSION = 1;
const TRAILER_HEAD_BYTES = 34;
const OLDER_BATCH_BYTES = 24;
const TXN_FILE_BYTES = 16;
const NO_SEQUENCE = -1;
/** Sequences wrap after this many. */
const SEQUENCES = 0x8000_0000;
const TWO_32 = 0x1_0000_0000;
const SNAPSHOT_PATTERN = /^(\d{20})\.snapshot$/;

/** How much of a `.txnindex` file counts. */
export interface TxnFile {
  /** Base offset of the segment whose markers it lists. */
  readonly base: number;
  readonly count: number;
  readonly crc: number;
}

export interface ProducerSnapshot {
  /** 32 hex digits. */
  readonly topicId: string;
  readonly partition: number;
  /** What the batches below this offset came to. */
  readonly offset: number;
  readonly entries: readonly ProducerEntry[];
  readonly txnFiles: readonly TxnFile[];
}

export function snapshotFileName(offset: number): string {
  return `${String(offset).padStart(20, '0')}.snapshot`;
}

/** The offset in a snapshot's name; undefined for any other file. */
export function parseSnapshotFileName(file: string): number | undefined {
  const match = SNAPSHOT_PATTERN.exec(file);
  const offset = match === null ? Number.NaN : Number(match[1]);
  return Number.isSafeInteger(offset) ? offset : undefined;
}

export function encodeSnapshot({ topicId, partition, offset, entries, txnFiles }: ProducerSnapshot): Buffer {
  const writer = new Writer(
    HEAD_BYTES +
      TRAILER_HEAD_BYTES +
      entries.length * (ENTRY_BYTES + 9 + (REMEMBERED_BATCHES - 1) * OLDER_BATCH_BYTES) +
      4 +
      txnFiles.length * TXN_FILE_BYTES,
  );
  writer.i16(VERSION);
  writer.u32(0);
  writer.i32(entries.length);
  for (const entry of entries) {
    writer.i64(entry.producerId);
    writer.i16(entry.epoch);
    writeBatch(writer, entry.batches.at(-1), entry.timestamp);
    writer.i32(entry.coordinatorEpoch);
    writer.i64(entry.txnFirstOffset);
  }
  writer.u32(TRAILER_MAGIC);
  writer.i16(TRAILER_VERSION);
  writer.raw(Buffer.from(topicId, 'hex'));
  writer.i32(partition);
  writer.i64(offset);
  for (const { seenAt, batches } of entries) {
    const older = batches.slice(0, -1);
    writer.i64(seenAt);
    writer.u8(older.length);
    for (const batch of older) writeBatch(writer, batch, batch.timestamp);
  }
  writer.i32(txnFiles.length);
  for (const { base, count, crc } of txnFiles) {
    writer.i64(base);
    writer.u32(count);
    writer.u32(crc);
  }
  const bytes = writer.finish();
  bytes.writeUInt32BE(crc32c(bytes, BODY_AT, bytes.length), CRC_AT);
  return bytes;
}

export function decodeSnapshot(
  bytes: Buffer,
  expected: { readonly topicId: string; readonly partition: number; readonly offset: number },
): ProducerSnapshot | undefined {
  if (bytes.length < HEAD_BYTES + TRAILER_HEAD_BYTES || bytes.readInt16BE(0) !== VERSION) return undefined;
  if (crc32c(bytes, BODY_AT, bytes.length) !== bytes.readUInt32BE(CRC_AT)) return undefined;
  try {
    return decodeBody(new Reader(bytes, BODY_AT), expected);
  } catch (error) {
    // It says that there is more than there is.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function decodeBody(
  reader: Reader,
  expected: { readonly topicId: string; readonly partition: number; readonly offset: number },
): ProducerSnapshot | undefined {
  const heads = reader.list(ENTRY_BYTES, () => ({
    producerId: reader.i64(),
    epoch: reader.i16(),
    last: readBatch(reader),
    coordinatorEpoch: reader.i32(),
    txnFirstOffset: reader.i64(),
  }));
  if (reader.u32() !== TRAILER_MAGIC || reader.i16() !== TRAILER_VERSION) return undefined;
  const topicId = reader.hex(16);
  const partition = reader.i32();
  const offset = reader.i64();
  if (topicId !== expected.topicId || partition !== expected.partition || offset !== expected.offset) return undefined;
  const entries = heads.map(({ last, ...head }): ProducerEntry => {
    const seenAt = reader.i64();
    const older: ProducerBatch[] = [];
    for (let count = reader.u8(); count > 0; count--) older.push(readBatch(reader));
    return { ...head, timestamp: last.timestamp, batches: last.lastOffset < 0 ? older : [...older, last], seenAt };
  });
  const txnFiles = reader.list(TXN_FILE_BYTES, () => ({
    base: reader.i64(),
    count: reader.u32(),
    crc: reader.u32(),
  }));
  return reader.atEnd ? { topicId, partition, offset, entries, txnFiles } : undefined;
}

function writeBatch(writer: Writer, batch: ProducerBatch | undefined, timestamp: number): void {
  writer.i32(batch?.lastSequence ?? NO_SEQUENCE);
  writer.i64(batch?.lastOffset ?? NO_OFFSET);
  writer.i32(batch === undefined ? 0 : batch.lastOffset - batch.baseOffset);
  writer.i64(timestamp);
}

function readBatch(reader: Reader): ProducerBatch {
  const lastSequence = reader.i32();
  const lastOffset = reader.i64();
  const delta = reader.i32();
  const timestamp = reader.i64();
  const firstSequence = lastSequence - delta + (lastSequence < delta ? SEQUENCES : 0);
  return { firstSequence, lastSequence, baseOffset: lastOffset - delta, lastOffset, timestamp };
}

class Writer {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(maxBytes: number) {
    this.#bytes = Buffer.allocUnsafe(maxBytes);
  }

  u8(value: number): void {
    this.#at = this.#bytes.writeUInt8(value, this.#at);
  }

  i16(value: number): void {
    this.#at = this.#bytes.writeInt16BE(value, this.#at);
  }

  i32(value: number): void {
    this.#at = this.#bytes.writeInt32BE(value, this.#at);
  }

  u32(value: number): void {
    this.#at = this.#bytes.writeUInt32BE(value, this.#at);
  }

  i64(value: number): void {
    writeInt64(this.#bytes, this.#at, value);
    this.#at += 8;
  }

  raw(bytes: Buffer): void {
    this.#at += bytes.copy(this.#bytes, this.#at);
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }
}

/** Throws a RangeError where the bytes end, or a number does not fit. */
class Reader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#advance(1));
  }

  i16(): number {
    return this.#bytes.readInt16BE(this.#advance(2));
  }

  i32(): number {
    return this.#bytes.readInt32BE(this.#advance(4));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#advance(4));
  }

  i64(): number {
    const at = this.#advance(8);
    const value = this.#bytes.readInt32BE(at) * TWO_32 + this.#bytes.readUInt32BE(at + 4);
    if (!Number.isSafeInteger(value)) throw new RangeError('beyond 2^53');
    return value;
  }

  hex(length: number): string {
    const at = this.#advance(length);
    return this.#bytes.toString('hex', at, at + length);
  }

  /** A count and that many items of at least `itemBytes`. */
  list<T>(itemBytes: number, read: () => T): T[] {
    const count = this.i32();
    if (count < 0 || count * itemBytes > this.#bytes.length - this.#at) throw new RangeError('more than there is');
    return Array.from({ length: count }, read);
  }

  #advance(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw new RangeError('cut short');
    this.#at += length;
    return at;
  }
}
