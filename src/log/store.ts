/**
 * The door to a data directory on a real disk: `openStore` and `formatStore`.
 */
import { mkdir, open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { bootId, openDisk } from '../disk/native-disk.js';
import { VarveError } from '../errors.js';
import type { StoreOptions } from './options.js';
import { Store } from './partition-store.js';

export { type OpenLogOptions, Store, type StoreGround, type StoreStats } from './partition-store.js';

/**
 * Opens a data directory, recovering it if it was not closed cleanly.
 * @throws VarveError DIRECTORY_MISSING, DIRECTORY_MISMATCH, DIRECTORY_LOCKED, CORRUPT_CHECKPOINT, CORRUPT_JOURNAL,
 *   CORRUPT_LOG, DISK_FULL, DISK_FAILED, INVALID_ARGUMENT, UNSUPPORTED_PLATFORM
 */
export async function openStore(path: string, options: Partial<StoreOptions> = {}): Promise<Store> {
  const root = resolve(path);
  if (options.create) await makeRoot(root);
  const disk = await openDisk(root);
  return Store.open({ disk, path: root, bootId: knownBootId() }, options);
}

/** Makes and formats an empty data directory for one node of a cluster; one that is formatted for it already is left as it is. */
export async function formatStore(
  path: string,
  owner: { readonly clusterId: string; readonly nodeId: number },
): Promise<void> {
  const store = await openStore(path, { ...owner, create: true });
  await store.close();
}

/** Makes the directory and its missing parents, each durable in its parent. */
async function makeRoot(root: string): Promise<void> {
  try {
    const first = await mkdir(root, { recursive: true });
    if (first === undefined) return;
    for (let made = root; ; made = dirname(made)) {
      const parent = await open(dirname(made), 'r');
      try {
        await parent.sync();
      } finally {
        await parent.close();
      }
      if (made === first) return;
    }
  } catch (error) {
    throw new VarveError(
      'DIRECTORY_MISSING',
      `the data directory ${root} cannot be made: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
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
