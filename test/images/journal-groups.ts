/** The groups of journal files and what they say of logs, read without any code of the store (docs/FORMAT.md). */
import type { Files } from './corruption-store.js';

export const JOURNAL_BLOCK = 4096;
export const GROUP_HEADER = 48;
export const RECORD_HEADER = 80;
export const FILE_END = 48;
const BATCHES = 1;
const TRUNCATION = 3;
const DURABLE_MARK = 6;

export interface GroupOnDisk {
  readonly from: number;
  /** With padding. */
  readonly to: number;
  readonly contentEnd: number;
  readonly lsn: bigint;
  /** How far the journal was known to be on disk when the group was written. */
  readonly durableLsn: bigint;
}

export interface JournalFileOnDisk {
  readonly path: string;
  readonly number: number;
  /** Its header names it: otherwise it is a file for later. */
  readonly isUsed: boolean;
  readonly groups: readonly GroupOnDisk[];
}

/** The groups of a journal file that belong to its present life; their checksums are not looked at. */
export function groupsOf(bytes: Buffer): GroupOnDisk[] {
  if (bytes.length < JOURNAL_BLOCK || bytes.toString('latin1', 0, 4) !== 'VWAL') return [];
  const fileNumber = bytes.readBigUInt64LE(8);
  const startLsn = bytes.readBigUInt64LE(16);
  const groups: GroupOnDisk[] = [];
  for (let at = JOURNAL_BLOCK; at + JOURNAL_BLOCK <= bytes.length; ) {
    const isGroup = bytes.toString('latin1', at, at + 4) === 'VGRP' && bytes.readBigUInt64LE(at + 16) === fileNumber;
    const lsn = bytes.readBigUInt64LE(at + 8);
    if (!isGroup || lsn !== startLsn + BigInt(at - JOURNAL_BLOCK)) break;
    const contentEnd = at + bytes.readUInt32LE(at + 32);
    const to = Math.ceil(contentEnd / JOURNAL_BLOCK) * JOURNAL_BLOCK;
    groups.push({ from: at, to, contentEnd, lsn, durableLsn: bytes.readBigUInt64LE(at + 24) });
    at = to;
  }
  return groups;
}

/** By number. */
export function journalFiles(files: Files): JournalFileOnDisk[] {
  return [...files]
    .filter(([path]) => /^journal\/\d{20}\.wal$/.test(path))
    .map(([path, bytes]) => {
      const number = Number(path.slice('journal/'.length, -'.wal'.length));
      const isUsed =
        bytes.length >= JOURNAL_BLOCK &&
        bytes.toString('latin1', 0, 4) === 'VWAL' &&
        bytes.readBigUInt64LE(8) === BigInt(number);
      return { path, number, isUsed, groups: isUsed ? groupsOf(bytes) : [] };
    })
    .sort((a, b) => a.number - b.number);
}

interface CheckpointOnDisk {
  readonly journalFile: number;
  readonly logs: readonly { readonly topic: string; readonly topicId: string; readonly end: number }[];
}

export function checkpointOf(files: Files): CheckpointOnDisk {
  return JSON.parse(files.get('checkpoint')!.toString('utf8', 20)) as CheckpointOnDisk;
}

/** The end of partition 0 of the topic, as checkpoint and journal say. */
export function journalledEnds(files: Files, topic: string): number {
  const { journalFile, logs } = checkpointOf(files);
  const row = logs.find((each) => each.topic === topic);
  let end = row?.end ?? 0;
  for (const { path, number, groups } of journalFiles(files)) {
    if (number < journalFile) continue;
    const bytes = files.get(path)!;
    for (const { from, contentEnd } of groups) {
      for (let at = from + GROUP_HEADER; at < contentEnd; at += bytes.readUInt32LE(at + 4)) {
        const type = bytes.readUInt16LE(at + 8);
        if (bytes.toString('hex', at + 16, at + 32) !== row?.topicId) continue;
        if (type === BATCHES || type === DURABLE_MARK) end = Math.max(end, Number(bytes.readBigInt64LE(at + 48)) + 1);
        if (type === TRUNCATION) end = Math.min(end, Number(bytes.readBigUInt64LE(at + RECORD_HEADER)));
      }
    }
  }
  return end;
}

/**
 * True when nothing that is left of the journal says that there was more: of what is gone, the first group lies behind the
 * last place that a group, a file's end or the checkpoint knows to be on disk.
 */
export function isLostAtTheEnd(before: Files, now: Files): boolean {
  const { journalFile } = checkpointOf(before);
  const used = journalFiles(before).filter(({ isUsed, number }) => isUsed && number >= journalFile);
  let known = 0n;
  let lost: bigint | undefined;
  for (const { path, number, groups } of used) {
    const [old, bytes] = [before.get(path)!, now.get(path) ?? Buffer.alloc(0)];
    const isLeft = (from: number, to: number): boolean => old.subarray(from, to).equals(bytes.subarray(from, to));
    for (const { from, to, lsn, durableLsn } of groups) {
      if (isLeft(from, to)) known = durableLsn > known ? durableLsn : known;
      else lost ??= lsn;
    }
    const end = groups.at(-1)?.to ?? JOURNAL_BLOCK;
    const isNamed = old.toString('latin1', end, end + 4) === 'VEND' && old.readBigUInt64LE(end + 16) === BigInt(number);
    if (isNamed && isLeft(end, end + FILE_END)) {
      const durableLsn = old.readBigUInt64LE(end + 32);
      known = durableLsn > known ? durableLsn : known;
    }
    const [first] = groups;
    const isHeaderLeft = isLeft(0, JOURNAL_BLOCK) || (first !== undefined && isLeft(first.from, first.to));
    if (number === journalFile && !isHeaderLeft) return false;
  }
  return lost !== undefined && lost >= known;
}
