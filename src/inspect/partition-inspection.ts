/** One partition as opening would leave it: its segments, index files, epoch file, and the files beside them. */
import { EpochIndex } from '../index/epoch-index.js';
import { decodeTxnIndex } from '../index/txn-index.js';
import type { LogState, SegmentState } from '../journal/log-state.js';
import { EPOCH_FILE } from '../log/checkpointer.js';
import type { RecoveryReport } from '../log/log.js';
import { decodeSnapshot, parseSnapshotFileName } from '../log/producer-snapshot.js';
import { offsetsOf } from '../log/recovery-report.js';
import { isSetAside, logFileName, parseLogFileName, partitionDirectory } from '../segment/file-names.js';
import type { DamagedRange } from '../segment/segment.js';
import type { Finding, IndexInspection, InspectOptions, PartitionInspection, SegmentInspection } from './inspection.js';
import type { ReadableFiles } from './read-only-files.js';
import {
  type BatchSeen,
  codecName,
  noCounts,
  readIndexes,
  readSegment,
  type SegmentLook,
  type SegmentReading,
} from './segment-inspection.js';

const REPLACE =
  'nothing is deleted, and offsets outside of it still read; restore this replica from a peer or a backup';
const REBUILT = 'it is rebuilt from the log when it is needed';

export interface PartitionLook {
  /** As they are on disk, without what recovery would write. */
  readonly stored: ReadableFiles;
  readonly state: LogState;
  readonly recovery: RecoveryReport;
  /** Whether the batches of a segment are to be read. */
  readonly reads: (segment: SegmentState) => boolean;
  readonly onBatch: InspectOptions['onBatch'];
  readonly offset: number | undefined;
}

export async function inspectPartition(
  files: ReadableFiles,
  look: PartitionLook,
  findings: Finding[],
): Promise<PartitionInspection> {
  const { state, recovery } = look;
  const directory = partitionDirectory(state.topic, state.partition, state.topicId);
  const segments: SegmentInspection[] = [];
  for (const [i, row] of state.segments.entries()) {
    segments.push(await inspectSegment(files, directory, look, row, i, findings));
  }
  const beside = await inspectFilesBeside(files, directory, state, findings);
  return {
    name: `${state.topic}-${state.partition}`,
    directory,
    topicId: state.topicId,
    logStart: state.logStart,
    end: state.end,
    highWatermarkFloor: state.hwFloor,
    term: state.term,
    vote: state.vote,
    generation: state.generation,
    relaxed: state.relaxed,
    epochs: state.epochs,
    epochFile: await inspectEpochFile(files, directory, state),
    durableMark: recovery.durableMark,
    segments,
    ...beside,
    recovery,
  };
}

async function inspectSegment(
  files: ReadableFiles,
  directory: string,
  look: PartitionLook,
  row: SegmentState,
  index: number,
  findings: Finding[],
): Promise<SegmentInspection> {
  const { state } = look;
  const end = state.segments[index + 1]?.base ?? state.end;
  const isLast = index === state.segments.length - 1;
  const path = `${directory}/${logFileName(row)}`;
  const fileBytes = (await files.fileSize(path)) ?? 0;
  const damaged = [...(row.damaged ?? [])];
  if (fileBytes < row.length && damaged.length === 0) {
    const reason =
      fileBytes === 0 ? 'the file is gone or empty' : `the file has ${fileBytes} of its ${row.length} bytes`;
    damaged.push({ from: fileBytes, to: row.length, reason });
  }
  const segment: SegmentLook = {
    path,
    topicId: state.topicId,
    partition: state.partition,
    base: row.base,
    end,
    length: row.length,
    epoch: epochBefore(state, row.base),
    known: damaged,
  };
  const verified = look.reads(row);
  const reading: SegmentReading = verified
    ? await readSegment(files, segment, look.onBatch && seen(look, `${state.topic}-${state.partition}`, path))
    : { counts: noCounts(), faults: [], ...(await readIndexes(files, segment)) };
  const ranges = [...damaged, ...reading.faults];
  for (const range of ranges) {
    const { from, to, reason } = range;
    findings.push({
      severity: 'damage',
      where: `${path}, position ${from}`,
      what: `${reason} (up to position ${to}${offsetsText(range)})`,
      advice: REPLACE,
    });
  }
  for (const [name, found] of [
    ['.index', reading.index],
    ['.timeindex', reading.timeIndex],
  ] as const) {
    noteIndex(path.replace(/\.log$/, name), found, !isLast && row.length > 0, findings);
  }
  if (reading.seal === 'wrong') {
    findings.push({
      severity: 'damage',
      where: path.replace(/\.log$/, '.seal'),
      what: 'the batches are not those that were sealed, though the CRC of each is right: an offset, length or epoch rotted, or the file is of another segment',
      advice: REPLACE,
    });
  } else if (row.sealed && reading.seal === 'unusable') {
    const what = 'it does not check out';
    findings.push({
      severity: 'note',
      where: path.replace(/\.log$/, '.seal'),
      what,
      advice: 'the segment is read without it',
    });
  }
  return {
    file: logFileName(row),
    base: row.base,
    tag: row.tag,
    end,
    length: row.length,
    fileBytes,
    state: isLast ? 'active' : row.sealed ? 'sealed' : 'rolled',
    verified,
    ...reading.counts,
    damaged: ranges,
    index: await asStored(files, look.stored, path.replace(/\.log$/, '.index'), reading.index),
    timeIndex: await asStored(files, look.stored, path.replace(/\.log$/, '.timeindex'), reading.timeIndex),
    seal: row.sealed || reading.seal !== 'missing' ? reading.seal : 'none',
  };
}

function offsetsText(range: DamagedRange): string {
  const { baseOffset, lastOffset } = offsetsOf(range);
  if (baseOffset === undefined) return lastOffset === undefined ? '' : `, up to offset ${lastOffset}`;
  return lastOffset === undefined ? `, from offset ${baseOffset} on` : `, offsets ${baseOffset} to ${lastOffset}`;
}

/** What was read may be what recovery would write: then that is said, and not that it is there. */
async function asStored(
  files: ReadableFiles,
  stored: ReadableFiles,
  path: string,
  found: IndexInspection,
): Promise<IndexInspection> {
  if (files === stored || (found.state !== 'right' && found.state !== 'unchecked')) return found;
  const [read, there] = [await files.readFile(path), await stored.readFile(path)];
  return read !== undefined && there?.equals(read) === true ? found : { ...found, state: 'rebuilt' };
}

function noteIndex(where: string, { state }: IndexInspection, isExpected: boolean, findings: Finding[]): void {
  if (state === 'wrong') {
    const what = 'an entry says something else than the batches';
    const advice = 'no read is wrong by it, only slower; remove the file, and it is rebuilt when it is needed';
    findings.push({ severity: 'damage', where, what, advice });
  } else if (isExpected && (state === 'missing' || state === 'unusable')) {
    const what = state === 'missing' ? 'there is no such file' : 'it does not fit its segment';
    findings.push({ severity: 'note', where, what, advice: REBUILT });
  }
}

function epochBefore(state: LogState, offset: number): number {
  const before = state.epochs.filter(([, start]) => start < offset).at(-1);
  return before?.[0] ?? -1;
}

function seen(look: PartitionLook, partition: string, path: string): BatchSeen {
  const file = path.slice(path.lastIndexOf('/') + 1);
  return async (position, bytes, header) => {
    const { offset } = look;
    if (offset !== undefined && (offset < header.baseOffset || offset > header.lastOffset)) return;
    await look.onBatch?.(
      {
        partition,
        file,
        position,
        bytes: bytes.length,
        baseOffset: header.baseOffset,
        lastOffset: header.lastOffset,
        epoch: header.epoch,
        records: header.recordCount,
        compression: codecName(header.codec),
        isControl: header.isControl,
        isTransactional: header.isTransactional,
        baseTimestamp: header.baseTimestamp,
        maxTimestamp: header.maxTimestamp,
        producerId: header.producerId,
        producerEpoch: header.producerEpoch,
        baseSequence: header.baseSequence,
      },
      bytes,
    );
  };
}

async function inspectEpochFile(
  files: ReadableFiles,
  directory: string,
  state: LogState,
): Promise<PartitionInspection['epochFile']> {
  const bytes = await files.readFile(`${directory}/${EPOCH_FILE}`);
  if (bytes === undefined) return 'missing';
  const index = EpochIndex.fromBytes(bytes, { endOffset: Number.MAX_SAFE_INTEGER });
  if (index === undefined) return 'unusable';
  const said = index.entries.map(({ epoch, startOffset }) => `${epoch} ${startOffset}`).join();
  return said === state.epochs.map(([epoch, start]) => `${epoch} ${start}`).join() ? 'right' : 'old';
}

/** Producer snapshots and indexes of aborted transactions: derived, and rebuilt where they do not check out. */
async function inspectFilesBeside(
  files: ReadableFiles,
  directory: string,
  state: LogState,
  findings: Finding[],
): Promise<{ readonly snapshots: number; readonly txnIndexes: number }> {
  let snapshots = 0;
  let txnIndexes = 0;
  for (const { name } of await files.readDirectory(directory)) {
    const where = `${directory}/${name}`;
    const offset = parseSnapshotFileName(name);
    if (offset !== undefined) {
      snapshots++;
      const bytes = (await files.readFile(where)) ?? Buffer.alloc(0);
      const { topicId, partition } = state;
      if (decodeSnapshot(bytes, { topicId, partition, offset }) === undefined) {
        findings.push({ severity: 'note', where, what: 'it does not check out', advice: REBUILT });
      }
    } else if (name.endsWith('.txnindex')) {
      txnIndexes++;
      if (decodeTxnIndex((await files.readFile(where)) ?? Buffer.alloc(0)) === undefined) {
        findings.push({ severity: 'note', where, what: 'it does not check out', advice: REBUILT });
      }
    } else if (name.endsWith('.tmp') || isSetAside(name)) {
      const what = 'it is left over from before, and means nothing';
      findings.push({ severity: 'note', where, what, advice: 'it is replaced or removed by itself' });
    } else if (parseLogFileName(name) !== undefined && !isNamed(state, name)) {
      const what = 'no segment of the log has this name';
      findings.push({ severity: 'note', where, what, advice: 'it is left as it is' });
    }
  }
  return { snapshots, txnIndexes };
}

function isNamed(state: LogState, file: string): boolean {
  return state.segments.some((row) => logFileName(row) === file);
}
