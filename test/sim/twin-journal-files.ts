/**
 * The journal's supply of files, as native/src/journal_files.h has it: written with zeros once, recycled by rename, made
 * ready ahead of need on a thread of its own.
 */
import type { JournalSpace } from '../../src/disk/disk.js';
import { journalFileName } from '../../src/disk/journal-format.js';
import { VarveError } from '../../src/errors.js';
import type { TwinFile } from './twin-file.js';
import type { TwinProcess } from './twin-process.js';

const RETRY_FULL_EVERY_MS = 100;

export interface TwinJournalFile {
  readonly number: number;
  readonly path: string;
  readonly file: TwinFile;
  /** Written before, so far. */
  bytes: number;
}

export class TwinJournalFiles {
  readonly #process: TwinProcess;
  readonly #directory: string;
  readonly #fileBytes: number;
  readonly #spares: Set<string>;
  readonly #onChange: () => void;
  #lacksSpace = false;
  #taking = false;
  #state: 'idle' | 'preparing' | 'ready' | 'failed' = 'idle';
  #number = 0;
  #ready: TwinJournalFile | undefined;
  #failure: VarveError | undefined;
  #preparing = Promise.resolve();
  #gaveUpWaiting = false;
  #ending = false;
  #waiters: (() => void)[] = [];

  constructor(
    process: TwinProcess,
    directory: string,
    fileBytes: number,
    spares: readonly string[],
    onChange: () => void,
  ) {
    this.#process = process;
    this.#directory = directory;
    this.#fileBytes = fileBytes;
    this.#spares = new Set(spares);
    this.#onChange = onChange;
  }

  get space(): JournalSpace {
    if (!this.#lacksSpace) return 'enough';
    return this.#taking ? 'waiting' : 'lacking';
  }

  /** Starts to prepare the file of this number. One number at a time; asking again is harmless. */
  request(number: number): void {
    if (this.#state === 'preparing' || (this.#state === 'ready' && this.#number === number)) return;
    if (this.#ending) return;
    this.#state = 'preparing';
    this.#number = number;
    this.#preparing = this.#prepare(number);
  }

  /** Waits for the file of this number. A full disk is waited out. */
  async take(number: number): Promise<TwinJournalFile> {
    for (;;) {
      this.request(number);
      this.#taking = true;
      if (this.#lacksSpace) this.#onChange();
      while (this.#state === 'preparing') await this.#changed();
      this.#taking = false;
      if (this.#state === 'ready' && this.#number === number) {
        this.#state = 'idle';
        return this.#ready!;
      }
      if (this.#ending) throw new VarveError('CLOSED', `${this.#directory} was closed`);
      if (this.#state === 'failed') throw this.#failure!;
    }
  }

  stopWaiting(): void {
    this.#gaveUpWaiting = true;
    this.#wake();
  }

  /** Nothing is prepared any more; a file that is being written is given up. */
  end(): Promise<void> {
    this.#ending = true;
    this.stopWaiting();
    return this.#preparing;
  }

  recycle(number: number): void {
    this.#spares.add(journalFileName(number));
  }

  /** A full disk is asked again, with pauses, until there is space or nobody waits for it any more. */
  async #prepare(number: number): Promise<void> {
    for (;;) {
      const lackedSpace = this.#lacksSpace;
      try {
        this.#ready = await this.#make(number);
        this.#lacksSpace = false;
        this.#state = 'ready';
      } catch (error) {
        this.#failure = error as VarveError;
        this.#lacksSpace = this.#failure.code === 'DISK_FULL';
        if (!this.#lacksSpace || this.#gaveUpWaiting) this.#state = 'failed';
      }
      this.#wake();
      if (this.#lacksSpace !== lackedSpace || (this.#state === 'failed' && !this.#lacksSpace)) this.#onChange();
      if (this.#state !== 'preparing') return;
      this.#process.scheduler.after(RETRY_FULL_EVERY_MS, () => this.#wake());
      await this.#changed();
    }
  }

  async #make(number: number): Promise<TwinJournalFile> {
    this.#process.checkHealth();
    const name = journalFileName(number);
    const path = `${this.#directory}/${name}`;
    const recycled = await this.#openSpare(name, path);
    const file = recycled ?? (await this.#create(path));
    const present = file.size;
    try {
      if (present < this.#fileBytes) await this.#writeZeros(path, file, present);
      this.#process.checkHealth();
      await this.#process.syncFile(path, file);
    } catch (error) {
      if (recycled !== undefined) this.#spares.add(name);
      else await this.#process.call('unlink', path, 0, () => this.#process.fileSystem.unlink(path)).catch(() => {});
      const { code, syscall } = error as { code?: string; syscall?: string };
      if (syscall !== 'fsync' || code === 'ENOSPC') throw this.#process.systemFailure('preparation', path, error);
      const failure = this.#process.finalFailure('fdatasync', path, error);
      this.#process.fail(failure);
      throw failure;
    }
    this.#process.checkHealth();
    try {
      const directory = this.#process.fileSystem.directory(this.#directory, 'fsync');
      await this.#process.syncDirectory(this.#directory, directory);
    } catch (error) {
      const failure = this.#process.finalFailure('fsync', this.#directory, error);
      this.#process.fail(failure);
      throw failure;
    }
    return { number, path, file, bytes: Math.max(present, this.#fileBytes) };
  }

  async #writeZeros(path: string, file: TwinFile, present: number): Promise<void> {
    const bytes = this.#fileBytes - present;
    await this.#process.call('write', path, bytes, () => {
      this.#process.fileSystem.takeSpace(bytes, 'write');
      file.writeZeros(present, this.#fileBytes);
    });
    if (this.#ending) throw new VarveError('CLOSED', `${this.#directory} was closed`);
  }

  async #create(path: string): Promise<TwinFile> {
    try {
      return await this.#process.call('create', path, 0, () => this.#process.fileSystem.createFile(path));
    } catch (error) {
      throw this.#process.systemFailure('creation', path, error);
    }
  }

  /** Renames the oldest spare to the target's name; one that has that name already comes first. Those that have gone are passed over, one that could not be had stays a spare. */
  async #openSpare(name: string, path: string): Promise<TwinFile | undefined> {
    const { fileSystem } = this.#process;
    while (this.#spares.size > 0) {
      const spare = this.#spares.has(name) ? name : [...this.#spares].sort()[0]!;
      this.#spares.delete(spare);
      const from = `${this.#directory}/${spare}`;
      try {
        if (spare !== name) {
          await this.#process.call('rename', from, 0, () => {
            if (fileSystem.find(path, 'access') !== undefined) {
              throw new VarveError('INVARIANT_BROKEN', `${path} exists already; a journal file is never replaced`);
            }
            fileSystem.rename(from, path);
          });
        }
      } catch (error) {
        if ((error as { code?: unknown }).code === 'ENOENT') continue;
        this.#spares.add(spare);
        throw this.#process.systemFailure('rename', from, error);
      }
      try {
        return await this.#process.call('open', path, 0, () => fileSystem.file(path, 'open'));
      } catch (error) {
        if ((error as { code?: unknown }).code === 'ENOENT') continue;
        this.#spares.add(name);
        throw this.#process.systemFailure('open', path, error);
      }
    }
    return undefined;
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }
}
