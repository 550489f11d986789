/** One damage to one file of a directory, by chance, and whether anything that is left could show it. */
import type { Files, Left, Recording } from './corruption-store.js';
import { type FileKind, fileKindOf, groupsOf, regionsOf } from './file-regions.js';
import type { Random } from './random.js';

export const DAMAGES = [
  'bit',
  'byte',
  'sector',
  'page',
  'truncate',
  'stale file',
  'stale page',
  'misdirect',
  'remove',
] as const;
export type DamageKind = (typeof DAMAGES)[number];

const SECTOR = 512;
const PAGE = 4096;
const ZEROS = Buffer.alloc(PAGE);
const TRIES = 40;

export interface Damage {
  readonly kind: DamageKind;
  readonly left: Left;
  readonly path: string;
  readonly fileKind: FileKind;
  /** In words: which bytes. */
  readonly where: string;
  /** What the file holds now; undefined: it is gone. */
  readonly bytes: Buffer | undefined;
  /** Position of the first byte that is another one, or not there. */
  readonly first: number;
}

/** Undefined when there is no such damage: the file has no older version, say. */
export function makeDamage(
  recording: Recording,
  fileKind: FileKind,
  kind: DamageKind,
  random: Random,
): Damage | undefined {
  for (let i = 0; i < TRIES; i++) {
    const left: Left = random.below(2) === 0 ? 'closed' : 'killed';
    const files = recording.left[left];
    const paths = [...files.keys()].filter((path) => fileKindOf(path, files) === fileKind);
    if (paths.length === 0) continue;
    const path = paths[random.below(paths.length)]!;
    const old = files.get(path)!;
    const regions = regionsOf(fileKind, old, random);
    const region = regions[random.below(regions.length)] ?? { name: 'empty file', from: 0, to: 1 };
    const position = region.from + random.below(region.to - region.from);
    const bytes = damaged(kind, { path, old, position, recording, files, random });
    if (bytes === 'none') continue;
    const first = bytes === undefined ? 0 : firstChange(old, bytes);
    if (first < 0) continue;
    const where = kind === 'remove' || kind === 'stale file' ? 'whole' : `${region.name}, byte ${first}`;
    return { kind, left, path, fileKind, where, bytes, first };
  }
  return undefined;
}

interface Place {
  readonly path: string;
  readonly old: Buffer;
  readonly position: number;
  readonly recording: Recording;
  readonly files: Files;
  readonly random: Random;
}

function damaged(kind: DamageKind, place: Place): Buffer | undefined | 'none' {
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
    case 'remove':
      return undefined;
    case 'stale file':
      return one(versions(recording, path), random) ?? 'none';
    case 'stale page': {
      const version = one(versions(recording, path), random);
      return version === undefined ? 'none' : changed((bytes) => overwrite(bytes, page, version, page));
    }
    case 'misdirect': {
      const source = one(sources(files, path, random), random);
      const from = source === undefined ? 0 : PAGE * random.below(Math.ceil(source.length / PAGE));
      return source === undefined ? 'none' : changed((bytes) => overwrite(bytes, page, source, from));
    }
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

function firstChange(old: Buffer, bytes: Buffer): number {
  const common = Math.min(old.length, bytes.length);
  for (let i = 0; i < common; i++) if (old[i] !== bytes[i]) return i;
  return old.length === bytes.length ? -1 : common;
}

/**
 * The documented limit: what is gone is the end of the journal, so that nothing which is left says that it was ever there.
 * In the last file of the chain, that is damage to the last group, and whatever takes all groups from one on; but not
 * groups that the end of the file before says were on disk.
 */
export function isJournalEnd({ kind, left, path, fileKind, first }: Damage, recording: Recording): boolean {
  if (fileKind !== 'wal') return false;
  const files = recording.left[left];
  const used = [...files].filter(([name, bytes]) => name.endsWith('.wal') && inUse(name, bytes));
  const inOrder = used.sort(([a], [b]) => (a < b ? -1 : 1));
  const [name, bytes] = inOrder.at(-1)!;
  if (name !== path) return false;
  if (first < promisedIn(inOrder.at(-2)?.[1])) return false;
  if (kind === 'truncate' || kind === 'remove' || kind === 'stale file') return true;
  const last = groupsOf(bytes).at(-1);
  return last === undefined || first >= last.from;
}

/** Up to which position the last file was on disk when this one, the file before, was ended; 0: it does not say. */
function promisedIn(before: Buffer | undefined): number {
  const at = before === undefined ? undefined : groupsOf(before).at(-1)?.to;
  if (before === undefined || at === undefined || before.toString('latin1', at, at + 4) !== 'VEND') return 0;
  if (before.readBigUInt64LE(at + 16) !== before.readBigUInt64LE(8)) return 0;
  return PAGE + Number(before.readBigUInt64LE(at + 32) - before.readBigUInt64LE(at + 8));
}

/** Its header names it: otherwise it is a file for later. */
function inUse(path: string, bytes: Buffer): boolean {
  const number = BigInt(path.slice(path.lastIndexOf('/') + 1, -'.wal'.length));
  return bytes.length >= PAGE && bytes.toString('latin1', 0, 4) === 'VWAL' && bytes.readBigUInt64LE(8) === number;
}
