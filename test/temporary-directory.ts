/** Directories of a test's own. */
import { accessSync, constants, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, onTestFinished } from 'vitest';

const MEMORY = '/dev/shm';
/** A file system in memory with less than this is left alone. */
const NEEDED_BYTES = 512 * 1024 * 1024;

/** Removed when the test has ended. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'varve-test-'));
  onTestFinished(() => removeDirectory(directory));
  return directory;
}

/** Removed when the tests of the file, or of the `describe` around the call, have ended. */
export function sharedDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'varve-test-'));
  afterAll(() => removeDirectory(directory));
  return directory;
}

/** In memory where there is room: for tests to whose outcome a sync means nothing. The caller removes it. */
export function fastDirectory(): string {
  return mkdtempSync(join(hasRoomInMemory() ? MEMORY : tmpdir(), 'varve-test-'));
}

export function removeDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

function hasRoomInMemory(): boolean {
  try {
    accessSync(MEMORY, constants.W_OK);
    const { bavail, bsize } = statfsSync(MEMORY);
    return bavail * bsize >= NEEDED_BYTES;
  } catch {
    return false;
  }
}
