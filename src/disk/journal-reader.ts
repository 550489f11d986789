/**
 * Reads the journal's chain of groups back, in order, over many files.
 *
 * The chain goes on in a file's next 4 KiB block, or in the next file whose header names exactly the LSN and checksum
 * where it stands. Where neither is so it ends, and the question is whether something is missing:
 *
 *   a later file continues from a later LSN                     → CORRUPT_JOURNAL: what lies between was durable once
 *   a later group in the file says that this LSN was durable    → CORRUPT_JOURNAL
 *   the end of a file says that the next one was durable so far → CORRUPT_JOURNAL
 *   none of them                                                → a torn write, or simply the end; dropped whole
 *
 * A file without a header of its own number is unused: fresh, or recycled and not yet written. (The header travels with
 * the first group; if it alone is unreadable, a valid first group stands in for it.) Rot in the very last group can't be
 * told from a torn write.
 */
import { VarveError } from '../errors.js';
import type { Disk } from './disk.js';
import {
  decodeFileEnd,
  decodeFileHeader,
  decodeGroup,
  JOURNAL_BLOCK_BYTES,
  journalFileName,
  type JournalFileEnd,
  type JournalGroupHeader,
  type JournalRecord,
  paddedToBlock,
  parseJournalFileName,
  peekGroupHeader,
} from './journal-format.js';

/** Read at once; a larger group is read whole. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** How far a file that begins with zeros is searched for groups: a group is no larger than a window, as a rule. */
const ZEROS_BYTES = 2 * WINDOW_BYTES;

export interface JournalGroup {
  readonly fileNumber: number;
  readonly position: number;
  readonly lsn: number;
  readonly records: readonly JournalRecord[];
}

/** Part of the chain that a file holds: groups with startLsn ≤ LSN < endLsn. */
export interface JournalFileRange {
  readonly fileNumber: number;
  readonly startLsn: number;
  readonly endLsn: number;
}

/** Where the chain ends: the next group continues it. */
export interface JournalEnd {
  readonly lsn: number;
  /** Of the last group. */
  readonly checksum: number;
  readonly files: readonly JournalFileRange[];
}

type ReadableDisk = Pick<Disk, 'readDirectory' | 'fileSize' | 'readFile'>;

interface ChainFile {
  readonly fileNumber: number;
  readonly path: string;
  readonly startLsn: number;
  readonly previousChecksum: number;
}

interface FoundEnd {
  readonly end: JournalFileEnd;
  /** Of the file whose end it is. */
  readonly path: string;
}

export class JournalReader {
  readonly #disk: ReadableDisk;
  readonly #directory: string;
  readonly #directoryId: Uint8Array;

  /** @param directoryId 16 bytes, as given to `Disk.openJournal` */
  constructor(disk: ReadableDisk, directory: string, directoryId: Uint8Array) {
    this.#disk = disk;
    this.#directory = directory;
    this.#directoryId = directoryId;
  }

  /** All records from `firstFile` on. Each call reads the files anew. */
  async *records(firstFile = 0): AsyncGenerator<JournalRecord, JournalEnd | undefined> {
    const groups = this.groups(firstFile);
    for (;;) {
      const next = await groups.next();
      if (next.done) return next.value;
      yield* next.value.records;
    }
  }

  /** Where the chain from `firstFile` on ends; undefined when no file from there on is in use. */
  async end(firstFile = 0): Promise<JournalEnd | undefined> {
    const groups = this.groups(firstFile);
    for (;;) {
      const next = await groups.next();
      if (next.done) return next.value;
    }
  }

  /** @throws VarveError CORRUPT_JOURNAL, DIRECTORY_MISMATCH */
  async *groups(firstFile = 0): AsyncGenerator<JournalGroup, JournalEnd | undefined> {
    const chain = await this.#chainFiles(firstFile);
    const first = chain[0];
    if (first === undefined) return undefined;
    const files: JournalFileRange[] = [];
    let lsn = first.startLsn;
    let checksum = first.previousChecksum;
    let left: FoundEnd | undefined;
    for (const [index, file] of chain.entries()) {
      const next = chain[index + 1];
      const window = new FileWindow(this.#disk, file.path);
      while (next === undefined || lsn < next.startLsn) {
        const position = JOURNAL_BLOCK_BYTES + (lsn - file.startLsn);
        const found = await this.#groupAt(window, file.fileNumber, position);
        if (found === undefined || found.header.lsn !== lsn) {
          if (next !== undefined) throw this.#corrupt(file.path, position, `${next.path} goes on from a later one`);
          await this.#refuseLaterGroup(window, file.fileNumber, position, lsn);
          break;
        }
        const { header, records } = found;
        if (header.previousChecksum !== checksum) {
          throw this.#corrupt(file.path, position, 'it does not follow the group before it');
        }
        yield { fileNumber: file.fileNumber, position, lsn, records };
        lsn += paddedToBlock(header.contentBytes);
        checksum = header.checksum;
      }
      files.push({ fileNumber: file.fileNumber, startLsn: file.startLsn, endLsn: lsn });
      const position = JOURNAL_BLOCK_BYTES + (lsn - file.startLsn);
      const end = decodeFileEnd(await window.bytes(position, JOURNAL_BLOCK_BYTES), this.#directoryId);
      if (end?.fileNumber === file.fileNumber && end.lsn === lsn) left = { end, path: file.path };
      if (next !== undefined && (next.startLsn !== lsn || next.previousChecksum !== checksum)) {
        throw this.#corrupt(next.path, 0, `it does not follow where ${file.path} ends`);
      }
    }
    if (left !== undefined) this.#refuseMissing(left, lsn);
    return { lsn, checksum, files };
  }

  /** The files in use, in order. */
  async #chainFiles(firstFile: number): Promise<ChainFile[]> {
    const entries = await this.#disk.readDirectory(this.#directory);
    const files: ChainFile[] = [];
    for (const { name } of entries) {
      const fileNumber = parseJournalFileName(name);
      if (fileNumber === undefined || fileNumber < firstFile) continue;
      const file = await this.#inspect(fileNumber, `${this.#directory}/${name}`);
      if (file !== undefined) files.push(file);
    }
    return files.sort((a, b) => a.fileNumber - b.fileNumber);
  }

  /** Undefined when the file is not in use. */
  async #inspect(fileNumber: number, path: string): Promise<ChainFile | undefined> {
    const window = new FileWindow(this.#disk, path);
    const block = await window.bytes(0, JOURNAL_BLOCK_BYTES);
    const header = decodeFileHeader(block, path);
    if (header?.fileNumber === fileNumber) {
      if (!header.directoryId.equals(this.#directoryId)) {
        throw this.#corrupt(path, 0, `it belongs to directory ${header.directoryId.toString('hex')}`);
      }
      return { fileNumber, path, startLsn: header.startLsn, previousChecksum: header.previousChecksum };
    }
    const found = await this.#groupAt(window, fileNumber, JOURNAL_BLOCK_BYTES);
    if (found !== undefined) {
      return { fileNumber, path, startLsn: found.header.lsn, previousChecksum: found.header.previousChecksum };
    }
    if (header === undefined) {
      // A file that was never used is zeros all over; one that was has its second group within reach.
      const isZero = block.every((byte) => byte === 0);
      await this.#refuseLaterGroup(window, fileNumber, JOURNAL_BLOCK_BYTES, undefined, isZero ? ZEROS_BYTES : Infinity);
    }
    return undefined;
  }

  /** The group at a position, fully checked; undefined when there is none. */
  async #groupAt(
    window: FileWindow,
    fileNumber: number,
    position: number,
  ): Promise<{ header: JournalGroupHeader; records: JournalRecord[] } | undefined> {
    const header = peekGroupHeader(await window.bytes(position, JOURNAL_BLOCK_BYTES), 0);
    if (header?.fileNumber !== fileNumber) return undefined;
    const padded = paddedToBlock(header.contentBytes);
    if (position + padded > (await window.fileBytes())) return undefined;
    const records = decodeGroup(await window.bytes(position, padded), header, this.#directoryId);
    return records && { header, records };
  }

  /**
   * Throws if a valid group after `position` says that the bytes at `position` were durable. `lsn` is what a group there
   * would have; undefined when the file's start is unknown, and then each group implies it.
   */
  async #refuseLaterGroup(
    window: FileWindow,
    fileNumber: number,
    position: number,
    lsn: number | undefined,
    limit = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    const end = Math.min(await window.fileBytes(), limit);
    for (let at = position + JOURNAL_BLOCK_BYTES; at < end; at += JOURNAL_BLOCK_BYTES) {
      const block = await window.bytes(at, JOURNAL_BLOCK_BYTES);
      const end = decodeFileEnd(block, this.#directoryId);
      // A file is left only when all of it is on disk.
      if (end?.fileNumber === fileNumber && (lsn === undefined || end.lsn === lsn + (at - position))) {
        throw this.#corrupt(window.path, position, `the end of the file, at position ${at}, says that it was on disk`);
      }
      const claimed = peekGroupHeader(block, 0);
      if (claimed?.fileNumber !== fileNumber) continue;
      const missing = lsn ?? claimed.lsn - (at - position);
      if (claimed.lsn !== missing + (at - position) || claimed.durableLsn <= missing) continue;
      if ((await this.#groupAt(window, fileNumber, at)) !== undefined) {
        throw this.#corrupt(window.path, position, `a later group, at position ${at}, says that it was on disk`);
      }
    }
  }

  /** The chain ends at `lsn`. */
  #refuseMissing({ end, path }: FoundEnd, lsn: number): void {
    if (lsn >= end.durableLsn) return;
    const file = `${this.#directory}/${journalFileName(end.nextFileNumber)}`;
    throw this.#corrupt(file, JOURNAL_BLOCK_BYTES + (lsn - end.lsn), `${path} says at its end that it was on disk`);
  }

  #corrupt(path: string, position: number, reason: string): VarveError {
    return new VarveError(
      'CORRUPT_JOURNAL',
      `${path}: no valid group at position ${position}, but ${reason}. Acknowledged data may be in it, so nothing was ` +
        'dropped: restore the file from a backup, or remove this replica and let it be copied anew',
    );
  }
}

/** Reads a file in large pieces. Buffers it returns stay valid. */
class FileWindow {
  readonly path: string;
  readonly #disk: ReadableDisk;
  #size: number | undefined;
  #start = 0;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(disk: ReadableDisk, path: string) {
    this.#disk = disk;
    this.path = path;
  }

  async fileBytes(): Promise<number> {
    this.#size ??= (await this.#disk.fileSize(this.path)) ?? 0;
    return this.#size;
  }

  /** Fewer bytes than asked for at the end of the file. */
  async bytes(position: number, length: number): Promise<Buffer> {
    const end = Math.min(position + length, await this.fileBytes());
    if (end <= position) return Buffer.alloc(0);
    if (position < this.#start || end > this.#start + this.#bytes.length) {
      const wanted = position === 0 ? length : Math.max(length, WINDOW_BYTES);
      this.#bytes = (await this.#disk.readFile(this.path, position, wanted)) ?? Buffer.alloc(0);
      this.#start = position;
    }
    return this.#bytes.subarray(position - this.#start, end - this.#start);
  }
}
