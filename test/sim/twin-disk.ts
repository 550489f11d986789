/**
 * The twin of the native disk: the same interface, the same bytes, in memory and deterministic. docs/TESTING.md says how
 * to use it.
 *
 * Each cold call is the same chain of system calls as in src/disk/native-disk.ts, and each of these is one event of the
 * scheduler: a crash or a fault can come between any two of them.
 *
 * What can go wrong: what the native disk says can go wrong, with the same codes.
 */
import type {
  DirectoryEntry,
  Disk,
  FreeSpace,
  Journal,
  JournalOptions,
  OpenSegmentOptions,
  SegmentOptions,
  SegmentStats,
} from '../../src/disk/disk.js';
import { diskError } from '../../src/disk/disk-errors.js';
import { SharedCalls } from '../../src/disk/shared-calls.js';
import { VarveError } from '../../src/errors.js';
import { type Choose, PAGE_BYTES, TwinFile } from './twin-file.js';
import { TwinDirectory, type TwinFileSystem, TwinSystemError } from './twin-file-system.js';
import { TwinJournal } from './twin-journal.js';
import { type TwinFaults, type TwinOperation, TwinProcess, type TwinScheduler } from './twin-process.js';
import { isNatural, TwinSegment } from './twin-segment.js';

const MAX_RESERVE_BYTES = 2 ** 40;

export interface TwinDiskOptions {
  readonly scheduler: TwinScheduler;
  readonly faults?: TwinFaults;
  /** For messages. Default '/twin'. */
  readonly root?: string;
  /** Content of the lock file. Default 1. */
  readonly processId?: number;
}

export class TwinDisk implements Disk {
  readonly #fileSystem: TwinFileSystem;
  readonly #process: TwinProcess;
  readonly #segments = new Set<TwinSegment>();
  readonly #directorySyncs = new SharedCalls((path) => this.#finally(path, () => this.#syncEntries(path)));
  #journal: TwinJournal | undefined;
  #closing: Promise<void> | undefined;

  /** @throws VarveError DIRECTORY_LOCKED */
  constructor(fileSystem: TwinFileSystem, options: TwinDiskOptions) {
    const { root = '/twin', processId = 1 } = options;
    if (fileSystem.lockedBy !== undefined) {
      throw new VarveError(
        'DIRECTORY_LOCKED',
        `the data directory ${root} is open already; close it there, or use another directory`,
      );
    }
    fileSystem.lockedBy = this;
    this.#fileSystem = fileSystem;
    this.#process = new TwinProcess(fileSystem, options.scheduler, root, options.faults);
    const lock = (fileSystem.find('LOCK', 'open') as TwinFile | undefined) ?? fileSystem.createFile('LOCK');
    lock.truncate(0);
    lock.write(0, Buffer.from(`${processId}\n`));
  }

  /**
   * Kills the process, or the whole machine.
   *
   * @returns what is left: the same file system after the end of a process (the page cache has survived), another one
   *   after a power cut. A new disk can be opened on it.
   */
  crash(
    how: { readonly kind: 'process' } | { readonly kind: 'power'; readonly choose: Choose; readonly torn?: boolean },
  ) {
    this.#process.die();
    if (this.#fileSystem.lockedBy === this) this.#fileSystem.lockedBy = undefined;
    if (how.kind === 'process') return this.#fileSystem;
    return this.#fileSystem.afterPowerCut(how.choose, { torn: how.torn ?? false });
  }

  /** Content of every file, as a process sees it, by path; directories are paths that end in '/'. */
  files(): Map<string, Buffer> {
    return this.#fileSystem.files();
  }

  async readDirectory(path: string): Promise<DirectoryEntry[]> {
    const target = this.#locate(path);
    try {
      return await this.#call('read', target, 0, () =>
        [...this.#fileSystem.directory(target, 'scandir').entries]
          .map(([name, node]) => ({ name, isDirectory: node instanceof TwinDirectory }))
          .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
      );
    } catch (error) {
      if (isMissing(error)) return [];
      throw this.#error(error, target);
    }
  }

  async makeDirectory(path: string): Promise<void> {
    const target = this.#locate(path);
    if (target === '') return;
    try {
      await this.#call('make-directory', target, 0, () => this.#fileSystem.createDirectory(target));
    } catch (error) {
      const { code } = error as TwinSystemError;
      if (code === 'ENOENT') {
        await this.makeDirectory(parentOf(target));
        return this.makeDirectory(target);
      }
      if (code !== 'EEXIST') throw this.#error(error, target);
    }
    await this.#syncDirectories([parentOf(target)]);
  }

  async readFile(path: string, position = 0, length?: number): Promise<Buffer | undefined> {
    const target = this.#locate(path);
    try {
      return await this.#call('read', target, length ?? 0, () => this.#read(target, position, length));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw this.#error(error, target);
    }
  }

  readFileSync(path: string, position = 0, length?: number): Buffer | undefined {
    const target = this.#locate(path);
    try {
      this.#process.callNow('read', target, length ?? 0);
      return this.#read(target, position, length);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw this.#error(error, target);
    }
  }

  async fileSize(path: string): Promise<number | undefined> {
    const target = this.#locate(path);
    try {
      return await this.#call('read', target, 0, () => {
        const node = this.#fileSystem.find(target, 'stat');
        return node instanceof TwinDirectory ? PAGE_BYTES : node?.size;
      });
    } catch (error) {
      throw this.#error(error, target);
    }
  }

  async replaceFile(path: string, bytes: Uint8Array, options: { keepPrevious?: boolean } = {}): Promise<void> {
    const target = this.#locate(path);
    const temporary = `${target}.tmp`;
    try {
      const file = await this.#call('create', temporary, 0, () => {
        const found = this.#fileSystem.find(temporary, 'open');
        if (found instanceof TwinDirectory) throw new TwinSystemError('EISDIR', 'open');
        found?.truncate(0);
        return found ?? this.#fileSystem.createFile(temporary);
      });
      if (bytes.length > 0) await this.#writeTemporary(temporary, file, bytes);
      await this.#finally(temporary, () => this.#process.syncFile(temporary, file));
      if (options.keepPrevious) {
        await this.#call('rename', target, 0, () => {
          if (this.#fileSystem.find(target, 'rename') === undefined) return;
          this.#fileSystem.rename(target, `${target}.previous`);
        });
      }
      await this.#call('rename', temporary, 0, () => this.#fileSystem.rename(temporary, target));
    } catch (error) {
      throw this.#error(error, target);
    }
    await this.#syncDirectories([parentOf(target)]);
  }

  async writeFile(
    path: string,
    position: number,
    bytes: Uint8Array,
    { unreferenced = false }: { readonly unreferenced?: boolean } = {},
  ): Promise<void> {
    const target = this.#locate(path);
    const created = (await this.fileSize(path)) === undefined;
    try {
      const file = await this.#call(created ? 'create' : 'open', target, 0, () =>
        created ? this.#fileSystem.createFile(target) : this.#fileSystem.file(target, 'open'),
      );
      await this.#finally(target, async () => {
        if (bytes.length > 0) {
          if (unreferenced) await this.#writeUnreferenced(target, file, position, bytes);
          else await this.#write(target, file, position, bytes);
        }
        await this.#process.syncFile(target, file);
      });
    } catch (error) {
      if (!isMissing(error)) throw this.#error(error, target);
    }
    if (created) await this.#syncDirectories([parentOf(target)]);
  }

  async truncateFile(path: string, size: number): Promise<void> {
    const target = this.#locate(path);
    try {
      const file = await this.#call('open', target, 0, () => this.#fileSystem.file(target, 'open'));
      await this.#finally(target, async () => {
        await this.#call('truncate', target, 0, () => file.truncate(size));
        await this.#process.syncFile(target, file);
      });
    } catch (error) {
      if (!isMissing(error)) throw this.#error(error, target);
      throw new VarveError(
        'DISK_FAILED',
        `truncation of ${this.#process.root}/${target} failed: there is no such file`,
      );
    }
  }

  async rename(from: string, to: string): Promise<void> {
    const source = this.#locate(from);
    const target = this.#locate(to);
    try {
      await this.#call('rename', source, 0, () => this.#fileSystem.rename(source, target));
    } catch (error) {
      throw this.#error(error, source);
    }
    await this.#syncDirectories([parentOf(target), parentOf(source)]);
  }

  async removeFiles(paths: readonly string[]): Promise<void> {
    const targets = paths.map((path) => this.#locate(path));
    for (const target of targets) {
      try {
        await this.#call('unlink', target, 0, () => this.#fileSystem.unlink(target));
      } catch (error) {
        if (!isMissing(error)) throw this.#error(error, target);
      }
    }
    await this.#syncDirectories(targets.map(parentOf));
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#syncDirectories([this.#locate(path)]);
  }

  async freeSpace(): Promise<FreeSpace> {
    this.#locate('');
    return this.#call('read', '', 0, () => this.#fileSystem.freeSpace());
  }

  async allocateFile(path: string, bytes: number): Promise<void> {
    const target = this.#locate(path);
    const { file } = await this.#call('open', target, 0, () => {
      const found = this.#fileSystem.find(target, 'open') as TwinFile | undefined;
      return { file: found ?? this.#fileSystem.createFile(target) };
    });
    try {
      await this.#call('allocate', target, bytes, () => {
        this.#fileSystem.takeSpace(bytes - file.size, 'fallocate');
        file.truncate(bytes);
      });
    } catch (error) {
      this.dropFile(path);
      throw this.#process.systemFailure('fallocate', target, error);
    }
  }

  dropFile(path: string): void {
    const target = this.#locate(path);
    try {
      this.#process.callNow('unlink', target, 0);
      this.#fileSystem.unlink(target);
    } catch (error) {
      if (!isMissing(error)) throw this.#error(error, target);
    }
  }

  /** Nothing here is kept by garbage. */
  reclaim(): void {}

  createSegment(path: string, { reserveBytes }: SegmentOptions): TwinSegment {
    const target = this.#locate(path);
    this.#checkReserve(path, reserveBytes);
    try {
      this.#process.callNow('create', target, 0);
      const file = this.#fileSystem.createFile(target);
      return this.#segment(path, file, reserveBytes, 0, true);
    } catch (error) {
      throw this.#process.systemFailure('creation', target, error);
    }
  }

  openSegment(path: string, options: OpenSegmentOptions): TwinSegment {
    const { reserveBytes, size, writable, keepTail = false } = options;
    const target = this.#locate(path);
    if (!writable) {
      const file = this.#openNow(target);
      return this.#segment(path, file, reserveBytes, file.size, false);
    }
    if (size === undefined) {
      throw new VarveError('INVALID_ARGUMENT', `${path} cannot be opened for writing without its size`);
    }
    if (!isNatural(size)) throw new VarveError('INVALID_ARGUMENT', `size of ${path} must be a whole number`);
    if (size > reserveBytes) throw new VarveError('INVALID_ARGUMENT', `size of ${path} exceeds reserveBytes`);
    this.#checkReserve(path, reserveBytes);
    const file = this.#openNow(target);
    if (file.size < size) {
      throw new VarveError(
        'INVARIANT_BROKEN',
        `${path} has ${file.size} bytes, fewer than the ${size} it is to be opened with`,
      );
    }
    if (file.size > size && !keepTail) {
      try {
        this.#process.callNow('truncate', target, 0);
      } catch (error) {
        throw this.#process.systemFailure('truncation', target, error);
      }
      file.truncate(size);
    }
    return this.#segment(path, file, reserveBytes, size, true);
  }

  /** Views keep nothing mapped here: memory is the runtime's. */
  stats(): SegmentStats {
    const open = [...this.#segments];
    return {
      mappedSegments: open.length,
      mappedBytes: open.reduce((sum, segment) => sum + segment.allocatedBytes, 0),
      openFiles: open.filter((segment) => segment.isWritable).length,
      heldMappings: 0,
      pinnedDeletedBytes: 0,
    };
  }

  openJournal(options: JournalOptions): Journal {
    const path = this.#locate(options.path);
    if (this.#journal !== undefined) {
      throw new VarveError('INVARIANT_BROKEN', `the journal of ${this.#process.root} is open already`);
    }
    this.#journal = new TwinJournal(this.#process, path, options);
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
      await this.#journal?.stop();
      await this.#process.whenIdle();
      if (!this.#process.isDead) this.#fileSystem.lockedBy = undefined;
    }
  }

  // ---- inside ----

  #call<T>(operation: TwinOperation, path: string, bytes: number, effect: () => T): Promise<T> {
    return this.#process.call(operation, path, bytes, effect);
  }

  #write(path: string, file: TwinFile, position: number, bytes: Uint8Array): Promise<void> {
    return this.#call('write', path, bytes.length, () => {
      this.#fileSystem.takeSpace(position + bytes.length - file.size, 'write');
      file.write(position, bytes);
    });
  }

  /** On a full disk the file is given up. */
  async #writeTemporary(path: string, file: TwinFile, bytes: Uint8Array): Promise<void> {
    try {
      await this.#writeUnreferenced(path, file, 0, bytes);
    } catch (error) {
      if (isFull(error)) await this.#call('unlink', path, 0, () => this.#fileSystem.unlink(path)).catch(() => {});
      throw error;
    }
  }

  /** Nothing is promised in these bytes: a full disk is no failed write here. */
  async #writeUnreferenced(path: string, file: TwinFile, position: number, bytes: Uint8Array): Promise<void> {
    try {
      await this.#write(path, file, position, bytes);
    } catch (error) {
      if ((error as TwinSystemError).code !== 'ENOSPC') throw error;
      throw this.#process.systemFailure('write', path, error);
    }
  }

  /** Writes and syncs whose failure is final: none of them is tried after one has failed. */
  async #finally<T>(path: string, run: () => Promise<T>): Promise<T> {
    this.#process.checkHealth();
    try {
      return await run();
    } catch (error) {
      const failure = this.#error(error, path);
      if ((error as TwinSystemError).syscall !== 'open' && !isFull(failure)) this.#process.fail(failure);
      throw failure;
    }
  }

  #read(path: string, position: number, length: number | undefined): Buffer {
    const file = this.#fileSystem.file(path, 'open');
    const available = Math.max(0, file.size - position);
    const end = position + Math.min(length ?? available, available);
    for (const page of file.unreadable) {
      if (page * PAGE_BYTES < end && (page + 1) * PAGE_BYTES > position) throw new TwinSystemError('EIO', 'read');
    }
    return Buffer.from(file.bytes.subarray(position, end));
  }

  #openNow(path: string): TwinFile {
    try {
      this.#process.callNow('open', path, 0);
      return this.#fileSystem.file(path, 'open');
    } catch (error) {
      throw this.#process.systemFailure('open', path, error);
    }
  }

  #segment(path: string, file: TwinFile, reserveBytes: number, size: number, writable: boolean): TwinSegment {
    const isDiskClosed = (): boolean => this.#closing !== undefined;
    const onClose = (closed: TwinSegment): void => void this.#segments.delete(closed);
    const process = this.#process;
    const hasKeptTail = file.size > size;
    const parts = { process, isDiskClosed, onClose, path, reserveBytes, file, size, writable, hasKeptTail };
    const segment = new TwinSegment(parts);
    this.#segments.add(segment);
    return segment;
  }

  #checkReserve(path: string, reserveBytes: number): void {
    if (isNatural(reserveBytes) && reserveBytes <= MAX_RESERVE_BYTES) return;
    throw new VarveError('INVALID_ARGUMENT', `reserveBytes of ${path} must be a whole number up to 1 TiB`);
  }

  /** The path without detours; names are checked as the native disk does. */
  #locate(path: string): string {
    if (this.#closing) throw new VarveError('CLOSED', `the data directory ${this.#process.root} was closed`);
    const parts = path.split('/');
    if (path.startsWith('/') || path.includes('\0') || parts.includes('..')) {
      throw new VarveError('INVALID_ARGUMENT', `${JSON.stringify(path)} is not a path inside the data directory`);
    }
    return parts.filter((part) => part !== '' && part !== '.').join('/');
  }

  async #syncDirectories(paths: readonly string[]): Promise<void> {
    for (const path of new Set(paths)) {
      try {
        await this.#directorySyncs.run(path);
      } catch (error) {
        throw this.#error(error, path);
      }
    }
  }

  async #syncEntries(path: string): Promise<void> {
    const node = await this.#call('open', path, 0, () => {
      const found = this.#fileSystem.find(path, 'open');
      if (found === undefined) throw new TwinSystemError('ENOENT', 'open');
      return found;
    });
    if (node instanceof TwinFile) await this.#process.syncFile(path, node);
    else await this.#process.syncDirectory(path, node);
  }

  #error(error: unknown, path: string): VarveError {
    return diskError(error, `${this.#process.root}/${path}`);
  }
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

function isFull(error: unknown): boolean {
  return error instanceof VarveError && error.code === 'DISK_FULL';
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'ENOENT';
}
