/**
 * Decodes the bytes of the journal, which native/src/journal_format.h draws and docs/FORMAT.md explains. Everything here
 * is pure and trusts nothing: bytes that are not a whole, right group are simply no group.
 */
import { VarveError } from '../errors.js';
import { crc32c } from './addon.js';

export const JOURNAL_BLOCK_BYTES = 4096;
/** Type of the records that carry stored batches. */
export const STORED_RECORD_TYPE = 1;
/** Type of the records that say how far a segment itself was synced (direct flush). All other types are the engine's. */
export const DURABLE_MARK_RECORD_TYPE = 6;

const FILE_MAGIC = 0x4c415756; // "VWAL"
const GROUP_MAGIC = 0x50524756; // "VGRP"
const FILE_END_MAGIC = 0x444e4556; // "VEND"
const VERSION = 1;
const FILE_HEADER_BYTES = 48;
const FILE_CRC_AT = 44;
const FILE_END_BYTES = 48;
const FILE_END_CHECKSUM_AT = 44;
const GROUP_HEADER_BYTES = 48;
const GROUP_CHECKSUM_AT = 44;
const RECORD_HEADER_BYTES = 80;
const FILE_NAME_PATTERN = /^(\d{20})\.wal$/;

export interface JournalFileHeader {
  readonly fileNumber: number;
  readonly startLsn: number;
  readonly directoryId: Buffer;
  /** Checksum of the group before the file's first one. */
  readonly previousChecksum: number;
}

/** The block behind the last group of a file that was left for the next one. */
export interface JournalFileEnd {
  /** Where the next file starts. */
  readonly lsn: number;
  readonly fileNumber: number;
  readonly nextFileNumber: number;
  /** How far the next file was on disk when this was written. */
  readonly durableLsn: number;
  /** Of the file's last group. */
  readonly previousChecksum: number;
}

export interface JournalGroupHeader {
  readonly lsn: number;
  readonly fileNumber: number;
  /** How far the journal was known to be on disk when this group was written. */
  readonly durableLsn: number;
  /** Header and records, without padding. */
  readonly contentBytes: number;
  readonly recordCount: number;
  readonly previousChecksum: number;
  readonly checksum: number;
}

export interface JournalRecord {
  readonly type: number;
  /** 32 hex digits. */
  readonly topicId: string;
  readonly partition: number;
  /** This and the next three are 0 unless the record holds batches or is a durable mark. */
  readonly segmentBaseOffset: number;
  readonly position: number;
  readonly lastOffset: number;
  readonly hwFloor: number;
  readonly epoch: number;
  readonly generation: number;
  readonly payload: Buffer;
}

export function journalFileName(fileNumber: number): string {
  return `${String(fileNumber).padStart(20, '0')}.wal`;
}

/** Undefined when the name is not one of a journal file. */
export function parseJournalFileName(name: string): number | undefined {
  const match = FILE_NAME_PATTERN.exec(name);
  const fileNumber = match === null ? undefined : Number(match[1]);
  return Number.isSafeInteger(fileNumber) ? fileNumber : undefined;
}

export function paddedToBlock(bytes: number): number {
  return Math.ceil(bytes / JOURNAL_BLOCK_BYTES) * JOURNAL_BLOCK_BYTES;
}

/** @returns undefined when the block is no whole header; throws DIRECTORY_MISMATCH for another format version. */
export function decodeFileHeader(block: Buffer, file: string): JournalFileHeader | undefined {
  if (block.length < JOURNAL_BLOCK_BYTES || block.readUInt32LE(0) !== FILE_MAGIC) return undefined;
  const crc = crc32c(block, FILE_HEADER_BYTES, JOURNAL_BLOCK_BYTES, crc32c(block, 0, FILE_CRC_AT));
  if (crc !== block.readUInt32LE(FILE_CRC_AT)) return undefined;
  const version = block.readUInt16LE(4);
  if (version !== VERSION) {
    throw new VarveError('DIRECTORY_MISMATCH', `${file} has journal format ${version}; this build reads ${VERSION}`);
  }
  return {
    fileNumber: readUint64(block, 8),
    startLsn: readUint64(block, 16),
    directoryId: Buffer.from(block.subarray(24, 40)),
    previousChecksum: block.readUInt32LE(40),
  };
}

/** @returns undefined when these are no bytes of a whole, right one of this directory */
export function decodeFileEnd(bytes: Buffer, directoryId: Uint8Array): JournalFileEnd | undefined {
  if (bytes.length < FILE_END_BYTES || bytes.readUInt32LE(0) !== FILE_END_MAGIC) return undefined;
  if (bytes.readUInt16LE(4) !== VERSION || bytes.readUInt16LE(6) !== FILE_END_BYTES) return undefined;
  const lsn = readUint64(bytes, 8);
  const fileNumber = readUint64(bytes, 16);
  if (!Number.isSafeInteger(lsn) || !Number.isSafeInteger(fileNumber)) return undefined;
  const checksum = crc32c(bytes, 0, FILE_END_CHECKSUM_AT, groupSeed(directoryId, fileNumber, lsn));
  if (checksum !== bytes.readUInt32LE(FILE_END_CHECKSUM_AT)) return undefined;
  return {
    lsn,
    fileNumber,
    nextFileNumber: readUint64(bytes, 24),
    durableLsn: readUint64(bytes, 32),
    previousChecksum: bytes.readUInt32LE(40),
  };
}

/** What a group header says, unchecked; undefined when these are no bytes of a group header at all. */
export function peekGroupHeader(bytes: Buffer, at: number): JournalGroupHeader | undefined {
  if (bytes.length - at < GROUP_HEADER_BYTES || bytes.readUInt32LE(at) !== GROUP_MAGIC) return undefined;
  if (bytes.readUInt16LE(at + 4) !== VERSION || bytes.readUInt16LE(at + 6) !== GROUP_HEADER_BYTES) return undefined;
  const contentBytes = bytes.readUInt32LE(at + 32);
  if (contentBytes < GROUP_HEADER_BYTES) return undefined;
  return {
    lsn: readUint64(bytes, at + 8),
    fileNumber: readUint64(bytes, at + 16),
    durableLsn: readUint64(bytes, at + 24),
    contentBytes,
    recordCount: bytes.readUInt32LE(at + 36),
    previousChecksum: bytes.readUInt32LE(at + 40),
    checksum: bytes.readUInt32LE(at + GROUP_CHECKSUM_AT),
  };
}

/**
 * Decodes the records of a whole group (header, records, padding) after checking every byte of it.
 * @returns undefined when anything is wrong
 */
export function decodeGroup(
  bytes: Buffer,
  header: JournalGroupHeader,
  directoryId: Uint8Array,
): JournalRecord[] | undefined {
  const { contentBytes, recordCount } = header;
  if (bytes.length !== paddedToBlock(contentBytes)) return undefined;
  let checksum = crc32c(bytes, 0, GROUP_CHECKSUM_AT, groupSeed(directoryId, header.fileNumber, header.lsn));
  const records: JournalRecord[] = [];
  let at = GROUP_HEADER_BYTES;
  for (; at < contentBytes; at += bytes.readUInt32LE(at + 4)) {
    if (contentBytes - at < RECORD_HEADER_BYTES) return undefined;
    const end = at + bytes.readUInt32LE(at + 4);
    if (end < at + RECORD_HEADER_BYTES || end > contentBytes) return undefined;
    if (crc32c(bytes, at + 4, end) !== bytes.readUInt32LE(at)) return undefined;
    checksum = crc32c(bytes, at, at + RECORD_HEADER_BYTES, checksum);
    records.push(decodeRecord(bytes, at, end));
  }
  if (checksum !== header.checksum || records.length !== recordCount) return undefined;
  for (let i = contentBytes; i < bytes.length; i++) if (bytes[i] !== 0) return undefined;
  return records;
}

function decodeRecord(bytes: Buffer, at: number, end: number): JournalRecord {
  return {
    type: bytes.readUInt16LE(at + 8),
    partition: bytes.readUInt32LE(at + 12),
    topicId: bytes.toString('hex', at + 16, at + 32),
    segmentBaseOffset: readUint64(bytes, at + 32),
    position: readUint64(bytes, at + 40),
    lastOffset: readInt64(bytes, at + 48),
    hwFloor: readInt64(bytes, at + 56),
    generation: readUint64(bytes, at + 64),
    epoch: bytes.readInt32LE(at + 72),
    payload: bytes.subarray(at + RECORD_HEADER_BYTES, end),
  };
}

function groupSeed(directoryId: Uint8Array, fileNumber: number, lsn: number): number {
  const seed = Buffer.alloc(32);
  seed.set(directoryId, 0);
  seed.writeBigUInt64LE(BigInt(fileNumber), 16);
  seed.writeBigUInt64LE(BigInt(lsn), 24);
  return crc32c(seed, 0, seed.length);
}

/** Numbers beyond 2^53 lose digits here; they only occur in bytes that fail their checksum, or in nobody's files. */
function readUint64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}

function readInt64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readInt32LE(at + 4) * 2 ** 32;
}
