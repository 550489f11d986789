/**
 * The file that compaction writes a segment into: batches in, and in the end a .log file, its indexes and its seal, all
 * durable. Nobody refers to it until a swap does; an unfinished one is removed.
 *
 * What is the same as in the segment it replaces need not be written (`skip`): if all of it is, there is no file.
 *
 * What can go wrong: DISK_FULL (the file is of no use then, and harmless), and DISK_FAILED, which the caller makes the end
 * of the store.
 */
import { crc32c } from '../disk/addon.js';
import type { Disk } from '../disk/disk.js';
import { invariant } from '../errors.js';
import { maxTimestampAt } from '../record/record-batch.js';
import { segmentPaths } from '../segment/file-names.js';
import { encodeSeal, SealBuilder, type SealIdentity } from '../segment/seal.js';
import { SegmentIndexes } from '../segment/segment-indexes.js';
import type { LogOptions } from './options.js';
import { sealPath } from './segment-sealing.js';

/** Index entries keep positions in 32 bits. */
const MAX_BYTES = 0xffff_ffff;

export class CompactedFile {
  readonly indexes: SegmentIndexes;
  readonly #disk: Disk;
  readonly #path: string;
  readonly #seal: SealBuilder;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #length = 0;
  #crc = 0;

  constructor(disk: Disk, path: string, identity: SealIdentity, options: LogOptions) {
    this.#disk = disk;
    this.#path = path;
    this.#seal = new SealBuilder(identity);
    this.indexes = new SegmentIndexes(identity.base, options.indexIntervalBytes);
  }

  /** Bytes so far, written or not. */
  get length(): number {
    return this.#length;
  }

  /** CRC32C of all of them. */
  get crc(): number {
    return this.#crc;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  add(batch: Buffer, baseOffset: number, lastOffset: number): void {
    invariant(this.#length + batch.length <= MAX_BYTES, `${this.#path}: a compacted segment outgrows its indexes`);
    const maxTimestamp = maxTimestampAt(batch, 0);
    this.indexes.add(this.#length, baseOffset, lastOffset, maxTimestamp);
    this.#seal.add(batch, 0, batch.length, lastOffset, maxTimestamp);
    this.#crc = crc32c(batch, 0, batch.length, this.#crc);
    this.#pending.push(batch);
    this.#pendingBytes += batch.length;
    this.#length += batch.length;
  }

  /** Writes and syncs what is pending. */
  async write(): Promise<void> {
    if (this.#pendingBytes === 0) return;
    const bytes = Buffer.concat(this.#pending, this.#pendingBytes);
    const position = this.#length - this.#pendingBytes;
    this.#pending = [];
    this.#pendingBytes = 0;
    await this.writeAt(position, bytes);
  }

  /** What is pending is not written now; the caller writes it later, with `writeAt`, if the file is needed after all. */
  skip(): void {
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  async writeAt(position: number, bytes: Buffer): Promise<void> {
    await this.#disk.writeFile(this.#path, position, bytes, { unreferenced: true });
  }

  /** Makes indexes and seal durable. */
  async finish(): Promise<void> {
    const stem = this.#path.slice(0, -'.log'.length);
    await this.indexes.save(this.#disk, stem);
    await this.#disk.replaceFile(sealPath({ stem }), encodeSeal(this.#seal.seal()));
  }

  async remove(): Promise<void> {
    await this.#disk.removeFiles(segmentPaths(this.#path));
  }
}
