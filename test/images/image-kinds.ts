/**
 * The states that a power cut can leave of a disk model, sampled with a seed: which data changes and which name changes
 * happened.
 *
 *   none       no unsynced write                     torn-8, torn-512, torn-4096
 *   all        every one                                        every one, but the last write broke off at such a boundary
 *   drop-one   every one but one                     pages      every unsynced page at any of its versions, by itself
 *   keep-one   one alone                             ext4       pages; names as a journalling file system has them: an
 *                                                               ordered prefix of all, not before the last completed sync
 *   names      every write; of each directory an ordered prefix of its changes
 *
 * In the other kinds the names are, by chance: all there, none, or a prefix per directory.
 */
import {
  applied,
  type DataChange,
  type DiskModel,
  type ModelDirectory,
  ModelFile,
  PAGE_BYTES,
  walkDirectory,
} from './disk-model.js';
import type { Random } from './random.js';

export const IMAGE_KINDS = [
  'none',
  'all',
  'drop-one',
  'keep-one',
  'torn-8',
  'torn-512',
  'torn-4096',
  'pages',
  'ext4',
  'names',
] as const;

export type ImageKind = (typeof IMAGE_KINDS)[number];

/** Path → bytes; directories end with '/'. */
export type Image = ReadonlyMap<string, Buffer>;

const TORN_BYTES: Partial<Record<ImageKind, number>> = { 'torn-8': 8, 'torn-512': 512, 'torn-4096': 4096 };

/** Undefined when the model has nothing unsynced that would make this kind differ from others. */
export function makeImage(model: DiskModel, kind: ImageKind, random: Random): Image | undefined {
  const files = unsyncedFiles(model);
  const writes = files.flatMap((file) => file.changes.map((change) => ({ file, change })));
  const named = model.directories().some((directory) => directory.changes.length > 0);
  if (kind === 'names' || kind === 'ext4' ? !named : writes.length === 0 && kind !== 'all' && kind !== 'none') {
    return undefined;
  }
  return materialize(model, contentOf(kind, writes, random), namesOf(model, kind, random));
}

interface Write {
  readonly file: ModelFile;
  readonly change: DataChange;
}

type Content = (file: ModelFile) => Buffer;

function contentOf(kind: ImageKind, writes: readonly Write[], random: Random): Content {
  const one = writes[random.below(Math.max(writes.length, 1))]?.change;
  switch (kind) {
    case 'none':
      return (file) => file.durable;
    case 'drop-one':
      return (file) => file.content((change) => change !== one);
    case 'keep-one':
      return (file) => file.content((change) => change === one);
    case 'torn-8':
    case 'torn-512':
    case 'torn-4096':
      return torn(writes, TORN_BYTES[kind]!, random);
    case 'pages':
    case 'ext4':
      return (file) => mixedPages(file, random);
    default:
      return (file) => file.content(() => true);
  }
}

/** All writes, but the last one with bytes (of a file that is chosen) ends, or begins, at a boundary inside it. */
function torn(writes: readonly Write[], unit: number, random: Random): Content {
  const { file: victim } = writes[random.below(writes.length)]!;
  const last = victim.changes.findLast((change) => change.do === 'write');
  return (file) => {
    if (file !== victim || last === undefined) return file.content(() => true);
    const bytes = file.content((change) => change !== last);
    // Boundaries of the file, not of the write: sectors and pages are the file's.
    const first = Math.floor(last.position / unit) + 1;
    const count = Math.ceil((last.position + last.length) / unit) - first;
    if (count <= 0) return bytes;
    const cut = (first + random.below(count)) * unit - last.position;
    const [from, to] = random.below(4) === 0 ? [cut, last.length] : [0, cut];
    const part = last.bytes?.subarray(from, to);
    return applied(bytes, { do: 'write', position: last.position + from, length: to - from, bytes: part }, false);
  };
}

/** Each page at one of the versions it has had since the last sync; the size is one that the file has had. */
function mixedPages(file: ModelFile, random: Random): Buffer {
  if (file.changes.length === 0) return file.durable;
  const pages = new Map<number, number[]>();
  const sizes = [file.durable.length];
  file.changes.forEach((change, index) => {
    const size = sizes.at(-1)!;
    if (change.do !== 'write') {
      sizes.push(change.do === 'extend' ? Math.max(size, change.size) : change.size);
      return;
    }
    sizes.push(Math.max(size, change.position + change.length));
    const lastPage = Math.floor((change.position + change.length - 1) / PAGE_BYTES);
    for (let page = Math.floor(change.position / PAGE_BYTES); page <= lastPage; page++) {
      const versions = pages.get(page) ?? [-1];
      versions.push(index);
      pages.set(page, versions);
    }
  });
  const metadataUpTo = random.below(sizes.length) - 1;
  const size = sizes[metadataUpTo + 1]!;
  const result = Buffer.alloc(size);
  file.durable.copy(result, 0, 0, Math.min(size, file.durable.length));
  const versionOf = new Map<number, number>();
  for (const [page, versions] of pages) versionOf.set(page, versions[random.below(versions.length)]!);
  file.changes.forEach((change, index) => {
    // What was cut off does not come back when the file grows again.
    if (change.do === 'truncate' && index <= metadataUpTo) result.fill(0, Math.min(change.size, size));
    if (change.do !== 'write') return;
    const end = change.position + change.length;
    for (let at = change.position; at < end; ) {
      const page = Math.floor(at / PAGE_BYTES);
      const next = Math.min(end, (page + 1) * PAGE_BYTES);
      if (index <= versionOf.get(page)! && at < size) {
        const to = Math.min(next, size);
        if (change.bytes === undefined) result.fill(0, at, to);
        else change.bytes.copy(result, at, at - change.position, to - change.position);
      }
      at = next;
    }
  });
  return result;
}

type Names = (directory: ModelDirectory) => number;

function namesOf(model: DiskModel, kind: ImageKind, random: Random): Names {
  const prefixes = new Map<ModelDirectory, number>();
  const prefix: Names = (directory) => {
    const known = prefixes.get(directory) ?? random.below(directory.changes.length + 1);
    prefixes.set(directory, known);
    return known;
  };
  if (kind === 'names') return prefix;
  if (kind === 'ext4') {
    const orders = model.directories().flatMap((directory) => directory.changes.map(({ order }) => order));
    const last = Math.max(model.committedNames, ...orders);
    const limit = model.committedNames + random.below(last - model.committedNames + 1);
    return (directory) => directory.changes.filter(({ order }) => order <= limit).length;
  }
  const choice = random.below(3);
  if (choice === 0) return (directory) => directory.changes.length;
  return choice === 1 ? () => 0 : prefix;
}

function materialize(model: DiskModel, content: Content, names: Names): Image {
  const image = new Map<string, Buffer>();
  for (const { path, node } of walkDirectory(model.root, '', names)) {
    if (node instanceof ModelFile) image.set(path, content(node));
    else image.set(`${path}/`, Buffer.alloc(0));
  }
  return image;
}

/** Files with changes on their way, whether they have a name now or not. */
function unsyncedFiles(model: DiskModel): ModelFile[] {
  const files = new Set<ModelFile>();
  for (const directory of model.directories()) {
    for (const node of directory.durable.values()) if (node instanceof ModelFile) files.add(node);
    for (const { change } of directory.changes) {
      if (change.do === 'add' && change.node instanceof ModelFile) files.add(change.node);
    }
  }
  return [...files].filter((file) => file.changes.length > 0);
}
