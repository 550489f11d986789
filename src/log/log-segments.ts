/**
 * The segment files of one log: rolling, cutting, setting aside, deleting, and what a checkpoint has to do with them.
 *
 * Names: a file name is taken from its creation until a checkpoint no longer needs the journal records that mean it. A
 * truncation can start a segment at a base whose plain name is still taken; it then carries the generation as a tag.
 *
 * What can go wrong: no space for a new segment is DISK_FULL, and nothing changed.
 */
import type { Environment } from '../environment.js';
import type { Disk, SegmentFile } from '../disk/disk.js';
import { invariant, VarveError } from '../errors.js';
import type { Truncation } from '../journal/journal-records.js';
import type { LogState, SegmentState } from '../journal/log-state.js';
import {
  isCompacted,
  logFileName,
  parseLogFileName,
  type SegmentName,
  sameSegment,
  setAsideName,
} from '../segment/file-names.js';
import type { MappedSegments } from '../segment/mapped-segments.js';
import type { SealIdentity } from '../segment/seal.js';
import { type DamagedRange, Segment, type SegmentParts } from '../segment/segment.js';
import { SegmentIndexes } from '../segment/segment-indexes.js';
import { SegmentList } from '../segment/segment-list.js';
import type { LogOptions } from './options.js';
import { hasExpired, isDueToRoll, rollAfterMs } from './retention.js';
import { SegmentFiles } from './segment-files.js';
import { sealSegment } from './segment-sealing.js';

/** Index entries keep offsets and positions relative to the segment in 32 bits. */
export const MAX_SEGMENT_OFFSETS = 0xffff_0000;
/** A segment that is written to gets this many bytes allocated and touched ahead, from its first 256 KiB on. */
const PREPARE_FROM_BYTES = 256 * 1024;
const PREPARE_BYTES = 8 * 1024 * 1024;

/** What one checkpoint does for a log's files before it may call its state durable. */
export interface SegmentWork {
  readonly dirty: readonly Segment[];
  /** Sealed segments whose index files are old, and their lengths: one that is cut meanwhile is left to the next one. */
  readonly sealed: readonly { readonly segment: Segment; readonly length: number }[];
  readonly aside: readonly SetAside[];
  readonly directoryChanged: boolean;
}

/** What compaction made of some segments. */
export interface CompactedSegment {
  readonly name: SegmentName;
  readonly length: number;
  /** −1: none. */
  readonly maxTimestamp: number;
}

interface SetAside {
  readonly segment: Segment;
  readonly path: string;
  renamed: boolean;
}

export interface LogSegmentsParts {
  readonly disk: Disk;
  /** Of the log's files. */
  readonly directory: string;
  readonly options: LogOptions;
  /** The largest run of batches that is stored as one. */
  readonly maxRunBytes: number;
  readonly mapped: MappedSegments;
  readonly environment: Environment;
}

export class LogSegments {
  readonly list: SegmentList;
  readonly directory: string;
  readonly #log: Pick<LogState, 'topicId' | 'partition'>;
  readonly #disk: Disk;
  readonly #options: LogOptions;
  readonly #mapped: MappedSegments;
  readonly #files: SegmentFiles;
  readonly #reserveBytes: number;
  readonly #names: Set<string>;
  readonly #environment: Environment;
  /** Of the segment with this base. */
  #rollAfter = { base: -1, ms: 0 };
  #aside: SetAside[] = [];
  #directoryChanged = false;
  #hasNews = false;
  #newsCount = 0;
  /** Part of work that was taken and is not done. */
  readonly #sealing = new Set<Segment>();

  private constructor(parts: LogSegmentsParts, log: Pick<LogState, 'topicId' | 'partition'>, names: Set<string>) {
    this.#log = log;
    const { disk, directory, options, maxRunBytes, mapped, environment } = parts;
    this.#environment = environment;
    this.#disk = disk;
    this.directory = directory;
    this.#options = options;
    this.#mapped = mapped;
    this.#reserveBytes = options.segmentBytes + maxRunBytes;
    this.#files = new SegmentFiles(disk, options, this.#reserveBytes, mapped, () => this.#newsCount++);
    this.#names = names;
    this.list = new SegmentList([]);
  }

  /**
   * Opens the segments that a state names. Nothing of a sealed one is looked at: its file and indexes are got at the
   * first use, and indexes that are missing or do not fit are rebuilt then.
   */
  static async open(parts: LogSegmentsParts, state: LogState): Promise<LogSegments> {
    const { disk, directory } = parts;
    const names: string[] = [];
    const unfinished: string[] = [];
    for (const { name: file } of await disk.readDirectory(directory)) {
      const name = parseLogFileName(file);
      if (name === undefined) continue;
      const isKnown = state.segments.some((row) => sameSegment(row, name));
      const isUnfinished = !isKnown && (isCompacted(name) || (await disk.fileSize(`${directory}/${file}`)) === 0);
      (isUnfinished ? unfinished : names).push(file);
    }
    // Compaction, or an opening, was ended before they counted: nobody refers to them.
    if (unfinished.length > 0) await disk.removeFiles(unfinished.flatMap((file) => pathsOf(`${directory}/${file}`)));
    const segments = new LogSegments(parts, state, new Set(names));
    let place = 0;
    for (const [i, row] of state.segments.entries()) {
      const end = state.segments[i + 1]?.base ?? state.end;
      // A damaged segment is left as it is: the log goes on in a new one.
      const isActive = i === state.segments.length - 1 && row.damaged === undefined;
      segments.list.add(await segments.#openRow(row, place, end, isActive));
      place += row.length;
    }
    if (state.segments.at(-1)?.damaged !== undefined || state.segments.length === 0) {
      segments.#create(state.end, state.generation, place);
    }
    return segments;
  }

  /** How often indexes had to be rebuilt since the log was opened. */
  get rebuiltIndexes(): number {
    return this.#files.rebuiltIndexes;
  }

  /** The segment that takes the next `length` bytes, which end at offset `endOffset`. */
  roomFor(length: number, endOffset: number, generation: number): Segment {
    let active = this.list.active;
    const isFull =
      active.length > 0 &&
      (active.length + length > this.#options.segmentBytes || endOffset - active.base > MAX_SEGMENT_OFFSETS);
    const now = this.#environment.now();
    if (isFull || this.#isDueToRoll(active, now)) active = this.#roll(generation);
    if (active.length === 0) active.firstAppend = now;
    active.lastAppend = now;
    if (active.length >= active.prepareAt) {
      // Not beyond what the segment will hold: only the batch that rolls it may lie there.
      active.file.prepare(Math.min(PREPARE_BYTES, Math.max(this.#options.segmentBytes - active.length - length, 0)));
      active.prepareAt = active.length + PREPARE_BYTES / 2;
    }
    return active;
  }

  /** An old or expired segment is rolled although nothing is appended. @throws VarveError DISK_FULL */
  rollIfDue(generation: number): void {
    const { active } = this.list;
    const now = this.#environment.now();
    if (this.#isDueToRoll(active, now) || hasExpired(active, this.#options, now)) this.#roll(generation);
  }

  #isDueToRoll(active: Segment, now: number): boolean {
    if (this.#rollAfter.base !== active.base) {
      this.#rollAfter = { base: active.base, ms: rollAfterMs(this.#options, this.directory, active.base) };
    }
    return isDueToRoll(active, this.#rollAfter.ms, now);
  }

  #roll(generation: number): Segment {
    const { end, place, length } = this.list.active;
    return this.#create(end, generation, place + length);
  }

  /** Ends the log at `cut`, a batch boundary below its end, and begins a new segment there. */
  truncate(cut: number, generation: number): Truncation {
    const holder = this.list.all[this.list.indexOf(cut)]!;
    const endLength = holder.base === cut ? 0 : holder.positionOf(cut);
    // Created first: if there is no space, nothing has changed.
    const fresh = this.#newSegment(cut, generation, holder.place + endLength);
    const removed = this.list.removeFrom(cut);
    for (const segment of removed) this.#setAside(segment, generation);
    if (holder.base < cut) holder.cut(endLength, cut);
    this.list.add(fresh);
    return {
      to: cut,
      endSegment: holder.base < cut ? { base: holder.base, tag: holder.tag } : undefined,
      endLength,
      newTag: fresh.tag,
      removed: removed.map(({ base, tag }) => ({ base, tag })),
    };
  }

  /** Ends the active segment if it holds anything. */
  roll(generation: number): void {
    if (this.list.active.length > 0) this.#roll(generation);
  }

  /** Path of a file of the log. */
  path(name: SegmentName): string {
    return this.#path(name);
  }

  /**
   * Puts a compacted segment, whose files are durable, in the place of those it was made from, which are set aside.
   * @returns by how much the segments behind it moved
   */
  swap(replaced: readonly Segment[], { name, length, maxTimestamp }: CompactedSegment, generation: number): number {
    const segment = this.#segment({
      name,
      place: replaced[0]!.place,
      length,
      end: replaced.at(-1)!.end,
      damaged: [],
      maxTimestamp,
      firstAppend: replaced[0]!.firstAppend,
      lastAppend: replaced.at(-1)!.lastAppend,
      isActive: false,
      // Its indexes and its seal were written with it.
      sealed: true,
    });
    this.#names.add(logFileName(name));
    const shift = this.list.replace(replaced, segment);
    for (const each of replaced) this.#setAside(each, generation);
    return shift;
  }

  /** Deletes the segments that lie wholly below `offset`. Views of them stay valid. */
  async removeBelow(offset: number): Promise<void> {
    const removed = this.list.removeBelow(offset);
    if (removed.length === 0) return;
    for (const segment of removed) segment.close();
    await this.#disk.removeFiles(removed.flatMap((segment) => filesOf(segment)));
    for (const segment of removed) this.#mapped.forget(segment.path);
  }

  /** To be taken after `takeWork`: what is being sealed counts as sealed, since a checkpoint that says so follows the work. */
  states(): SegmentState[] {
    return this.list.all.map((segment) => {
      const { base, tag, length, damaged, maxTimestamp, firstAppend, lastAppend } = segment;
      const isSealed = segment.sealed || this.#sealing.has(segment);
      return {
        base,
        tag,
        length,
        ...(maxTimestamp < Number.POSITIVE_INFINITY && { maxTimestamp }),
        ...(damaged.length > 0 && { damaged }),
        ...(isSealed && { sealed: true as const }),
        firstAppend,
        lastAppend,
      };
    });
  }

  /** Everything that must reach the disk for the present state to be durable. What comes later is the next one's. */
  takeWork(): SegmentWork {
    const dirty = this.list.all.filter((segment) => segment.dirty);
    for (const segment of dirty) {
      segment.dirty = false;
      segment.pins++;
    }
    const unsealed = this.list.all.filter(isUnsealed);
    const sealed = unsealed.map((segment) => ({ segment, length: segment.length }));
    for (const segment of unsealed) this.#sealing.add(segment);
    const directoryChanged = this.#directoryChanged;
    this.#directoryChanged = false;
    this.#hasNews = false;
    return { dirty, sealed, aside: [...this.#aside], directoryChanged };
  }

  /** Does that work, but for the set-aside files, which must outlive the checkpoint before. */
  async doWork(work: SegmentWork): Promise<void> {
    for (const segment of work.dirty) if (!segment.isClosed) await segment.file.sync();
    for (const { segment, length } of work.sealed) {
      if (segment.isClosed || segment.length !== length) continue;
      await sealSegment(this.#disk, segment, this.identityOf(segment), this.#environment);
      await segment.releaseTail();
    }
    for (const entry of work.aside) {
      if (entry.renamed) continue;
      entry.segment.close();
      await this.#disk.rename(entry.segment.path, entry.path);
      this.#mapped.forget(entry.segment.path);
      entry.renamed = true;
    }
    if (work.directoryChanged) await this.#disk.syncDirectory(this.directory);
    for (const segment of work.dirty) segment.pins--;
    for (const { segment, length } of work.sealed) {
      this.#sealing.delete(segment);
      segment.sealed = segment.length === length;
    }
  }

  /** The work was not finished: all of it is still to be done. */
  returnWork(work: SegmentWork): void {
    for (const segment of work.dirty) {
      segment.dirty = true;
      segment.pins = 0;
    }
    for (const { segment } of work.sealed) {
      this.#sealing.delete(segment);
      segment.sealed = false;
    }
    this.#directoryChanged ||= work.directoryChanged;
    this.#hasNews = true;
    this.#newsCount++;
  }

  identityOf({ base }: SegmentName): SealIdentity {
    return { topicId: this.#log.topicId, partition: this.#log.partition, base };
  }

  /** Damage was found: reads of it are refused, and the next checkpoint says so. */
  addDamage(segment: Segment, ranges: readonly DamagedRange[]): void {
    segment.addDamage(ranges);
    this.#hasNews = true;
    this.#newsCount++;
  }

  /** Goes up with everything that `states()` tells and no append does. */
  get version(): number {
    return this.list.version + this.#newsCount;
  }

  /** There is something for a checkpoint that no journal record tells of. */
  get hasNews(): boolean {
    const segments = this.list.all;
    if (this.#hasNews) return true;
    for (let i = segments.length - 2; i >= 0; i--) if (isUnsealed(segments[i]!)) return true;
    return false;
  }

  get hasSetAside(): boolean {
    return this.#aside.length > 0;
  }

  /** The checkpoint that does not need them is durable: set-aside files go, their names are free. */
  async finishWork(work: SegmentWork): Promise<void> {
    if (work.aside.length === 0) return;
    this.#aside = this.#aside.filter((entry) => !work.aside.includes(entry));
    await this.#disk.removeFiles(work.aside.flatMap(({ segment, path }) => [path, ...derivedFilesOf(segment.path)]));
    for (const { segment } of work.aside) this.#names.delete(logFileName(segment));
  }

  /** Writes the active segment's indexes as well: the log is about to be closed. */
  async saveActiveIndexes(): Promise<void> {
    const active = this.list.active;
    if (active.hasUnsavedIndexes || (await this.#disk.fileSize(`${active.stem}.index`)) === undefined) {
      await active.indexes.save(this.#disk, active.stem);
    }
  }

  close(): void {
    for (const segment of this.list.all) segment.close();
  }

  #setAside(segment: Segment, generation: number): void {
    segment.isActive = false;
    const path = `${this.directory}/${setAsideName(logFileName(segment), generation)}`;
    this.#aside.push({ segment, path, renamed: false });
  }

  #create(base: number, generation: number, place: number): Segment {
    const segment = this.#newSegment(base, generation, place);
    const beforeLast = this.list.all.at(-2);
    const last = this.list.all.at(-1);
    if (last !== undefined) last.isActive = false;
    // What was stored two segments ago may have left the page cache.
    if (beforeLast !== undefined) beforeLast.residentFrom = beforeLast.length;
    this.list.add(segment);
    return segment;
  }

  #newSegment(base: number, generation: number, place: number): Segment {
    const plain = { base, tag: 0 };
    const name = this.#names.has(logFileName(plain)) ? { base, tag: generation } : plain;
    const file = logFileName(name);
    invariant(!this.#names.has(file), `${this.directory}: ${file} is to be created twice`);
    const created = this.#createFile(name);
    const indexes = new SegmentIndexes(base, this.#options.indexIntervalBytes);
    return this.#segment({
      name,
      place,
      length: 0,
      end: base,
      damaged: [],
      maxTimestamp: -1,
      firstAppend: this.#environment.now(),
      lastAppend: this.#environment.now(),
      isActive: true,
      sealed: false,
      file: created,
      indexes,
    });
  }

  #createFile(name: SegmentName): SegmentFile {
    const path = this.#path(name);
    const created = this.#disk.createSegment(path, { reserveBytes: this.#reserveBytes });
    this.#mapped.noteMapped(path);
    this.#names.add(logFileName(name));
    this.#directoryChanged = true;
    return created;
  }

  async #openRow(row: SegmentState, place: number, end: number, isActive: boolean): Promise<Segment> {
    const { base, tag, length } = row;
    const known = {
      name: { base, tag },
      place,
      length,
      end,
      damaged: row.damaged ?? [],
      maxTimestamp: row.maxTimestamp ?? Number.POSITIVE_INFINITY,
      firstAppend: row.firstAppend ?? this.#environment.now(),
      lastAppend: row.lastAppend ?? this.#environment.now(),
      isActive,
      sealed: !isActive && row.sealed === true,
    };
    if (!isActive) {
      const segment = this.#segment(known);
      if (row.maxTimestamp === undefined) await segment.findMaxTimestamp();
      return segment;
    }
    // A segment that never held anything may have lost its name in a crash.
    if (length === 0) {
      const indexes = new SegmentIndexes(base, this.#options.indexIntervalBytes);
      const file = this.#names.has(logFileName(row)) ? undefined : this.#createFile(row);
      return this.#segment({ ...known, indexes, file });
    }
    await this.#checkFile(row);
    const segment = this.#segment(known);
    await segment.prepareLookup();
    // Where batches cannot be read, the indexes may not know all of them.
    segment.maxTimestamp = Math.max(row.maxTimestamp ?? -1, segment.indexes.maxTimestamp);
    return segment;
  }

  /** @throws VarveError CORRUPT_LOG when the file is shorter than what was durable in it */
  async #checkFile(row: SegmentState): Promise<void> {
    const path = this.#path(row);
    const size = (await this.#disk.fileSize(path)) ?? 0;
    if (size >= row.length) return;
    throw new VarveError(
      'CORRUPT_LOG',
      `${path}: the file has ${size} of its ${row.length} bytes; restore this replica from a peer or a backup`,
    );
  }

  #segment(parts: Omit<SegmentParts, 'path' | 'source'>): Segment {
    const segment = new Segment({ ...parts, path: this.#path(parts.name), source: this.#files });
    segment.prepareAt = PREPARE_FROM_BYTES;
    return segment;
  }

  #path(name: SegmentName): string {
    return `${this.directory}/${logFileName(name)}`;
  }
}

function filesOf(segment: Segment): string[] {
  return pathsOf(segment.path);
}

/** All files of the segment whose .log file this is. */
export function pathsOf(path: string): string[] {
  return [path, ...derivedFilesOf(path)];
}

function derivedFilesOf(path: string): string[] {
  const stem = path.slice(0, -'.log'.length);
  return [`${stem}.index`, `${stem}.timeindex`, `${stem}.seal`];
}

/** A damaged one stays as it is. */
function isUnsealed(segment: Segment): boolean {
  return !segment.isActive && !segment.sealed && segment.damaged.length === 0;
}
