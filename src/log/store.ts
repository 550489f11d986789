/**
 * The door to a data directory on a real disk: `openStore` and `formatStore`.
 */
import { mkdir, open, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { diskError, isMissing } from '../disk/disk-errors.js';
import { bootId, openDisk } from '../disk/native-disk.js';
import { VarveError } from '../errors.js';
import { parsePartitionDirectory } from '../segment/file-names.js';
import {
  checkEmpty,
  checkMeta,
  checkOwner,
  type DirectoryMeta,
  META_FILE,
  neverFormatted,
  readMeta,
} from './data-directory.js';
import type { StoreOptions } from './options.js';
import { Store } from './partition-store.js';
import { resolveStoreOptions } from './resolved-options.js';

export { type OpenLogOptions, Store, type StoreGround, type StoreStats } from './partition-store.js';

/**
 * Opens a data directory, recovering it if it was not closed cleanly.
 * @throws VarveError DIRECTORY_MISSING, DIRECTORY_MISMATCH, DIRECTORY_LOCKED, CORRUPT_CHECKPOINT, CORRUPT_JOURNAL,
 *   CORRUPT_LOG, DISK_FULL, DISK_FAILED, INVALID_ARGUMENT, UNSUPPORTED_PLATFORM
 */
export async function openStore(path: string, options: Partial<StoreOptions> = {}): Promise<Store> {
  const root = rootOf(path);
  const { create, trace, maxOpenFiles, ...owner } = resolveStoreOptions(options);
  checkOwner(owner);
  await checkRoot(root, create);
  if (create) await makeRoot(root);
  const disk = await openDisk(root, { trace, maxOpenFiles });
  return Store.open({ disk, path: root, bootId: knownBootId() }, options);
}

/**
 * Makes and formats an empty data directory for one node of a cluster; one that is formatted for it already is left as it
 * is.
 */
export async function formatStore(
  path: string,
  owner: { readonly clusterId: string; readonly nodeId: number },
): Promise<void> {
  const root = rootOf(path);
  if (owner?.clusterId === undefined || owner.nodeId === undefined) {
    throw new VarveError('INVALID_ARGUMENT', 'a directory is formatted for one node: give { clusterId, nodeId }');
  }
  const { clusterId, nodeId } = owner;
  checkOwner({ clusterId, nodeId });
  const meta = await readOwner(root);
  if (meta !== undefined) return checkMeta(meta, { clusterId, nodeId }, root);
  const store = await openStore(root, { clusterId, nodeId, create: true });
  await store.close();
}

/**
 * Whose directory it is; undefined if it is missing or was never formatted. Looks, and touches nothing: opening a store
 * that crashed recovers it, and then nobody could tell that it had crashed.
 * @throws VarveError DIRECTORY_MISMATCH when what is there is of another format, DISK_FAILED
 */
export function readOwner(path: string): Promise<DirectoryMeta | undefined> {
  const root = rootOf(path);
  return readMeta({ readFile: (name) => readIfPresent(join(root, name)) }, root);
}

/** The partitions that a data directory holds, by the names of their directories. Touches nothing. */
export async function listPartitions(path: string): Promise<{ readonly topic: string; readonly partition: number }[]> {
  const root = rootOf(path);
  try {
    const names = await readdir(root);
    return names.map(parsePartitionDirectory).filter((parsed) => parsed !== undefined);
  } catch (error) {
    throw diskError(error, root);
  }
}

async function readIfPresent(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw diskError(error, file);
  }
}

function rootOf(path: string): string {
  if (typeof path !== 'string' || path === '') {
    const given = typeof path === 'string' ? 'empty' : String(path);
    throw new VarveError('INVALID_ARGUMENT', `the path of the data directory is ${given}: give a path`);
  }
  return resolve(path);
}

/** Before the lock is taken, so that a refusal leaves no file behind in a directory that is somebody else's. */
async function checkRoot(root: string, create: boolean): Promise<void> {
  let names: string[];
  try {
    names = await readdir(root);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && !create) {
      throw new VarveError(
        'DIRECTORY_MISSING',
        `there is no ${root}: open it with { create: true } to make it, or correct the path`,
      );
    }
    // Made next, or missed by whoever opens it.
    if (code === 'ENOENT' || code === 'ENOTDIR') return;
    throw diskError(error, root);
  }
  if (names.includes(META_FILE)) return;
  if (!create) throw neverFormatted(root);
  checkEmpty(names, root);
}

/**
 * Makes the directory and its missing parents, each durable in its parent. One by one: Node's recursive mkdir never ends
 * where a parent exists and nothing can be made in it, as in /proc.
 */
async function makeRoot(root: string): Promise<void> {
  try {
    const missing: string[] = [];
    for (let path = root; !(await exists(path)); path = dirname(path)) missing.push(path);
    for (const path of missing.reverse()) {
      await mkdir(path).catch((error: NodeJS.ErrnoException) => {
        // Somebody else was faster.
        if (error.code !== 'EEXIST') throw error;
      });
      await syncDirectory(dirname(path));
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT') throw diskError(error, root);
    throw new VarveError(
      'DIRECTORY_MISSING',
      `the data directory ${root} cannot be made: ${message}. Choose a path where this user may make directories`,
      { cause: error },
    );
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw error;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Without a boot id an unclean stop is taken for a power cut. */
function knownBootId(): string {
  try {
    return bootId();
  } catch {
    return '';
  }
}
