/**
 * What is on a disk, and what is only on its way there, as a trace goes on. Knows nothing of stores.
 *
 * Fault model (that of src/disk/disk.ts). Every write, store, allocation and truncation of a file may be lost or kept, each
 * by itself and page by page, until a sync of the file that began after it has returned. Every creation, rename and deletion
 * may be lost until its directory was synced; of one directory they happen in order, so an ordered prefix of them is kept.
 * After a sync that failed, what it should have covered may be lost for ever: the kernel calls those pages clean.
 *
 * The model can go on with the trace of another opening of the same files: what the first one left unsynced still is.
 */
import type { TraceEvent } from '../../src/disk/trace.js';

export const PAGE_BYTES = 4096;

/** A change of a file's bytes or size. */
export type DataChange =
  | { readonly do: 'write'; readonly position: number; readonly length: number; readonly bytes: Buffer | undefined }
  | { readonly do: 'extend'; readonly size: number }
  | { readonly do: 'truncate'; readonly size: number };

/** A file, whatever it is called. */
export class ModelFile {
  /** On disk for sure. */
  durable: Buffer;
  /** On its way, in order. */
  changes: DataChange[] = [];
  /** How many changes there were before those. */
  settled = 0;

  constructor(durable: Buffer) {
    this.durable = durable;
  }

  /** The file if those of its changes happened for which `happens` says so. */
  content(happens: (change: DataChange, index: number) => boolean): Buffer {
    let bytes = this.durable;
    let owned = false;
    this.changes.forEach((change, index) => {
      if (!happens(change, index)) return;
      bytes = applied(bytes, change, owned);
      owned = true;
    });
    return bytes;
  }
}

/** Bytes after a change; `owned`: may be altered. */
export function applied(bytes: Buffer, change: DataChange, owned: boolean): Buffer {
  if (change.do === 'truncate') return resized(bytes, change.size);
  if (change.do === 'extend') return change.size > bytes.length ? resized(bytes, change.size) : bytes;
  const end = change.position + change.length;
  let result = bytes;
  if (end > bytes.length) result = resized(bytes, end);
  else if (!owned) result = Buffer.from(bytes);
  if (change.bytes === undefined) result.fill(0, change.position, end);
  else change.bytes.copy(result, change.position);
  return result;
}

function resized(bytes: Buffer, size: number): Buffer {
  const result = Buffer.alloc(size);
  bytes.copy(result, 0, 0, Math.min(size, bytes.length));
  return result;
}

/** A change of a directory's entries. */
export type NameChange =
  | { readonly do: 'add'; readonly name: string; readonly node: ModelNode }
  | { readonly do: 'remove'; readonly name: string }
  | { readonly do: 'rename'; readonly name: string; readonly to: string };

export type ModelNode = ModelFile | ModelDirectory;

export class ModelDirectory {
  durable = new Map<string, ModelNode>();
  changes: { readonly change: NameChange; readonly order: number }[] = [];
  settled = 0;

  /** The entries if only the first `count` changes happened. */
  entries(count: number): Map<string, ModelNode> {
    const entries = new Map(this.durable);
    for (const { change } of this.changes.slice(0, count)) applyName(entries, change);
    return entries;
  }
}

function applyName(entries: Map<string, ModelNode>, change: NameChange): void {
  if (change.do === 'add') {
    entries.set(change.name, change.node);
    return;
  }
  const node = entries.get(change.name);
  entries.delete(change.name);
  if (change.do === 'rename' && node !== undefined) entries.set(change.to, node);
}

/** A sync under way: it will make the first `covers` changes there ever were durable. */
interface Sync {
  readonly node: ModelNode;
  readonly covers: number;
}

export class DiskModel {
  readonly root = new ModelDirectory();
  /** How many of all name changes so far a journalling file system has written: each completed sync writes all before it. */
  committedNames = 0;
  #order = 0;
  #files = new Map<number, ModelFile>();
  #syncs = new Map<number, Sync>();

  /** What is on disk before the trace: path → bytes; directories end with '/'. */
  constructor(base: ReadonlyMap<string, Buffer>) {
    for (const path of [...base.keys()].sort()) {
      const { directory, name } = this.#parent(path.replace(/\/$/, ''));
      directory.durable.set(name, path.endsWith('/') ? new ModelDirectory() : new ModelFile(base.get(path)!));
    }
  }

  /** The events from now on are those of another trace of the same files: numbers of files begin anew. */
  nextTrace(): void {
    this.#files = new Map();
    this.#syncs = new Map();
  }

  apply(event: TraceEvent): void {
    const { kind, path, position, length, bytes } = event;
    switch (kind) {
      case 'create':
      case 'mkdir': {
        const node = kind === 'mkdir' ? new ModelDirectory() : new ModelFile(Buffer.alloc(0));
        if (node instanceof ModelFile) this.#files.set(event.file, node);
        const { directory, name } = this.#parent(path);
        this.#change(directory, { do: 'add', name, node });
        return;
      }
      case 'unlink': {
        const { directory, name } = this.#parent(path);
        this.#change(directory, { do: 'remove', name });
        return;
      }
      case 'rename': {
        const { directory, name } = this.#parent(path);
        const target = this.#parent(event.text);
        if (target.directory !== directory) throw new Error(`rename of ${path} to ${event.text}: to another directory`);
        this.#change(directory, { do: 'rename', name, to: target.name });
        return;
      }
      case 'write':
      case 'store':
        this.#file(event).changes.push({ do: 'write', position, length, bytes });
        return;
      case 'allocate':
        this.#file(event).changes.push({ do: 'extend', size: position + length });
        return;
      case 'truncate':
        this.#file(event).changes.push({ do: 'truncate', size: position });
        return;
      case 'sync-begin': {
        const node = event.directory ? this.#directory(path) : this.#file(event);
        this.#syncs.set(event.sync, { node, covers: node.settled + node.changes.length });
        return;
      }
      case 'sync-end':
        this.#endSync(event);
        return;
      default:
        return;
    }
  }

  /** Files with their paths, directories among them, as of the last event: what every process sees. */
  *walk(): Generator<{ readonly path: string; readonly node: ModelNode }> {
    yield* walkDirectory(this.root, '', (directory) => directory.changes.length);
  }

  /** All directories that can be there, each once. */
  directories(): ModelDirectory[] {
    const found = new Set<ModelDirectory>([this.root]);
    for (const directory of found) {
      for (const node of directory.durable.values()) if (node instanceof ModelDirectory) found.add(node);
      for (const { change } of directory.changes) {
        if (change.do === 'add' && change.node instanceof ModelDirectory) found.add(change.node);
      }
    }
    return [...found];
  }

  #endSync({ sync, error }: TraceEvent): void {
    const found = this.#syncs.get(sync);
    this.#syncs.delete(sync);
    // One that was interrupted did nothing.
    if (found === undefined || error === 'EINTR') return;
    const { node, covers } = found;
    // Another sync of the same file may have been faster.
    const due = Math.max(0, covers - node.settled);
    if (node instanceof ModelDirectory) {
      if (error !== undefined) return;
      for (const { change } of node.changes.slice(0, due)) applyName(node.durable, change);
      node.changes.splice(0, due);
    } else {
      const gone = node.changes.splice(0, due);
      // Failed: in the worst case the pages are lost for good, though every process still sees them.
      if (error === undefined) {
        let owned = false;
        for (const change of gone) {
          node.durable = applied(node.durable, change, owned);
          owned = true;
        }
      }
    }
    if (node instanceof ModelFile || error === undefined) node.settled += due;
    if (error === undefined) this.committedNames = this.#order;
  }

  #change(directory: ModelDirectory, change: NameChange): void {
    directory.changes.push({ change, order: ++this.#order });
  }

  #file(event: TraceEvent): ModelFile {
    const known = this.#files.get(event.file);
    if (known !== undefined) return known;
    const { directory, name } = this.#parent(event.path);
    const node = directory.entries(directory.changes.length).get(name);
    if (!(node instanceof ModelFile)) throw new Error(`${event.kind} of ${event.path}: the model has no such file`);
    this.#files.set(event.file, node);
    return node;
  }

  #directory(path: string): ModelDirectory {
    let directory = this.root;
    for (const part of path.split('/').filter((name) => name !== '')) {
      const node = directory.entries(directory.changes.length).get(part);
      if (!(node instanceof ModelDirectory)) throw new Error(`the model has no directory ${path}`);
      directory = node;
    }
    return directory;
  }

  #parent(path: string): { readonly directory: ModelDirectory; readonly name: string } {
    const slash = path.lastIndexOf('/');
    return { directory: this.#directory(path.slice(0, Math.max(slash, 0))), name: path.slice(slash + 1) };
  }
}

/** @param kept how many of a directory's changes happened */
export function* walkDirectory(
  directory: ModelDirectory,
  prefix: string,
  kept: (directory: ModelDirectory) => number,
): Generator<{ readonly path: string; readonly node: ModelNode }> {
  for (const [name, node] of directory.entries(kept(directory))) {
    const path = prefix === '' ? name : `${prefix}/${name}`;
    yield { path, node };
    if (node instanceof ModelDirectory) yield* walkDirectory(node, path, kept);
  }
}
