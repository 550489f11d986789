/** Directories of a test's own, removed after it, and images of what a crash leaves. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { CHECKPOINT_FILE, decodeCheckpoint } from '../../src/journal/checkpoint.js';
import { parseLogFileName, parsePartitionDirectory, sameSegment } from '../../src/segment/file-names.js';

const PAGE_BYTES = 4096;

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'varve-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/**
 * What kill -9 would leave at this moment: the files as every process sees them (the page cache), copied while the store
 * is open. The copy is synchronous, so only the store's threads can come in between: the journal's spare files may get
 * new names, and then the copy is made again.
 */
export function crashImage(directory: string): string {
  const copy = `${temporaryDirectory()}/image`;
  for (;;) {
    const before = readdirSync(join(directory, 'journal')).join();
    try {
      cpSync(directory, copy, { recursive: true, filter: (source) => !source.endsWith('/LOCK') });
      if (readdirSync(join(directory, 'journal')).join() === before) return copy;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    rmSync(copy, { recursive: true, force: true });
  }
}

/**
 * What a power cut may leave: as `crashImage`, but of all segment bytes that no checkpoint covers only the pages survive
 * for which `survives` says so; files that no checkpoint names may be gone. Journal and checkpoint are synced files.
 */
export function powerCutImage(directory: string, survives: () => boolean): string {
  const copy = crashImage(directory);
  const file = join(copy, CHECKPOINT_FILE);
  const checkpoint = decodeCheckpoint(readFileSync(file), file);
  for (const name of readdirSync(copy)) {
    const partition = parsePartitionDirectory(name);
    if (partition === undefined) continue;
    const state = checkpoint.logs.find(
      (log) => log.topicId === partition.topicId && log.partition === partition.partition,
    );
    for (const entry of readdirSync(join(copy, name))) {
      const segment = parseLogFileName(entry);
      if (segment === undefined) continue;
      const row = state?.segments.find((known) => sameSegment(known, segment));
      losePages(join(copy, name, entry), row?.length ?? 0, survives);
      if (row === undefined && !survives()) rmSync(join(copy, name, entry));
    }
  }
  return copy;
}

function losePages(file: string, from: number, survives: () => boolean): void {
  const bytes = readFileSync(file);
  // The page in which the synced bytes end keeps them whatever happens to the rest of it.
  for (let at = from; at < bytes.length; at = (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES) {
    if (!survives()) bytes.fill(0, at, Math.min(bytes.length, (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES));
  }
  writeFileSync(file, bytes);
}
