/**
 * Opening a data directory:
 *
 *   1. Read the checkpoint (or the one before it, while the journal files that it counts on are all there).
 *   2. Find the partition directories. One that the checkpoint or the journal knows and that is gone is an error: a
 *      replica whose files are missing is damaged, not new.
 *   3. After a clean stop that is all.
 *   4. Otherwise fold the journal from the checkpoint on, decide which file is which segment, write the journalled bytes
 *      that survive into them and sync, then scan each log from its durable mark (log-recovery.ts).
 *
 * The caller then writes a checkpoint of the result, starts a new journal file, and only then lets anybody use the logs.
 */
import type { Disk } from '../disk/disk.js';
import { journalFileName, parseJournalFileName } from '../disk/journal-format.js';
import { type JournalEnd, JournalReader } from '../disk/journal-reader.js';
import { VarveError } from '../errors.js';
import { CHECKPOINT_FILE, type Checkpoint, decodeCheckpoint, PREVIOUS_CHECKPOINT_FILE } from '../journal/checkpoint.js';
import { type LogState, logKey, newLogState } from '../journal/log-state.js';
import { LogFold } from '../journal/replay.js';
import { isSetAside, logFileName, parsePartitionDirectory, partitionDirectory } from '../segment/file-names.js';
import { type DirectoryMeta, JOURNAL_DIRECTORY } from './data-directory.js';
import { inParallel, PARALLEL_FILES } from './in-parallel.js';
import { type RewritePlan, rewriteJournalled } from './journal-rewrite.js';
import { type ResolvedFiles, recoverLog, resolveFiles } from './log-recovery.js';
import { cleanReport, type RecoveryReport } from './recovery-report.js';

/** A point in the journal's chain: where the next group starts, and the checksum of the one before it. */
export interface JournalPosition {
  readonly lsn: number;
  readonly checksum: number;
}

export interface StoreRecovery {
  readonly states: Map<string, LogState>;
  readonly reports: Map<string, RecoveryReport>;
  /** Of the last checkpoint; 0: none. */
  readonly sequence: number;
  /** Where the journal's chain ended: the next group continues it. */
  readonly journalEnd: JournalPosition;
  readonly nextJournalFile: number;
  readonly journalFiles: readonly string[];
  /** Files to delete once a checkpoint of this result is durable. */
  readonly setAside: readonly string[];
}

export async function recoverStore(
  disk: Disk,
  path: string,
  meta: DirectoryMeta,
  cleanMark: number | undefined,
  bootId: string,
): Promise<StoreRecovery> {
  const hasJournal = (await disk.readDirectory('')).some((entry) => entry.name === JOURNAL_DIRECTORY);
  const journalFiles = (await disk.readDirectory(JOURNAL_DIRECTORY))
    .map((entry) => entry.name)
    .filter((name) => parseJournalFileName(name) !== undefined);
  const numbers = journalFiles.map((name) => parseJournalFileName(name)!);
  const checkpoint = await loadCheckpoint(disk, path, meta, numbers);
  const states = await findLogs(disk, path, checkpoint);
  const isClean = checkpoint !== undefined && cleanMark === checkpoint.sequence;
  if (!hasJournal) {
    // After a clean stop nothing of it is needed, and before the first checkpoint nothing was ever in it.
    if (checkpoint !== undefined && !isClean) throw lostJournal(`${path}/${JOURNAL_DIRECTORY}/ is gone`);
    await disk.makeDirectory(JOURNAL_DIRECTORY);
  }
  const reader = new JournalReader(disk, JOURNAL_DIRECTORY, Buffer.from(meta.directoryId, 'hex'));
  const reports = new Map<string, RecoveryReport>();
  let end: JournalPosition | undefined;
  if (isClean) {
    for (const [key, state] of states) reports.set(key, cleanReport(state, checkpoint.sequence));
    end = checkBeginning(await reader.end(checkpoint.journalFile), checkpoint, path);
  } else {
    const pageCacheSurvived = bootId !== '' && checkpoint?.bootId === bootId;
    end = await recoverLogs(disk, path, states, reports, pageCacheSurvived, reader, checkpoint);
  }
  const atOpening = { lsn: checkpoint?.journalLsn ?? 0, checksum: checkpoint?.journalChecksum ?? 0 };
  return {
    states,
    reports,
    sequence: checkpoint?.sequence ?? 0,
    journalEnd: end ?? atOpening,
    nextJournalFile: Math.max(0, lastJournalFile(checkpoint), ...numbers) + 1,
    journalFiles,
    setAside: await findSetAside(disk, states),
  };
}

async function loadCheckpoint(
  disk: Disk,
  path: string,
  meta: DirectoryMeta,
  journalFiles: readonly number[],
): Promise<Checkpoint | undefined> {
  let firstError: unknown;
  for (const file of [CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE]) {
    const bytes = await disk.readFile(file);
    if (bytes === undefined) continue;
    try {
      const checkpoint = decodeCheckpoint(bytes, `${path}/${file}`);
      if (checkpoint.directoryId !== meta.directoryId) {
        throw new VarveError(
          'DIRECTORY_MISMATCH',
          `${path}/${file} belongs to directory ${checkpoint.directoryId}, not to this one`,
        );
      }
      if (file === PREVIOUS_CHECKPOINT_FILE && !hasAllFrom(checkpoint.journalFile, journalFiles)) {
        throw new VarveError(
          'CORRUPT_CHECKPOINT',
          `${path}/${CHECKPOINT_FILE} cannot be read, and the journal no longer reaches back to the one before it; restore the directory from a backup, or replace this replica`,
          { cause: firstError },
        );
      }
      return checkpoint;
    } catch (error) {
      if (!(error instanceof VarveError) || error.code !== 'CORRUPT_CHECKPOINT') throw error;
      firstError ??= error;
      if (file === PREVIOUS_CHECKPOINT_FILE) throw error;
    }
  }
  if (firstError !== undefined) throw firstError;
  return undefined;
}

/** True when the journal has every file from `first` on. */
function hasAllFrom(first: number, files: readonly number[]): boolean {
  const needed = files.filter((number) => number >= first).sort((a, b) => a - b);
  return needed.every((number, i) => number === first + i);
}

async function findLogs(disk: Disk, path: string, checkpoint: Checkpoint | undefined): Promise<Map<string, LogState>> {
  const states = new Map<string, LogState>();
  for (const { name, isDirectory } of await disk.readDirectory('')) {
    const parsed = isDirectory ? parsePartitionDirectory(name) : undefined;
    if (parsed === undefined) continue;
    states.set(logKey(parsed.topicId, parsed.partition), newLogState(parsed.topic, parsed.partition, parsed.topicId));
  }
  if (checkpoint === undefined && states.size > 0) {
    throw new VarveError(
      'CORRUPT_CHECKPOINT',
      `${path} holds partitions but no ${CHECKPOINT_FILE}; restore the file from a backup, or replace this replica`,
    );
  }
  for (const state of checkpoint?.logs ?? []) {
    const key = logKey(state.topicId, state.partition);
    if (!states.has(key)) throw missingDirectory(path, partitionDirectory(state.topic, state.partition, state.topicId));
    states.set(key, state);
  }
  return states;
}

async function recoverLogs(
  disk: Disk,
  path: string,
  states: Map<string, LogState>,
  reports: Map<string, RecoveryReport>,
  pageCacheSurvived: boolean,
  reader: JournalReader,
  checkpoint: Checkpoint | undefined,
): Promise<JournalPosition | undefined> {
  const firstFile = checkpoint?.journalFile ?? 0;
  const folds = new Map<string, LogFold>();
  for (const [key, state] of states) folds.set(key, new LogFold(state));
  const groups = reader.groups(firstFile);
  let journalGroups = 0;
  let next = await groups.next();
  for (; !next.done; next = await groups.next()) {
    journalGroups++;
    for (const record of next.value.records) {
      const fold = folds.get(logKey(record.topicId, record.partition));
      if (fold === undefined) throw missingDirectory(path, `…-${record.partition}.${record.topicId}`);
      fold.apply(record);
    }
  }
  checkStarted(next.value, checkpoint, path);
  const end = checkBeginning(next.value, checkpoint, path);
  const resolved = new Map<string, ResolvedFiles>();
  const plans = new Map<string, RewritePlan>();
  for (const [key, fold] of folds) {
    const directory = directoryOf(fold.state);
    const files = await resolveFiles(disk, directory, fold);
    resolved.set(key, files);
    const paths = new Map(files.segments.map((segment) => [segment.base, `${directory}/${logFileName(segment)}`]));
    plans.set(key, { pieces: fold.pieces, paths });
  }
  await rewriteJournalled(disk, reader.records(firstFile), plans);
  const ground = { pageCacheSurvived, checkpoint: checkpoint?.sequence ?? 0, journalGroups };
  await inParallel(folds, PARALLEL_FILES, async ([key, fold]) => {
    const { state, report } = await recoverLog(disk, directoryOf(fold.state), fold, resolved.get(key)!, ground);
    states.set(key, state);
    reports.set(key, report);
  });
  return end;
}

/**
 * The journal must begin with the file that the checkpoint names, unless none was in use when the store was opened.
 * @throws VarveError CORRUPT_JOURNAL
 */
function checkBeginning(
  end: JournalEnd | undefined,
  checkpoint: Checkpoint | undefined,
  path: string,
): JournalEnd | undefined {
  const first = end?.files[0];
  if (first === undefined || checkpoint === undefined) return end;
  const { journalFile, journalLsn } = checkpoint;
  if (first.fileNumber === journalFile || first.startLsn === journalLsn) return end;
  throw lostJournal(
    `${path}/${JOURNAL_DIRECTORY}/${journalFileName(journalFile)} is gone or cannot be read, but ${journalFileName(first.fileNumber)} goes on from it`,
  );
}

/**
 * A checkpoint that was written after the journal had begun names a file that was on disk then. It is not recycled before a
 * newer checkpoint is, so when it is not in use, something took it away.
 * @throws VarveError CORRUPT_JOURNAL
 */
function checkStarted(end: JournalEnd | undefined, checkpoint: Checkpoint | undefined, path: string): void {
  const first = end?.files[0]?.fileNumber;
  if (checkpoint?.journalStarted !== true || first === checkpoint.journalFile) return;
  const file = `${path}/${JOURNAL_DIRECTORY}/${journalFileName(checkpoint.journalFile)}`;
  const goesOn = first === undefined ? '' : `, and ${journalFileName(first)} goes on from it`;
  throw lostJournal(
    `${file} is gone or cannot be read, though it was on disk when the checkpoint was written${goesOn}`,
  );
}

/** The last file that may have been written without being found now. */
function lastJournalFile(checkpoint: Checkpoint | undefined): number {
  if (checkpoint === undefined) return 0;
  return checkpoint.journalStarted === true ? checkpoint.journalFile : checkpoint.journalFile - 1;
}

function lostJournal(what: string): VarveError {
  return new VarveError(
    'CORRUPT_JOURNAL',
    `${what}. Acknowledged data may be in it, so nothing was dropped: restore it from a backup, or replace this replica`,
  );
}

async function findSetAside(disk: Disk, states: ReadonlyMap<string, LogState>): Promise<string[]> {
  const files: string[] = [];
  for (const state of states.values()) {
    const directory = directoryOf(state);
    for (const { name } of await disk.readDirectory(directory))
      if (isSetAside(name)) files.push(`${directory}/${name}`);
  }
  return files;
}

function directoryOf(state: LogState): string {
  return partitionDirectory(state.topic, state.partition, state.topicId);
}

function missingDirectory(path: string, directory: string): VarveError {
  return new VarveError(
    'CORRUPT_LOG',
    `${path}: the partition directory ${directory} is gone, but the store knows it; restore it from a backup, or replace this replica`,
  );
}
