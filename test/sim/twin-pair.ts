/**
 * A native disk and a twin that are given the same calls, for the differential tests. After each call the native side's
 * threads are waited for, until both have the same files: whatever runs in the background has then had its turn, and what
 * comes next finds the same state on both sides.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Trace, TraceEvent } from '../../src/disk/trace.js';
import { VarveError } from '../../src/errors.js';

/** Only so that a test that waits for something that never comes has an end. */
const SETTLE_DEADLINE_MS = 20_000;

export type Outcome = { readonly value: unknown } | { readonly code: string };

/** The value of a call, or the code of its error. Errors that are none of ours fail the test. */
export async function outcome(run: () => unknown): Promise<Outcome> {
  try {
    return { value: await run() };
  } catch (error) {
    if (error instanceof VarveError) return { code: error.code };
    throw error;
  }
}

/** Content of a real directory in the form of `TwinFileSystem.files`. */
export function filesOf(root: string): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  visit(root, '', (path, isDirectory) => {
    found.set(isDirectory ? `${path}/` : path, isDirectory ? Buffer.alloc(0) : readFileSync(join(root, path)));
  });
  return found;
}

/** Sizes by path; −1 for directories. */
export function sizesOf(root: string): Map<string, number> {
  const found = new Map<string, number>();
  visit(root, '', (path, isDirectory) => {
    found.set(isDirectory ? `${path}/` : path, isDirectory ? -1 : statSync(join(root, path)).size);
  });
  return found;
}

function visit(root: string, prefix: string, see: (path: string, isDirectory: boolean) => void): void {
  const entries = readdirSync(join(root, prefix), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    see(path, entry.isDirectory());
    if (entry.isDirectory()) visit(root, path, see);
  }
}

/** The first difference in words; undefined when there is none. */
export function difference(
  native: ReadonlyMap<string, Buffer | number>,
  twin: ReadonlyMap<string, Buffer | number>,
  ignores: (path: string) => boolean = () => false,
): string | undefined {
  for (const path of new Set([...native.keys(), ...twin.keys()])) {
    if (ignores(path)) continue;
    const a = native.get(path);
    const b = twin.get(path);
    if (a === undefined || b === undefined)
      return `${path}: only the ${a === undefined ? 'twin' : 'native disk'} has it`;
    if (typeof a === 'number' || typeof b === 'number') {
      if (a !== b) return `${path}: ${a} bytes on the native disk, ${b} on the twin`;
    } else if (!a.equals(b)) {
      const at = a.findIndex((byte, i) => byte !== b[i]);
      const where = at < 0 ? Math.min(a.length, b.length) : at;
      return `${path}: lengths ${a.length} (native) and ${b.length} (twin), first difference at ${where}`;
    }
  }
  return undefined;
}

/** Waits until `differs` returns undefined: the native threads have done what the twin did at once. */
export async function settle(differs: () => string | undefined): Promise<void> {
  const deadline = performance.now() + SETTLE_DEADLINE_MS;
  for (;;) {
    // The twin's events are microtasks: after one turn of the event loop it is at rest.
    await new Promise((resolve) => setImmediate(resolve));
    const found = look(differs);
    if (found === undefined) return;
    if (performance.now() > deadline) throw new Error(`the native disk never came to where the twin is: ${found}`);
  }
}

/**
 * Whether the native journal is making a file. It does so in pieces, and gives the file up when something else fails or
 * the disk is closed meanwhile; the twin makes it at once, and its size tells nothing.
 */
export class JournalWatch {
  readonly #trace: Trace;
  #making: TraceEvent | undefined;

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  /** In words; undefined when none is being made. */
  making(): string | undefined {
    for (const event of this.#trace.take()) {
      if (isBegun(event)) this.#making = event;
      else if (this.#making !== undefined && isDone(event, this.#making)) this.#making = undefined;
    }
    return this.#making && `${this.#making.text || this.#making.path} is still being made`;
  }
}

function isBegun({ kind, path, text }: TraceEvent): boolean {
  if (kind === 'rename') return text.endsWith('.wal');
  return (kind === 'create' || kind === 'open') && path.endsWith('.wal');
}

/** Its directory has been synced, or it is gone. Without a new name the file alone may be synced. */
function isDone({ kind, path }: TraceEvent, begun: TraceEvent): boolean {
  const name = begun.text || begun.path;
  if (kind === 'unlink' || begun.kind === 'open') return path === name || path === dirname(name);
  return kind === 'sync-end' && path === dirname(name);
}

/** Files that are renamed between the listing and the look at them are looked at again. */
function look(differs: () => string | undefined): string | undefined {
  try {
    return differs();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'a file that was just there';
    throw error;
  }
}

/** A random sequence of calls on both sides. */
interface Sequence<Coverage> {
  run(): Promise<void>;
  dispose(): Promise<void>;
  /** What was called, one line a call. */
  readonly calls: readonly string[];
  readonly coverage: Coverage;
}

/** @returns what the sequence came through @throws Error with the calls that led to the difference */
export async function runSequence<Coverage>(seed: number, sequence: Sequence<Coverage>): Promise<Coverage> {
  try {
    await sequence.run();
    return sequence.coverage;
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}\n  ${sequence.calls.join('\n  ')}`, { cause: error });
  } finally {
    await sequence.dispose();
  }
}
