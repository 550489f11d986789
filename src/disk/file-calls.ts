/**
 * The calls of node:fs with which a real disk changes its directory: as they are, or traced (traced-files.ts).
 */
import { type FileHandle, mkdir, open, rename, unlink } from 'node:fs/promises';

/** The part of node:fs's FileHandle that is used. */
export interface OpenFile {
  stat(): Promise<{ readonly size: number }>;
  read(bytes: Buffer, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
  write(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesWritten: number }>;
  truncate(size: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Reads from `position` on, up to `length` bytes (default: all there are). What a file that became shorter no longer has
 * is left out.
 */
export async function readRange(
  file: Pick<OpenFile, 'stat' | 'read'>,
  position: number,
  length?: number,
): Promise<Buffer> {
  const available = Math.max(0, (await file.stat()).size - position);
  const bytes = Buffer.allocUnsafe(Math.min(length ?? available, available));
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

/** 'r': to read; 'r+': to read and write; 'w': made or emptied; 'wx': made, and refused if it exists. */
export type OpenFlags = 'r' | 'r+' | 'w' | 'wx';

export interface FileCalls {
  /** New files get mode 0600. */
  open(path: string, flags: OpenFlags): Promise<OpenFile>;
  mkdir(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Makes the entries of a directory durable. */
  syncDirectory(path: string): Promise<void>;
}

const FILE_MODE = 0o600;

export const fileCalls: FileCalls = {
  open: (path, flags): Promise<FileHandle> => open(path, flags, FILE_MODE),
  mkdir: (path) => mkdir(path),
  rename,
  unlink,
  async syncDirectory(path) {
    const directory = await open(path, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
};
