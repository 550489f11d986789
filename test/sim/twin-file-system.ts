/**
 * The twin's file system: directories and files in memory, shared by one simulated machine's processes one after the
 * other. It outlives a process (`kill -9` leaves it as it is); a power cut leaves another one in its place.
 *
 * Each change of a directory (creation, rename, removal) is pending until a sync of one of its directories has returned.
 * A power cut keeps or loses each pending change by itself; what is kept happens in order, and a rename is never half done.
 *
 * Errors are those of the system calls: `code` and `syscall`, as node:fs throws them.
 */
import type { FreeSpace } from '../../src/disk/disk.js';
import { type Choose, PAGE_BYTES, TwinFile } from './twin-file.js';

export type { Choose, CrashUnit } from './twin-file.js';

const UNLIMITED_BYTES = 2 ** 40;

export class TwinDirectory {
  readonly entries = new Map<string, TwinNode>();
  /** What a power cut leaves if it loses everything that is pending. */
  readonly durable = new Map<string, TwinNode>();
}

export type TwinNode = TwinDirectory | TwinFile;

interface EntryChange {
  readonly directory: TwinDirectory;
  readonly name: string;
  readonly path: string;
  readonly node: TwinNode | undefined;
}

/** One system call's changes: all or none. */
interface PendingChange {
  readonly sequence: number;
  readonly changes: readonly EntryChange[];
}

const TEXTS: Readonly<Record<string, string>> = {
  EEXIST: 'file already exists',
  EINVAL: 'invalid argument',
  EIO: 'i/o error',
  EISDIR: 'illegal operation on a directory',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space left on device',
  ENOTDIR: 'not a directory',
  ENOTEMPTY: 'directory not empty',
};

export class TwinSystemError extends Error {
  readonly code: string;
  readonly syscall: string;

  constructor(code: string, syscall: string) {
    super(`${code}: ${TEXTS[code] ?? 'unknown error'}, ${syscall}`);
    this.code = code;
    this.syscall = syscall;
  }
}

export class TwinFileSystem {
  readonly #root: TwinDirectory;
  #pending: PendingChange[] = [];
  #sequence = 0;
  /** The process that has the data directory open. */
  lockedBy: object | undefined;
  /** Files may take this much together. */
  capacityBytes = Number.POSITIVE_INFINITY;
  /** Used by files outside of the data directory. */
  foreignBytes = 0;

  constructor(root = new TwinDirectory()) {
    this.#root = root;
  }

  /** Undefined when there is nothing; throws ENOTDIR when a file stands where a directory should. */
  find(path: string, syscall: string): TwinNode | undefined {
    let node: TwinNode | undefined = this.#root;
    for (const name of partsOf(path)) {
      if (node instanceof TwinFile) throw new TwinSystemError('ENOTDIR', syscall);
      node = node?.entries.get(name);
      if (node === undefined) return undefined;
    }
    return node;
  }

  /** Throws ENOENT, ENOTDIR, EISDIR. */
  file(path: string, syscall: string): TwinFile {
    const node = this.find(path, syscall);
    if (node === undefined) throw new TwinSystemError('ENOENT', syscall);
    if (node instanceof TwinDirectory) throw new TwinSystemError('EISDIR', syscall);
    return node;
  }

  directory(path: string, syscall: string): TwinDirectory {
    const node = this.find(path, syscall);
    if (node === undefined) throw new TwinSystemError('ENOENT', syscall);
    if (node instanceof TwinFile) throw new TwinSystemError('ENOTDIR', syscall);
    return node;
  }

  /** Throws EEXIST. */
  createFile(path: string): TwinFile {
    return this.#add(path, new TwinFile(), 'open');
  }

  createDirectory(path: string): void {
    this.#add(path, new TwinDirectory(), 'mkdir');
  }

  rename(from: string, to: string): void {
    const source = this.#place(from, 'rename');
    const node = source.directory.entries.get(source.name);
    if (node === undefined) throw new TwinSystemError('ENOENT', 'rename');
    const target = this.#place(to, 'rename');
    const replaced = target.directory.entries.get(target.name);
    if (replaced === node) return;
    if (node instanceof TwinDirectory) {
      if (`${to}/`.startsWith(`${from}/`)) throw new TwinSystemError('EINVAL', 'rename');
      if (replaced instanceof TwinFile) throw new TwinSystemError('ENOTDIR', 'rename');
      if (replaced !== undefined && replaced.entries.size > 0) throw new TwinSystemError('ENOTEMPTY', 'rename');
    } else if (replaced instanceof TwinDirectory) {
      throw new TwinSystemError('EISDIR', 'rename');
    }
    this.#change([
      { ...source, node: undefined },
      { ...target, node },
    ]);
  }

  unlink(path: string): void {
    const place = this.#place(path, 'unlink');
    const node = place.directory.entries.get(place.name);
    if (node === undefined) throw new TwinSystemError('ENOENT', 'unlink');
    if (node instanceof TwinDirectory) throw new TwinSystemError('EISDIR', 'unlink');
    this.#change([{ ...place, node: undefined }]);
  }

  beginDirectorySync(): number {
    return this.#sequence;
  }

  finishDirectorySync(directory: TwinDirectory, mark: number): void {
    if (this.#pending.length === 0) return;
    const covered = (pending: PendingChange): boolean =>
      pending.sequence <= mark && pending.changes.some((change) => change.directory === directory);
    for (const pending of this.#pending) if (covered(pending)) applyDurably(pending);
    this.#pending = this.#pending.filter((pending) => !covered(pending));
  }

  /**
   * The machine loses power now, and this is what is found afterwards. This file system is not changed, so that many
   * outcomes can be had from one moment.
   */
  afterPowerCut(choose: Choose, options: { readonly torn?: boolean } = {}): TwinFileSystem {
    const survivors = this.#pending.filter(({ changes }) => {
      return choose(2, { kind: 'entry', path: changes.at(-1)!.path, index: 0 }) === 1;
    });
    const copies = new Map<TwinNode, TwinNode>();
    const copy = (directory: TwinDirectory, path: string): TwinDirectory => {
      const known = copies.get(directory);
      if (known !== undefined) return known as TwinDirectory;
      const left = new TwinDirectory();
      copies.set(directory, left);
      const entries = new Map(directory.durable);
      for (const { changes } of survivors) {
        for (const change of changes) if (change.directory === directory) set(entries, change);
      }
      for (const [name, node] of [...entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const place = path === '' ? name : `${path}/${name}`;
        const survivor =
          node instanceof TwinDirectory
            ? copy(node, place)
            : (copies.get(node) ?? node.afterPowerCut(place, choose, options.torn ?? false));
        copies.set(node, survivor);
        left.entries.set(name, survivor);
        left.durable.set(name, survivor);
      }
      return left;
    };
    const left = new TwinFileSystem(copy(this.#root, ''));
    left.capacityBytes = this.capacityBytes;
    left.foreignBytes = this.foreignBytes;
    return left;
  }

  /** Content of every file, as a process sees it, by path; directories are paths that end in '/'. */
  files(): Map<string, Buffer> {
    const found = new Map<string, Buffer>();
    const visit = (directory: TwinDirectory, prefix: string): void => {
      for (const [name, node] of [...directory.entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const path = prefix + name;
        if (node instanceof TwinDirectory) {
          found.set(`${path}/`, Buffer.alloc(0));
          visit(node, `${path}/`);
        } else {
          found.set(path, Buffer.from(node.bytes.subarray(0, node.size)));
        }
      }
    };
    visit(this.#root, '');
    return found;
  }

  /** Size of every file by path; −1 for directories. */
  sizes(): Map<string, number> {
    const found = new Map<string, number>();
    const visit = (directory: TwinDirectory, prefix: string): void => {
      for (const [name, node] of directory.entries) {
        if (node instanceof TwinFile) {
          found.set(prefix + name, node.size);
        } else {
          found.set(`${prefix}${name}/`, -1);
          visit(node, `${prefix}${name}/`);
        }
      }
    };
    visit(this.#root, '');
    return found;
  }

  // ---- space ----

  freeSpace(): FreeSpace {
    const totalBytes = Math.min(this.capacityBytes, UNLIMITED_BYTES);
    return {
      freeBytes: Math.max(0, totalBytes - usedBytes(this.#root) - this.foreignBytes),
      totalBytes,
      blockBytes: PAGE_BYTES,
    };
  }

  /** Throws ENOSPC unless so much more fits. */
  takeSpace(bytes: number, syscall: string): void {
    if (bytes <= 0 || (this.capacityBytes === Number.POSITIVE_INFINITY && this.foreignBytes === 0)) return;
    if (bytes > this.freeSpace().freeBytes) throw new TwinSystemError('ENOSPC', syscall);
  }

  // ---- what the medium does by itself ----

  /** Bits of one byte turn over. */
  flipBits(path: string, position: number, mask: number): void {
    const file = this.file(path, 'rot');
    if (position < file.size) file.rot(position, Uint8Array.of(file.bytes[position]! ^ mask));
  }

  /** A page that was meant for one place was written to another one, and is missing where it belongs. */
  misdirectPage(from: { path: string; page: number }, to: { path: string; page: number }, old?: Uint8Array): void {
    const source = this.file(from.path, 'misdirect');
    const at = from.page * PAGE_BYTES;
    const page = source.bytes.slice(at, Math.min(at + PAGE_BYTES, source.size));
    source.rot(at, old ?? new Uint8Array(page.length));
    this.file(to.path, 'misdirect').rot(to.page * PAGE_BYTES, page);
  }

  /** A page can no longer be read: reads of it fail, and segments that hold it are poisoned. */
  losePage(path: string, page: number): void {
    this.file(path, 'lose').unreadable.add(page);
  }

  // ---- inside ----

  #add<T extends TwinNode>(path: string, node: T, syscall: string): T {
    const place = this.#place(path, syscall);
    if (place.directory.entries.has(place.name)) throw new TwinSystemError('EEXIST', syscall);
    this.#change([{ ...place, node }]);
    return node;
  }

  #place(path: string, syscall: string): { directory: TwinDirectory; name: string; path: string } {
    const parts = partsOf(path);
    const name = parts.pop();
    // The root itself: it is there, and it stays.
    if (name === undefined) throw new TwinSystemError(syscall === 'unlink' ? 'EISDIR' : 'EEXIST', syscall);
    return { directory: this.directory(parts.join('/'), syscall), name, path };
  }

  #change(changes: readonly EntryChange[]): void {
    for (const change of changes) set(change.directory.entries, change);
    this.#pending.push({ sequence: ++this.#sequence, changes });
  }
}

function usedBytes(directory: TwinDirectory): number {
  let used = 0;
  for (const node of directory.entries.values()) {
    used += node instanceof TwinFile ? Math.ceil(node.heldBytes / PAGE_BYTES) * PAGE_BYTES : usedBytes(node);
  }
  return used;
}

function applyDurably({ changes }: PendingChange): void {
  for (const change of changes) set(change.directory.durable, change);
}

function set(entries: Map<string, TwinNode>, { name, node }: EntryChange): void {
  if (node === undefined) entries.delete(name);
  else entries.set(name, node);
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}
