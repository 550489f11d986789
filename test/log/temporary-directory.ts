/** A directory of a test's own, removed after the test. Crash images are copies beside it. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'varve-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/**
 * What kill -9 would leave at this moment: the files as every process sees them (the page cache), copied while the store
 * is open. Nothing of the store runs while a synchronous copy is made, but for its threads.
 */
export function crashImage(directory: string): string {
  const copy = `${temporaryDirectory()}/image`;
  cpSync(directory, copy, { recursive: true, filter: (source) => !source.endsWith('/LOCK') });
  return copy;
}
