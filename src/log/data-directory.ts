/**
 * The files of a data directory that say whose it is and how it was left.
 *
 *   meta.json   {"formatVersion":1,"clusterId":"…","nodeId":1,"directoryId":"32 hex digits"}; written once
 *   clean       {"checkpoint":17}: the store was closed, and checkpoint 17 says all there is to say
 *
 * `clean` is removed, durably, before anything is accepted: its absence means that the stop was not clean.
 *
 * What can go wrong: DIRECTORY_MISSING (never formatted), DIRECTORY_MISMATCH (another cluster, node or format).
 */
import type { Disk } from '../disk/disk.js';
import { VarveError } from '../errors.js';

export const META_FILE = 'meta.json';
export const CLEAN_FILE = 'clean';
export const JOURNAL_DIRECTORY = 'journal';

const FORMAT_VERSION = 1;
/** The same for embedded stores and nodes: a directory that one has made, the other can open. */
export const CLUSTER_ID_PATTERN = /^[a-zA-Z0-9._-]{1,64}$/;

export interface DirectoryMeta {
  readonly formatVersion: number;
  readonly clusterId: string;
  readonly nodeId: number;
  /** 32 hex digits, made when the directory was formatted. */
  readonly directoryId: string;
}

export interface ExpectedOwner {
  readonly clusterId?: string;
  readonly nodeId?: number;
}

/** @throws VarveError INVALID_ARGUMENT */
export function checkOwner({ clusterId, nodeId }: ExpectedOwner): void {
  if (clusterId !== undefined && (typeof clusterId !== 'string' || !CLUSTER_ID_PATTERN.test(clusterId))) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `clusterId ${JSON.stringify(clusterId)}: use 1 to 64 characters of a-z, A-Z, 0-9, ".", "_" and "-"`,
    );
  }
  if (nodeId !== undefined && (!Number.isInteger(nodeId) || nodeId < 1 || nodeId > 0x7fff_ffff)) {
    throw new VarveError('INVALID_ARGUMENT', `nodeId ${nodeId}: give a whole number from 1 to ${0x7fff_ffff}`);
  }
}

/** @returns undefined when the directory was never formatted */
export async function readMeta(disk: Pick<Disk, 'readFile'>, path: string): Promise<DirectoryMeta | undefined> {
  const bytes = await disk.readFile(META_FILE);
  if (bytes === undefined) return undefined;
  const meta = parseMeta(bytes);
  if (meta === undefined) {
    throw new VarveError(
      'DIRECTORY_MISMATCH',
      `${path}/${META_FILE} is not one of Varve's; restore it from a backup, or point to another directory`,
    );
  }
  if (meta.formatVersion !== FORMAT_VERSION) {
    throw new VarveError(
      'DIRECTORY_MISMATCH',
      `${path} has format version ${meta.formatVersion}, this build reads ${FORMAT_VERSION}: open it with the build that wrote it`,
    );
  }
  return meta;
}

/** @throws VarveError DIRECTORY_MISMATCH */
export function checkMeta(meta: DirectoryMeta, expected: ExpectedOwner, path: string): void {
  if (expected.clusterId !== undefined && expected.clusterId !== meta.clusterId) {
    throw new VarveError(
      'DIRECTORY_MISMATCH',
      `${path} belongs to cluster '${meta.clusterId}', not '${expected.clusterId}' (${META_FILE}): point to the right directory, or correct the cluster id`,
    );
  }
  if (expected.nodeId !== undefined && expected.nodeId !== meta.nodeId) {
    throw new VarveError(
      'DIRECTORY_MISMATCH',
      `${path} belongs to node ${meta.nodeId}, not ${expected.nodeId} (${META_FILE}): point to the right directory, or correct the node id`,
    );
  }
}

/** Only an empty directory is formatted. @throws VarveError DIRECTORY_MISMATCH */
export function checkEmpty(names: readonly string[], path: string): void {
  // The lock is taken by whoever opened the disk; the rest is what formatting leaves when it dies.
  const isOurs = (name: string): boolean => name === 'LOCK' || name === JOURNAL_DIRECTORY || name.startsWith(META_FILE);
  const other = names.find((name) => !isOurs(name));
  if (other !== undefined) {
    throw new VarveError(
      'DIRECTORY_MISMATCH',
      `${path} has no ${META_FILE} but is not empty (${other}): it will not be formatted; point to an empty directory`,
    );
  }
}

export function neverFormatted(path: string): VarveError {
  return new VarveError(
    'DIRECTORY_MISSING',
    `${path} was never formatted: open it with { create: true }, or correct the path`,
  );
}

/** Formats an empty directory. */
export async function writeMeta(
  disk: Disk,
  path: string,
  owner: Required<ExpectedOwner> & { directoryId: string },
): Promise<DirectoryMeta> {
  checkOwner(owner);
  checkEmpty(
    (await disk.readDirectory('')).map(({ name }) => name),
    path,
  );
  await disk.makeDirectory(JOURNAL_DIRECTORY);
  const { clusterId, nodeId, directoryId } = owner;
  const meta: DirectoryMeta = { formatVersion: FORMAT_VERSION, clusterId, nodeId, directoryId };
  await disk.replaceFile(META_FILE, Buffer.from(`${JSON.stringify(meta)}\n`));
  return meta;
}

/** Sequence number of the checkpoint that a clean shutdown left; undefined when the stop was not clean. Removes the mark. */
export async function takeCleanMark(disk: Disk): Promise<number | undefined> {
  const bytes = await disk.readFile(CLEAN_FILE);
  if (bytes === undefined) return undefined;
  await disk.removeFiles([CLEAN_FILE]);
  const parsed = parseJson(bytes);
  return typeof parsed?.checkpoint === 'number' ? parsed.checkpoint : undefined;
}

export async function writeCleanMark(disk: Disk, checkpoint: number): Promise<void> {
  await disk.replaceFile(CLEAN_FILE, Buffer.from(`${JSON.stringify({ checkpoint })}\n`));
}

function parseMeta(bytes: Buffer): DirectoryMeta | undefined {
  const parsed = parseJson(bytes);
  if (parsed === undefined) return undefined;
  const { formatVersion, clusterId, nodeId, directoryId } = parsed;
  if (typeof formatVersion !== 'number' || typeof clusterId !== 'string' || typeof nodeId !== 'number')
    return undefined;
  if (typeof directoryId !== 'string' || !/^[0-9a-f]{32}$/.test(directoryId)) return undefined;
  return { formatVersion, clusterId, nodeId, directoryId };
}

function parseJson(bytes: Buffer): { readonly [key: string]: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as { [key: string]: unknown }) : undefined;
  } catch {
    return undefined;
  }
}
