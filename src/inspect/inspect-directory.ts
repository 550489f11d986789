/**
 * Looks at a data directory without touching it: no lock, no file, no byte. It may be open in another process; then what is
 * seen is what a crash at this moment would leave.
 *
 * What recovery would do is found by doing it, on a disk that keeps all changes in memory (overlay-disk.ts). The
 * partitions are shown as opening would leave them.
 *
 * What can go wrong: DIRECTORY_MISSING, DIRECTORY_MISMATCH, DISK_FAILED (something cannot be read), INVALID_ARGUMENT (no
 * such partition), OFFSET_OUT_OF_RANGE (no such offset in it). Whatever is wrong with the data itself is a finding.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { bootId } from '../disk/native-disk.js';
import { VarveError } from '../errors.js';
import { CHECKPOINT_FILE, type Checkpoint, decodeCheckpoint, PREVIOUS_CHECKPOINT_FILE } from '../journal/checkpoint.js';
import { type LogState, logKey } from '../journal/log-state.js';
import { CLEAN_FILE, type DirectoryMeta, JOURNAL_DIRECTORY, META_FILE, readMeta } from '../log/data-directory.js';
import { RESERVE_FILE } from '../log/disk-reserve.js';
import { cleanReport, type RecoveryReport } from '../log/recovery-report.js';
import { recoverStore } from '../log/store-recovery.js';
import { partitionDirectory } from '../segment/file-names.js';
import type {
  CheckpointInspection,
  DirectoryInspection,
  Finding,
  InspectOptions,
  PartitionInspection,
} from './inspection.js';
import { inspectJournal } from './journal-inspection.js';
import { OverlayDisk } from './overlay-disk.js';
import { inspectPartition } from './partition-inspection.js';
import { ReadOnlyFiles, type ReadableFiles } from './read-only-files.js';

/** Up to this much, every batch is read unless that is asked for otherwise. */
export const VERIFY_BYTES = 1024 * 1024 * 1024;

interface Opening {
  readonly states: ReadonlyMap<string, LogState>;
  readonly reports: ReadonlyMap<string, RecoveryReport>;
  readonly files: ReadableFiles;
  readonly clean: boolean | undefined;
}

export async function inspectDirectory(path: string, options: InspectOptions = {}): Promise<DirectoryInspection> {
  const root = resolve(path);
  const found = await stat(root).catch(() => undefined);
  if (!found?.isDirectory()) {
    throw new VarveError('DIRECTORY_MISSING', `${root} is not a directory: give the path of a data directory`);
  }
  const files = new ReadOnlyFiles(root);
  const meta = await readMeta(files, root);
  if (meta === undefined) {
    throw new VarveError(
      'DIRECTORY_MISSING',
      `${root} is no data directory: it has no ${META_FILE}, so it was never formatted. Give the path of a data directory`,
    );
  }
  const before = await fingerprint(files);
  const findings: Finding[] = [];
  const openIn = await files.holder();
  const boot = knownBootId();
  const checkpoint = await readCheckpoint(files, CHECKPOINT_FILE, meta, boot, findings);
  const previous = await readCheckpoint(files, PREVIOUS_CHECKPOINT_FILE, meta, boot, []);
  const used = checkpoint.decoded ?? previous.decoded;
  const look = { directoryId: meta.directoryId, firstFile: used?.journalFile ?? 0, onGroup: options.onGroup };
  const journal = await inspectJournal(files, look, findings);
  const cleanMark = await readCleanMark(files);
  const opening = await tryOpening(files, root, meta, cleanMark, boot, used, findings);
  const skipped = { segments: 0, bytes: 0 };
  if (opening.clean !== undefined) noteStandIn(findings);
  const partitions = await inspectPartitions(opening, files, options, skipped, findings);
  return {
    path: root,
    clusterId: meta.clusterId,
    nodeId: meta.nodeId,
    directoryId: meta.directoryId,
    formatVersion: meta.formatVersion,
    openIn,
    changing: openIn !== undefined && before !== (await fingerprint(files)),
    cleanMark,
    checkpoint: checkpoint.shown,
    previousCheckpoint: previous.shown,
    reserveBytes: (await files.fileSize(RESERVE_FILE)) ?? 0,
    journal,
    clean: opening.clean,
    partitions,
    skipped,
    findings,
  };
}

/** Changes with every checkpoint and every new file of the journal. */
async function fingerprint(files: ReadableFiles): Promise<string> {
  const checkpoint = await files.readFile(CHECKPOINT_FILE, 0, 256);
  const names = (await files.readDirectory(JOURNAL_DIRECTORY)).map(({ name }) => name);
  return `${checkpoint?.toString('latin1')} ${names.join()}`;
}

async function readCheckpoint(
  files: ReadableFiles,
  file: string,
  meta: DirectoryMeta,
  boot: string,
  findings: Finding[],
): Promise<{ readonly decoded?: Checkpoint; readonly shown?: CheckpointInspection }> {
  const bytes = await files.readFile(file);
  if (bytes === undefined) return {};
  try {
    const decoded = decodeCheckpoint(bytes, file);
    const { sequence, logs, journalFile, directoryId, bootId: itsBoot } = decoded;
    if (directoryId !== meta.directoryId) {
      const what = `it belongs to directory ${directoryId}`;
      findings.push({ severity: 'damage', where: file, what, advice: 'put back the file that belongs here' });
      return {};
    }
    const sameBoot = boot === '' || itsBoot === '' ? undefined : boot === itsBoot;
    return { decoded, shown: { file, bytes: bytes.length, sequence, logs: logs.length, journalFile, sameBoot } };
  } catch (error) {
    if (!(error instanceof VarveError)) throw error;
    findings.push({
      severity: 'damage',
      where: file,
      what: error.message,
      advice: 'keep the directory as it is',
    });
    return {};
  }
}

/** Opening would go on from the checkpoint before a damaged one: no backup is needed for it. */
function noteStandIn(findings: Finding[]): void {
  const at = findings.findIndex(({ where, severity }) => where === CHECKPOINT_FILE && severity === 'damage');
  const found = findings[at];
  if (found === undefined) return;
  const what = found.what.replace(/; restore the directory .*$/, '');
  const advice = `${PREVIOUS_CHECKPOINT_FILE} stands in for it, and opening writes a new one: nothing is lost by it`;
  findings[at] = { ...found, what, advice };
}

async function readCleanMark(files: ReadableFiles): Promise<number | undefined> {
  const bytes = await files.readFile(CLEAN_FILE);
  const match = /"checkpoint":(\d{1,15})\b/.exec(bytes?.toString('latin1') ?? '');
  return match === null ? undefined : Number(match[1]);
}

/** Does what opening does, in memory. Where opening would be refused, the logs are shown as the checkpoint has them. */
async function tryOpening(
  files: ReadableFiles,
  root: string,
  meta: DirectoryMeta,
  cleanMark: number | undefined,
  boot: string,
  checkpoint: Checkpoint | undefined,
  findings: Finding[],
): Promise<Opening> {
  const overlay = new OverlayDisk(files);
  try {
    const { states, reports } = await recoverStore(overlay, root, meta, cleanMark, boot);
    return { states, reports, files: overlay, clean: [...reports.values()].every((report) => report.clean) };
  } catch (error) {
    if (!(error instanceof VarveError)) throw error;
    const isLimit = error.code === 'OVERLOADED';
    // What is wrong with the journal or the checkpoint was found there already.
    if (!findings.some(({ what }) => what === error.message)) {
      findings.push({
        severity: isLimit ? 'note' : 'damage',
        where: root,
        what: isLimit ? error.message : `opening would be refused: ${error.message}`,
        advice: isLimit
          ? 'the partitions are shown as the checkpoint has them'
          : 'nothing was changed; keep the directory',
      });
    }
    const states = new Map((checkpoint?.logs ?? []).map((state) => [logKey(state.topicId, state.partition), state]));
    return { states, reports: new Map(), files, clean: undefined };
  }
}

async function inspectPartitions(
  opening: Opening,
  stored: ReadableFiles,
  options: InspectOptions,
  skipped: { segments: number; bytes: number },
  findings: Finding[],
): Promise<PartitionInspection[]> {
  const chosen = choose([...opening.states.values()], options.partition);
  if (options.offset !== undefined) checkHolds(chosen, options.offset);
  const bytes = chosen.flatMap(({ segments }) => segments).reduce((sum, { length }) => sum + length, 0);
  const verify = options.verify ?? bytes <= VERIFY_BYTES;
  const partitions: PartitionInspection[] = [];
  for (const state of chosen) {
    const recovery = opening.reports.get(logKey(state.topicId, state.partition)) ?? cleanReport(state);
    const holds = (index: number): boolean => {
      const { offset } = options;
      if (offset === undefined) return options.onBatch !== undefined;
      const end = state.segments[index + 1]?.base ?? state.end;
      return state.segments[index]!.base <= offset && offset < end;
    };
    const reads = (segment: LogState['segments'][number]): boolean => {
      const isRead = verify || holds(state.segments.indexOf(segment));
      if (!isRead) {
        skipped.segments++;
        skipped.bytes += segment.length;
      }
      return isRead;
    };
    const { onBatch, offset } = options;
    const look = { stored, state, recovery, reads, onBatch, offset };
    partitions.push(await inspectPartition(opening.files, look, findings));
  }
  return partitions;
}

/** @throws VarveError OFFSET_OUT_OF_RANGE */
function checkHolds(chosen: readonly LogState[], offset: number): void {
  const firstOf = ({ segments, logStart }: LogState): number => segments[0]?.base ?? logStart;
  if (chosen.some((state) => firstOf(state) <= offset && offset < state.end)) return;
  const held = chosen.map((state) => {
    const name = `${state.topic}-${state.partition}`;
    return state.end === firstOf(state) ? `${name} is empty` : `${name} holds ${firstOf(state)} to ${state.end - 1}`;
  });
  throw new VarveError('OFFSET_OUT_OF_RANGE', `there is no offset ${offset}: ${held.join(', ')}`);
}

function choose(states: readonly LogState[], partition: string | undefined): LogState[] {
  const sorted = [...states].sort((a, b) =>
    a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
  );
  if (partition === undefined) return sorted;
  const chosen = sorted.filter(
    (state) =>
      `${state.topic}-${state.partition}` === partition ||
      partitionDirectory(state.topic, state.partition, state.topicId) === partition,
  );
  if (chosen.length > 0) return chosen;
  const names = sorted.slice(0, 10).map((state) => `${state.topic}-${state.partition}`);
  throw new VarveError(
    'INVALID_ARGUMENT',
    `there is no partition '${partition}' here; there ${sorted.length === 1 ? 'is' : 'are'} ${names.join(', ') || 'none'}${sorted.length > 10 ? ' and more' : ''}`,
  );
}

function knownBootId(): string {
  try {
    return bootId();
  } catch {
    return '';
  }
}
