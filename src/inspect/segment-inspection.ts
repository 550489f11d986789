/**
 * One segment: its batches (structure, CRC32C, offsets that join, epochs that do not go back), and its index files against
 * them. A fault is reported with the range it hides; the reading goes on at the next batch that an index entry names.
 */
import { scanBatches } from '../disk/addon.js';
import { SCAN_STRIDE, type ScanEnd } from '../disk/batch-scan.js';
import { OFFSET_INDEX_ENTRY_BYTES, OffsetIndex } from '../index/offset-index.js';
import { TIME_INDEX_ENTRY_BYTES, TimeIndex } from '../index/time-index.js';
import { faultText } from '../log/segment-scan.js';
import { type BatchHeader, compressionOf, isControlAt, readBatchHeader } from '../record/record-batch.js';
import { decodeSeal, SealBuilder, sameSeal } from '../segment/seal.js';
import type { DamagedRange } from '../segment/segment.js';
import type { IndexInspection } from './inspection.js';
import type { ReadableFiles } from './read-only-files.js';

/** Larger than any batch. */
const PIECE_BYTES = 16 * 1024 * 1024;
const ALL_BATCHES = 0x7fff_ffff;
const TWO_32 = 2 ** 32;

export interface SegmentLook {
  /** Path of the .log file. */
  readonly path: string;
  readonly topicId: string;
  readonly partition: number;
  readonly base: number;
  readonly end: number;
  readonly length: number;
  /** Epoch of the batch before; −1: none is known. */
  readonly epoch: number;
  readonly known: readonly { readonly from: number; readonly to: number; readonly reason: string }[];
}

export interface SegmentCounts {
  batches: number;
  controlBatches: number;
  records: number;
  firstEpoch: number;
  lastEpoch: number;
  minTimestamp: number;
  maxTimestamp: number;
}

export type SegmentFault = DamagedRange;

export interface SegmentReading {
  readonly counts: SegmentCounts;
  /** Beyond those that were known. */
  readonly faults: readonly SegmentFault[];
  readonly index: IndexInspection;
  readonly timeIndex: IndexInspection;
  readonly seal: Exclude<IndexInspection['state'], 'rebuilt'>;
}

export type BatchSeen = (position: number, bytes: Buffer, header: BatchHeader) => void | Promise<void>;

export function noCounts(): SegmentCounts {
  return {
    batches: 0,
    controlBatches: 0,
    records: 0,
    firstEpoch: -1,
    lastEpoch: -1,
    minTimestamp: -1,
    maxTimestamp: -1,
  };
}

/** Reads every batch. */
export async function readSegment(
  files: ReadableFiles,
  look: SegmentLook,
  seen: BatchSeen | undefined,
): Promise<SegmentReading> {
  const counts = noCounts();
  const offsets = await OffsetCheck.open(files, look);
  const times = await TimeCheck.open(files, look);
  const seal = new SealBuilder(look);
  const faults: SegmentFault[] = [];
  let at = { position: 0, offset: look.base, epoch: look.epoch };
  while (at.position < look.length) {
    const known = look.known.find((range) => range.from <= at.position && at.position < range.to);
    if (known !== undefined) {
      at = { position: known.to, offset: -1, epoch: at.epoch };
      continue;
    }
    const limit = look.known.find((range) => range.from > at.position)?.from ?? look.length;
    const { end, position, offset, epoch } = await readRun(
      files,
      look.path,
      at,
      limit,
      async (place, bytes, header) => {
        count(counts, header, isControlAt(bytes, 0));
        offsets.see(place, header.baseOffset);
        times.see(header.lastOffset, header.maxTimestamp);
        seal.add(bytes, 0, bytes.length, header.lastOffset, header.maxTimestamp);
        await seen?.(place, bytes, header);
      },
    );
    at = { position, offset, epoch };
    if (end === 'complete') continue;
    const next = offsets.entryBehind(position) ?? { position: look.length, offset: look.end };
    const to = Math.min(look.length, next.position);
    faults.push({
      from: position,
      to,
      reason: faultText(end),
      ...(offset >= 0 && { startOffset: offset }),
      ...(to === next.position && { endOffset: next.offset }),
    });
    at = { position: to, offset: next.offset, epoch };
  }
  if (faults.length === 0 && look.known.length === 0 && look.length > 0 && at.offset !== look.end) {
    const reason = `its batches end at offset ${at.offset}, not at ${look.end}`;
    faults.push({ from: 0, to: look.length, reason, startOffset: look.base, endOffset: look.end });
  }
  const whole = faults.length === 0 && look.known.length === 0;
  return {
    counts,
    faults,
    index: offsets.result(whole),
    timeIndex: times.result(whole),
    seal: await checkSeal(files, look, whole ? seal : undefined),
  };
}

/** What the index files say of themselves, without the batches. */
export async function readIndexes(
  files: ReadableFiles,
  look: SegmentLook,
): Promise<Pick<SegmentReading, 'index' | 'timeIndex' | 'seal'>> {
  const offsets = await OffsetCheck.open(files, look);
  const times = await TimeCheck.open(files, look);
  const seal = await checkSeal(files, look, undefined);
  return { index: offsets.result(false), timeIndex: times.result(false), seal };
}

/** @param found of all batches; undefined where not all were read */
async function checkSeal(
  files: ReadableFiles,
  look: SegmentLook,
  found: SealBuilder | undefined,
): Promise<SegmentReading['seal']> {
  const bytes = await files.readFile(look.path.replace(/\.log$/, '.seal'));
  if (bytes === undefined) return 'missing';
  const seal = decodeSeal(bytes);
  if (seal === undefined) return 'unusable';
  if (found === undefined) return 'unchecked';
  return sameSeal(seal, found.seal()) ? 'right' : 'wrong';
}

interface RunEnd {
  readonly end: ScanEnd;
  readonly position: number;
  readonly offset: number;
  readonly epoch: number;
}

/** Batches from `start` to the first fault, or to the limit. */
async function readRun(
  files: ReadableFiles,
  path: string,
  start: { readonly position: number; readonly offset: number; readonly epoch: number },
  limit: number,
  seen: BatchSeen,
): Promise<RunEnd> {
  let { position, offset, epoch } = start;
  while (position < limit) {
    const wanted = Math.min(PIECE_BYTES, limit - position);
    const bytes = (await files.readFile(path, position, wanted)) ?? Buffer.alloc(0);
    const scan = scanBatches(bytes, 0, bytes.length, offset, epoch, ALL_BATCHES);
    for (let i = 0; i < scan.batches.length; i += SCAN_STRIDE) {
      const from = scan.batches[i]!;
      const batch = bytes.subarray(from, from + scan.batches[i + 1]!);
      const header = readHeader(batch);
      if (header === undefined) return { end: 'malformed', position: position + from, offset, epoch };
      offset = scan.batches[i + 3]! + 1;
      epoch = scan.batches[i + 4]!;
      await seen(position + from, batch, header);
    }
    position += scan.validEnd;
    // A batch that the piece cut in two is read again from its start, unless nothing at all fitted.
    const isCut = scan.end === 'short' && position < limit && bytes.length === wanted && scan.validEnd > 0;
    if (scan.end === 'complete' && bytes.length < wanted) return { end: 'short', position, offset, epoch };
    if (scan.end !== 'complete' && !(isCut && wanted === PIECE_BYTES))
      return { end: scan.end, position, offset, epoch };
  }
  return { end: 'complete', position, offset, epoch };
}

/** Undefined when it holds numbers that cannot be. */
function readHeader(batch: Buffer): BatchHeader | undefined {
  try {
    return readBatchHeader(batch, 0);
  } catch {
    return undefined;
  }
}

function count(counts: SegmentCounts, header: BatchHeader, isControl: boolean): void {
  counts.batches++;
  if (isControl) counts.controlBatches++;
  counts.records += header.recordCount;
  if (counts.firstEpoch < 0) counts.firstEpoch = header.epoch;
  counts.lastEpoch = header.epoch;
  if (header.maxTimestamp < 0) return;
  if (header.baseTimestamp >= 0 && (counts.minTimestamp < 0 || header.baseTimestamp < counts.minTimestamp)) {
    counts.minTimestamp = header.baseTimestamp;
  }
  counts.maxTimestamp = Math.max(counts.maxTimestamp, header.maxTimestamp);
}

export function codecName(codec: number): string {
  return compressionOf(codec) ?? `codec ${codec}`;
}

/** Each entry of `.index` must name a batch, by its position and its base offset. */
class OffsetCheck {
  readonly #entries: { readonly position: number; readonly offset: number }[] = [];
  readonly #state: 'missing' | 'unusable' | undefined;
  #next = 0;
  #wrong = false;

  private constructor(bytes: Buffer | undefined, look: SegmentLook) {
    if (bytes === undefined) {
      this.#state = 'missing';
      return;
    }
    const limits = { baseOffset: look.base, endOffset: look.end, sizeBytes: look.length };
    this.#state = OffsetIndex.fromBytes(bytes, limits) === undefined ? 'unusable' : undefined;
    if (this.#state !== undefined) return;
    for (let at = 0; at < bytes.length; at += OFFSET_INDEX_ENTRY_BYTES) {
      this.#entries.push({ offset: look.base + bytes.readUInt32BE(at), position: bytes.readUInt32BE(at + 4) });
    }
  }

  static async open(files: ReadableFiles, look: SegmentLook): Promise<OffsetCheck> {
    return new OffsetCheck(await files.readFile(look.path.replace(/\.log$/, '.index')), look);
  }

  see(position: number, baseOffset: number): void {
    for (let entry = this.#entries[this.#next]; entry !== undefined; entry = this.#entries[this.#next]) {
      if (entry.position > position) return;
      if (entry.position !== position || entry.offset !== baseOffset) this.#wrong = true;
      this.#next++;
    }
  }

  entryBehind(position: number): { readonly position: number; readonly offset: number } | undefined {
    return this.#entries.find((entry) => entry.position > position);
  }

  /** @param whole all batches were seen */
  result(whole: boolean): IndexInspection {
    const entries = this.#entries.length;
    if (this.#state !== undefined) return { state: this.#state, entries };
    if (!whole) return { state: 'unchecked', entries };
    return { state: this.#wrong || this.#next < entries ? 'wrong' : 'right', entries };
  }
}

/** Each entry of `.timeindex` must be the largest timestamp up to the batch whose last offset it names. */
class TimeCheck {
  readonly #entries: { readonly timestamp: number; readonly offset: number }[] = [];
  readonly #state: 'missing' | 'unusable' | undefined;
  #next = 0;
  #largest = -1;
  #wrong = false;

  private constructor(bytes: Buffer | undefined, look: SegmentLook) {
    if (bytes === undefined) {
      this.#state = 'missing';
      return;
    }
    const limits = { baseOffset: look.base, endOffset: look.end, sizeBytes: look.length };
    this.#state = TimeIndex.fromBytes(bytes, limits) === undefined ? 'unusable' : undefined;
    if (this.#state !== undefined) return;
    for (let at = 0; at < bytes.length; at += TIME_INDEX_ENTRY_BYTES) {
      const timestamp = bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);
      this.#entries.push({ timestamp, offset: look.base + bytes.readUInt32BE(at + 8) });
    }
  }

  static async open(files: ReadableFiles, look: SegmentLook): Promise<TimeCheck> {
    return new TimeCheck(await files.readFile(look.path.replace(/\.log$/, '.timeindex')), look);
  }

  see(lastOffset: number, maxTimestamp: number): void {
    this.#largest = Math.max(this.#largest, maxTimestamp);
    for (let entry = this.#entries[this.#next]; entry !== undefined; entry = this.#entries[this.#next]) {
      if (entry.offset > lastOffset) return;
      if (entry.offset !== lastOffset || entry.timestamp !== this.#largest) this.#wrong = true;
      this.#next++;
    }
  }

  result(whole: boolean): IndexInspection {
    const entries = this.#entries.length;
    if (this.#state !== undefined) return { state: this.#state, entries };
    if (!whole) return { state: 'unchecked', entries };
    return { state: this.#wrong || this.#next < entries ? 'wrong' : 'right', entries };
  }
}
