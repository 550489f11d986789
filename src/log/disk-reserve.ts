/**
 * The reserve: space kept allocated in the file `reserve`, so that a store on a full disk can still free space. It covers
 * what must go on then: a checkpoint, the journal's next file, the first chunk of a truncation's new segment.
 *
 *   held ── one of these finds no space ──▶ given up ── there is space for all of it again ──▶ held
 *
 * Producers and leaders' batches are taken while it is held and the journal has space for its next file; otherwise they
 * get DISK_FULL, before any of it is used. Whether there is space again is asked twice a second, and whenever the store
 * has deleted something.
 *
 * A segment that cannot grow refuses its own append and nothing else; that is noted too, for whoever waits for space.
 *
 * On copy-on-write file systems allocated space is only a hint, and so is the reserve.
 */
import type { Disk, JournalSpace } from '../disk/disk.js';
import type { Environment, Timer } from '../environment.js';
import { VarveError } from '../errors.js';
import type { StoreOptions } from './options.js';

export const RESERVE_FILE = 'reserve';

const ASK_AGAIN_MS = 500;
/** What a segment allocates first. */
const FIRST_CHUNK_BYTES = 64 * 1024;
/** Checkpoint, index files, a few segments: what opening writes besides its journal file. */
const OPENING_BYTES = 2 * 1024 * 1024;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export interface DiskReserveParts {
  readonly environment: Environment;
  readonly disk: Disk;
  /** Of the data directory, for messages. */
  readonly path: string;
  /** 0: none is kept. */
  readonly bytes: number;
  /** The disk failed in a way that is not a lack of space. */
  readonly onFailure: (error: unknown) => void;
  /** The journal has no space for its next file: files that are no longer needed would do. */
  readonly onLack: () => void;
}

export class DiskReserve {
  readonly #parts: DiskReserveParts;
  #held = false;
  #space: JournalSpace = 'enough';
  #refusal: VarveError | undefined;
  /** An append found no space for its segment when this much was free. */
  #lackedAt: number | undefined;
  readonly #waiters: Waiter[] = [];
  #restoring: Promise<void> | undefined;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(parts: DiskReserveParts) {
    this.#parts = parts;
  }

  /** What producers are told while the disk is full. */
  get refusal(): VarveError | undefined {
    return this.#refusal;
  }

  /** True while appends are refused, or the last one that needed space got none. */
  get isFull(): boolean {
    return this.#refusal !== undefined || this.#lackedAt !== undefined;
  }

  /** Resolves when there is space again, as far as can be told. */
  whenSpace(): Promise<void> {
    if (!this.isFull) return Promise.resolve();
    this.#timer?.ref();
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** A segment could not grow. */
  noteLack(): void {
    this.#lackedAt ??= 0;
    this.#askAgain();
  }

  /** Files were deleted. */
  noteFreed(): void {
    if (!this.isFull || this.#stopped) return;
    this.#parts.disk.reclaim();
    void this.restore();
  }

  /** Nobody is to wait any more. */
  fail(error: Error): void {
    for (const { reject } of this.#waiters.splice(0)) reject(error);
  }

  /** What the journal says of its next file. */
  set journalSpace(space: JournalSpace) {
    this.#space = space;
    this.#judge();
    if (space === 'waiting') this.giveUp();
    if (space === 'enough') void this.restore();
    else this.#parts.onLack();
  }

  /** @returns true if there was something to give up: whoever found no space should try again */
  giveUp(): boolean {
    if (!this.#held || this.#parts.bytes === 0) return false;
    this.#parts.disk.dropFile(RESERVE_FILE);
    this.#held = false;
    this.#judge();
    this.#askAgain();
    return true;
  }

  /** Runs; where that finds no space, gives the reserve up and runs once more. For what must go on when the disk is full. */
  async lend(run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      if (!(error instanceof VarveError) || error.code !== 'DISK_FULL' || !this.giveUp()) throw error;
      await run();
    }
  }

  /** Allocates it if there is space for it, and for the journal's next file before. */
  restore(): Promise<void> {
    if ((this.#held && this.#lackedAt === undefined) || this.#stopped) return Promise.resolve();
    this.#restoring ??= this.#restore()
      .catch((error: unknown) => this.#parts.onFailure(error))
      .finally(() => {
        this.#restoring = undefined;
        this.#judge();
        if (!this.#held || this.#lackedAt !== undefined) this.#askAgain();
      });
    return this.#restoring;
  }

  /** The store is about to close: the file stays, for the next opening. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#parts.environment.cancel(this.#timer);
    await this.#restoring;
  }

  async #restore(): Promise<void> {
    const { disk, bytes } = this.#parts;
    const { freeBytes } = await disk.freeSpace();
    if (this.#lackedAt !== undefined) {
      // Whoever was refused takes another turn once anything has been freed.
      const freed = this.#lackedAt > 0 && freeBytes > this.#lackedAt;
      this.#lackedAt = freed ? undefined : Math.max(1, freeBytes);
    }
    if (this.#held) return;
    if (bytes > 0) {
      if (this.#space !== 'enough' || freeBytes < bytes) return;
      try {
        await disk.allocateFile(RESERVE_FILE, bytes);
      } catch (error) {
        if (error instanceof VarveError && error.code === 'DISK_FULL') return;
        throw error;
      }
    }
    this.#held = true;
  }

  #judge(): void {
    if (this.#held && this.#space === 'enough') {
      this.#refusal = undefined;
      if (!this.isFull) for (const { resolve } of this.#waiters.splice(0)) resolve();
      return;
    }
    const { path, bytes } = this.#parts;
    const what = this.#held ? "the journal's next file does not fit" : `the ${bytes} bytes of the reserve do not fit`;
    this.#refusal ??= new VarveError(
      'DISK_FULL',
      `${path}: the disk is full: ${what}. Nothing was appended, and nothing is lost; free some space (delete records, or other files), then appends are taken again`,
    );
  }

  #askAgain(): void {
    if (this.#stopped || this.#timer !== undefined) return;
    this.#timer = this.#parts.environment.after(ASK_AGAIN_MS, () => {
      this.#timer = undefined;
      void this.restore();
    });
    // Somebody who waits for it keeps the process alive.
    if (this.#waiters.length === 0) this.#timer.unref();
  }
}

/** An opening on a disk that is nearly full may need the reserve of the run before. */
export async function makeRoomForOpening(disk: Disk, { journalFileBytes, reserveBytes }: StoreOptions): Promise<void> {
  const size = await disk.fileSize(RESERVE_FILE);
  if (size === undefined) return;
  const { freeBytes } = await disk.freeSpace();
  if (reserveBytes === 0 || freeBytes < journalFileBytes + OPENING_BYTES) disk.dropFile(RESERVE_FILE);
}

/**
 * Settings that can't fit the disk are refused before anything is touched. What the directory holds already counts as
 * space: it may be old files of the journal, or records that can be deleted.
 * @throws VarveError INVALID_ARGUMENT (never fits), DISK_FULL (does not fit beside what is there)
 */
export async function checkFits(disk: Disk, path: string, options: StoreOptions): Promise<void> {
  const { journalFileBytes, reserveBytes } = options;
  const needed = 2 * journalFileBytes + reserveBytes + FIRST_CHUNK_BYTES;
  const { freeBytes, totalBytes } = await disk.freeSpace();
  if (needed <= freeBytes) return;
  const held = await bytesIn(disk, '');
  if (needed <= freeBytes + held) return;
  const sum = `two files of journalFileBytes (${journalFileBytes}), reserveBytes (${reserveBytes}) and a segment's first ${FIRST_CHUNK_BYTES} bytes are ${needed} bytes`;
  if (needed > totalBytes) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `${path}: ${sum}, but the whole file system has ${totalBytes}: make journalFileBytes or reserveBytes smaller, or use a larger disk`,
    );
  }
  throw new VarveError(
    'DISK_FULL',
    `${path}: ${sum}, but the file system has ${freeBytes} bytes free and the directory holds ${held}: free some space, or make journalFileBytes or reserveBytes smaller`,
  );
}

async function bytesIn(disk: Disk, directory: string): Promise<number> {
  let bytes = 0;
  for (const { name, isDirectory } of await disk.readDirectory(directory)) {
    const path = directory === '' ? name : `${directory}/${name}`;
    bytes += isDirectory ? await bytesIn(disk, path) : ((await disk.fileSize(path)) ?? 0);
  }
  return bytes;
}
