/**
 * Opening one log after an unclean stop. The store has loaded the checkpoint and folded the journal into a `LogFold`.
 *
 *   1. `resolveFiles`: which file is which segment. Files that a durable truncation removed, that a truncation which never
 *      became durable created, or that lie outside the log are set aside by rename; they go after the next checkpoint.
 *   2. The store writes the journalled bytes that survive into their segments (journal-rewrite.ts).
 *   3. `recoverLog` scans from the segment of the durable mark on. A fault at or below the durable end is *damage*: kept,
 *      reported, never served. The first fault beyond it is a torn write: the log ends there. Segments before the
 *      mark's are sealed and are not scanned.
 *   4. Whole batches beyond the durable end are kept (they were in the page cache), but not on the word of a page cache
 *      whose history is unknown: they are read, written again and synced. What lies behind them is cut off the file.
 *   5. Indexes of scanned segments are written, the generation goes up, and the result is a checkpoint row.
 *
 * All of it may be repeated: a crash in the middle leaves the checkpoint and the journal as they were.
 */
import type { Disk } from '../disk/disk.js';
import { EpochIndex } from '../index/epoch-index.js';
import { ConfigurationHistory } from '../journal/configuration-history.js';
import type { LogState, SegmentState } from '../journal/log-state.js';
import type { FoldedSegment, LogFold } from '../journal/replay.js';
import { logFileName, parseLogFileName, type SegmentName, sameSegment, setAsideName } from '../segment/file-names.js';
import type { DamagedRange } from '../segment/segment.js';
import { SegmentIndexes } from '../segment/segment-indexes.js';
import { DurableBatches } from './durable-batches.js';
import { type CutBytes, damageOf, type RecoveryReport } from './recovery-report.js';
import { faultText, type ScanStart, type SegmentScan, scanSegment } from './segment-scan.js';

const REWRITE_BYTES = 4 * 1024 * 1024;
const DEFAULT_INDEX_INTERVAL_BYTES = 4096;

/** The files of a log after step 1. */
export interface ResolvedFiles {
  /** The fold's segments, each with the file that it has or will get. */
  readonly segments: readonly FoldedSegment[];
  /** Files behind the last segment, which may continue the log. */
  readonly tail: readonly SegmentName[];
  /** Names of the files that were set aside. */
  readonly setAside: readonly string[];
}

/** What is the same for all logs of a data directory. */
export type RecoveryGround = Pick<RecoveryReport, 'pageCacheSurvived' | 'checkpoint' | 'journalGroups'>;

export interface RecoveredLog {
  readonly state: LogState;
  readonly report: RecoveryReport;
}

interface WrongBatch {
  readonly position: number;
  readonly offset: number;
  readonly why: string;
}

export async function resolveFiles(disk: Disk, directory: string, fold: LogFold): Promise<ResolvedFiles> {
  const files: SegmentName[] = [];
  for (const entry of await disk.readDirectory(directory)) {
    const name = parseLogFileName(entry.name);
    if (name !== undefined) files.push(name);
  }
  const durableEnd = fold.durable?.offset ?? fold.state.end;
  // A tag is a generation; one that the journal never got belongs to a truncation that did not happen.
  const candidates = files.filter(
    (file) => file.tag <= fold.generation && !fold.removed.some((removed) => sameSegment(removed, file)),
  );
  const live = fold.segments.filter(
    (_, i) => i === fold.segments.length - 1 || fold.segments[i + 1]!.base > fold.logStart,
  );
  const segments = live.map((segment): FoldedSegment => {
    if (segment.tag >= 0) return segment;
    const found = candidates.find((file) => file.base === segment.base);
    return { ...segment, tag: found?.tag ?? freeTag(files, segment.base, fold.generation) };
  });
  const unnamed = candidates.filter((file) => !segments.some((segment) => sameSegment(segment, file)));
  const tail = unnamed.filter((file) => file.base >= durableEnd).sort((a, b) => a.base - b.base);
  const aside: string[] = [];
  for (const file of files) {
    if (segments.some((segment) => sameSegment(segment, file)) || tail.includes(file)) continue;
    aside.push(await setAside(disk, directory, file, fold.generation));
  }
  return { segments, tail, setAside: aside };
}

function freeTag(files: readonly SegmentName[], base: number, generation: number): number {
  const taken = new Set(files.filter((file) => file.base === base).map((file) => file.tag));
  let tag = 0;
  while (taken.has(tag)) tag = tag === 0 ? Math.max(1, generation) : tag + 1;
  return tag;
}

/** @returns the name that the file had */
async function setAside(disk: Disk, directory: string, name: SegmentName, generation: number): Promise<string> {
  const file = logFileName(name);
  await disk.rename(`${directory}/${file}`, `${directory}/${setAsideName(file, generation)}`);
  return file;
}

export async function recoverLog(
  disk: Disk,
  directory: string,
  fold: LogFold,
  files: ResolvedFiles,
  ground: RecoveryGround,
): Promise<RecoveredLog> {
  const recovery = new LogRecovery(disk, directory, fold, files);
  await recovery.run();
  return recovery.result(ground);
}

class LogRecovery {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #fold: LogFold;
  readonly #files: ResolvedFiles;
  readonly #epochs: EpochIndex;
  readonly #configurations: ConfigurationHistory;
  #segments: SegmentState[] = [];
  #at: ScanStart;
  #lastIndexes: SegmentIndexes | undefined;
  readonly #cuts: CutBytes[] = [];
  readonly #setAside: string[];
  #rewrittenBytes = 0;
  /** The first batch of the last scan that checks out, but is not the one that was durable there. */
  #wrong: WrongBatch | undefined;
  readonly #rebuiltIndexes = new Set<string>();

  constructor(disk: Disk, directory: string, fold: LogFold, files: ResolvedFiles) {
    this.#disk = disk;
    this.#directory = directory;
    this.#fold = fold;
    this.#files = files;
    this.#setAside = [...files.setAside];
    this.#epochs = EpochIndex.fromEntries(fold.epochs.entries);
    this.#configurations = ConfigurationHistory.fromRows(fold.configurations.rows());
    this.#at = { position: 0, offset: fold.state.end, epoch: this.#epochs.lastEpoch };
  }

  async run(): Promise<void> {
    const { segments } = this.#files;
    const markBase = this.#fold.mark?.segmentBase ?? 0;
    for (const [i, segment] of segments.entries()) {
      if (segment.base < markBase) await this.#checkSealed(segment, i);
      else await this.#scanDurable(segment, segments[i + 1]?.base);
    }
    if (segments.length > 0) await this.#scanTail(segments.at(-1)!);
    await this.#adoptTailFiles();
    if (this.#at.offset < this.#fold.logStart) await this.#restartAtLogStart();
    await this.#disk.syncDirectory(this.#directory);
  }

  result(ground: RecoveryGround): RecoveredLog {
    const fold = this.#fold;
    const end = this.#at.offset;
    // What is kept begins with a segment; the epoch before it stays known.
    this.#epochs.trimStart(this.#segments[0]?.base ?? fold.logStart);
    this.#configurations.trimStart(fold.logStart);
    const lastEpoch = this.#epochs.lastEpoch;
    // Batches of a term can be on disk before the term is; then no vote was given in it.
    const hardState = lastEpoch > fold.term ? { term: lastEpoch, vote: 0 } : { term: fold.term, vote: fold.vote };
    // What it said is forgotten, and that is not: it stands in the row until a leader's log has been taken over. Whoever
    // was in no term has acknowledged nothing to a leader.
    const lost = (fold.relaxed && !ground.pageCacheSurvived) || fold.hwFloor > end;
    const forgot = fold.forgot ?? (lost && hardState.term > 0 ? hardState.term : undefined);
    const state: LogState = {
      ...withoutForgot(fold.state),
      ...hardState,
      ...(forgot !== undefined && { forgot }),
      logStart: fold.logStart,
      end,
      hwFloor: Math.min(fold.hwFloor, end),
      generation: fold.generation + 1,
      relaxed: fold.relaxed,
      compactedTo: Math.min(fold.state.compactedTo ?? 0, end),
      tombstonesRemovedTo: fold.tombstonesRemovedTo,
      segments: this.#segments,
      epochs: this.#epochs.entries.map(({ epoch, startOffset }) => [epoch, startOffset] as const),
      configurations: this.#configurations.rows(),
      producersEmptyBelow: Math.min(fold.state.producersEmptyBelow ?? 0, end),
    };
    const report: RecoveryReport = {
      clean: false,
      ...ground,
      replayedRecords: fold.appliedCount,
      replayedBytes: sum(
        fold.pieces.filter(({ segmentBase }) => this.#isLive(segmentBase)).map(({ length }) => length),
      ),
      durableMark: fold.durable && {
        segmentBaseOffset: fold.durable.segmentBase,
        position: fold.durable.position,
        offset: fold.durable.offset,
      },
      truncatedBytes: sum(this.#cuts.map(({ bytes }) => bytes)),
      cuts: this.#cuts,
      rewrittenBytes: this.#rewrittenBytes,
      setAside: this.#setAside,
      rebuiltIndexes: this.#rebuiltIndexes.size,
      damaged: damageOf(state),
      mayHaveForgotten: forgot !== undefined || fold.relaxed || fold.hwFloor > end,
    };
    return { state, report };
  }

  /** A sealed, checkpointed segment: only its size is looked at. */
  async #checkSealed(segment: FoldedSegment, index: number): Promise<void> {
    const known = this.#fold.state.segments.find((state) => sameSegment(state, segment));
    const { length, compacted } = segment;
    const size = (await this.#disk.fileSize(this.#path(segment))) ?? 0;
    const damaged = [...(known?.damaged ?? [])];
    if (size < length) damaged.push({ from: size, to: length, reason: `the file has ${size} of its ${length} bytes` });
    const isKnown = known?.length === length;
    this.#push(segment, length, damaged, isKnown ? known : compacted ? { ...compacted, sealed: true } : {});
    this.#at = { ...this.#at, position: 0, offset: this.#files.segments[index + 1]?.base ?? this.#at.offset };
  }

  /** Scans what must be there: faults are damage, and the scan goes on at the next boundary that is known. */
  async #scanDurable(segment: FoldedSegment, nextBase: number | undefined): Promise<void> {
    const fold = this.#fold;
    const isLast = nextBase === undefined;
    const length = isLast ? (fold.durable?.position ?? 0) : segment.length;
    const endOffset = isLast ? (fold.durable?.offset ?? segment.base) : nextBase;
    const boundaries = fold.pieces
      .filter((piece) => piece.segmentBase === segment.base)
      .map((piece) => ({ position: piece.position, offset: piece.startOffset }));
    if (fold.mark?.segmentBase === segment.base) boundaries.push(fold.mark);
    boundaries.push(...fold.directEnds.filter((end) => end.segmentBase === segment.base));
    boundaries.push({ position: length, offset: endOffset });
    boundaries.sort((a, b) => a.position - b.position);

    const indexes = new SegmentIndexes(segment.base, DEFAULT_INDEX_INTERVAL_BYTES);
    const durable = new DurableBatches(EpochIndex.fromEntries(fold.epochs.entries), boundaries);
    const damaged: DamagedRange[] = [];
    let at: ScanStart = { position: 0, offset: segment.base, epoch: this.#epochs.epochAt(segment.base - 1) };
    while (at.position < length) {
      const before = at;
      const scan = await this.#scan(segment, at, length, indexes, durable);
      const wrong = this.#wrong;
      at = wrong === undefined ? scan.at : { position: wrong.position, offset: wrong.offset, epoch: before.epoch };
      if (at.position === length && at.offset === endOffset) break;
      const from = at.position;
      const resume = boundaries.find((boundary) => boundary.position > from) ?? { position: length, offset: endOffset };
      const why =
        wrong !== undefined
          ? wrong.why
          : scan.end === 'complete'
            ? `its batches end at offset ${at.offset}, not at ${endOffset}`
            : faultText(scan.end);
      damaged.push({
        from: Math.min(from, resume.position - 1),
        to: resume.position,
        reason: `${why}, below the durable mark`,
        ...(from < resume.position && { startOffset: at.offset }),
        endOffset: resume.offset,
      });
      at = { position: resume.position, offset: resume.offset, epoch: at.epoch };
      indexes.addEntry(at.position, at.offset);
    }
    await this.#saveIndexes(segment, indexes);
    // What lies in damage may be younger than everything that can be read.
    const maxTimestamp = damaged.length === 0 ? { maxTimestamp: indexes.maxTimestamp } : {};
    // A compacted one has its seal, which may know better than a scan whose bytes these are: no checkpoint makes it anew.
    const keepsSeal = !isLast && segment.compacted !== undefined && damaged.length === 0;
    const sealed = keepsSeal ? { sealed: true as const } : {};
    this.#push(segment, length, damaged, { ...this.#timesOf(segment, length), ...maxTimestamp, ...sealed });
    this.#at = { position: length, offset: endOffset, epoch: Math.max(at.epoch, this.#epochs.lastEpoch) };
    if (isLast) this.#lastIndexes = indexes;
  }

  /** Whole batches behind the durable end are kept, and written again; the first fault ends the log. */
  async #scanTail(segment: SegmentName): Promise<void> {
    const indexes = this.#lastIndexes ?? new SegmentIndexes(segment.base, DEFAULT_INDEX_INTERVAL_BYTES);
    const from = this.#at;
    const scan = await this.#scan(segment, from, Number.POSITIVE_INFINITY, indexes);
    this.#noteCut(segment, scan);
    this.#at = scan.at;
    const { damaged } = this.#segments.at(-1)!;
    if (damaged === undefined) await this.#trim(segment, scan.at.position);
    this.#segments.pop();
    const isWhole = damaged === undefined && (this.#lastIndexes !== undefined || from.position === 0);
    this.#push(segment, scan.at.position, damaged ?? [], {
      ...this.#timesOf(segment, scan.at.position),
      ...(isWhole && { maxTimestamp: indexes.maxTimestamp }),
    });
    if (scan.at.position > from.position) {
      await this.#rewrite(segment, from.position, scan.at.position);
      await this.#saveIndexes(segment, indexes);
    }
  }

  async #adoptTailFiles(): Promise<void> {
    const tail = [...this.#files.tail];
    for (let next = tail[0]; next !== undefined && next.base === this.#at.offset; next = tail[0]) {
      const indexes = new SegmentIndexes(next.base, DEFAULT_INDEX_INTERVAL_BYTES);
      const scan = await this.#scan(next, { ...this.#at, position: 0 }, Number.POSITIVE_INFINITY, indexes);
      if (scan.at.position === 0) break;
      tail.shift();
      this.#noteCut(next, scan);
      await this.#trim(next, scan.at.position);
      await this.#rewrite(next, 0, scan.at.position);
      await this.#saveIndexes(next, indexes);
      this.#push(next, scan.at.position, [], { maxTimestamp: indexes.maxTimestamp });
      this.#at = scan.at;
    }
    for (const file of tail) await this.#setFileAside(file);
  }

  /** Records below the log start were deleted and those above it are lost: the log is empty, and starts there. */
  async #restartAtLogStart(): Promise<void> {
    for (const segment of this.#segments) await this.#setFileAside(segment);
    this.#segments = [];
    this.#at = { position: 0, offset: this.#fold.logStart, epoch: this.#epochs.lastEpoch };
  }

  /** `durable`: what every batch must agree with; without it new epochs may begin. */
  #scan(segment: SegmentName, start: ScanStart, limit: number, indexes: SegmentIndexes, durable?: DurableBatches) {
    this.#wrong = undefined;
    return scanSegment(
      this.#disk,
      this.#path(segment),
      start,
      limit,
      (position, size, baseOffset, lastOffset, epoch, maxTimestamp, bytes, at) => {
        const why = durable?.contradiction(position, size, baseOffset, lastOffset, epoch);
        if (why !== undefined) this.#wrong ??= { position, offset: baseOffset, why };
        if (this.#wrong !== undefined) return;
        indexes.add(position, baseOffset, lastOffset, maxTimestamp);
        if (epoch > this.#epochs.lastEpoch) this.#epochs.append(epoch, baseOffset);
        this.#configurations.noteBatches(bytes, at, at + size);
      },
    );
  }

  /**
   * What was cut off must be gone for good before anything is stored in its place: after another crash, a whole batch in
   * it could join on to what was stored before it meanwhile.
   */
  async #trim(segment: SegmentName, length: number): Promise<void> {
    const path = this.#path(segment);
    const size = await this.#disk.fileSize(path);
    if (size !== undefined && size > length) await this.#disk.truncateFile(path, length);
  }

  async #rewrite(segment: SegmentName, from: number, to: number): Promise<void> {
    const path = this.#path(segment);
    for (let position = from; position < to; ) {
      const bytes = await this.#disk.readFile(path, position, Math.min(REWRITE_BYTES, to - position));
      if (bytes === undefined || bytes.length === 0) break;
      await this.#disk.writeFile(path, position, bytes);
      position += bytes.length;
      this.#rewrittenBytes += bytes.length;
    }
  }

  async #setFileAside(name: SegmentName): Promise<void> {
    this.#setAside.push(await setAside(this.#disk, this.#directory, name, this.#fold.generation));
  }

  #noteCut({ base }: SegmentName, { end, at, trailingBytes }: SegmentScan): void {
    if (trailingBytes === 0) return;
    const reason = `${faultText(end)}, beyond the durable mark`;
    this.#cuts.push({ segmentBaseOffset: base, position: at.position, bytes: trailingBytes, reason });
  }

  /** Pieces of segments that lie below the log start are not written. */
  #isLive(segmentBase: number): boolean {
    return this.#files.segments.some(({ base }) => base === segmentBase);
  }

  async #saveIndexes(segment: SegmentName, indexes: SegmentIndexes): Promise<void> {
    const stem = this.#path(segment).slice(0, -'.log'.length);
    this.#rebuiltIndexes.add(stem);
    await indexes.save(this.#disk, stem);
  }

  #push(
    { base, tag }: SegmentName,
    length: number,
    damaged: readonly DamagedRange[],
    known: Partial<Pick<SegmentState, 'maxTimestamp' | 'sealed' | 'firstAppend' | 'lastAppend'>>,
  ): void {
    this.#segments.push({
      base,
      tag,
      length,
      ...(known.maxTimestamp !== undefined && { maxTimestamp: known.maxTimestamp }),
      ...(damaged.length > 0 && { damaged }),
      ...(known.sealed && { sealed: true as const }),
      ...(known.firstAppend !== undefined && { firstAppend: known.firstAppend }),
      ...(known.lastAppend !== undefined && { lastAppend: known.lastAppend }),
    });
  }

  /** What the checkpoint knows of when a segment was stored; the end of what came later is not known. */
  #timesOf({ base, tag }: SegmentName, length: number): Pick<SegmentState, 'firstAppend' | 'lastAppend'> {
    const known = this.#fold.state.segments.find((state) => state.base === base && state.tag === tag);
    if (known?.firstAppend === undefined || known.length === 0) return {};
    const { firstAppend, lastAppend } = known;
    return known.length === length && lastAppend !== undefined ? { firstAppend, lastAppend } : { firstAppend };
  }

  #path(name: SegmentName): string {
    return `${this.#directory}/${logFileName(name)}`;
  }
}

/** The row says it again if it is still so. */
function withoutForgot({ forgot: _, ...state }: LogState): LogState {
  return state;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
