/**
 * A data directory, to be looked at only: no lock, no file created, nothing opened for writing. Paths are relative to it.
 *
 * What can go wrong: DISK_FAILED with path and system call for what cannot be read.
 */
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DirectoryEntry, Disk } from '../disk/disk.js';
import { diskError, isMissing } from '../disk/disk-errors.js';
import { readRange } from '../disk/file-calls.js';

export type ReadableFiles = Pick<Disk, 'readDirectory' | 'readFile' | 'fileSize'>;

export class ReadOnlyFiles implements ReadableFiles {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async readDirectory(path: string): Promise<DirectoryEntry[]> {
    const target = join(this.#root, path);
    try {
      const entries = await readdir(target, { withFileTypes: true });
      return entries
        .map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory() }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    } catch (error) {
      if (isMissing(error)) return [];
      throw diskError(error, target);
    }
  }

  async fileSize(path: string): Promise<number | undefined> {
    const target = join(this.#root, path);
    try {
      return (await stat(target)).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw diskError(error, target);
    }
  }

  async readFile(path: string, position = 0, length?: number): Promise<Buffer | undefined> {
    const target = join(this.#root, path);
    try {
      const file = await open(target, 'r');
      try {
        return await readRange(file, position, length);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw diskError(error, target);
    }
  }

  /**
   * The process that has the directory open: 0 when it is not known which, undefined when nobody has. Asked of the
   * kernel's list of locks, since trying to lock would make another opener fail.
   */
  async holder(): Promise<number | undefined> {
    try {
      const { ino } = await stat(join(this.#root, 'LOCK'));
      const locks = await readFile('/proc/locks', 'latin1');
      // "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF"
      const held = locks.split('\n').find((line) => new RegExp(`FLOCK .* \\w+:\\w+:${ino} `).test(line));
      return held === undefined ? undefined : Math.max(0, Number(/WRITE\s+(-?\d+)/.exec(held)?.[1] ?? 0));
    } catch {
      return undefined;
    }
  }
}
