/**
 * Encodes journal groups in JavaScript: the same bytes as native/src/journal_group.cc (docs/FORMAT.md draws them). Written
 * apart from src/disk/journal-format.ts, which only decodes, so that each checks the other.
 */
import { crc32c } from '../../src/disk/addon.js';
import { STORED_RECORD_TYPE } from '../../src/disk/journal-format.js';
import { VarveError } from '../../src/errors.js';
import type { TwinSegment } from './twin-segment.js';

export const BLOCK_BYTES = 4096;

const FILE_MAGIC = 0x4c415756; // "VWAL"
const GROUP_MAGIC = 0x50524756; // "VGRP"
const FILE_END_MAGIC = 0x444e4556; // "VEND"
const VERSION = 1;
const FILE_HEADER_BYTES = 48;
const FILE_END_BYTES = 48;
const GROUP_HEADER_BYTES = 48;
const RECORD_HEADER_BYTES = 80;
const NO_RECORD = -1;
const NOTHING = new Uint8Array(0);

export interface EncodedIdentity {
  readonly topicId: Uint8Array;
  readonly partition: number;
}

/** A record that waits for the journal. Lengths, last offsets and floors grow when neighbours are joined to it. */
export interface PendingRecord {
  readonly log: number;
  readonly type: number;
  readonly mode: 'sync' | 'async' | 'none';
  /** Set when it is submitted. */
  ticket: number;
  readonly epoch: number;
  readonly generation: number;
  /** Stored records: where their bytes are. */
  readonly segment: TwinSegment | undefined;
  /** All others, except durable marks, which have none. */
  readonly payload: Uint8Array | undefined;
  readonly segmentBaseOffset: number;
  readonly position: number;
  length: number;
  lastOffset: number;
  hwFloor: number;
}

/** Where a group goes. */
export interface GroupPlace {
  readonly fileNumber: number;
  readonly lsn: number;
  readonly durableLsn: number;
  readonly previousChecksum: number;
  /** The first group of a file brings the file's header along. */
  readonly withFileHeader: boolean;
}

export function unreadablePage(segment: TwinSegment): VarveError {
  return new VarveError('DISK_FAILED', `a page of ${segment.path} could not be read (SIGBUS)`);
}

export function padded(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** The file header's block. */
export function encodeFileHeader(
  block: Buffer,
  directoryId: Uint8Array,
  place: Pick<GroupPlace, 'fileNumber' | 'lsn' | 'previousChecksum'>,
): void {
  block.fill(0, 0, BLOCK_BYTES);
  block.writeUInt32LE(FILE_MAGIC, 0);
  block.writeUInt16LE(VERSION, 4);
  block.writeUInt16LE(FILE_HEADER_BYTES, 6);
  writeInt64(block, place.fileNumber, 8);
  writeInt64(block, place.lsn, 16);
  block.set(directoryId, 24);
  block.writeUInt32LE(place.previousChecksum, 40);
  const crc = crc32c(block, FILE_HEADER_BYTES, BLOCK_BYTES, crc32c(block, 0, 44));
  block.writeUInt32LE(crc, 44);
}

/** The block that ends a file which was left for the next one. */
export interface FileEnd {
  readonly fileNumber: number;
  readonly lsn: number;
  readonly nextFileNumber: number;
  readonly durableLsn: number;
  readonly previousChecksum: number;
}

export function encodeFileEnd(directoryId: Uint8Array, end: FileEnd): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.writeUInt32LE(FILE_END_MAGIC, 0);
  block.writeUInt16LE(VERSION, 4);
  block.writeUInt16LE(FILE_END_BYTES, 6);
  writeInt64(block, end.lsn, 8);
  writeInt64(block, end.fileNumber, 16);
  writeInt64(block, end.nextFileNumber, 24);
  writeInt64(block, end.durableLsn, 32);
  block.writeUInt32LE(end.previousChecksum, 40);
  block.writeUInt32LE(crc32c(block, 0, 44, groupSeed(directoryId, end)), 44);
  return block;
}

export class JournalGroup {
  readonly #directoryId: Uint8Array;
  readonly #maxBytes: number;
  #contentBytes = GROUP_HEADER_BYTES;
  #records: PendingRecord[] = [];
  #identities: EncodedIdentity[] = [];
  /** By log: the group's last stored record of it. */
  #tails = new Map<number, number>();
  /** Records before it take nothing more: another kind of record came between. */
  #barrier = 0;
  #scratch = Buffer.alloc(2 * BLOCK_BYTES);
  #checksum = 0;

  constructor(directoryId: Uint8Array, maxBytes: number) {
    this.#directoryId = directoryId;
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return this.#records.length === 0;
  }

  /** Length in the file, without a file header. */
  get paddedBytes(): number {
    return padded(this.#contentBytes);
  }

  get checksum(): number {
    return this.#checksum;
  }

  /** False when the group is full, never when it is empty. */
  accepts(record: PendingRecord): boolean {
    return this.isEmpty || this.#contentBytes + RECORD_HEADER_BYTES + record.length <= this.#maxBytes;
  }

  add(record: PendingRecord, identity: EncodedIdentity): void {
    this.#contentBytes += record.length;
    const before = record.type === STORED_RECORD_TYPE ? this.#joinable(record) : undefined;
    if (before !== undefined) {
      before.length += record.length;
      before.lastOffset = record.lastOffset;
      before.hwFloor = Math.max(before.hwFloor, record.hwFloor);
      return;
    }
    this.#contentBytes += RECORD_HEADER_BYTES;
    if (record.type === STORED_RECORD_TYPE) this.#tails.set(record.log, this.#records.length);
    else this.#barrier = this.#records.length + 1;
    this.#records.push(record);
    this.#identities.push(identity);
  }

  /**
   * The bytes of the group, with the file header before it where it is wanted; valid until the next call.
   * @throws VarveError DISK_FAILED when a page with a record's bytes was lost
   */
  seal(place: GroupPlace): Buffer {
    const start = place.withFileHeader ? BLOCK_BYTES : 0;
    const end = start + this.paddedBytes;
    if (this.#scratch.length < end) this.#scratch = Buffer.alloc(2 * end);
    const bytes = this.#scratch;
    if (place.withFileHeader) encodeFileHeader(bytes, this.#directoryId, place);
    bytes.writeUInt32LE(GROUP_MAGIC, start);
    bytes.writeUInt16LE(VERSION, start + 4);
    bytes.writeUInt16LE(GROUP_HEADER_BYTES, start + 6);
    writeInt64(bytes, place.lsn, start + 8);
    writeInt64(bytes, place.fileNumber, start + 16);
    writeInt64(bytes, place.durableLsn, start + 24);
    bytes.writeUInt32LE(this.#contentBytes, start + 32);
    bytes.writeUInt32LE(this.#records.length, start + 36);
    bytes.writeUInt32LE(place.previousChecksum, start + 40);
    let checksum = crc32c(bytes, start, start + 44, groupSeed(this.#directoryId, place));
    let at = start + GROUP_HEADER_BYTES;
    for (const [i, record] of this.#records.entries()) {
      const next = encodeRecord(bytes, at, record, this.#identities[i]!);
      checksum = crc32c(bytes, at, at + RECORD_HEADER_BYTES, checksum);
      at = next;
      // Zeros in place of an unreadable page must not become the journal's truth.
      if (record.segment?.poisoned) throw unreadablePage(record.segment);
    }
    bytes.writeUInt32LE(checksum, start + 44);
    bytes.fill(0, at, end);
    this.#checksum = checksum;
    return bytes.subarray(0, end);
  }

  clear(): void {
    this.#records = [];
    this.#identities = [];
    this.#tails.clear();
    this.#contentBytes = GROUP_HEADER_BYTES;
    this.#barrier = 0;
  }

  /** What a stored record continues: the same segment, epoch and generation, byte after byte. */
  #joinable(record: PendingRecord): PendingRecord | undefined {
    const tail = this.#tails.get(record.log) ?? NO_RECORD;
    if (tail < this.#barrier) return undefined;
    const before = this.#records[tail]!;
    const continues =
      before.segment === record.segment &&
      before.segmentBaseOffset === record.segmentBaseOffset &&
      before.epoch === record.epoch &&
      before.generation === record.generation &&
      before.position + before.length === record.position;
    return continues ? before : undefined;
  }
}

function groupSeed(directoryId: Uint8Array, place: Pick<GroupPlace, 'fileNumber' | 'lsn'>): number {
  const seed = Buffer.alloc(32);
  seed.set(directoryId);
  writeInt64(seed, place.fileNumber, 16);
  writeInt64(seed, place.lsn, 24);
  return crc32c(seed, 0, seed.length);
}

/** @returns the position after the record */
function encodeRecord(bytes: Buffer, at: number, record: PendingRecord, identity: EncodedIdentity): number {
  const end = at + RECORD_HEADER_BYTES + record.length;
  bytes.writeUInt32LE(RECORD_HEADER_BYTES + record.length, at + 4);
  bytes.writeUInt16LE(record.type, at + 8);
  bytes.writeUInt16LE(0, at + 10);
  bytes.writeUInt32LE(identity.partition, at + 12);
  bytes.set(identity.topicId, at + 16);
  writeInt64(bytes, record.segmentBaseOffset, at + 32);
  writeInt64(bytes, record.position, at + 40);
  writeInt64(bytes, record.lastOffset, at + 48);
  writeInt64(bytes, record.hwFloor, at + 56);
  writeInt64(bytes, record.generation, at + 64);
  bytes.writeInt32LE(record.epoch, at + 72);
  bytes.writeUInt32LE(0, at + 76);
  const { segment, position, length } = record;
  const payload =
    segment === undefined ? (record.payload ?? NOTHING) : segment.file.bytes.subarray(position, position + length);
  bytes.set(payload, at + RECORD_HEADER_BYTES);
  bytes.writeUInt32LE(crc32c(bytes, at + 4, end), at);
  return end;
}

/** Two's complement; exact for safe integers. */
function writeInt64(bytes: Buffer, value: number, at: number): void {
  const high = Math.floor(value / 2 ** 32);
  bytes.writeUInt32LE(value - high * 2 ** 32, at);
  bytes.writeInt32LE(high, at + 4);
}
