/**
 * The disk of a real data directory. Opening it takes the directory's lock; the cold path is node:fs, the hot path the
 * native store. Each creation, rename and deletion is followed by a sync of the directory, through `#syncDirectories`.
 *
 * What can go wrong: DIRECTORY_MISSING, DIRECTORY_LOCKED, UNSUPPORTED_PLATFORM at opening; DISK_FULL and DISK_FAILED with
 * path and system call from any call; CLOSED after `close`.
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync, unlinkSync } from 'node:fs';
import { access, constants, readdir, stat, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { VarveError } from '../errors.js';
import { addon, type NativeStoreHandle } from './addon.js';
import type {
  DirectoryEntry,
  Disk,
  FreeSpace,
  Journal,
  JournalOptions,
  SegmentFile,
  OpenSegmentOptions,
  SegmentOptions,
  SegmentStats,
  SegmentWriter,
} from './disk.js';
import { diskError, isMissing } from './disk-errors.js';
import { type FileCalls, fileCalls, type OpenFile, type OpenFlags, readRange } from './file-calls.js';
import { collectGarbage } from './garbage.js';
import { NativeJournal } from './native-journal.js';
import { NativeSegment } from './native-segment.js';
import { SharedCalls } from './shared-calls.js';
import type { Trace } from './trace.js';
import { tracedFileCalls } from './traced-files.js';

const DEFAULT_MAX_OPEN_FILES = 1024;
const WRITERS: Readonly<Record<SegmentWriter, number>> = { mapped: 0, pwrite: 1 };

export interface DiskOptions {
  /** Descriptors of segment files that stay open while nobody uses them. Default 1024. */
  readonly maxOpenFiles?: number;
  /** A testing tool (trace.ts). */
  readonly trace?: Trace | undefined;
}

/** Opens a data directory, which exists, and locks it. */
export async function openDisk(root: string, options: DiskOptions = {}): Promise<Disk> {
  const absolute = resolve(root);
  const found = await stat(absolute).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw diskError(error, absolute);
  });
  if (!found?.isDirectory()) {
    throw new VarveError('DIRECTORY_MISSING', `${absolute} is not a directory; create it or correct the path`);
  }
  await access(absolute, constants.R_OK | constants.W_OK | constants.X_OK).catch((error: unknown) => {
    throw diskError(error, absolute);
  });
  const { maxOpenFiles = DEFAULT_MAX_OPEN_FILES, trace } = options;
  const files = trace === undefined ? fileCalls : tracedFileCalls(trace.handle);
  return new NativeDisk(absolute, addon().openStore(absolute, maxOpenFiles, trace?.handle), files);
}

/** Changes with every boot of the machine; the same id means that the page cache has survived since. */
export function bootId(): string {
  const path = '/proc/sys/kernel/random/boot_id';
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw diskError(error, path);
  }
}

class NativeDisk implements Disk {
  readonly #root: string;
  readonly #store: NativeStoreHandle;
  readonly #native = addon();
  readonly #files: FileCalls;
  readonly #directorySyncs = new SharedCalls((directory) =>
    this.#finally(directory, () => this.#files.syncDirectory(directory)),
  );
  #journal: NativeJournal | undefined;
  #closing: Promise<void> | undefined;

  constructor(root: string, store: NativeStoreHandle, files: FileCalls) {
    this.#root = root;
    this.#store = store;
    this.#files = files;
  }

  async readDirectory(path: string): Promise<DirectoryEntry[]> {
    try {
      const entries = await readdir(this.#locate(path), { withFileTypes: true });
      return entries
        .map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory() }))
        .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    } catch (error) {
      if (isMissing(error)) return [];
      throw diskError(error, this.#locate(path));
    }
  }

  async makeDirectory(path: string): Promise<void> {
    const target = this.#locate(path);
    if (target === this.#root) return;
    try {
      await this.#files.mkdir(target);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') {
        await this.makeDirectory(dirname(path));
        return this.makeDirectory(path);
      }
      if (code !== 'EEXIST') throw diskError(error, target);
    }
    // Also when it existed: whoever made it may have died before the sync.
    await this.#syncDirectories([dirname(target)]);
  }

  async readFile(path: string, position = 0, length?: number): Promise<Buffer | undefined> {
    return this.#withFile(path, 'r', (file) => readRange(file, position, length));
  }

  readFileSync(path: string, position = 0, length?: number): Buffer | undefined {
    const target = this.#locate(path);
    try {
      const file = openSync(target, 'r');
      try {
        const available = Math.max(0, fstatSync(file).size - position);
        const bytes = Buffer.allocUnsafe(Math.min(length ?? available, available));
        let filled = 0;
        while (filled < bytes.length) {
          const count = readSync(file, bytes, filled, bytes.length - filled, position + filled);
          if (count === 0) break;
          filled += count;
        }
        return bytes.subarray(0, filled);
      } finally {
        closeSync(file);
      }
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw diskError(error, target);
    }
  }

  async fileSize(path: string): Promise<number | undefined> {
    try {
      return (await stat(this.#locate(path))).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw diskError(error, this.#locate(path));
    }
  }

  async replaceFile(path: string, bytes: Uint8Array, options: { keepPrevious?: boolean } = {}): Promise<void> {
    const target = this.#locate(path);
    const temporary = `${target}.tmp`;
    try {
      const file = await this.#files.open(temporary, 'w');
      try {
        await this.#writeTemporary(file, bytes, temporary);
        await this.#finally(temporary, () => file.sync());
      } finally {
        await file.close();
      }
      // Between the two renames only `.previous` exists; readers fall back to it.
      if (options.keepPrevious) await this.#renameIfPresent(target, `${target}.previous`);
      await this.#files.rename(temporary, target);
    } catch (error) {
      throw diskError(error, target);
    }
    await this.#syncDirectories([dirname(target)]);
  }

  async writeFile(
    path: string,
    position: number,
    bytes: Uint8Array,
    { unreferenced = false }: { readonly unreferenced?: boolean } = {},
  ): Promise<void> {
    const created = (await this.fileSize(path)) === undefined;
    const target = this.#locate(path);
    await this.#withFile(path, created ? 'wx' : 'r+', (file) =>
      this.#finally(target, async () => {
        if (unreferenced) await writeUnreferenced(file, bytes, position, target);
        else await writeAll(file, bytes, position);
        await file.sync();
      }),
    );
    if (created) await this.#syncDirectories([dirname(this.#locate(path))]);
  }

  async truncateFile(path: string, size: number): Promise<void> {
    const target = this.#locate(path);
    const done = await this.#withFile(path, 'r+', (file) =>
      this.#finally(target, async () => {
        await file.truncate(size);
        await file.sync();
        return true;
      }),
    );
    if (!done) throw new VarveError('DISK_FAILED', `truncation of ${target} failed: there is no such file`);
  }

  async rename(from: string, to: string): Promise<void> {
    const source = this.#locate(from);
    const target = this.#locate(to);
    try {
      await this.#files.rename(source, target);
    } catch (error) {
      throw diskError(error, source);
    }
    this.#native.segmentFileRenamed(this.#store, source, target);
    await this.#syncDirectories([dirname(target), dirname(source)]);
  }

  async removeFiles(paths: readonly string[]): Promise<void> {
    const targets = paths.map((path) => this.#locate(path));
    for (const target of targets) {
      try {
        await this.#files.unlink(target);
        this.#native.segmentFileRemoved(this.#store, target);
      } catch (error) {
        if (!isMissing(error)) throw diskError(error, target);
      }
    }
    await this.#syncDirectories(targets.map((target) => dirname(target)));
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#syncDirectories([this.#locate(path)]);
  }

  async freeSpace(): Promise<FreeSpace> {
    const root = this.#locate('');
    try {
      const { bavail, blocks, bsize } = await statfs(root);
      return { freeBytes: bavail * bsize, totalBytes: blocks * bsize, blockBytes: bsize };
    } catch (error) {
      throw diskError(error, root);
    }
  }

  async allocateFile(path: string, bytes: number): Promise<void> {
    await this.#native.allocateFile(this.#store, this.#locate(path), bytes);
  }

  dropFile(path: string): void {
    const target = this.#locate(path);
    try {
      unlinkSync(target);
    } catch (error) {
      if (!isMissing(error)) throw diskError(error, target);
    }
  }

  reclaim(): void {
    collectGarbage();
  }

  createSegment(path: string, options: SegmentOptions): SegmentFile {
    const { reserveBytes, writer = 'mapped' } = options;
    const file = this.#locate(path);
    return new NativeSegment(
      path,
      reserveBytes,
      this.#native.createSegment(this.#store, file, reserveBytes, WRITERS[writer]),
    );
  }

  openSegment(path: string, options: OpenSegmentOptions): SegmentFile {
    const { reserveBytes, size, writable, writer = 'mapped', keepTail = false } = options;
    const file = this.#locate(path);
    if (!writable) return new NativeSegment(path, reserveBytes, this.#native.openSegmentReadOnly(this.#store, file));
    if (size === undefined) {
      throw new VarveError('INVALID_ARGUMENT', `${path} cannot be opened for writing without its size`);
    }
    return new NativeSegment(
      path,
      reserveBytes,
      this.#native.openSegment(this.#store, file, reserveBytes, size, WRITERS[writer], keepTail ? 1 : 0),
    );
  }

  stats(): SegmentStats {
    return this.#native.segmentStats(this.#store);
  }

  openJournal(options: JournalOptions): Journal {
    this.#journal = new NativeJournal(this.#store, this.#locate(options.path), options);
    return this.#journal;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#journal?.close();
    } finally {
      await this.#native.closeStore(this.#store);
    }
  }

  /** Names are checked before they touch a path. */
  #locate(path: string): string {
    if (this.#closing) throw new VarveError('CLOSED', `the data directory ${this.#root} was closed`);
    if (path.startsWith('/') || path.includes('\0') || path.split('/').includes('..')) {
      throw new VarveError('INVALID_ARGUMENT', `${JSON.stringify(path)} is not a path inside the data directory`);
    }
    return join(this.#root, path);
  }

  /** The one place that syncs directories. */
  async #syncDirectories(directories: readonly string[]): Promise<void> {
    for (const directory of new Set(directories)) {
      try {
        await this.#directorySyncs.run(directory);
      } catch (error) {
        throw diskError(error, directory);
      }
    }
  }

  async #renameIfPresent(from: string, to: string): Promise<void> {
    try {
      await this.#files.rename(from, to);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  /** On a full disk the file is given up. */
  async #writeTemporary(file: OpenFile, bytes: Uint8Array, path: string): Promise<void> {
    try {
      await writeUnreferenced(file, bytes, 0, path);
    } catch (error) {
      if (isFull(error)) await this.#files.unlink(path).catch(() => {});
      throw error;
    }
  }

  /**
   * Writes and syncs whose failure is final, whatever the reason: none of them is tried after one has failed, here or in
   * the addon's threads.
   */
  async #finally<T>(path: string, run: () => Promise<T>): Promise<T> {
    const failed = this.#native.storeFailed(this.#store);
    if (failed) throw failed;
    try {
      return await run();
    } catch (error) {
      const failure = diskError(error, path);
      // A file that could not be opened was not synced, and what DISK_FULL is said of nobody relied on: nothing is lost.
      if ((error as NodeJS.ErrnoException).syscall !== 'open' && !isFull(failure))
        this.#native.failStore(this.#store, failure.message);
      throw failure;
    }
  }

  /** Undefined when the file does not exist. */
  async #withFile<T>(path: string, flags: OpenFlags, use: (file: OpenFile) => Promise<T>): Promise<T | undefined> {
    const target = this.#locate(path);
    try {
      const file = await this.#files.open(target, flags);
      try {
        return await use(file);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw diskError(error, target);
    }
  }
}

async function writeAll(file: OpenFile, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

/** Nothing in these bytes is promised to anybody yet: a full disk is no failed write here. */
async function writeUnreferenced(file: OpenFile, bytes: Uint8Array, position: number, path: string): Promise<void> {
  try {
    await writeAll(file, bytes, position);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
    throw new VarveError('DISK_FULL', `write of ${path} failed: ${code}; nothing was changed, free some space`, {
      cause: error,
    });
  }
}

function isFull(error: unknown): boolean {
  return error instanceof VarveError && error.code === 'DISK_FULL';
}
