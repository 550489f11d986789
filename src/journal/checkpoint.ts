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
import type { LogState } from './log-state.js';

export const CHECKPOINT_FILE = 'checkpoint';
export const PREVIOUS_CHECKPOINT_FILE = 'checkpoint.previous';

const MAGIC = 'VARVECKP';
const VERSION = 1;
const HEADER_BYTES = 20;

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
  readonly logs: readonly LogState[];
}

export function encodeCheckpoint(checkpoint: Checkpoint): Buffer {
  const body = Buffer.from(JSON.stringify(checkpoint), 'utf8');
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(body.length, 12);
  bytes.writeUInt32LE(crc32c(body, 0, body.length), 16);
  body.copy(bytes, HEADER_BYTES);
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
  return JSON.parse(bytes.toString('utf8', HEADER_BYTES)) as Checkpoint;
}

function corrupt(file: string, what: string): VarveError {
  return new VarveError(
    'CORRUPT_CHECKPOINT',
    `${file}: ${what}; restore the directory from a backup, or replace this replica`,
  );
}
