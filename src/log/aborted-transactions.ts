/**
 * The aborted transactions of one log. Those below the newest snapshot are in `.txnindex` files, one per segment, loaded
 * when somebody reads there; the ones behind it are in memory, and become files with the next snapshot.
 *
 * A file holds committed history only (its markers lie below a snapshot, which lies at or below the high watermark), so no
 * truncation reaches it, and its name needs no generation. How many of its entries count, and their checksum, stands in
 * the snapshot: a file that is missing or does not fit is rebuilt from the batches.
 *
 * Invariant: the snapshot that refers to entries is written after them.
 */
import { crc32c } from '../disk/addon.js';
import type { Disk } from '../disk/disk.js';
import { type AbortedTransaction, decodeTxnIndex, encodeTxnIndex, TXN_INDEX_ENTRY_BYTES } from '../index/txn-index.js';
import { baseOffsetAt, hasProducerAt } from '../record/record-batch.js';
import type { SegmentList } from '../segment/segment-list.js';
import { txnIndexFileName } from '../segment/file-names.js';
import { replayBatches } from './batch-replay.js';
import type { TxnFile } from './producer-snapshot.js';
import { ProducerState } from './producer-state.js';

/** Files whose entries are kept in memory after they were asked for. */
const MAX_LOADED_FILES = 16;
const REBUILD_ATTEMPTS = 3;

export interface TxnFilesWork {
  /** All files, as the snapshot is to name them. */
  readonly files: readonly TxnFile[];
  readonly writes: readonly TxnFileWrite[];
  /** Entries with markers below this are in the files then. */
  readonly offset: number;
}

interface TxnFileWrite {
  readonly base: number;
  readonly position: number;
  readonly bytes: Buffer;
}

export class AbortedTransactions {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #segments: SegmentList;
  /** By segment base, rising. Replaced as a whole, so that a reader keeps the list it began with. */
  #files: readonly TxnFile[];
  /** Entries with markers below this are in the files. */
  #filed: number;
  /** Markers behind that, in order. */
  #recent: AbortedTransaction[] = [];
  readonly #loaded = new Map<number, readonly AbortedTransaction[]>();
  /** Rebuilt, because the file was missing or wrong: written with the next snapshot. */
  readonly #repaired = new Map<number, readonly AbortedTransaction[]>();

  /** @param offset of the snapshot that names the files */
  constructor(disk: Disk, directory: string, segments: SegmentList, offset: number, files: readonly TxnFile[]) {
    this.#disk = disk;
    this.#directory = directory;
    this.#segments = segments;
    this.#filed = offset;
    this.#files = files;
  }

  get isEmpty(): boolean {
    return this.#recent.length === 0 && this.#files.length === 0;
  }

  get hasRepairs(): boolean {
    return this.#repaired.size > 0;
  }

  /** Paths of the files that count. */
  get paths(): string[] {
    return this.#files.map(({ base }) => this.#path(base));
  }

  add(transaction: AbortedTransaction): void {
    this.#recent.push(transaction);
  }

  /** The log was cut at `offset`. */
  truncate(offset: number): void {
    const recent = this.#recent;
    while (recent.length > 0 && recent.at(-1)!.lastOffset >= offset) recent.pop();
  }

  /** Those that have records in [from, to), by first offset; everything below `to` is stable. */
  async between(from: number, to: number): Promise<AbortedTransaction[]> {
    const found: AbortedTransaction[] = [];
    const recent = [...this.#recent];
    const files = this.#files;
    let first = files.length - 1;
    while (first > 0 && files[first]!.base > from) first--;
    let done = false;
    for (let i = Math.max(first, 0); i < files.length && !done; i++) {
      done = collect(await this.#entriesOf(files[i]!), from, to, found);
    }
    if (!done) collect(recent, from, to, found);
    return found.sort((a, b) => a.firstOffset - b.firstOffset);
  }

  /** What must be written for a snapshot at `offset`. */
  capture(offset: number): TxnFilesWork {
    const files = new Map(this.#files.map((file) => [file.base, file]));
    const fresh = new Map<number, AbortedTransaction[]>();
    for (const base of this.#repaired.keys()) fresh.set(base, []);
    for (const entry of this.#recent) {
      if (entry.lastOffset >= offset) break;
      const holder = this.#segments.all[this.#segments.indexOf(entry.lastOffset)]!;
      // Where compaction has joined segments, the file of a later one goes on: files follow each other as markers do.
      const base = Math.max(holder.base, this.#files.at(-1)?.base ?? 0);
      const group = fresh.get(base);
      if (group === undefined) fresh.set(base, [entry]);
      else group.push(entry);
    }
    const writes: TxnFileWrite[] = [];
    for (const [base, entries] of fresh) {
      const repaired = this.#repaired.get(base);
      const { count, crc } = repaired === undefined ? (files.get(base) ?? NOTHING) : NOTHING;
      const bytes = encodeTxnIndex([...(repaired ?? []), ...entries]);
      const added = bytes.length / TXN_INDEX_ENTRY_BYTES;
      files.set(base, { base, count: count + added, crc: crc32c(bytes, 0, bytes.length, crc) });
      writes.push({ base, position: count * TXN_INDEX_ENTRY_BYTES, bytes });
    }
    return { files: [...files.values()].sort((a, b) => a.base - b.base), writes, offset };
  }

  /** Writes them, durably. They count once a snapshot names them. */
  async write({ writes }: TxnFilesWork): Promise<void> {
    for (const { base, position, bytes } of writes) {
      await this.#disk.writeFile(this.#path(base), position, bytes, { unreferenced: true });
    }
    if (writes.length > 0) await this.#disk.syncDirectory(this.#directory);
  }

  /** The snapshot that names them is durable. */
  written({ files, writes, offset }: TxnFilesWork): void {
    for (const { base } of writes) {
      this.#loaded.delete(base);
      this.#repaired.delete(base);
    }
    this.#files = files;
    this.#filed = offset;
    this.#recent = this.#recent.filter(({ lastOffset }) => lastOffset >= offset);
  }

  /** Forgets the files of segments below `base`, which are gone. @returns their paths */
  removeBelow(base: number): string[] {
    const removed = this.#files.filter((file) => file.base < base);
    if (removed.length === 0) return [];
    this.#files = this.#files.filter((file) => file.base >= base);
    for (const file of removed) {
      this.#loaded.delete(file.base);
      this.#repaired.delete(file.base);
    }
    return removed.map((file) => this.#path(file.base));
  }

  async #entriesOf(file: TxnFile): Promise<readonly AbortedTransaction[]> {
    const { base } = file;
    const known = this.#repaired.get(base) ?? this.#loaded.get(base);
    if (known !== undefined) return known;
    const stored = await this.#load(file);
    const entries = stored ?? (await this.#rebuild(base));
    // A snapshot or retention was faster: what was found is right for this reader only.
    if (!this.#files.includes(file)) return entries;
    if (stored === undefined) {
      this.#repaired.set(base, entries);
    } else {
      this.#loaded.set(base, entries);
      if (this.#loaded.size > MAX_LOADED_FILES) this.#loaded.delete(this.#loaded.keys().next().value!);
    }
    return entries;
  }

  async #load({ base, count, crc }: TxnFile): Promise<AbortedTransaction[] | undefined> {
    const length = count * TXN_INDEX_ENTRY_BYTES;
    const bytes = await this.#disk.readFile(this.#path(base), 0, length);
    if (bytes?.length !== length || crc32c(bytes, 0, length) !== crc) return undefined;
    return decodeTxnIndex(bytes);
  }

  /** From the batches: those of markers from `base` up to where the next file or segment begins. */
  async #rebuild(base: number): Promise<AbortedTransaction[]> {
    for (let attempt = 1; ; attempt++) {
      const { entries, isWhole } = await this.#replay(base);
      // Compaction may have put another file in the place of one that was about to be read.
      if (isWhole || attempt === REBUILD_ATTEMPTS) return entries;
    }
  }

  async #replay(base: number): Promise<{ readonly entries: AbortedTransaction[]; readonly isWhole: boolean }> {
    const segments = [...this.#segments.all];
    const bases = [...segments, ...this.#files].map((each) => each.base).filter((each) => each > base);
    const end = Math.min(this.#filed, ...bases);
    const producers = new ProducerState(0);
    const entries: AbortedTransaction[] = [];
    const isWhole = await replayBatches(this.#disk, segments, segments[0]!.base, end, (bytes, position) => {
      if (!hasProducerAt(bytes, position)) return;
      const aborted = producers.apply(bytes, position);
      if (aborted !== undefined && aborted.lastOffset >= base) entries.push(aborted);
      producers.commit(baseOffsetAt(bytes, position) + 1);
    });
    return { entries, isWhole };
  }

  #path(base: number): string {
    return `${this.#directory}/${txnIndexFileName(base)}`;
  }
}

const NOTHING = { count: 0, crc: 0 };

/** Adds those that have records in [from, to). @returns true when no later entry can */
function collect(
  entries: readonly AbortedTransaction[],
  from: number,
  to: number,
  found: AbortedTransaction[],
): boolean {
  for (const entry of entries) {
    if (entry.lastOffset >= from && entry.firstOffset < to) found.push(entry);
    if (entry.lastStableOffset >= to) return true;
  }
  return false;
}
