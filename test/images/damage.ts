/**
 * One damage to a directory, by chance, and whether anything that is left could show it.
 *
 *   bit, byte, sector, page        a bit or byte is another one, a sector or page is zeros
 *   stale page, misdirect          a page is an older version of it, or one of another place
 *   truncate, remove               the file is shorter, or gone; a directory is empty, or gone
 *   stale file, comes back         the file is an older version of it; one that was deleted is there again
 *   foreign                        the file is that of another data directory
 *   swap                           it and another one of its kind have changed places, also between logs
 *   duplicate, stray               it is there under another name of its kind as well, or something else is beside it
 *   other type                     a directory in place of a file, a file in place of a directory
 *   symlink                        a link in its place: to the same bytes elsewhere, to nothing, or to itself
 *   unreadable                     its mode forbids everything (root is not held up by that)
 */
import type { Files, Left, Recording } from './corruption-store.js';
import { LEFT } from './corruption-store.js';
import { type FileKind, fileKindOf, isDirectory, regionsOf } from './file-regions.js';
import { isLostAtTheEnd } from './journal-groups.js';
import type { Random } from './random.js';

export const BYTE_DAMAGES = ['bit', 'byte', 'sector', 'page', 'stale page', 'misdirect', 'truncate'] as const;
export const FILE_DAMAGES = [
  'remove',
  'stale file',
  'comes back',
  'foreign',
  'swap',
  'duplicate',
  'stray',
  'other type',
  'symlink',
  'unreadable',
] as const;
export const DAMAGES = [...BYTE_DAMAGES, ...FILE_DAMAGES] as const;
export type DamageKind = (typeof DAMAGES)[number];

const SECTOR = 512;
const PAGE = 4096;
const ZEROS = Buffer.alloc(PAGE);
const NOTHING = Buffer.alloc(0);
const TRIES = 40;

/** A link in place of a file or directory. */
export type Link = 'elsewhere' | 'to nothing' | 'to itself';

export interface Damage {
  readonly kind: DamageKind;
  readonly left: Left;
  readonly path: string;
  readonly fileKind: FileKind;
  /** In words: which bytes. */
  readonly where: string;
  /** The directory as the store gets it. */
  readonly files: Files;
  /** In place of `path`; what it leads to 'elsewhere' is what `files` holds there. */
  readonly link: Link | undefined;
  readonly isUnreadable: boolean;
}

/** Undefined when there is no such damage: the file has no older version, say. */
export function makeDamage(
  recording: Recording,
  other: Recording,
  fileKind: FileKind,
  kind: DamageKind,
  random: Random,
): Damage | undefined {
  if (isDirectory(fileKind) && kind !== 'truncate' && !isOfWholeFile(kind)) return undefined;
  for (let i = 0; i < TRIES; i++) {
    const left = LEFT[random.below(LEFT.length)]!;
    const files = recording.left[left];
    const damage =
      kind === 'comes back'
        ? comeBack(recording, files, fileKind, random)
        : isDirectory(fileKind)
          ? damageDirectory(recording, other, left, fileKind, kind, random)
          : damageFile(recording, other, left, fileKind, kind, random);
    if (damage === undefined) continue;
    return { link: undefined, kind, left, fileKind, isUnreadable: kind === 'unreadable', ...damage };
  }
  return undefined;
}

function isOfWholeFile(kind: DamageKind): boolean {
  return FILE_DAMAGES.some((each) => each === kind);
}

type Done = Pick<Damage, 'path' | 'where' | 'files'> & { readonly link?: Link };

function damageFile(
  recording: Recording,
  other: Recording,
  left: Left,
  fileKind: FileKind,
  kind: DamageKind,
  random: Random,
): Done | undefined {
  const files = recording.left[left];
  const same = pathsOf(files, fileKind);
  const path = one(same, random);
  if (path === undefined) return undefined;
  const old = files.get(path)!;
  const region = one(regionsOf(fileKind, old, random), random) ?? { name: 'empty file', from: 0, to: 1 };
  const position = region.from + random.below(region.to - region.from);
  const replaced = (bytes: Buffer | undefined): Done | undefined => {
    const first = bytes === undefined ? -1 : firstChange(old, bytes);
    if (bytes === undefined || first < 0) return undefined;
    return { path, where: `${region.name}, byte ${first}`, files: withFile(files, path, bytes) };
  };
  switch (kind) {
    case 'remove':
      return { path, where: 'whole', files: withFile(files, path, undefined) };
    case 'foreign':
      return replaced(foreignFile(other.left[left], path, fileKind, random));
    case 'swap': {
      const twin = one(
        same.filter((each) => !files.get(each)!.equals(old)),
        random,
      );
      if (twin === undefined) return undefined;
      return { path, where: `with ${twin}`, files: withFile(withFile(files, path, files.get(twin)!), twin, old) };
    }
    case 'duplicate': {
      const name = one(
        duplicateNames(path, files).filter((each) => !files.has(each)),
        random,
      );
      return name === undefined ? undefined : { path, where: `as ${name}`, files: withFile(files, name, old) };
    }
    case 'stray': {
      const name = one(strayNames(path), random)!;
      const bytes = one([NOTHING, old, Buffer.from('not ours\n')], random)!;
      return { path, where: `beside it: ${name}`, files: withFile(files, name, bytes) };
    }
    case 'other type':
      return { path, where: 'a directory', files: withFile(withFile(files, path, undefined), `${path}/`, NOTHING) };
    case 'symlink':
      return linked(path, files, random);
    case 'unreadable':
      return { path, where: 'whole', files };
    default:
      return replaced(damagedBytes(kind, { path, old, position, recording, files, random }));
  }
}

function damageDirectory(
  recording: Recording,
  other: Recording,
  left: Left,
  fileKind: FileKind,
  kind: DamageKind,
  random: Random,
): Done | undefined {
  const files = recording.left[left];
  const same = pathsOf(files, fileKind);
  const path = one(same, random)!;
  const below = [...files].filter(([name]) => name.startsWith(path) && name !== path);
  const without = new Map([...files].filter(([name]) => !name.startsWith(path)));
  const moved = (entries: readonly (readonly [string, Buffer])[], from: string, to: string): [string, Buffer][] =>
    entries.map(([name, bytes]) => [to + name.slice(from.length), bytes]);
  const contentOf = (from: Files | undefined): Map<string, Buffer> | undefined => {
    const found = [...(from ?? [])].filter(([name]) => name.startsWith(path) && name !== path);
    return found.length === 0 ? undefined : new Map([...without, [path, NOTHING], ...found]);
  };
  switch (kind) {
    case 'remove':
      return { path, where: 'with all in it', files: without };
    case 'truncate':
      return { path, where: 'emptied', files: without.set(path, NOTHING) };
    case 'stale file': {
      const content = contentOf(one(recording.older, random));
      return content && { path, where: 'an older one', files: content };
    }
    case 'foreign': {
      const [from, source] = [other.left[left], one(pathsOf(other.left[left], fileKind), random)];
      if (source === undefined) return undefined;
      const found = [...from].filter(([name]) => name.startsWith(source));
      const where = `${source} of another data directory`;
      return { path, where, files: new Map([...without, ...moved(found, source, path)]) };
    }
    case 'swap': {
      const twin = one(
        same.filter((each) => each !== path),
        random,
      );
      if (twin === undefined) return undefined;
      const rest = [...without].filter(([name]) => !name.startsWith(twin));
      const twins = [...files].filter(([name]) => name.startsWith(twin));
      const mine: (readonly [string, Buffer])[] = [[path, NOTHING], ...below];
      return {
        path,
        where: `with ${twin}`,
        files: new Map([...rest, ...moved(twins, twin, path), ...moved(mine, path, twin)]),
      };
    }
    case 'duplicate': {
      const name = path === 'journal/' ? 'journal.old/' : path.replace(/-0\..*/, `-1.${'f'.repeat(32)}/`);
      return { path, where: `as ${name}`, files: new Map([...files, [name, NOTHING], ...moved(below, path, name)]) };
    }
    case 'stray': {
      const name = `${path}${one(['lost+found/', 'notes.txt', '.nfs000000000000001', '00000000000000000000'], random)!}`;
      return { path, where: `in it: ${name}`, files: withFile(files, name, NOTHING) };
    }
    case 'other type':
      return { path, where: 'a file', files: without.set(path.slice(0, -1), Buffer.from('not ours\n')) };
    case 'symlink':
      return linked(path, files, random);
    case 'unreadable':
      return { path, where: 'whole', files };
    default:
      return undefined;
  }
}

function comeBack(recording: Recording, files: Files, fileKind: FileKind, random: Random): Done | undefined {
  const older = one(recording.older, random)!;
  const path = one(
    pathsOf(older, fileKind).filter((each) => !files.has(each) && !each.endsWith('/')),
    random,
  );
  if (path === undefined) return undefined;
  return { path, where: 'whole', files: withFile(files, path, older.get(path)!) };
}

function linked(path: string, files: Files, random: Random): Done {
  const link = one<Link>(['elsewhere', 'to nothing', 'to itself'], random)!;
  return { path, where: link, files, link };
}

function pathsOf(files: Files, fileKind: FileKind): string[] {
  return [...files.keys()].filter((path) => fileKindOf(path, files) === fileKind);
}

function withFile(files: Files, path: string, bytes: Buffer | undefined): Map<string, Buffer> {
  const changed = new Map(files);
  if (bytes === undefined) changed.delete(path);
  else changed.set(path, bytes);
  return changed;
}

/** Of the same partition and name where there is one, or another one of its kind. */
function foreignFile(files: Files, path: string, fileKind: FileKind, random: Random): Buffer | undefined {
  const isTwin = (each: string): boolean => withoutTopicId(each) === withoutTopicId(path);
  const twin = [...files.keys()].find(isTwin);
  if (twin !== undefined && random.below(3) > 0) return files.get(twin);
  const found = one(pathsOf(files, fileKind), random);
  return found === undefined ? undefined : files.get(found);
}

function withoutTopicId(path: string): string {
  return path.replace(/\.[0-9a-f]{32}\//, '/');
}

/** Names that files of its kind have: of other offsets and numbers, and of other logs. */
function duplicateNames(path: string, files: Files): string[] {
  const folder = path.slice(0, path.lastIndexOf('/') + 1);
  const name = path.slice(folder.length);
  const number = /^\d{20}/.exec(name)?.[0];
  if (number === undefined) return [`${path}.previous`, `${path}.tmp`];
  const others = [-3, -1, 1, 2, 1000].map((step) => Number(number) + step).filter((each) => each >= 0);
  const folders = [...files.keys()].filter(
    (each) => each.endsWith('/') && each !== 'journal/' && folder !== 'journal/',
  );
  const tagged = name.endsWith('.log') ? [`${folder}${number}.7.log`, `${folder}${number}.1000000000099.log`] : [];
  return [
    ...others.map((each) => folder + String(each).padStart(20, '0') + name.slice(20)),
    ...folders.map((each) => each + name),
    ...tagged,
  ];
}

function strayNames(path: string): string[] {
  const folder = path.slice(0, path.lastIndexOf('/') + 1);
  const ours = ['17.log', '00000000000000000001.log.bak', '00000000000000000001.log.3.truncated', 'clean.tmp'];
  return [`${path}~`, `${path}.tmp`, `${path}.bak`, `${folder}.DS_Store`, ...ours.map((name) => folder + name)];
}

interface Place {
  readonly path: string;
  readonly old: Buffer;
  readonly position: number;
  readonly recording: Recording;
  readonly files: Files;
  readonly random: Random;
}

function damagedBytes(kind: DamageKind, place: Place): Buffer | undefined {
  const { old, position, path, recording, files, random } = place;
  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(old);
    change(bytes);
    return bytes;
  };
  const page = position - (position % PAGE);
  switch (kind) {
    case 'bit':
      return changed((bytes) => flip(bytes, position, 1 << random.below(8)));
    case 'byte':
      return changed((bytes) => flip(bytes, position, 1 + random.below(255)));
    case 'sector':
      return changed((bytes) => overwrite(bytes, position - (position % SECTOR), ZEROS.subarray(0, SECTOR), 0));
    case 'page':
      return changed((bytes) => overwrite(bytes, page, ZEROS, 0));
    case 'truncate':
      return Buffer.from(old.subarray(0, position));
    case 'stale file':
      return one(versions(recording, path), random);
    case 'stale page': {
      const version = one(versions(recording, path), random);
      return version && changed((bytes) => overwrite(bytes, page, version, page));
    }
    case 'misdirect': {
      const source = one(sources(files, path, random), random);
      const from = source === undefined ? 0 : PAGE * random.below(Math.ceil(source.length / PAGE));
      return source && changed((bytes) => overwrite(bytes, page, source, from));
    }
    default:
      return undefined;
  }
}

function flip(bytes: Buffer, position: number, mask: number): void {
  if (position < bytes.length) bytes[position] = bytes[position]! ^ mask;
}

/** With what the source has of the page. */
function overwrite(bytes: Buffer, at: number, source: Buffer, from: number): void {
  source.subarray(from, from + PAGE).copy(bytes, at);
}

function one<T>(from: readonly T[], random: Random): T | undefined {
  return from[random.below(from.length)];
}

function versions(recording: Recording, path: string): Buffer[] {
  return recording.older.map((files) => files.get(path)).filter((bytes) => bytes !== undefined);
}

/** Files of the same kind as often as any others. */
function sources(files: Files, path: string, random: Random): Buffer[] {
  const extension = path.slice(path.lastIndexOf('.'));
  const isSame = random.below(2) === 0;
  return [...files]
    .filter(([name, { length }]) => length > 0 && (!isSame || name.endsWith(extension)))
    .map(([, bytes]) => bytes);
}

/** Position of the first byte that is another one, or not there; −1: none. */
export function firstChange(old: Buffer, bytes: Buffer | undefined): number {
  if (bytes === undefined) return 0;
  const common = Math.min(old.length, bytes.length);
  for (let i = 0; i < common; i++) if (old[i] !== bytes[i]) return i;
  return old.length === bytes.length ? -1 : common;
}

/** Where the bytes of a file begin to be others; −1: nowhere. A link that leads to what was there changes none. */
export function changedFrom(
  { files, path, link, isUnreadable, left }: Damage,
  recording: Recording,
  file: string,
): number {
  const isOfPath = file === path || (path.endsWith('/') && file.startsWith(path));
  if (isOfPath && (isUnreadable || (link !== undefined && link !== 'elsewhere'))) return 0;
  const old = recording.left[left].get(file);
  return old === undefined ? -1 : firstChange(old, files.get(file));
}

/** The documented limit: what is gone was the end of the journal, so that nothing which is left says that it was ever there. */
export function isJournalEnd({ files, left, path, link, isUnreadable }: Damage, recording: Recording): boolean {
  if (left === 'closed') return false;
  const isGone = (link !== undefined && link !== 'elsewhere') || isUnreadable;
  const now = isGone ? new Map([...files].filter(([name]) => name !== path && !name.startsWith(path))) : files;
  return isLostAtTheEnd(recording.left[left], now);
}
