/**
 * Names of the directories and files of a partition. Whatever comes from outside (a topic's name) is checked here,
 * before it touches a path.
 *
 *   <topic>-<partition>.<topic id>/         topic id: 32 hex digits
 *      <base offset>.log                     base offset: 20 digits
 *      <base offset>.<generation>.log        the same, where a file that a truncation cut off still had the plain name
 *      <base offset>.<10^12 + n>.log         compacted n times; beginning with the same offset
 *      ….index  ….timeindex  ….seal          of the segment with the same stem
 *      <base offset>.txnindex                aborted transactions; below the high watermark, so never cut
 *      <offset>.snapshot                     producer state at that offset; likewise
 *      <log file>.<generation>.truncated     cut off by a truncation; removed after the next checkpoint
 *
 * A name is never used a second time for another file while a journal record that means the first one may still be
 * replayed; that is why a segment may carry a generation, and why it is part of a segment's identity.
 */
import { invariant, VarveError } from '../errors.js';

const TOPIC_PATTERN = /^[a-zA-Z0-9._-]{1,200}$/;
const TOPIC_ID_PATTERN = /^[0-9a-f]{32}$/;
const DIRECTORY_PATTERN = /^([a-zA-Z0-9._-]{1,200})-(\d{1,10})\.([0-9a-f]{32})$/;
const LOG_FILE_PATTERN = /^(\d{20})(?:\.(\d{1,16}))?\.log$/;
const TXN_INDEX_PATTERN = /^(\d{20})\.txnindex$/;
const SET_ASIDE_PATTERN = /\.truncated$/;

/** Partitions are numbered 0 … 2^31 − 1. */
const MAX_PARTITION = 0x7fff_ffff;

/** A segment of one log, as names and journal records know it. `tag` 0: the plain name. */
export interface SegmentName {
  readonly base: number;
  readonly tag: number;
}

/** Tags from here on count compactions; those below are generations. */
const FIRST_COMPACTION_TAG = 1e12;

/** True for the output of a compaction: its file counts only once a swap in the journal, or a checkpoint row, names it. */
export function isCompacted(name: SegmentName): boolean {
  return name.tag >= FIRST_COMPACTION_TAG;
}

/** The name of what a segment, and others that follow it, are compacted into. Never one that was in use before. */
export function compactedName({ base, tag }: SegmentName): SegmentName {
  return { base, tag: Math.max(FIRST_COMPACTION_TAG, tag) + 1 };
}

/** @throws VarveError INVALID_TOPIC */
export function checkTopicName(topic: string): void {
  if (typeof topic !== 'string' || !TOPIC_PATTERN.test(topic) || topic === '.' || topic === '..') {
    const shown = JSON.stringify(String(topic).slice(0, 220));
    throw new VarveError(
      'INVALID_TOPIC',
      `topic name ${shown}: use 1 to 200 characters out of a-z, A-Z, 0-9, '.', '_' and '-', and neither '.' nor '..'`,
    );
  }
}

/** @throws VarveError INVALID_ARGUMENT */
export function checkPartition(partition: number): void {
  if (!Number.isInteger(partition) || partition < 0 || partition > MAX_PARTITION) {
    throw new VarveError('INVALID_ARGUMENT', `partition ${partition}: give a whole number from 0 to ${MAX_PARTITION}`);
  }
}

/** @throws VarveError INVALID_ARGUMENT */
export function checkTopicId(topicId: string): void {
  if (!TOPIC_ID_PATTERN.test(topicId)) {
    throw new VarveError('INVALID_ARGUMENT', `topic id ${JSON.stringify(topicId)}: give 32 lower-case hex digits`);
  }
}

export function partitionDirectory(topic: string, partition: number, topicId: string): string {
  return `${topic}-${partition}.${topicId}`;
}

export function parsePartitionDirectory(
  name: string,
): { readonly topic: string; readonly partition: number; readonly topicId: string } | undefined {
  const match = DIRECTORY_PATTERN.exec(name);
  if (match === null) return undefined;
  const partition = Number(match[2]);
  if (partition > MAX_PARTITION || String(partition) !== match[2]) return undefined;
  return { topic: match[1]!, partition, topicId: match[3]! };
}

/** The part of the name that a segment's log and index files share. */
function segmentStem(name: SegmentName): string {
  invariant(Number.isSafeInteger(name.base) && name.base >= 0, `a segment starts at offset ${name.base}`);
  const base = String(name.base).padStart(20, '0');
  return name.tag === 0 ? base : `${base}.${name.tag}`;
}

export function logFileName(name: SegmentName): string {
  return `${segmentStem(name)}.log`;
}

export function txnIndexFileName(base: number): string {
  return `${segmentStem({ base, tag: 0 })}.txnindex`;
}

/** The segment base that a file name stands for; undefined for any other file. */
export function parseTxnIndexFileName(file: string): number | undefined {
  const match = TXN_INDEX_PATTERN.exec(file);
  const base = match === null ? Number.NaN : Number(match[1]);
  return Number.isSafeInteger(base) ? base : undefined;
}

/** The segment that a file name stands for; undefined for any other file. */
export function parseLogFileName(file: string): SegmentName | undefined {
  const match = LOG_FILE_PATTERN.exec(file);
  if (match === null) return undefined;
  const base = Number(match[1]);
  const tag = match[2] === undefined ? 0 : Number(match[2]);
  if (!Number.isSafeInteger(base) || !Number.isSafeInteger(tag) || (match[2] !== undefined && tag === 0))
    return undefined;
  return { base, tag };
}

/** All files of the segment whose .log file this is. */
export function segmentPaths(path: string): string[] {
  return [path, ...derivedPaths(path)];
}

/** Those that can be made anew from the .log file. */
export function derivedPaths(path: string): string[] {
  const stem = path.slice(0, -'.log'.length);
  return [`${stem}.index`, `${stem}.timeindex`, `${stem}.seal`];
}

export function setAsideName(file: string, generation: number): string {
  return `${file}.${generation}.truncated`;
}

export function isSetAside(file: string): boolean {
  return SET_ASIDE_PATTERN.test(file);
}

export function sameSegment(a: SegmentName, b: SegmentName): boolean {
  return a.base === b.base && a.tag === b.tag;
}
