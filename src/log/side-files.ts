/**
 * Small files in the data directory that belong to the layer above the store, such as founding.json. Replaced as a whole,
 * durably; what is in them is their owner's business.
 */
import type { Disk } from '../disk/disk.js';
import { VarveError } from '../errors.js';
import { META_FILE } from './data-directory.js';
import type { DiskReserve } from './disk-reserve.js';
import type { Turns } from './turns.js';

export class SideFiles {
  readonly #disk: Disk;
  readonly #turns: Turns;
  readonly #reserve: DiskReserve;

  constructor(disk: Disk, turns: Turns, reserve: DiskReserve) {
    this.#disk = disk;
    this.#turns = turns;
    this.#reserve = reserve;
  }

  /** Undefined if there is none. */
  async read(name: string): Promise<Buffer | undefined> {
    return this.#disk.readFile(checkName(name));
  }

  /** Resolves when it is durable. @throws VarveError DISK_FULL, DISK_FAILED */
  async replace(name: string, bytes: Uint8Array): Promise<void> {
    const file = checkName(name);
    await this.#turns.run(() => this.#reserve.lend(() => this.#disk.replaceFile(file, bytes)));
  }
}

function checkName(name: string): string {
  if (!/^[a-z]+\.json$/.test(name) || name === META_FILE) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `side file "${name}": use lower-case letters and .json, and no name that is taken`,
    );
  }
  return name;
}
