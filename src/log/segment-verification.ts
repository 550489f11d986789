/**
 * Reads a segment that has ended from its file and checks everything about it: every batch's CRC, that offsets join on and
 * epochs are those of the epoch index, and the seal. In pieces, so that neither the event loop nor memory notices.
 *
 * Damage is a range of bytes up to the next place that is surely the beginning of a batch; the scan goes on there.
 * Nothing is changed but the seal, which is written anew when it is missing and every batch checks out.
 */
import type { Disk } from '../disk/disk.js';
import { type Environment, sleep } from '../environment.js';
import { VarveError } from '../errors.js';
import { BATCH_HEADER_BYTES, batchSizeAt, MAGIC, magicAt } from '../record/record-batch.js';
import { decodeSeal, encodeSeal, SealBuilder, type SealIdentity, sameSeal } from '../segment/seal.js';
import type { DamagedRange, Segment } from '../segment/segment.js';
import type { SegmentIndexes } from '../segment/segment-indexes.js';
import { sealPath } from './segment-sealing.js';
import { faultText, scanSegment } from './segment-scan.js';

/** Read, and checked, at a time; a larger batch is read as one. */
const PIECE_BYTES = 1024 * 1024;

export interface VerificationGround {
  readonly environment: Environment;
  readonly disk: Disk;
  readonly identity: SealIdentity;
  /** Epoch of the record at an offset; undefined where that is not known any more. */
  readonly epochAt: (offset: number) => number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly bytesPerSecond: number | undefined;
}

export interface SegmentVerification {
  readonly batches: number;
  readonly bytes: number;
  /** What was not known before. */
  readonly damaged: readonly DamagedRange[];
  readonly seal: 'right' | 'written' | 'none';
}

/** Undefined when the segment was removed or cut meanwhile. */
export async function verifySegment(
  segment: Segment,
  ground: VerificationGround,
): Promise<SegmentVerification | undefined> {
  const verification = new Verification(segment, ground);
  try {
    await verification.scan();
  } catch (error) {
    if (verification.isGone) return undefined;
    throw error;
  }
  return verification.finish();
}

interface Boundary {
  readonly position: number;
  /** −1: not known. */
  readonly offset: number;
}

class Verification {
  readonly #segment: Segment;
  readonly #ground: VerificationGround;
  readonly #length: number;
  readonly #known: readonly DamagedRange[];
  readonly #builder: SealBuilder;
  readonly #damaged: DamagedRange[] = [];
  /** Up to here all is well, since the last damage. */
  #reached: Boundary = { position: 0, offset: -1 };
  #batches = 0;
  #bytes = 0;

  constructor(segment: Segment, ground: VerificationGround) {
    this.#segment = segment;
    this.#ground = ground;
    this.#length = segment.length;
    this.#known = segment.damaged;
    this.#builder = new SealBuilder(ground.identity);
  }

  get isGone(): boolean {
    return this.#segment.isClosed || this.#segment.length !== this.#length;
  }

  async scan(): Promise<void> {
    let at: Boundary = { position: 0, offset: this.#segment.base };
    while (at.position < this.#length && !this.isGone) {
      const known = this.#known.find((range) => range.to > at.position);
      at = known !== undefined && known.from <= at.position ? behind(known) : await this.#scanFrom(at, known?.from);
    }
  }

  async finish(): Promise<SegmentVerification | undefined> {
    let seal: SegmentVerification['seal'] = 'none';
    if (!this.isGone && this.#damaged.length === 0 && this.#known.length === 0) seal = await this.#checkSeal();
    if (this.isGone) return undefined;
    return { batches: this.#batches, bytes: this.#bytes, damaged: this.#damaged, seal };
  }

  /** Up to `limit`, where known damage begins, or the first fault. @returns where to go on */
  async #scanFrom(start: Boundary, limit = this.#length): Promise<Boundary> {
    const segment = this.#segment;
    const disk = this.#reader();
    this.#reached = start;
    let why: string;
    try {
      const from = { ...start, epoch: -1 };
      const scan = await scanSegment(disk, segment.path, from, limit, this.#visit, PIECE_BYTES);
      const { at } = scan;
      if (at.position === limit) {
        if (limit < this.#length || at.offset === segment.end) return at;
        return this.#damage(start, { position: limit, offset: segment.end }, 'its batches end too early');
      }
      why = faultText(scan.end);
    } catch (error) {
      this.#ground.signal?.throwIfAborted();
      if (!(error instanceof VarveError) || error.code !== 'DISK_FAILED') throw error;
      why = error.message;
    }
    if (this.isGone) return { position: this.#length, offset: segment.end };
    const from = this.#reached;
    // The batch before has too high an epoch: that is known, and this one need not follow it.
    if (from.position > start.position && this.#damaged.at(-1)?.to === from.position) return from;
    return this.#damage(from, await this.#nextBoundary(from), why);
  }

  #visit = (
    position: number,
    size: number,
    baseOffset: number,
    lastOffset: number,
    epoch: number,
    maxTimestamp: number,
    bytes: Buffer,
    headerAt: number,
  ): void => {
    this.#batches++;
    this.#bytes += size;
    this.#reached = { position: position + size, offset: lastOffset + 1 };
    this.#builder.add(bytes, headerAt, size, lastOffset, maxTimestamp);
    const { epochAt } = this.#ground;
    // The log start may lie in the batch, or behind it: then no later epoch than the segment's last one can be right.
    const expected = epochAt(baseOffset) ?? epochAt(lastOffset);
    const isRight = expected === undefined ? epoch <= (epochAt(this.#segment.end - 1) ?? epoch) : epoch === expected;
    if (isRight) return;
    const reason = `a batch has epoch ${epoch} where the log has ${expected === undefined ? 'an earlier one' : `epoch ${expected}`}`;
    this.#damage({ position, offset: baseOffset }, { position: position + size, offset: lastOffset + 1 }, reason);
  };

  #damage(from: Boundary, to: Boundary, reason: string): Boundary {
    const startOffset = from.offset >= 0 ? { startOffset: from.offset } : {};
    const endOffset = to.offset >= 0 ? { endOffset: to.offset } : {};
    this.#damaged.push({ from: from.position, to: to.position, reason, ...startOffset, ...endOffset });
    return to;
  }

  /** The next place behind a fault that is surely the beginning of a batch; the end of the segment if there is none. */
  async #nextBoundary({ position, offset }: Boundary): Promise<Boundary> {
    const segment = this.#segment;
    const end = { position: this.#length, offset: segment.end };
    const header = await this.#header(position);
    if (header !== undefined) {
      // Usually the length is right, and something else is not.
      const next = position + batchSizeAt(header, 0);
      if (next === end.position) return end;
      const found = next > position ? await this.#batchAt(next, offset) : undefined;
      if (found !== undefined) return found;
    }
    await segment.prepareLookup();
    if (this.isGone) return end;
    const offsets = this.#offsets();
    if (offsets === undefined) return end;
    for (let entry = offsets.entryBehind(position); entry >= 0 && entry < offsets.count; entry++) {
      const found = await this.#batchAt(offsets.positionAt(entry), offset);
      if (found?.offset === offsets.offsetAt(entry)) return found;
    }
    return end;
  }

  /** Undefined when nothing is left to make an index from: the file is gone, or too short. */
  #offsets(): SegmentIndexes['offsets'] | undefined {
    try {
      return this.#segment.indexes.offsets;
    } catch (error) {
      if (!(error instanceof VarveError) || error.code !== 'CORRUPT_LOG') throw error;
      return undefined;
    }
  }

  /** If a batch with an offset that can follow `after` seems to begin there. */
  async #batchAt(position: number, after: number): Promise<Boundary | undefined> {
    const header = await this.#header(position);
    if (header === undefined || magicAt(header, 0) !== MAGIC) return undefined;
    const size = batchSizeAt(header, 0);
    const offset = header.readUInt32BE(0) * 2 ** 32 + header.readUInt32BE(4);
    const fits = size >= BATCH_HEADER_BYTES && position + size <= this.#length;
    return fits && offset > after && offset < this.#segment.end ? { position, offset } : undefined;
  }

  async #header(position: number): Promise<Buffer | undefined> {
    if (position + BATCH_HEADER_BYTES > this.#length) return undefined;
    const read = this.#ground.disk.readFile(this.#segment.path, position, BATCH_HEADER_BYTES);
    const bytes = await read.catch(() => undefined);
    return bytes?.length === BATCH_HEADER_BYTES ? bytes : undefined;
  }

  async #checkSeal(): Promise<SegmentVerification['seal']> {
    const segment = this.#segment;
    const { disk } = this.#ground;
    const found = this.#builder.seal();
    const bytes = await disk.readFile(sealPath(segment));
    const seal = bytes && decodeSeal(bytes);
    if (seal !== undefined && sameSeal(seal, found)) return 'right';
    if (seal?.length === found.length && segment.sealed) {
      const whole = { position: this.#length, offset: segment.end };
      this.#damage(
        { position: 0, offset: segment.base },
        whole,
        'its batches check out one by one, but they are not those that were sealed',
      );
      return 'none';
    }
    // What has not been sealed yet is left to the next checkpoint.
    if (!segment.sealed || this.isGone) return 'none';
    await disk.replaceFile(sealPath(segment), encodeSeal(found));
    return 'written';
  }

  #reader(): Pick<Disk, 'readFile'> {
    const { environment, disk, signal, bytesPerSecond } = this.#ground;
    return {
      readFile: async (path, position, length) => {
        signal?.throwIfAborted();
        const bytes = await disk.readFile(path, position, length);
        if (bytesPerSecond !== undefined && bytes !== undefined) {
          await sleep(environment, (bytes.length / bytesPerSecond) * 1000, signal);
        }
        return bytes;
      },
    };
  }
}

function behind(range: DamagedRange): Boundary {
  return { position: range.to, offset: range.endOffset ?? -1 };
}
