/**
 * One file of the twin's file system: what every process sees of it, and what a power cut could leave.
 *
 *   bytes      the page cache: the newest content
 *   writes     every write since the sync that covers it, each with the bytes it replaced
 *   sizes      every size since then; the size is metadata and is lost or kept by itself
 *
 * Page model. A page (4 KiB) that was written k times since its last sync has k + 1 versions, from the durable one to the
 * newest. A power cut leaves each page at any one of them, whatever becomes of other pages; with `torn`, each sector (512
 * bytes) of a page by itself. Bytes that were never written are zeros, so an append costs no copy here.
 *
 * A sync covers what was written before it began. After a sync that failed, what it covered is *lost*: the kernel has
 * marked the pages clean, so that no later sync writes them, unless the page is written to again.
 */
import { invariant } from '../../src/errors.js';

export const PAGE_BYTES = 4096;
export const SECTOR_BYTES = 512;

/** What a power cut decides about: a page or sector of a file, its size, or one change of a directory. */
export interface CrashUnit {
  readonly kind: 'page' | 'sector' | 'size' | 'entry';
  readonly path: string;
  /** Number of the page or sector; 0 for the others. */
  readonly index: number;
}

/** @returns which of `count` versions survives: 0 is the durable one, count − 1 the newest */
export type Choose = (count: number, unit: CrashUnit) => number;

interface Write {
  readonly sequence: number;
  readonly from: number;
  readonly to: number;
  /** What was in [from, …) before; shorter than the write, or undefined, where it was zeros. */
  readonly before: Uint8Array | undefined;
  lost: boolean;
}

interface Size {
  readonly sequence: number;
  readonly size: number;
}

/** As ES2024 has it; the libraries this project is checked against are older. */
interface ResizableBuffer extends ArrayBuffer {
  readonly resizable: boolean;
  readonly maxByteLength: number;
  resize(bytes: number): void;
}
const ResizableBuffer = ArrayBuffer as unknown as new (
  bytes: number,
  options: { maxByteLength: number },
) => ResizableBuffer;

const EMPTY = new Uint8Array(0);

export class TwinFile {
  /** The page cache; as long as the file or longer, zeros behind its end. */
  bytes: Uint8Array = EMPTY;
  #size = 0;
  /** Bytes at its end that hold no space. */
  #released = 0;
  /** From here on all bytes are zero. */
  #zeroFrom = 0;
  #sequence = 0;
  #writes: Write[] = [];
  #sizes: Size[] = [{ sequence: 0, size: 0 }];
  /** Some write was covered by a sync that failed. */
  #hasLost = false;
  /** Pages that the device no longer gives back. */
  readonly unreadable = new Set<number>();

  static durable(content: Uint8Array): TwinFile {
    const file = new TwinFile();
    file.bytes = content;
    file.#size = content.length;
    file.#zeroFrom = content.length;
    file.#sizes = [{ sequence: 0, size: content.length }];
    return file;
  }

  get size(): number {
    return this.#size;
  }

  /** Of the disk's space. */
  get heldBytes(): number {
    return this.#size - this.#released;
  }

  /** Gives the space from `from` on back, where nothing was ever written: the size and the bytes stay. */
  release(from: number): void {
    this.#released = Math.max(0, this.#size - Math.max(from, this.#zeroFrom));
  }

  /** True when a power cut could change anything. */
  get isDirty(): boolean {
    return this.#writes.length > 0 || this.#sizes.length > 1;
  }

  /** Makes room so that the file can grow to `maxBytes` in one ArrayBuffer; views made of it stay views of the file. */
  reserve(maxBytes: number): void {
    const buffer = this.bytes.buffer as ResizableBuffer;
    if (buffer.resizable && buffer.maxByteLength >= maxBytes) return;
    const grown = new ResizableBuffer(Math.max(this.#size, Math.min(maxBytes, PAGE_BYTES)), {
      maxByteLength: Math.max(maxBytes, this.#size),
    });
    const bytes = new Uint8Array(grown);
    bytes.set(this.bytes.subarray(0, this.#size));
    this.bytes = bytes;
  }

  write(position: number, source: Uint8Array, start = 0, end = source.length): void {
    const to = position + (end - start);
    if (to === position) return;
    this.#provide(to);
    this.#note(position, to);
    if (to > this.heldBytes) this.#released = 0;
    if (start === 0 && end === source.length) this.bytes.set(source, position);
    else this.bytes.set(source.subarray(start, end), position);
    if (to > this.#zeroFrom) this.#zeroFrom = to;
    if (to > this.#size) this.#resize(to);
  }

  /** Zeros that are really written: only their being written can be lost. */
  writeZeros(from: number, to: number): void {
    if (to <= from) return;
    this.#provide(to);
    this.#note(from, to);
    this.bytes.fill(0, from, Math.min(to, Math.max(from, this.#zeroFrom)));
    if (to > this.#size) this.#resize(to);
  }

  /** fallocate: the file becomes that long, with zeros. */
  allocate(to: number): void {
    if (to <= this.#size) return;
    this.#provide(to);
    this.#resize(to);
  }

  truncate(size: number): void {
    if (size >= this.#size) {
      this.allocate(size);
      return;
    }
    this.#note(size, this.#size);
    this.bytes.fill(0, size, Math.max(size, this.#zeroFrom));
    this.#zeroFrom = Math.min(this.#zeroFrom, size);
    this.#resize(size);
  }

  /** A sync begins: what was written so far will be covered by it. */
  beginSync(): number {
    return this.#sequence;
  }

  finishSync(mark: number): void {
    if (this.#hasLost) this.#finishSyncBesideLost(mark);
    else if (mark === this.#sequence) this.#writes = [];
    else this.#writes = this.#writes.filter((write) => write.sequence > mark);
    const durable = this.#sizes.findLastIndex((each) => each.sequence <= mark);
    if (durable > 0) this.#sizes.splice(0, durable);
  }

  failSync(mark: number): void {
    for (const write of this.#writes) {
      if (write.sequence > mark) break;
      write.lost = true;
      this.#hasLost = true;
    }
  }

  /** The file as a power cut leaves it. This one is not changed. */
  afterPowerCut(path: string, choose: Choose, torn: boolean): TwinFile {
    const size = this.#sizes[choose(this.#sizes.length, { kind: 'size', path, index: 0 })]!.size;
    const content = Buffer.alloc(size);
    content.set(this.bytes.subarray(0, Math.min(size, this.#zeroFrom)));
    for (const [page, writes] of [...this.#writesByPage()].sort(([a], [b]) => a - b)) {
      const from = page * PAGE_BYTES;
      if (from >= size) continue;
      const versions = writes.length + 1;
      // The page as one, or (one time in four) sector by sector.
      if (!torn || choose(4, { kind: 'page', path, index: page }) > 0) {
        const kept = choose(versions, { kind: 'page', path, index: page });
        undo(content, from, from + PAGE_BYTES, writes, kept);
        continue;
      }
      for (let at = from; at < from + PAGE_BYTES; at += SECTOR_BYTES) {
        const kept = choose(versions, { kind: 'sector', path, index: at / SECTOR_BYTES });
        undo(content, at, at + SECTOR_BYTES, writes, kept);
      }
    }
    const left = TwinFile.durable(content);
    for (const page of this.unreadable) left.unreadable.add(page);
    return left;
  }

  /** The medium changes bytes behind everybody's back: they are the durable ones from now on. */
  rot(position: number, bytes: Uint8Array): void {
    this.bytes.set(bytes.subarray(0, Math.max(0, this.#size - position)), position);
    this.#zeroFrom = Math.max(this.#zeroFrom, Math.min(position + bytes.length, this.#size));
  }

  #provide(length: number): void {
    if (length <= this.bytes.length) return;
    const buffer = this.bytes.buffer as ResizableBuffer;
    if (buffer.resizable) {
      invariant(length <= buffer.maxByteLength, `a file of the twin grows to ${length}, beyond what was reserved`);
      buffer.resize(length);
      return;
    }
    const grown = new Uint8Array(Math.max(length, Math.min(2 * this.bytes.length, length + (1 << 20))));
    grown.set(this.bytes.subarray(0, this.#size));
    this.bytes = grown;
  }

  #note(from: number, to: number): void {
    const known = Math.min(to, this.#zeroFrom);
    const before = from < known ? this.bytes.slice(from, known) : undefined;
    this.#writes.push({ sequence: ++this.#sequence, from, to, before, lost: false });
  }

  #resize(size: number): void {
    this.#released = 0;
    this.#size = size;
    this.#sizes.push({ sequence: ++this.#sequence, size });
  }

  #writesByPage(): Map<number, Write[]> {
    const pages = new Map<number, Write[]>();
    for (const write of this.#writes) {
      for (let page = Math.floor(write.from / PAGE_BYTES); page * PAGE_BYTES < write.to; page++) {
        const known = pages.get(page);
        if (known === undefined) pages.set(page, [write]);
        else known.push(write);
      }
    }
    return pages;
  }

  /** A lost write becomes durable only with a page that was written to again: whole pages reach the disk. */
  #finishSyncBesideLost(mark: number): void {
    const rewritten = new Set<number>();
    for (const write of this.#writes) {
      if (write.lost || write.sequence > mark) continue;
      for (let page = Math.floor(write.from / PAGE_BYTES); page * PAGE_BYTES < write.to; page++) rewritten.add(page);
    }
    const kept: Write[] = [];
    for (const write of this.#writes) {
      if (write.sequence > mark) kept.push(write);
      else if (write.lost) kept.push(...piecesOutside(write, rewritten));
    }
    this.#writes = kept;
    this.#hasLost = kept.some((write) => write.lost);
  }
}

/** Takes the writes from `kept` on back in [from, to). */
function undo(content: Uint8Array, from: number, to: number, writes: readonly Write[], kept: number): void {
  for (let i = writes.length - 1; i >= kept; i--) {
    const write = writes[i]!;
    const start = Math.max(from, write.from);
    const end = Math.min(to, write.to, content.length);
    if (start >= end) continue;
    const known = write.before === undefined ? start : Math.min(end, write.from + write.before.length);
    if (known > start) content.set(write.before!.subarray(start - write.from, known - write.from), start);
    content.fill(0, Math.max(start, known), end);
  }
}

/** The parts of a write that lie in none of the pages. */
function piecesOutside(write: Write, pages: ReadonlySet<number>): Write[] {
  const pieces: Write[] = [];
  for (let page = Math.floor(write.from / PAGE_BYTES); page * PAGE_BYTES < write.to; page++) {
    if (pages.has(page)) continue;
    const from = Math.max(write.from, page * PAGE_BYTES);
    const to = Math.min(write.to, (page + 1) * PAGE_BYTES);
    const before = write.before?.subarray(from - write.from, to - write.from);
    pieces.push({ ...write, from, to, before });
  }
  return pieces;
}
