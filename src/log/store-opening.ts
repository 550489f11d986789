/**
 * Opening a data directory, up to the point where a journal may begin. Each step is durable before the next: lock (whoever
 * made the disk holds it), meta.json, removal of the clean mark, recovery, a checkpoint of what was found.
 *
 * The store then begins a journal file and writes that checkpoint once more (`markStarted`). Only then is a log handed out.
 *
 * What can go wrong: DIRECTORY_MISSING, DIRECTORY_MISMATCH, CORRUPT_CHECKPOINT, CORRUPT_JOURNAL, CORRUPT_LOG (files gone),
 * DISK_FULL, DISK_FAILED; INVALID_ARGUMENT for settings that do not fit the disk.
 */
import type { Disk } from '../disk/disk.js';
import type { Environment } from '../environment.js';
import { CHECKPOINT_FILE, type Checkpoint, encodeCheckpoint } from '../journal/checkpoint.js';
import {
  checkMeta,
  checkOwner,
  type DirectoryMeta,
  neverFormatted,
  readMeta,
  takeCleanMark,
  writeMeta,
} from './data-directory.js';
import { checkFits, makeRoomForOpening } from './disk-reserve.js';
import type { StoreOptions } from './options.js';
import { recoverStore, type StoreRecovery } from './store-recovery.js';

/** What a store stands on. Real directories: store.ts; the simulator brings its own. */
export interface StoreGround {
  readonly disk: Disk;
  /** For messages. */
  readonly path: string;
  /** Changes with every boot of the machine; '' if unknown. */
  readonly bootId: string;
  /** Default: the process. */
  readonly environment?: Environment;
}

export type ResolvedGround = Required<StoreGround>;

export interface OpenedDirectory {
  readonly meta: DirectoryMeta;
  /** What recovery found; `sequence` is that of the checkpoint which says so. */
  readonly found: StoreRecovery;
  /** To be called when the journal's first file is on disk. */
  readonly markStarted: () => Promise<void>;
}

export async function openDirectory(ground: ResolvedGround, options: StoreOptions): Promise<OpenedDirectory> {
  const { disk, path, bootId } = ground;
  await checkFits(disk, path, options);
  const meta = await readOrFormat(ground, options);
  await makeRoomForOpening(disk, options);
  const cleanMark = await takeCleanMark(disk);
  const found = await recoverStore(disk, path, meta, cleanMark, bootId);
  const sequence = found.sequence + 1;
  const checkpoint: Checkpoint = {
    sequence,
    directoryId: meta.directoryId,
    bootId,
    journalFile: found.nextJournalFile,
    journalLsn: found.journalEnd.lsn,
    journalChecksum: found.journalEnd.checksum,
    logs: [...found.states.values()],
  };
  // Twice, so that the one before is of this opening as well. An older one would be of no use: the files that its part
  // of the journal names may be gone, and after an unclean stop the generations went up without a record. The second one
  // says that the journal has begun, before anything is acknowledged: a journal that is not there then was lost.
  const replace = (bytes: Buffer): Promise<void> => disk.replaceFile(CHECKPOINT_FILE, bytes, { keepPrevious: true });
  await replace(encodeCheckpoint(checkpoint));
  await disk.removeFiles(found.setAside);
  return {
    meta,
    found: { ...found, sequence },
    markStarted: () => replace(encodeCheckpoint({ ...checkpoint, journalStarted: true })),
  };
}

/** Reads meta.json, or formats the directory when that is asked for. */
async function readOrFormat(
  { disk, path, environment }: ResolvedGround,
  options: StoreOptions,
): Promise<DirectoryMeta> {
  checkOwner(options);
  const meta = await readMeta(disk, path);
  if (meta !== undefined) {
    checkMeta(meta, options, path);
    return meta;
  }
  if (!options.create) throw neverFormatted(path);
  return writeMeta(disk, path, {
    clusterId: options.clusterId ?? environment.randomBytes(16).toString('hex'),
    nodeId: options.nodeId ?? 1,
    directoryId: environment.randomBytes(16).toString('hex'),
  });
}
