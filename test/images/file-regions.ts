/**
 * What the files of a data directory are, and which kinds of bytes each consists of: written from docs/FORMAT.md, so that
 * damage hits every kind, however few bytes it has.
 */
import type { Files } from './corruption-store.js';
import {
  checkpointOf,
  FILE_END,
  GROUP_HEADER,
  groupsOf,
  JOURNAL_BLOCK,
  journalFiles,
  RECORD_HEADER,
} from './journal-groups.js';
import type { Random } from './random.js';

export const FILE_KINDS = [
  'log (sealed)',
  'log (active)',
  'log (compacted)',
  'index',
  'timeindex',
  'seal',
  'snapshot',
  'txnindex',
  'epochs',
  'wal (first)',
  'wal (middle)',
  'wal (last)',
  'wal (spare)',
  'checkpoint',
  'checkpoint.previous',
  'meta.json',
  'clean',
  'reserve',
  'LOCK',
  'partition directory',
  'journal directory',
] as const;
export type FileKind = (typeof FILE_KINDS)[number];

/** Their paths end with '/'. */
export function isDirectory(kind: FileKind): boolean {
  return kind.endsWith('directory');
}

/** Files that can be made anew from others. */
export const DERIVED: readonly FileKind[] = ['index', 'timeindex', 'seal', 'snapshot', 'txnindex', 'epochs'];

const BATCH_FIELDS = [
  ['base offset', 0, 8],
  ['length', 8, 12],
  ['epoch', 12, 16],
  ['magic', 16, 17],
  ['CRC', 17, 21],
  ['attributes', 21, 23],
  ['last offset delta', 23, 27],
  ['timestamps', 27, 43],
  ['producer', 43, 57],
  ['record count', 57, 61],
] as const;

/** Bytes [from, to) of a file. */
export interface Region {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

export function fileKindOf(path: string, files: Files): FileKind | undefined {
  const name = path.slice(path.lastIndexOf('/') + 1);
  if (path.endsWith('/')) return path === 'journal/' ? 'journal directory' : 'partition directory';
  if (name === 'leader-epoch-checkpoint') return 'epochs';
  if (/^\d{20}(\.\d+)?\.log$/.test(name)) {
    if (isActive(path, files)) return 'log (active)';
    return /\.\d{13,}\.log$/.test(name) ? 'log (compacted)' : 'log (sealed)';
  }
  if (name.endsWith('.wal')) return journalKindOf(path, files);
  const extension = /\.(index|timeindex|seal|snapshot|txnindex)$/.exec(name)?.[1];
  return FILE_KINDS.find((kind) => kind === (extension ?? path));
}

/** Of the files that the checkpoint needs, by their order. One that it does not need any more is a spare one, too. */
function journalKindOf(path: string, files: Files): FileKind {
  const { journalFile } = checkpointOf(files);
  const needed = journalFiles(files).filter(({ isUsed, number }) => isUsed && number >= journalFile);
  const at = needed.findIndex((file) => file.path === path);
  if (at < 0) return 'wal (spare)';
  if (at === needed.length - 1) return 'wal (last)';
  return at === 0 ? 'wal (first)' : 'wal (middle)';
}

/** The segment of the largest base; the one of the largest tag among those. */
function isActive(path: string, files: Files): boolean {
  const directory = path.slice(0, path.lastIndexOf('/') + 1);
  const logs = [...files.keys()].filter((name) => name.startsWith(directory) && name.endsWith('.log'));
  return logs.sort(byBaseAndTag).at(-1) === path;
}

function byBaseAndTag(a: string, b: string): number {
  const [one, other] = [orderOf(a), orderOf(b)];
  return one.base - other.base || one.tag - other.tag;
}

function orderOf(path: string): { readonly base: number; readonly tag: number } {
  const [base, tag] = path.slice(path.lastIndexOf('/') + 1).split('.');
  return { base: Number(base), tag: tag === 'log' ? 0 : Number(tag) };
}

/** One region of each kind that the file has, chosen among those of that kind. */
export function regionsOf(kind: FileKind, bytes: Buffer, random: Random): Region[] {
  const whole = { name: 'anywhere', from: 0, to: bytes.length };
  const regions = kind.startsWith('log')
    ? batchRegions(bytes, random)
    : kind.startsWith('wal')
      ? groupRegions(bytes, random)
      : [];
  if (regions.length === 0) {
    regions.push({ name: 'front', from: 0, to: Math.min(24, bytes.length) });
    regions.push({ name: 'back', from: Math.max(0, bytes.length - 16), to: bytes.length });
  }
  return [...regions, whole].filter(({ from, to }) => to > from);
}

function batchRegions(bytes: Buffer, random: Random): Region[] {
  const batches: { from: number; to: number }[] = [];
  let at = 0;
  while (at + 61 <= bytes.length && bytes[at + 16] === 2) {
    const to = at + 12 + bytes.readInt32BE(at + 8);
    batches.push({ from: at, to });
    at = to;
  }
  if (batches.length === 0) return [];
  const first = batches[0]!;
  const last = batches.at(-1)!;
  const any = batches[random.below(batches.length)]!;
  const { from, to } = [first, last, any, any][random.below(4)]!;
  return [
    ...BATCH_FIELDS.map(([name, begin, end]) => ({ name, from: from + begin, to: from + end })),
    { name: 'records', from: from + 61, to },
    { name: 'behind', from: at, to: Math.min(bytes.length, at + JOURNAL_BLOCK) },
  ];
}

function groupRegions(bytes: Buffer, random: Random): Region[] {
  const regions: Region[] = [
    { name: 'file header', from: 0, to: 48 },
    { name: 'file header padding', from: 48, to: JOURNAL_BLOCK },
  ];
  const groups = groupsOf(bytes);
  const last = groups.at(-1);
  if (last === undefined) return regions;
  const { from, to, contentEnd } = groups[random.below(groups.length)]!;
  regions.push(
    { name: 'group header', from, to: from + GROUP_HEADER },
    { name: 'record header', from: from + GROUP_HEADER, to: from + GROUP_HEADER + RECORD_HEADER },
    { name: 'payload', from: from + GROUP_HEADER + RECORD_HEADER, to: contentEnd },
    { name: 'padding', from: contentEnd, to },
    { name: 'last group', from: last.from, to: last.contentEnd },
    { name: 'end of the file', from: last.to, to: last.to + FILE_END },
    { name: 'behind the last group', from: last.to, to: bytes.length },
  );
  if (groups.length > 1) regions.push({ name: 'older group', from: groups[0]!.from, to: last.from });
  return regions;
}
