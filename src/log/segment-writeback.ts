/**
 * What a checkpoint does for the segment files of one log before it may call the log's state durable. Per checkpoint:
 *
 *   1. `take`: what is to be done for the present state. What comes later is the next checkpoint's.
 *   2. `run`: dirty segments are synced, those that have ended are sealed, files that a truncation or a compaction
 *      removed are set aside by a rename, the directory is synced.
 *   3. The checkpoint is written; or `giveBack`: it failed, all of it is still to be done.
 *   4. `finish`: set-aside files go, since the checkpoint before, which needed them, is no longer in force.
 */
import type { Disk } from '../disk/disk.js';
import type { Environment } from '../environment.js';
import type { SegmentState } from '../journal/log-state.js';
import { derivedPaths, logFileName, setAsideName } from '../segment/file-names.js';
import type { MappedSegments } from '../segment/mapped-segments.js';
import type { SealIdentity } from '../segment/seal.js';
import type { Segment } from '../segment/segment.js';
import type { SegmentList } from '../segment/segment-list.js';
import { sealSegment } from './segment-sealing.js';

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

export interface SegmentWritebackParts {
  readonly disk: Disk;
  readonly directory: string;
  readonly identityOf: (segment: Segment) => SealIdentity;
  readonly list: SegmentList;
  readonly mapped: MappedSegments;
  readonly environment: Environment;
  /** A set-aside file is gone: its name may be used again. */
  readonly onNameFree: (file: string) => void;
}

export class SegmentWriteback {
  readonly #parts: SegmentWritebackParts;
  #aside: SetAside[] = [];
  #directoryChanged = false;
  #hasNews = false;
  #newsCount = 0;
  /** Part of work that was taken and is not done. */
  readonly #sealing = new Set<Segment>();

  constructor(parts: SegmentWritebackParts) {
    this.#parts = parts;
  }

  /** A file was created. */
  noteCreated(): void {
    this.#directoryChanged = true;
  }

  /** Indexes were made anew: the row says something else, but nothing needs to be done for it. */
  noteRebuilt(): void {
    this.#newsCount++;
  }

  /** Damage was found: the next checkpoint is to say so. */
  noteDamage(): void {
    this.#hasNews = true;
    this.#newsCount++;
  }

  /** The segment is no longer one of the log's; its file stays until no checkpoint needs it. */
  setAside(segment: Segment, generation: number): void {
    segment.isActive = false;
    const path = `${this.#parts.directory}/${setAsideName(logFileName(segment), generation)}`;
    this.#aside.push({ segment, path, renamed: false });
  }

  get hasSetAside(): boolean {
    return this.#aside.length > 0;
  }

  /** Goes up with everything that `rows` tells and no append does. */
  get version(): number {
    return this.#parts.list.version + this.#newsCount;
  }

  /** There is something for a checkpoint that no journal record tells of. */
  get hasNews(): boolean {
    if (this.#hasNews) return true;
    const segments = this.#parts.list.all;
    for (let i = segments.length - 2; i >= 0; i--) if (isUnsealed(segments[i]!)) return true;
    return false;
  }

  take(): SegmentWork {
    const { list } = this.#parts;
    const dirty = list.all.filter((segment) => segment.dirty);
    for (const segment of dirty) {
      segment.dirty = false;
      segment.pins++;
    }
    const unsealed = list.all.filter(isUnsealed);
    const sealed = unsealed.map((segment) => ({ segment, length: segment.length }));
    for (const segment of unsealed) this.#sealing.add(segment);
    const directoryChanged = this.#directoryChanged;
    this.#directoryChanged = false;
    this.#hasNews = false;
    return { dirty, sealed, aside: [...this.#aside], directoryChanged };
  }

  /** To be taken after `take`: what is being sealed counts as sealed, since a checkpoint that says so follows the work. */
  rows(): SegmentState[] {
    return this.#parts.list.all.map((segment) => {
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

  async run(work: SegmentWork): Promise<void> {
    const { disk, directory, mapped, identityOf, environment } = this.#parts;
    for (const segment of work.dirty) if (!segment.isClosed) await segment.file.sync();
    for (const { segment, length } of work.sealed) {
      if (segment.isClosed || segment.length !== length) continue;
      await sealSegment(disk, segment, identityOf(segment), environment);
      await segment.releaseTail();
    }
    for (const entry of work.aside) {
      if (entry.renamed) continue;
      entry.segment.close();
      await disk.rename(entry.segment.path, entry.path);
      mapped.forget(entry.segment.path);
      entry.renamed = true;
    }
    if (work.directoryChanged) await disk.syncDirectory(directory);
    for (const segment of work.dirty) segment.pins--;
    for (const { segment, length } of work.sealed) {
      this.#sealing.delete(segment);
      segment.sealed = segment.length === length;
    }
  }

  giveBack(work: SegmentWork): void {
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

  async finish({ aside }: SegmentWork): Promise<void> {
    if (aside.length === 0) return;
    const { disk, onNameFree } = this.#parts;
    this.#aside = this.#aside.filter((entry) => !aside.includes(entry));
    await disk.removeFiles(aside.flatMap(({ segment, path }) => [path, ...derivedPaths(segment.path)]));
    for (const { segment } of aside) onNameFree(logFileName(segment));
  }
}

/** A damaged one stays as it is. */
function isUnsealed(segment: Segment): boolean {
  return !segment.isActive && !segment.sealed && segment.damaged.length === 0;
}
