/**
 * The checkpoint: one checksummed file that says where every log of the data directory stands, so that the journal
 * before it is no longer needed.
 *
 *   0          8          12         16        20
 *   | VARVECKP | version  | length   | CRC32C  | body: JSON, UTF-8
 *   |          | u32      | u32      | u32     |
 *
 *   Integers are little-endian. `length` counts the body, the CRC32C covers it. Nothing follows the body.
 *
 * Replaced as a whole (temporary file, sync, rename, directory sync); the one before stays as checkpoint.previous.
 * What can go wrong: a file that does not check out is CORRUPT_CHECKPOINT. The previous one stands in for it only while
 * every journal file it counts on is still there.
 */
import { crc32c } from '../disk/addon.js';
import { VarveError } from '../errors.js';
import { isLogState, type LogState } from './log-state.js';

export const CHECKPOINT_FILE = 'checkpoint';
export const PREVIOUS_CHECKPOINT_FILE = 'checkpoint.previous';

const MAGIC = 'VARVECKP';
const VERSION = 1;
const HEADER_BYTES = 20;
/** What stands behind the rows, which are the last thing in the body. */
const END = ']}';
const COMMA = 0x2c;
const PIECE_BYTES = 256 * 1024;

export interface Checkpoint {
  /** 1, 2, 3 … over the life of the directory. */
  readonly sequence: number;
  /** 32 hex digits. */
  readonly directoryId: string;
  /** Boot id of the machine when this was written; '' if unknown. */
  readonly bootId: string;
  /** Number of the first journal file whose records are not all covered. */
  readonly journalFile: number;
  /** Where the journal's chain stood when the store was opened: it goes on from here if there is no such file yet. */
  readonly journalLsn: number;
  readonly journalChecksum: number;
  /**
   * The file was on disk, with its header, when this was written: if it is not there now, it was lost. Missing: it may not
   * have been written yet, as in the first checkpoint of an opening.
   */
  readonly journalStarted?: boolean;
  readonly logs: readonly LogState[];
}

/** One row, as the checkpoint holds it. Rows of logs that did not change need not be encoded again. */
export function encodeLogState(state: LogState): Buffer {
  return Buffer.from(JSON.stringify(state), 'utf8');
}

export function encodeCheckpoint({ logs, ...head }: Checkpoint): Buffer {
  const assembly = assembleCheckpoint(head, logs.map(encodeLogState));
  for (;;) {
    const { done, value } = assembly.next();
    if (done) return value;
  }
}

/** Puts encoded rows together, and stops after every piece of work of a fraction of a millisecond. */
export function* assembleCheckpoint(head: Omit<Checkpoint, 'logs'>, rows: readonly Buffer[]): Generator<void, Buffer> {
  const start = Buffer.from(JSON.stringify({ ...head, logs: [] }).slice(0, -END.length), 'utf8');
  const commas = Math.max(0, rows.length - 1);
  const length = rows.reduce((sum, row) => sum + row.length, start.length + commas + END.length);
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + length);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(length, 12);
  let at = HEADER_BYTES + start.copy(bytes, HEADER_BYTES);
  let crc = crc32c(bytes, HEADER_BYTES, at);
  let from = at;
  for (const [i, row] of rows.entries()) {
    if (i > 0) bytes[at++] = COMMA;
    at += row.copy(bytes, at);
    if (at - from < PIECE_BYTES) continue;
    crc = crc32c(bytes, from, at, crc);
    from = at;
    yield;
  }
  bytes.write(END, at, 'latin1');
  bytes.writeUInt32LE(crc32c(bytes, from, bytes.length, crc), 16);
  return bytes;
}

/** @throws VarveError CORRUPT_CHECKPOINT, DIRECTORY_MISMATCH (another format version) */
export function decodeCheckpoint(bytes: Buffer, file: string): Checkpoint {
  if (bytes.length < HEADER_BYTES || bytes.toString('latin1', 0, 8) !== MAGIC) {
    throw corrupt(file, `${bytes.length} bytes that do not begin with ${MAGIC}`);
  }
  const version = bytes.readUInt32LE(8);
  if (version !== VERSION) {
    throw new VarveError(
      'DIRECTORY_MISMATCH',
      `${file} has format version ${version}, this build reads ${VERSION}: open the directory with the build that wrote it`,
    );
  }
  const length = bytes.readUInt32LE(12);
  if (length !== bytes.length - HEADER_BYTES) {
    throw corrupt(file, `a body of ${length} bytes is announced, ${bytes.length - HEADER_BYTES} are there`);
  }
  if (crc32c(bytes, HEADER_BYTES, bytes.length) !== bytes.readUInt32LE(16))
    throw corrupt(file, 'its CRC32C does not match');
  const body = parseBody(bytes.toString('utf8', HEADER_BYTES));
  if (body === undefined) throw corrupt(file, 'its checksum is right, but it does not say what a checkpoint says');
  return body;
}

/** What was not written by a store, though somebody computed the checksum, must not be taken for a checkpoint. */
function parseBody(text: string): Checkpoint | undefined {
  try {
    const body = JSON.parse(text) as Partial<Checkpoint> | null;
    const { sequence, directoryId, bootId, journalFile, journalLsn, journalChecksum, journalStarted, logs } =
      body ?? {};
    const numbers = [sequence, journalFile, journalLsn, journalChecksum];
    if (!numbers.every((number) => Number.isSafeInteger(number) && number! >= 0)) return undefined;
    if (journalStarted !== undefined && typeof journalStarted !== 'boolean') return undefined;
    if (typeof directoryId !== 'string' || typeof bootId !== 'string') return undefined;
    return Array.isArray(logs) && logs.every(isLogState) ? (body as Checkpoint) : undefined;
  } catch {
    return undefined;
  }
}

function corrupt(file: string, what: string): VarveError {
  return new VarveError(
    'CORRUPT_CHECKPOINT',
    `${file}: ${what}; restore the directory from a backup, or replace this replica`,
  );
}
