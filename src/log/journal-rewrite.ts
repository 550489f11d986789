/**
 * Recovery's second reading of the journal: writes the bytes that survive every truncation into their segments. Neighbouring
 * pieces are put together, so that a segment is written and synced in large steps; memory is bounded.
 */
import type { Disk } from '../disk/disk.js';
import type { JournalRecord } from '../disk/journal-format.js';
import { logKey } from '../journal/log-state.js';
import type { Piece } from '../journal/replay.js';
import { inParallel, PARALLEL_FILES } from './in-parallel.js';

const FLUSH_BYTES = 8 * 1024 * 1024;
const TOTAL_BYTES = 64 * 1024 * 1024;

/** What is to be written for one log: its surviving pieces in journal order, and the file of each segment. */
export interface RewritePlan {
  readonly pieces: readonly Piece[];
  /** Path of the .log file by segment base; pieces of segments without one are dropped (they lie below the log start). */
  readonly paths: ReadonlyMap<number, string>;
}

interface Run {
  readonly position: number;
  readonly parts: Buffer[];
  bytes: number;
}

/** @param plans by `logKey` */
export async function rewriteJournalled(
  disk: Disk,
  records: AsyncIterable<JournalRecord>,
  plans: ReadonlyMap<string, RewritePlan>,
): Promise<void> {
  const cursors = new Map<string, { record: number; piece: number }>();
  const runs = new Map<string, Run>();
  let total = 0;

  const flush = async (path: string): Promise<void> => {
    const run = runs.get(path);
    if (run === undefined) return;
    runs.delete(path);
    total -= run.bytes;
    await disk.writeFile(path, run.position, run.parts.length === 1 ? run.parts[0]! : Buffer.concat(run.parts));
  };

  for await (const record of records) {
    const key = logKey(record.topicId, record.partition);
    const plan = plans.get(key);
    if (plan === undefined) continue;
    const cursor = cursors.get(key) ?? { record: 0, piece: 0 };
    cursors.set(key, cursor);
    const piece = plan.pieces[cursor.piece];
    if (piece === undefined || piece.record !== cursor.record++) continue;
    cursor.piece++;
    const path = plan.paths.get(piece.segmentBase);
    if (path === undefined) continue;
    const bytes = record.payload.subarray(piece.skip, piece.skip + piece.length);
    let run = runs.get(path);
    if (run !== undefined && run.position + run.bytes !== piece.position) {
      await flush(path);
      run = undefined;
    }
    if (run === undefined) {
      run = { position: piece.position, parts: [], bytes: 0 };
      runs.set(path, run);
    }
    run.parts.push(bytes);
    run.bytes += bytes.length;
    total += bytes.length;
    if (run.bytes >= FLUSH_BYTES) await flush(path);
    if (total >= TOTAL_BYTES) await inParallel([...runs.keys()], PARALLEL_FILES, flush);
  }
  await inParallel([...runs.keys()], PARALLEL_FILES, flush);
}
