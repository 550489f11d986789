/**
 * The segment files of one log: opening, rolling, cutting, swapping, deleting. What a checkpoint does with them is in
 * segment-writeback.ts.
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
  segmentPaths,
} from '../segment/file-names.js';
import type { MappedSegments } from '../segment/mapped-segments.js';
import type { SealIdentity } from '../segment/seal.js';
import { type DamagedRange, Segment, type SegmentParts } from '../segment/segment.js';
import { SegmentIndexes } from '../segment/segment-indexes.js';
import { SegmentList } from '../segment/segment-list.js';
import type { LogOptions } from './options.js';
import { hasExpired, isDueToRoll, rollAfterMs } from './retention.js';
import { SegmentFiles } from './segment-files.js';
import { SegmentWriteback } from './segment-writeback.js';

/** Index entries keep offsets and positions relative to the segment in 32 bits. */
export const MAX_SEGMENT_OFFSETS = 0xffff_0000;
/** A segment that is written to gets this many bytes allocated and touched ahead, from its first 256 KiB on. */
const PREPARE_FROM_BYTES = 256 * 1024;
const PREPARE_BYTES = 8 * 1024 * 1024;

/** What compaction made of some segments. */
export interface CompactedSegment {
  readonly name: SegmentName;
  readonly length: number;
  /** −1: none. */
  readonly maxTimestamp: number;
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
  readonly writeback: SegmentWriteback;
  readonly #log: Omit<SealIdentity, 'base'>;
  readonly #disk: Disk;
  readonly #options: LogOptions;
  readonly #mapped: MappedSegments;
  readonly #files: SegmentFiles;
  readonly #reserveBytes: number;
  readonly #names: Set<string>;
  readonly #environment: Environment;
  /** Of the segment with this base. */
  #rollAfter = { base: -1, ms: 0 };

  private constructor(parts: LogSegmentsParts, { topicId, partition }: LogState, names: Set<string>) {
    const { disk, directory, options, maxRunBytes, mapped, environment } = parts;
    this.#environment = environment;
    this.#disk = disk;
    this.directory = directory;
    this.#options = options;
    this.#mapped = mapped;
    this.#reserveBytes = options.segmentBytes + maxRunBytes;
    this.#log = { topicId, partition };
    this.#names = names;
    this.list = new SegmentList([]);
    this.writeback = new SegmentWriteback({
      disk,
      directory,
      identityOf: (segment) => this.identityOf(segment),
      list: this.list,
      mapped,
      environment,
      onNameFree: (file) => names.delete(file),
    });
    this.#files = new SegmentFiles(disk, options, this.#reserveBytes, mapped, () => this.writeback.noteRebuilt());
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
    if (unfinished.length > 0)
      await disk.removeFiles(unfinished.flatMap((file) => segmentPaths(`${directory}/${file}`)));
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
    for (const segment of removed) this.writeback.setAside(segment, generation);
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

  /** Empties the log: a new segment at `base` takes the place of all there are, which are set aside. */
  reset(base: number, generation: number): { readonly segment: SegmentName; readonly removed: SegmentName[] } {
    const { place, length } = this.list.active;
    const fresh = this.#newSegment(base, generation, place + length);
    const removed = this.list.removeFrom(0);
    for (const segment of removed) this.writeback.setAside(segment, generation);
    this.list.add(fresh);
    return {
      segment: { base: fresh.base, tag: fresh.tag },
      removed: removed.map(({ base: old, tag }) => ({ base: old, tag })),
    };
  }

  /** Ends the active segment if it holds anything. */
  roll(generation: number): void {
    if (this.list.active.length > 0) this.#roll(generation);
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
    for (const each of replaced) this.writeback.setAside(each, generation);
    return shift;
  }

  /** Deletes the segments that lie wholly below `offset`. Views of them stay valid. */
  async removeBelow(offset: number): Promise<void> {
    const removed = this.list.removeBelow(offset);
    if (removed.length === 0) return;
    for (const segment of removed) segment.close();
    await this.#disk.removeFiles(removed.flatMap((segment) => segmentPaths(segment.path)));
    for (const segment of removed) this.#mapped.forget(segment.path);
  }

  identityOf({ base }: Pick<SegmentName, 'base'>): SealIdentity {
    return { ...this.#log, base };
  }

  /** Damage was found: reads of it are refused, and the next checkpoint says so. */
  addDamage(segment: Segment, ranges: readonly DamagedRange[]): void {
    segment.addDamage(ranges);
    this.writeback.noteDamage();
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
    const path = this.path(name);
    const created = this.#disk.createSegment(path, { reserveBytes: this.#reserveBytes });
    this.#mapped.noteMapped(path);
    this.#names.add(logFileName(name));
    this.writeback.noteCreated();
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
    const path = this.path(row);
    const size = (await this.#disk.fileSize(path)) ?? 0;
    if (size >= row.length) return;
    throw new VarveError(
      'CORRUPT_LOG',
      `${path}: the file has ${size} of its ${row.length} bytes; restore this replica from a peer or a backup`,
    );
  }

  #segment(parts: Omit<SegmentParts, 'path' | 'source'>): Segment {
    const segment = new Segment({ ...parts, path: this.path(parts.name), source: this.#files });
    segment.prepareAt = PREPARE_FROM_BYTES;
    return segment;
  }

  /** Path of a file of the log. */
  path(name: SegmentName): string {
    return `${this.directory}/${logFileName(name)}`;
  }
}
