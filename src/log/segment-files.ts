/**
 * How the segments of one log get at their files: mapping them, reading their indexes, making those anew.
 *
 * What can go wrong: a sealed segment whose file is gone or too short is CORRUPT_LOG at its first use.
 */
import type { Disk, SegmentFile } from '../disk/disk.js';
import { VarveError } from '../errors.js';
import type { MappedSegments } from '../segment/mapped-segments.js';
import type { Segment, SegmentSource } from '../segment/segment.js';
import { SegmentIndexes } from '../segment/segment-indexes.js';
import type { LogOptions } from './options.js';
import { scanSegment } from './segment-scan.js';

export class SegmentFiles implements SegmentSource {
  readonly mapped: MappedSegments;
  readonly #disk: Disk;
  readonly #options: LogOptions;
  readonly #reserveBytes: number;
  /** Told when indexes were made anew: the segment is no longer what the last checkpoint said. */
  readonly #onRebuilt: () => void;
  #rebuiltIndexes = 0;

  constructor(disk: Disk, options: LogOptions, reserveBytes: number, mapped: MappedSegments, onRebuilt: () => void) {
    this.#onRebuilt = onRebuilt;
    this.#disk = disk;
    this.#options = options;
    this.#reserveBytes = reserveBytes;
    this.mapped = mapped;
  }

  get rebuiltIndexes(): number {
    return this.#rebuiltIndexes;
  }

  openFile(segment: Segment): SegmentFile {
    const file = segment.isActive ? this.#openActive(segment) : this.#openReadOnly(segment);
    this.mapped.noteMapped(segment.path);
    return file;
  }

  readIndexesSync(segment: Segment): SegmentIndexes | undefined {
    const offsets = this.#disk.readFileSync(`${segment.stem}.index`);
    const times = offsets && this.#disk.readFileSync(`${segment.stem}.timeindex`);
    return SegmentIndexes.fromFiles(offsets, times, segment, this.#options.indexIntervalBytes);
  }

  async readIndexes(segment: Segment): Promise<SegmentIndexes | undefined> {
    const [offsets, times] = await Promise.all([
      this.#disk.readFile(`${segment.stem}.index`),
      this.#disk.readFile(`${segment.stem}.timeindex`),
    ]);
    return SegmentIndexes.fromFiles(offsets, times, segment, this.#options.indexIntervalBytes);
  }

  emptyIndexes(segment: Segment): SegmentIndexes {
    return new SegmentIndexes(segment.base, this.#options.indexIntervalBytes);
  }

  async rebuildIndexes(segment: Segment): Promise<SegmentIndexes | undefined> {
    const indexes = this.emptyIndexes(segment);
    const { base, length } = segment;
    if (length === 0) return indexes;
    const start = { position: 0, offset: base, epoch: -1 };
    const scan = await scanSegment(
      this.#disk,
      segment.path,
      start,
      length,
      (position, _size, baseOffset, lastOffset, _epoch, maxTimestamp) =>
        indexes.add(position, baseOffset, lastOffset, maxTimestamp),
    );
    indexes.dirty = true;
    return scan.end === 'complete' && scan.at.position === length ? indexes : undefined;
  }

  onRebuilt(): void {
    this.#rebuiltIndexes++;
    this.#onRebuilt();
  }

  /** Bytes beyond what is stored are trimmed, but never from a file that was mapped before: somebody may hold a view. */
  #openActive({ path, length }: Segment): SegmentFile {
    const keepTail = this.mapped.wasMapped(path);
    const reserveBytes = Math.max(this.#reserveBytes, length + this.#reserveBytes - this.#options.segmentBytes);
    return this.#disk.openSegment(path, { reserveBytes, size: length, writable: true, keepTail });
  }

  #openReadOnly({ path, length }: Segment): SegmentFile {
    let file: SegmentFile;
    try {
      file = this.#disk.openSegment(path, { reserveBytes: length, writable: false });
    } catch (error) {
      throw unusable(path, 'the segment cannot be opened', error);
    }
    if (file.size >= length) return file;
    file.close();
    throw unusable(path, `the file has ${file.size} of its ${length} bytes`);
  }
}

function unusable(path: string, what: string, cause?: unknown): VarveError {
  return new VarveError('CORRUPT_LOG', `${path}: ${what}; restore this replica from a peer or a backup`, { cause });
}
