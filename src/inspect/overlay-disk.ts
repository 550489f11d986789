/**
 * A disk on which recovery can be tried: reads come from the data directory, and whatever is written stays in memory. So
 * what `varve inspect` says opening would do is what opening does.
 *
 * Only pages that differ from those on disk are kept: after kill -9 what recovery writes is there already.
 *
 * What can go wrong: OVERLOADED when the difference is larger than what may be kept in memory.
 */
import type { DirectoryEntry, Disk, FreeSpace, Journal, SegmentFile, SegmentStats } from '../disk/disk.js';
import { invariant, VarveError } from '../errors.js';
import type { ReadableFiles } from './read-only-files.js';

const PAGE_BYTES = 4096;
const MAX_KEPT_BYTES = 1024 * 1024 * 1024;

interface OverlayFile {
  /** The file beneath, of which the first `beneathBytes` count. */
  readonly beneath: string | undefined;
  beneathBytes: number;
  size: number;
  readonly pages: Map<number, Buffer>;
}

export class OverlayDisk implements Disk {
  readonly #files: ReadableFiles;
  /** By path; undefined: removed. */
  readonly #changed = new Map<string, OverlayFile | undefined>();
  readonly #directories = new Set<string>();
  #keptBytes = 0;

  constructor(files: ReadableFiles) {
    this.#files = files;
  }

  async readDirectory(path: string): Promise<DirectoryEntry[]> {
    const prefix = path === '' ? '' : `${path}/`;
    const entries = new Map((await this.#files.readDirectory(path)).map((entry) => [entry.name, entry]));
    for (const [name, file] of this.#changed) {
      if (!name.startsWith(prefix) || name.slice(prefix.length).includes('/')) continue;
      const own = name.slice(prefix.length);
      if (file === undefined) entries.delete(own);
      else entries.set(own, { name: own, isDirectory: false });
    }
    for (const directory of this.#directories) {
      if (directory.startsWith(prefix) && !directory.slice(prefix.length).includes('/')) {
        entries.set(directory.slice(prefix.length), { name: directory.slice(prefix.length), isDirectory: true });
      }
    }
    return [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async fileSize(path: string): Promise<number | undefined> {
    if (this.#changed.has(path)) return this.#changed.get(path)?.size;
    return this.#files.fileSize(path);
  }

  async readFile(path: string, position = 0, length?: number): Promise<Buffer | undefined> {
    if (!this.#changed.has(path)) return this.#files.readFile(path, position, length);
    const file = this.#changed.get(path);
    if (file === undefined) return undefined;
    const available = Math.max(0, file.size - position);
    return this.#read(file, position, Math.min(length ?? available, available));
  }

  async writeFile(path: string, position: number, bytes: Uint8Array): Promise<void> {
    const file = await this.#open(path);
    const from = Math.floor(position / PAGE_BYTES) * PAGE_BYTES;
    const to = Math.ceil((position + bytes.length) / PAGE_BYTES) * PAGE_BYTES;
    const before = Buffer.alloc(to - from);
    (await this.#read(file, from, Math.max(0, Math.min(to, file.size) - from))).copy(before);
    const after = Buffer.from(before);
    after.set(bytes, position - from);
    file.size = Math.max(file.size, position + bytes.length);
    for (let at = 0; at < after.length; at += PAGE_BYTES) {
      const page = after.subarray(at, at + PAGE_BYTES);
      if (!page.equals(before.subarray(at, at + PAGE_BYTES))) this.#keep(file, (from + at) / PAGE_BYTES, page);
    }
  }

  async truncateFile(path: string, size: number): Promise<void> {
    const file = await this.#open(path);
    if (size < file.size) {
      file.beneathBytes = Math.min(file.beneathBytes, size);
      for (const [number, page] of file.pages) {
        if (number * PAGE_BYTES >= size) file.pages.delete(number);
        else if ((number + 1) * PAGE_BYTES > size) page.fill(0, size - number * PAGE_BYTES);
      }
    }
    file.size = size;
  }

  async replaceFile(path: string, bytes: Uint8Array, options: { keepPrevious?: boolean } = {}): Promise<void> {
    if (options.keepPrevious && (await this.fileSize(path)) !== undefined) await this.rename(path, `${path}.previous`);
    this.#changed.set(path, { beneath: undefined, beneathBytes: 0, size: 0, pages: new Map() });
    await this.writeFile(path, 0, bytes);
  }

  async rename(from: string, to: string): Promise<void> {
    const file = await this.#open(from);
    this.#changed.set(from, undefined);
    this.#changed.set(to, file);
  }

  async removeFiles(paths: readonly string[]): Promise<void> {
    for (const path of paths) this.#changed.set(path, undefined);
  }

  async makeDirectory(path: string): Promise<void> {
    this.#directories.add(path);
  }

  async syncDirectory(): Promise<void> {}
  dropFile(path: string): void {
    this.#changed.set(path, undefined);
  }
  reclaim(): void {}

  async freeSpace(): Promise<FreeSpace> {
    return { freeBytes: Number.MAX_SAFE_INTEGER, totalBytes: Number.MAX_SAFE_INTEGER, blockBytes: PAGE_BYTES };
  }

  async allocateFile(): Promise<void> {
    throw recoveryOnly();
  }
  readFileSync(): Buffer | undefined {
    throw recoveryOnly();
  }
  createSegment(): SegmentFile {
    throw recoveryOnly();
  }
  openSegment(): SegmentFile {
    throw recoveryOnly();
  }
  openJournal(): Journal {
    throw recoveryOnly();
  }
  stats(): SegmentStats {
    throw recoveryOnly();
  }
  async close(): Promise<void> {}

  async #open(path: string): Promise<OverlayFile> {
    const known = this.#changed.get(path);
    if (known !== undefined) return known;
    const size = this.#changed.has(path) ? undefined : await this.#files.fileSize(path);
    const file: OverlayFile = {
      beneath: size === undefined ? undefined : path,
      beneathBytes: size ?? 0,
      size: size ?? 0,
      pages: new Map(),
    };
    this.#changed.set(path, file);
    return file;
  }

  async #read(file: OverlayFile, position: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length);
    const beneath = Math.min(length, file.beneathBytes - position);
    if (file.beneath !== undefined && beneath > 0) {
      (await this.#files.readFile(file.beneath, position, beneath))?.copy(bytes);
    }
    if (file.pages.size === 0) return bytes;
    for (let number = Math.floor(position / PAGE_BYTES); number * PAGE_BYTES < position + length; number++) {
      const page = file.pages.get(number);
      if (page === undefined) continue;
      const at = number * PAGE_BYTES - position;
      page.copy(bytes, Math.max(0, at), Math.max(0, -at), Math.min(PAGE_BYTES, length - at));
    }
    return bytes;
  }

  #keep(file: OverlayFile, number: number, page: Buffer): void {
    this.#keptBytes += PAGE_BYTES;
    if (this.#keptBytes > MAX_KEPT_BYTES) {
      throw new VarveError(
        'OVERLOADED',
        'recovery would change more than 1 GiB, which is more than is kept in memory to try it: open the store instead',
      );
    }
    invariant(page.length === PAGE_BYTES, 'pages are whole');
    file.pages.set(number, Buffer.from(page));
  }
}

function recoveryOnly(): VarveError {
  return new VarveError('INVARIANT_BROKEN', 'recovery is only tried here: it opens no segment and no journal');
}
