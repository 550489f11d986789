/**
 * How long this disk takes, right now, to make 4 KiB durable in blocks that were written before. Measured beside every
 * round, because disks have fast and slow spells that no engine can do anything about, and before the first, because a
 * sync that costs nothing promises nothing.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync, statfsSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { quantile } from './statistics.js';

const BLOCK_BYTES = 4096;
const BLOCKS = 256;
const SYNCS = 31;

export interface YardstickReading {
  readonly medianMs: number;
  readonly p90Ms: number;
  readonly maxMs: number;
}

export class Yardstick {
  readonly #path: string;
  readonly #fd: number;
  readonly #block = Buffer.alloc(BLOCK_BYTES);
  #next = 0;

  constructor(folder: string) {
    this.#path = join(folder, 'yardstick');
    this.#fd = openSync(this.#path, 'wx');
    writeSync(this.#fd, Buffer.alloc(BLOCK_BYTES * BLOCKS));
    fsyncSync(this.#fd);
  }

  /** Blocks the event loop: some milliseconds on a good disk. */
  read(): YardstickReading {
    const times: number[] = [];
    for (let i = 0; i < SYNCS; i += 1) {
      this.#block.writeUInt32LE(i);
      const start = performance.now();
      writeSync(this.#fd, this.#block, 0, BLOCK_BYTES, this.#next * BLOCK_BYTES);
      fdatasyncSync(this.#fd);
      times.push(performance.now() - start);
      this.#next = (this.#next + 1) % BLOCKS;
    }
    times.sort((a, b) => a - b);
    return { medianMs: quantile(times, 0.5), p90Ms: quantile(times, 0.9), maxMs: times.at(-1) as number };
  }

  close(): void {
    closeSync(this.#fd);
    unlinkSync(this.#path);
  }
}

const FILE_SYSTEMS = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
  [0x794c7630, 'overlayfs'],
  [0x6969, 'nfs'],
]);

/** Name of the file system that holds `folder`, or its magic number in hex. */
export function fileSystemOf(folder: string): string {
  const type = Number(statfsSync(folder).type);
  return FILE_SYSTEMS.get(type) ?? `0x${type.toString(16)}`;
}

/** No disk with a promise syncs faster than this: a good NVMe drive with a capacitor takes about 0.02 ms. */
const FAKE_SYNC_MS = 0.008;

/** Why nothing durable can be claimed here; empty when there is no reason. */
export function durabilityDoubts(fileSystem: string, reading: YardstickReading): string[] {
  const doubts: string[] = [];
  if (fileSystem === 'tmpfs' || fileSystem === 'ramfs') {
    doubts.push(
      `the data lies on ${fileSystem}, which is memory: nothing here survives a power cut. Use --dir on a disk`,
    );
  }
  if (reading.medianMs < FAKE_SYNC_MS) {
    doubts.push(
      `a sync takes ${(reading.medianMs * 1000).toFixed(1)} µs, which no disk does: it is not reaching one (a write cache without power protection, a virtual disk that ignores flushes)`,
    );
  }
  return doubts;
}
