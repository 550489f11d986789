/** The journal from where the checkpoint needs it: its files, groups, records by type, and where and why the chain ends. */
import { JOURNAL_BLOCK_BYTES, journalFileName, parseJournalFileName, peekGroupHeader } from '../disk/journal-format.js';
import { type JournalEnd, JournalReader } from '../disk/journal-reader.js';
import { VarveError } from '../errors.js';
import { RecordType } from '../journal/journal-records.js';
import { JOURNAL_DIRECTORY } from '../log/data-directory.js';
import type { Finding, JournalFileInspection, JournalGroupInspection, JournalInspection } from './inspection.js';
import type { ReadableFiles } from './read-only-files.js';

const TYPE_NAMES = new Map<number, string>(
  Object.entries(RecordType).map(([name, type]) => [
    type,
    name.replaceAll(/(?<=[a-z])([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`).toLowerCase(),
  ]),
);

export interface JournalLook {
  readonly directoryId: string;
  /** The first file that the checkpoint needs. */
  readonly firstFile: number;
  readonly onGroup: ((group: JournalGroupInspection) => void) | undefined;
}

export async function inspectJournal(
  files: ReadableFiles,
  look: JournalLook,
  findings: Finding[],
): Promise<JournalInspection> {
  const reader = new JournalReader(files, JOURNAL_DIRECTORY, Buffer.from(look.directoryId, 'hex'));
  const records: Record<string, number> = {};
  const groups = reader.groups(look.firstFile);
  const inUse = new Set<number>();
  let count = 0;
  let end: JournalEnd | undefined;
  try {
    for (let next = await groups.next(); ; next = await groups.next()) {
      if (next.done) {
        end = next.value;
        break;
      }
      count++;
      inUse.add(next.value.fileNumber);
      for (const { type } of next.value.records) {
        const name = nameOf(type);
        records[name] = (records[name] ?? 0) + 1;
      }
      look.onGroup?.(describe(next.value));
    }
  } catch (error) {
    if (!(error instanceof VarveError)) throw error;
    findings.push({
      severity: 'damage',
      where: JOURNAL_DIRECTORY,
      what: error.message,
      advice: 'the store does not open like this; keep the directory',
    });
  }
  for (const { fileNumber } of end?.files ?? []) inUse.add(fileNumber);
  return {
    files: await listFiles(files, look.firstFile, inUse),
    groups: count,
    records,
    end: end && (await describeEnd(files, end)),
  };
}

function describe(group: {
  readonly fileNumber: number;
  readonly position: number;
  readonly lsn: number;
  readonly records: readonly {
    readonly type: number;
    readonly topicId: string;
    readonly partition: number;
    readonly payload: Buffer;
    readonly lastOffset: number;
    readonly generation: number;
  }[];
}): JournalGroupInspection {
  return {
    file: group.fileNumber,
    position: group.position,
    lsn: group.lsn,
    records: group.records.map(({ type, topicId, partition, payload, lastOffset, generation }) => ({
      type: nameOf(type),
      log: `${topicId}-${partition}`,
      bytes: payload.length,
      lastOffset,
      generation,
    })),
  };
}

function nameOf(type: number): string {
  return TYPE_NAMES.get(type) ?? `type ${type}`;
}

async function listFiles(
  files: ReadableFiles,
  firstFile: number,
  inUse: ReadonlySet<number>,
): Promise<JournalFileInspection[]> {
  const list: JournalFileInspection[] = [];
  for (const { name } of await files.readDirectory(JOURNAL_DIRECTORY)) {
    const number = parseJournalFileName(name);
    if (number === undefined) continue;
    const bytes = (await files.fileSize(`${JOURNAL_DIRECTORY}/${name}`)) ?? 0;
    list.push({ name, bytes, use: number < firstFile ? 'covered' : inUse.has(number) ? 'needed' : 'spare' });
  }
  return list;
}

/** What stands where the next group would be. */
async function describeEnd(files: ReadableFiles, end: JournalEnd): Promise<NonNullable<JournalInspection['end']>> {
  const last = end.files.at(-1)!;
  const name = journalFileName(last.fileNumber);
  const position = JOURNAL_BLOCK_BYTES + (end.lsn - last.startLsn);
  const block =
    (await files.readFile(`${JOURNAL_DIRECTORY}/${name}`, position, JOURNAL_BLOCK_BYTES)) ?? Buffer.alloc(0);
  return { file: name, position, why: whyItEnds(block, last.fileNumber, end.lsn) };
}

function whyItEnds(block: Buffer, fileNumber: number, lsn: number): string {
  if (block.length === 0) return 'the file is full';
  if (block.every((byte) => byte === 0)) return 'zeros follow: nothing was written there';
  const header = peekGroupHeader(block, 0);
  if (header === undefined) return 'bytes of no group follow: a torn write, or an older life of the file';
  if (header.fileNumber !== fileNumber || header.lsn !== lsn) return 'a group of an older life of the file follows';
  return 'a group follows that does not check out: a torn write, dropped whole';
}
