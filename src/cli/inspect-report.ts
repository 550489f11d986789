/** What `varve inspect` prints for people. */
import Table from 'cli-table3';
import type {
  BatchInspection,
  CheckpointInspection,
  DirectoryInspection,
  Finding,
  JournalGroupInspection,
  JournalInspection,
  PartitionInspection,
  SegmentInspection,
} from '../inspect/inspection.js';
import type { RecoveryReport } from '../log/log.js';
import type { Record as StoredRecord } from '../record/types.js';

const MAX_SHOWN_BYTES = 60;

export function renderInspection(found: DirectoryInspection): string {
  const lines = [
    `${found.path}: node ${found.nodeId} of cluster ${found.clusterId}, directory ${found.directoryId}, format ${found.formatVersion}`,
    ...openLines(found),
    row('clean mark', cleanMark(found)),
    row('checkpoint', checkpointText(found.checkpoint)),
    row('the one before', checkpointText(found.previousCheckpoint)),
    row('journal', journalText(found.journal)),
  ];
  if (found.reserveBytes > 0) lines.push(row('reserve', `${found.reserveBytes} bytes for a full disk`));
  for (const partition of found.partitions) lines.push('', ...partitionLines(partition));
  if (found.partitions.length === 0) lines.push('', 'no partitions');
  lines.push('', ...openingLines(found), ...skippedLines(found), '', ...findingLines(found.findings));
  return lines.join('\n');
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(16)}${text}`;
}

function openLines({ openIn, changing }: DirectoryInspection): string[] {
  if (openIn === undefined) return [];
  const who = openIn === 0 ? 'another process' : `process ${openIn}`;
  const lines = [row('open', `in ${who}: what is seen here is what a crash at this moment would leave`)];
  if (changing)
    lines.push(row('', 'it changed while it was looked at, so findings may mean nothing: look again, or stop it'));
  return lines;
}

function cleanMark({ cleanMark: mark, openIn }: DirectoryInspection): string {
  if (mark !== undefined) return `closed with checkpoint ${mark}`;
  return openIn === undefined ? 'none: it was not closed' : 'none, as long as it is open';
}

function checkpointText(checkpoint: CheckpointInspection | undefined): string {
  if (checkpoint === undefined) return 'none that can be read';
  const { sequence, bytes, logs, journalFile, sameBoot } = checkpoint;
  const boot = sameBoot === undefined ? '' : sameBoot ? ', written since this boot' : ', written before this boot';
  return `${sequence}: ${plural(logs, 'log')}, ${bytes} bytes, needs the journal from file ${journalFile}${boot}`;
}

function journalText({ files, groups, records, end }: JournalInspection): string {
  const uses = ['needed', 'covered', 'spare'] as const;
  const counts = uses.map((use) => [files.filter((file) => file.use === use).length, use] as const);
  const fileText = counts.filter(([count]) => count > 0).map(([count, use]) => `${count} ${use}`);
  const types = Object.entries(records).map(([type, count]) => `${count} ${type}`);
  const ends = end === undefined ? 'no end was found' : `ends in ${end.file}, position ${end.position}: ${end.why}`;
  return [
    `${plural(files.length, 'file')} (${fileText.join(', ') || 'none'})`,
    `${plural(groups, 'group')}${types.length > 0 ? ` with ${types.join(', ')}` : ''}`,
    ends,
  ].join('; ');
}

function partitionLines(partition: PartitionInspection): string[] {
  const { name, topicId, logStart, end, term, generation, durableMark, epochs, epochFile } = partition;
  const mark =
    durableMark === undefined
      ? 'nothing'
      : `offset ${durableMark.offset} (segment ${durableMark.segmentBaseOffset}, position ${durableMark.position})`;
  const lines = [
    `${name}  (${topicId})`,
    row('offsets', `${logStart} to ${end}, high watermark at least ${partition.highWatermarkFloor}`),
    row('durable', mark),
    row(
      'term',
      `${term}, vote ${partition.vote || 'none'}, generation ${generation}${partition.relaxed ? ', relaxed: acknowledgements may have been given from memory' : ''}`,
    ),
    row(
      'epochs',
      `${epochs.map(([epoch, start]) => `${epoch} from ${start}`).join(', ') || 'none'}; its file is ${epochFile}`,
    ),
  ];
  if (partition.snapshots + partition.txnIndexes > 0) {
    lines.push(row('beside', `${plural(partition.snapshots, 'producer snapshot')}, ${partition.txnIndexes} .txnindex`));
  }
  if (partition.segments.length > 0) lines.push(segmentTable(partition.segments));
  return lines;
}

function segmentTable(segments: readonly SegmentInspection[]): string {
  const table = new Table({
    head: [
      'segment',
      'to',
      'bytes',
      'state',
      'batches',
      'records',
      'epochs',
      'timestamps',
      'index',
      'timeindex',
      'seal',
      'checksums',
    ],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'right', 'right', 'left', 'right', 'right', 'right', 'left', 'left', 'left', 'left', 'left'],
  });
  for (const s of segments) {
    const counts = s.verified ? [s.batches, s.records, epochsOf(s), timesOf(s)] : ['', '', '', ''];
    table.push([
      s.file.replace(/\.log$/, ''),
      s.end,
      s.length,
      s.state,
      ...counts,
      indexText(s.index),
      indexText(s.timeIndex),
      s.seal,
      s.damaged.length > 0 ? `DAMAGED (${s.damaged.length})` : s.verified ? 'right' : 'not read',
    ]);
  }
  return table
    .toString()
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n');
}

function epochsOf({ firstEpoch, lastEpoch }: SegmentInspection): string {
  if (firstEpoch < 0) return '';
  return firstEpoch === lastEpoch ? String(firstEpoch) : `${firstEpoch} to ${lastEpoch}`;
}

function timesOf({ minTimestamp, maxTimestamp }: SegmentInspection): string {
  if (maxTimestamp < 0) return '';
  return minTimestamp === maxTimestamp
    ? timeText(maxTimestamp)
    : `${timeText(minTimestamp)} to ${timeText(maxTimestamp)}`;
}

function timeText(timestamp: number): string {
  const date = new Date(timestamp);
  return timestamp < 0 || Number.isNaN(date.getTime()) ? String(timestamp) : date.toISOString();
}

function indexText({ state, entries }: SegmentInspection['index']): string {
  if (state === 'rebuilt') return `${entries}, once opened`;
  return state === 'missing' || state === 'unusable' ? state : `${entries}, ${state}`;
}

function openingLines({ clean, partitions }: DirectoryInspection): string[] {
  if (clean === undefined) return ['Opening it would be refused; the partitions are shown as the checkpoint has them.'];
  if (clean) return ['Opening it has nothing to recover.'];
  const lines = ['Opening it would recover:'];
  for (const { name, recovery, relaxed } of partitions) {
    const done = recoveryText(recovery, relaxed);
    lines.push(`  ${name}: ${done.length > 0 ? done.join('; ') : 'nothing to do'}`);
  }
  return lines;
}

function recoveryText(report: RecoveryReport, relaxed: boolean): string[] {
  const { replayedRecords, replayedBytes, rewrittenBytes, cuts, setAside, rebuiltIndexes, damaged } = report;
  return [
    replayedRecords > 0 &&
      `${plural(replayedRecords, 'journal record')} replayed, ${replayedBytes} bytes written into segments`,
    rewrittenBytes > 0 && `${rewrittenBytes} bytes beyond the durable mark kept, written again and synced`,
    ...cuts.map(
      ({ segmentBaseOffset, position, bytes, reason }) =>
        `${bytes} bytes cut off segment ${segmentBaseOffset} at position ${position} (${reason})`,
    ),
    setAside.length > 0 && `${setAside.join(', ')} set aside`,
    rebuiltIndexes > 0 && `indexes of ${plural(rebuiltIndexes, 'segment')} written anew`,
    damaged.length > 0 && `${plural(damaged.length, 'damaged range')} kept and not served`,
    report.mayHaveForgotten && forgottenText(report, relaxed),
  ].filter((text) => text !== false);
}

/** Memory that outlived the process held everything that was acknowledged; unless something in it does not check out. */
function forgottenText({ pageCacheSurvived, cuts, damaged }: RecoveryReport, relaxed: boolean): string {
  return relaxed && pageCacheSurvived && cuts.length === 0 && damaged.length === 0
    ? 'acknowledgements were given from memory, and the machine has not restarted since: nothing of it is missing'
    : 'records that were acknowledged from memory may be gone';
}

function skippedLines({ skipped }: DirectoryInspection): string[] {
  if (skipped.segments === 0) return [];
  return [
    `Not read: the batches of ${plural(skipped.segments, 'segment')} (${skipped.bytes} bytes). With --verify they are.`,
  ];
}

function findingLines(findings: readonly Finding[]): string[] {
  const damage = findings.filter(({ severity }) => severity === 'damage');
  const notes = findings.filter(({ severity }) => severity === 'note');
  return [
    ...damage.map(({ where, what, advice }) => `DAMAGE  ${where}: ${what}\n        ${advice}`),
    ...notes.map(({ where, what, advice }) => `note    ${where}: ${what}; ${advice}`),
    damage.length === 0 ? 'No damage was found.' : `Damage was found: ${plural(damage.length, 'place')}.`,
  ];
}

export function batchLine(batch: BatchInspection): string {
  const { partition, file, position, bytes, baseOffset, lastOffset, epoch, records } = batch;
  const remarks = [
    batch.compression !== 'none' && batch.compression,
    batch.isControl && 'control',
    batch.isTransactional && 'transactional',
    batch.producerId >= 0 && `producer ${batch.producerId}/${batch.producerEpoch} sequence ${batch.baseSequence}`,
  ].filter((text) => text !== false);
  return `${partition} ${file} position ${position}: offsets ${baseOffset} to ${lastOffset}, ${plural(records, 'record')}, ${bytes} bytes, epoch ${epoch}, ${timeText(batch.maxTimestamp)}${remarks.length > 0 ? `, ${remarks.join(', ')}` : ''}`;
}

export function recordLine({ offset, timestamp, key, value, headers }: StoredRecord): string {
  const extra = headers.length > 0 ? `, ${plural(headers.length, 'header')}` : '';
  return `  ${offset} ${timeText(timestamp)} ${bytesText(key)} = ${bytesText(value)}${extra}`;
}

export function groupLine({ file, position, lsn, records }: JournalGroupInspection): string {
  const lines = records.map(({ type, log, bytes, lastOffset, generation }) => {
    const upTo = type === 'batches' ? ` up to offset ${lastOffset}` : '';
    return `  ${type} of ${log}: ${bytes} bytes${upTo}, generation ${generation}`;
  });
  return [`journal file ${file} position ${position}, LSN ${lsn}: ${plural(records.length, 'record')}`, ...lines].join(
    '\n',
  );
}

/** Printable, in one line, and not longer than people read. */
function bytesText(bytes: Buffer | null): string {
  if (bytes === null) return 'null';
  const shown = JSON.stringify(bytes.toString('utf8', 0, MAX_SHOWN_BYTES));
  return bytes.length > MAX_SHOWN_BYTES ? `${shown}… (${bytes.length} bytes)` : shown;
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
