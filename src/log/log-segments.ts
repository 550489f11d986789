/**
 * The segment files of one log: rolling, cutting, setting aside, deleting, and what a checkpoint has to do with them.
 *
 * Names: a file name is taken from its creation until a checkpoint no longer needs the journal records that mean it. A
 * truncation can start a segment at a base whose plain name is still taken; it then carries the generation as a tag.
 *
 * What can go wrong: no space for a new segment is DISK_FULL, and nothing changed.
 */
import type { Disk, SegmentFile } from '../disk/disk.js';
import { invariant, VarveError } from '../errors.js';
import type { Truncation } from '../journal/journal-records.js';
import type { LogState, SegmentState } from '../journal/log-state.js';
import { logFileName, parseLogFileName, type SegmentName, setAsideName } from '../segment/file-names.js';
import { Segment } from '../segment/segment.js';
import { SegmentIndexes } from '../segment/segment-indexes.js';
import { SegmentList } from '../segment/segment-list.js';
import type { LogOptions } from './options.js';
import { scanSegment } from './segment-scan.js';

/** Index entries keep offsets and positions relative to the segment in 32 bits. */
const MAX_SEGMENT_OFFSETS = 0xffff_0000;
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

interface SetAside {
  readonly segment: Segment;
  readonly path: string;
  renamed: boolean;
}

export class LogSegments {
  readonly list: SegmentList;
  readonly directory: string;
  readonly #disk: Disk;
  readonly #options: LogOptions;
  readonly #reserveBytes: number;
  readonly #names: Set<string>;
  #aside: SetAside[] = [];
  #directoryChanged = false;

  private constructor(disk: Disk, directory: string, options: LogOptions, maxRunBytes: number, names: Set<string>) {
    this.#disk = disk;
    this.directory = directory;
    this.#options = options;
    this.#reserveBytes = options.segmentBytes + maxRunBytes;
    this.#names = names;
    this.list = new SegmentList([]);
  }

  /** Opens the segments that a state names; indexes that are missing or do not fit are rebuilt from the batches. */
  static async open(
    disk: Disk,
    directory: string,
    state: LogState,
    options: LogOptions,
    maxRunBytes: number,
  ): Promise<{ readonly segments: LogSegments; readonly rebuiltIndexes: number }> {
    const entries = await disk.readDirectory(directory);
    const names = entries.filter((entry) => parseLogFileName(entry.name) !== undefined).map((entry) => entry.name);
    const segments = new LogSegments(disk, directory, options, maxRunBytes, new Set(names));
    let rebuiltIndexes = 0;
    let place = 0;
    for (const [i, row] of state.segments.entries()) {
      const end = state.segments[i + 1]?.base ?? state.end;
      const stem = segments.#path(row).slice(0, -'.log'.length);
      let indexes = await SegmentIndexes.load(disk, stem, { ...row, end }, options.indexIntervalBytes);
      if (indexes === undefined) {
        indexes = await rebuildIndexes(disk, `${stem}.log`, row, options.indexIntervalBytes);
        if (row.length > 0) rebuiltIndexes++;
      }
      // A damaged segment is left as it is: the log goes on in a new one.
      const isActive = i === state.segments.length - 1 && row.damaged === undefined;
      const file = isActive ? await segments.#openActive(row) : undefined;
      if (!isActive && row.damaged === undefined) await segments.#trim(row);
      segments.list.add(segments.#segment(row, indexes, place, row.length, end, row.damaged ?? [], file));
      place += row.length;
    }
    if (state.segments.at(-1)?.damaged !== undefined || state.segments.length === 0) {
      segments.#create(state.end, state.generation, place);
    }
    return { segments, rebuiltIndexes };
  }

  /** The segment that takes the next `length` bytes, which end at offset `endOffset`. */
  roomFor(length: number, endOffset: number, generation: number): Segment {
    let active = this.list.active;
    if (
      active.length > 0 &&
      (active.length + length > this.#options.segmentBytes || endOffset - active.base > MAX_SEGMENT_OFFSETS)
    ) {
      active = this.#create(active.end, generation, active.place + active.length);
    }
    if (active.length >= active.prepareAt) {
      active.file.prepare(Math.min(PREPARE_BYTES, Math.max(this.#reserveBytes - active.length - length, 0)));
      active.prepareAt = active.length + PREPARE_BYTES / 2;
    }
    return active;
  }

  /** Ends the log at `cut`, a batch boundary below its end, and begins a new segment there. */
  truncate(cut: number, generation: number): Truncation {
    const holder = this.list.all[this.list.indexOf(cut)]!;
    const endLength = holder.base === cut ? 0 : holder.positionOf(cut);
    // Created first: if there is no space, nothing has changed.
    const fresh = this.#newSegment(cut, generation, holder.place + endLength);
    const removed = this.list.removeFrom(cut);
    for (const segment of removed) {
      this.#aside.push({
        segment,
        path: `${this.directory}/${setAsideName(logFileName(segment), generation)}`,
        renamed: false,
      });
    }
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

  /** Deletes the segments that lie wholly below `offset`. Views of them stay valid. */
  async removeBelow(offset: number): Promise<void> {
    const removed = this.list.removeBelow(offset);
    if (removed.length === 0) return;
    for (const segment of removed) segment.close();
    await this.#disk.removeFiles(removed.flatMap((segment) => filesOf(segment)));
  }

  states(): SegmentState[] {
    return this.list.all.map(({ base, tag, length, damaged }) =>
      damaged.length === 0 ? { base, tag, length } : { base, tag, length, damaged },
    );
  }

  /** Everything that must reach the disk for the present state to be durable. What comes later is the next one's. */
  takeWork(): SegmentWork {
    const active = this.list.active;
    const dirty = this.list.all.filter((segment) => segment.dirty);
    for (const segment of dirty) segment.dirty = false;
    const sealed = this.list.all
      .filter((segment) => segment !== active && segment.indexes.dirty)
      .map((segment) => ({ segment, length: segment.length }));
    const directoryChanged = this.#directoryChanged;
    this.#directoryChanged = false;
    return { dirty, sealed, aside: [...this.#aside], directoryChanged };
  }

  /** Does that work, but for the set-aside files, which must outlive the checkpoint before. */
  async doWork(work: SegmentWork): Promise<void> {
    for (const segment of work.dirty) if (!segment.isClosed) await segment.file.sync();
    for (const { segment, length } of work.sealed) {
      if (!segment.isClosed && segment.length === length) await segment.indexes.save(this.#disk, segment.stem);
    }
    for (const entry of work.aside) {
      if (entry.renamed) continue;
      entry.segment.close();
      await this.#disk.rename(entry.segment.path, entry.path);
      entry.renamed = true;
    }
    if (work.directoryChanged) await this.#disk.syncDirectory(this.directory);
  }

  /** The work was not finished: all of it is still to be done. */
  returnWork(work: SegmentWork): void {
    for (const segment of work.dirty) segment.dirty = true;
    this.#directoryChanged ||= work.directoryChanged;
  }

  get hasSetAside(): boolean {
    return this.#aside.length > 0;
  }

  /** The checkpoint that does not need them is durable: set-aside files go, their names are free. */
  async finishWork(work: SegmentWork): Promise<void> {
    if (work.aside.length === 0) return;
    this.#aside = this.#aside.filter((entry) => !work.aside.includes(entry));
    await this.#disk.removeFiles(
      work.aside.flatMap(({ segment, path }) => [path, `${segment.stem}.index`, `${segment.stem}.timeindex`]),
    );
    for (const { segment } of work.aside) this.#names.delete(logFileName(segment));
  }

  /** Writes the active segment's indexes as well: the log is about to be closed. */
  async saveActiveIndexes(): Promise<void> {
    const active = this.list.active;
    if (active.indexes.dirty || (await this.#disk.fileSize(`${active.stem}.index`)) === undefined) {
      await active.indexes.save(this.#disk, active.stem);
    }
  }

  close(): void {
    for (const segment of this.list.all) segment.close();
  }

  #create(base: number, generation: number, place: number): Segment {
    const segment = this.#newSegment(base, generation, place);
    this.list.add(segment);
    return segment;
  }

  #newSegment(base: number, generation: number, place: number): Segment {
    const plain = { base, tag: 0 };
    const name = this.#names.has(logFileName(plain)) ? { base, tag: generation } : plain;
    const file = logFileName(name);
    invariant(!this.#names.has(file), `${this.directory}: ${file} is to be created twice`);
    const created = this.#disk.createSegment(this.#path(name), { reserveBytes: this.#reserveBytes });
    this.#names.add(file);
    this.#directoryChanged = true;
    const indexes = new SegmentIndexes(base, this.#options.indexIntervalBytes);
    return this.#segment(name, indexes, place, 0, base, [], created);
  }

  /** Space allocated ahead, or cut bytes: a file that is not mapped yet may be shortened. */
  async #trim(row: SegmentState): Promise<void> {
    const path = this.#path(row);
    const size = await this.#disk.fileSize(path);
    if (size !== undefined && size > row.length) await this.#disk.truncateFile(path, row.length);
  }

  async #openActive(row: SegmentState): Promise<SegmentFile> {
    const path = this.#path(row);
    const reserveBytes = Math.max(this.#reserveBytes, row.length + this.#reserveBytes - this.#options.segmentBytes);
    // A segment that never held anything may have lost its name in a crash.
    if (row.length === 0 && (await this.#disk.fileSize(path)) === undefined) {
      this.#names.add(logFileName(row));
      this.#directoryChanged = true;
      return this.#disk.createSegment(path, { reserveBytes });
    }
    return this.#disk.openSegment(path, { reserveBytes, size: row.length, writable: true });
  }

  #segment(
    name: SegmentName,
    indexes: SegmentIndexes,
    place: number,
    length: number,
    end: number,
    damaged: Segment['damaged'],
    file: SegmentFile | undefined,
  ): Segment {
    const path = this.#path(name);
    const open = (): SegmentFile => file ?? this.#openSealed(path, length);
    const segment = new Segment({ name, path, indexes, place, length, end, damaged, open });
    segment.prepareAt = PREPARE_FROM_BYTES;
    return segment;
  }

  #openSealed(path: string, length: number): SegmentFile {
    try {
      return this.#disk.openSegment(path, { reserveBytes: length, writable: false });
    } catch (error) {
      throw new VarveError(
        'CORRUPT_LOG',
        `${path}: the segment cannot be opened; restore this replica from a peer or a backup`,
        { cause: error },
      );
    }
  }

  #path(name: SegmentName): string {
    return `${this.directory}/${logFileName(name)}`;
  }
}

function filesOf(segment: Segment): string[] {
  return [segment.path, `${segment.stem}.index`, `${segment.stem}.timeindex`];
}

/** Scans a segment for its index entries. Faults end the scan: reads of what lies behind them walk or fail. */
async function rebuildIndexes(
  disk: Disk,
  path: string,
  row: SegmentState,
  intervalBytes: number,
): Promise<SegmentIndexes> {
  const indexes = new SegmentIndexes(row.base, intervalBytes);
  if (row.length === 0) return indexes;
  const start = { position: 0, offset: row.base, epoch: -1 };
  await scanSegment(disk, path, start, row.length, (position, _size, baseOffset, lastOffset, _epoch, maxTimestamp) => {
    indexes.add(position, baseOffset, lastOffset, maxTimestamp);
  });
  indexes.dirty = true;
  return indexes;
}
