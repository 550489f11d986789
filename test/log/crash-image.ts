/** Images of what a crash leaves. */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  DURABLE_MARK_RECORD_TYPE,
  decodeGroup,
  JOURNAL_BLOCK_BYTES,
  type JournalRecord,
  paddedToBlock,
  parseJournalFileName,
  peekGroupHeader,
  STORED_RECORD_TYPE,
} from '../../src/disk/journal-format.js';
import { CHECKPOINT_FILE, decodeCheckpoint } from '../../src/journal/checkpoint.js';
import { META_FILE } from '../../src/log/data-directory.js';
import { BATCH_HEADER_BYTES, batchSizeAt, lastOffsetAt } from '../../src/record/record-batch.js';
import { parseLogFileName, parsePartitionDirectory, sameSegment } from '../../src/segment/file-names.js';
import { temporaryDirectory } from '../temporary-directory.js';

export { temporaryDirectory } from '../temporary-directory.js';

const PAGE_BYTES = 4096;

/**
 * What kill -9 would leave at this moment: the files as every process sees them (the page cache), copied while the store
 * is open. The copy is synchronous, so only the store's threads can come in between: the journal's spare files may get
 * new names, and then the copy is made again.
 */
export function crashImage(directory: string): string {
  const copy = `${temporaryDirectory()}/image`;
  for (;;) {
    const before = readdirSync(join(directory, 'journal')).join();
    try {
      cpSync(directory, copy, { recursive: true, filter: (source) => !/\/(LOCK|reserve)$/.test(source) });
      if (readdirSync(join(directory, 'journal')).join() === before) return copy;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    rmSync(copy, { recursive: true, force: true });
  }
}

/**
 * What a power cut may leave: as `crashImage`, but of all segment bytes that no checkpoint covers and no direct flush made
 * durable only the pages survive for which `survives` says so; files that neither names may be gone. Journal and
 * checkpoint are synced files.
 * @param durable the durable end of the logs that are flushed directly; of all logs in the directory
 */
export function powerCutImage(directory: string, survives: () => boolean, durable?: number): string {
  const copy = crashImage(directory);
  const journal = durable === undefined ? [] : journalRecords(copy);
  const file = join(copy, CHECKPOINT_FILE);
  const checkpoint = decodeCheckpoint(readFileSync(file), file);
  for (const name of readdirSync(copy)) {
    const partition = parsePartitionDirectory(name);
    if (partition === undefined) continue;
    const state = checkpoint.logs.find(
      (log) => log.topicId === partition.topicId && log.partition === partition.partition,
    );
    for (const entry of readdirSync(join(copy, name))) {
      const segment = parseLogFileName(entry);
      if (segment === undefined) continue;
      const row = state?.segments.find((known) => sameSegment(known, segment));
      const records = journal.filter(
        (record) =>
          record.topicId === partition.topicId &&
          record.partition === partition.partition &&
          record.segmentBaseOffset === segment.base,
      );
      const direct = directlySynced(readFileSync(join(copy, name, entry)), records, durable ?? 0);
      losePages(join(copy, name, entry), Math.max(row?.length ?? 0, direct), survives);
      if (row === undefined && direct === 0 && !survives()) rmSync(join(copy, name, entry));
    }
  }
  return copy;
}

/** The records of all valid groups; nothing is asked about their order. */
export function journalRecords(directory: string): JournalRecord[] {
  const { directoryId } = JSON.parse(readFileSync(join(directory, META_FILE), 'utf8')) as { directoryId: string };
  const records: JournalRecord[] = [];
  for (const name of readdirSync(join(directory, 'journal'))) {
    const fileNumber = parseJournalFileName(name);
    const bytes = readFileSync(join(directory, 'journal', name));
    for (let at = JOURNAL_BLOCK_BYTES; at < bytes.length; at += JOURNAL_BLOCK_BYTES) {
      const header = peekGroupHeader(bytes, at);
      if (header === undefined || header.fileNumber !== fileNumber) continue;
      const end = at + paddedToBlock(header.contentBytes);
      records.push(...(decodeGroup(bytes.subarray(at, end), header, Buffer.from(directoryId, 'hex')) ?? []));
    }
  }
  return records;
}

/**
 * How far a segment must have been synced by direct flushes: to its last durable mark, and to the last durable batch that
 * the journal does not hold.
 */
function directlySynced(file: Buffer, records: readonly JournalRecord[], durable: number): number {
  let synced = 0;
  for (const { type, position } of records) if (type === DURABLE_MARK_RECORD_TYPE) synced = Math.max(synced, position);
  if (durable === 0) return synced;
  const journalled = records.filter(
    ({ type, position, payload }) =>
      type === STORED_RECORD_TYPE && file.subarray(position, position + payload.length).equals(payload),
  );
  for (let at = 0; at + BATCH_HEADER_BYTES <= file.length && batchSizeAt(file, at) > BATCH_HEADER_BYTES; ) {
    const end = at + batchSizeAt(file, at);
    if (end > file.length || lastOffsetAt(file, at) >= durable) break;
    const isJournalled = journalled.some(({ position, payload }) => position <= at && end <= position + payload.length);
    if (!isJournalled) synced = Math.max(synced, end);
    at = end;
  }
  return synced;
}

function losePages(file: string, from: number, survives: () => boolean): void {
  const bytes = readFileSync(file);
  // The page in which the synced bytes end keeps them whatever happens to the rest of it.
  for (let at = from; at < bytes.length; at = (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES) {
    if (!survives()) bytes.fill(0, at, Math.min(bytes.length, (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES));
  }
  writeFileSync(file, bytes);
}
