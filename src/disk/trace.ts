/**
 * A testing tool: the recorder and fault hook of one opening of a store.
 *
 *   const trace = new Trace();
 *   const store = await openStore(path, { trace });
 *   …                                        // use the store; trace.note('acknowledged 17') marks a place
 *   const events = trace.take();             // every write, store, sync, rename … so far, in order
 *   trace.fail({ error: 'EIO', call: 3 });   // the third call from now on fails
 *
 * Order. An event stands where its effect was complete, and `sync-begin` before the system call: a write that stands before
 * the begin of a sync is covered by it. Nothing is recorded of reads, nor of the LOCK file.
 *
 * A traced store is slower and keeps all that it writes in memory until `take`. It is never on unless asked for in code.
 */
import { getSystemErrorName } from 'node:util';
import { constants } from 'node:os';
import { VarveError } from '../errors.js';
import { addon, type NativeTraceHandle } from './addon.js';

/** In the order of the native enumeration. */
export const TRACE_KINDS = [
  'create',
  'open',
  'write',
  'store',
  'allocate',
  'truncate',
  'rename',
  'unlink',
  'mkdir',
  'sync-begin',
  'sync-end',
  'write-back',
  'fault',
  'latch',
  'note',
] as const;

export type TraceKind = (typeof TRACE_KINDS)[number];

export interface TraceEvent {
  readonly kind: TraceKind;
  /** Relative to the data directory, '' being that. What the file was called at the time. */
  readonly path: string;
  /** A number that stays with the file through renames; 0: a directory, or no file. */
  readonly file: number;
  /** The sync is one of a directory: of its entries. */
  readonly directory: boolean;
  /** Begin and end of a sync have the same number; 0 in other events. */
  readonly sync: number;
  /** Of the end of a sync that failed, and of a fault: 'EIO', …, or 'short write'. */
  readonly error: string | undefined;
  /** First byte of a write, store, allocation or write-back. Truncation: the new size. */
  readonly position: number;
  readonly length: number;
  /** What was written or stored; undefined when all of it is zero. */
  readonly bytes: Buffer | undefined;
  /** Rename: the new path. Fault: the kind of call that failed. Latch: why nothing is accepted any more. Note: its text. */
  readonly text: string;
}

/** Kinds of calls that can be made to fail. 'sync-begin' stands for the sync; 'open' is for writing. */
const FAILING_KINDS = [
  'create',
  'open',
  'write',
  'allocate',
  'truncate',
  'rename',
  'unlink',
  'mkdir',
  'sync-begin',
  'write-back',
] as const satisfies readonly TraceKind[];

export type FailingKind = (typeof FAILING_KINDS)[number];

const TRACE_ERRORS = ['EIO', 'ENOSPC', 'EDQUOT', 'EINTR', 'short write'] as const;

export interface TraceFault {
  /** 'short write' concerns writes only: half of the bytes are written, and the call says so. */
  readonly error: (typeof TRACE_ERRORS)[number];
  /** Which one of the calls from now on fails, counted from 1. */
  readonly call: number;
  /**
   * That one and all that follow; default false. With EINTR every other one: a call that was interrupted is made again,
   * and would be for ever.
   */
  readonly repeat?: boolean;
  /** Only calls of these kinds count and fail. Default: all; for 'short write': writes. */
  readonly kinds?: readonly FailingKind[];
  /** Only calls on paths that contain this. */
  readonly path?: string;
}

const SHORT_WRITE = -1;

export class Trace {
  /** For src/disk. */
  readonly handle: NativeTraceHandle;
  readonly #native = addon();

  constructor() {
    this.handle = this.#native.makeTrace();
  }

  /** Puts a text of the caller's into the order of events. */
  note(text: string): void {
    this.#native.traceNote(this.handle, text);
  }

  /** The events since the last time. */
  take(): TraceEvent[] {
    return this.#native.traceTake(this.handle).map(({ kind, path, text, directory, file, sync, error, ...event }) => ({
      kind: TRACE_KINDS[kind]!,
      path,
      file,
      directory: directory === 1,
      sync,
      error: error === 0 ? undefined : errorName(error),
      position: event.position,
      length: event.length,
      bytes: event.bytes,
      text,
    }));
  }

  /** Makes calls fail from now on; replaces the fault before, if there was one. @throws VarveError INVALID_ARGUMENT */
  fail(fault: TraceFault): void {
    const { error, call, repeat = false, path = '' } = fault;
    const kinds = fault.kinds ?? (error === 'short write' ? ['write'] : FAILING_KINDS);
    if (!TRACE_ERRORS.includes(error)) throw refused('error', error, `one of ${TRACE_ERRORS.join(', ')}`);
    if (!Number.isInteger(call) || call < 1) throw refused('call', call, 'a whole number from 1');
    const unknown = kinds.find((kind) => !FAILING_KINDS.includes(kind));
    if (unknown !== undefined) throw refused('kinds', unknown, `some of ${FAILING_KINDS.join(', ')}`);
    if (error === 'short write' && kinds.some((kind) => kind !== 'write')) {
      throw refused('kinds', kinds.join(), "'write' alone for a short write");
    }
    const bits = kinds.reduce((sum, kind) => sum | (1 << TRACE_KINDS.indexOf(kind)), 0);
    const number = error === 'short write' ? SHORT_WRITE : constants.errno[error];
    this.#native.traceSetFault(this.handle, number, call, repeat ? 1 : 0, bits, path);
  }

  /** No call fails any more. */
  heal(): void {
    this.#native.traceSetFault(this.handle, 0, 0, 0, 0, '');
  }

  /** Calls so far that could have been made to fail. */
  get calls(): number {
    return this.#native.traceCounts(this.handle)[0];
  }

  /** Calls so far that were made to fail. */
  get injected(): number {
    return this.#native.traceCounts(this.handle)[1];
  }
}

/** @throws VarveError INVALID_ARGUMENT unless it is a trace, or undefined */
export function checkTrace(trace: unknown): void {
  if (trace !== undefined && !(trace instanceof Trace)) throw refused('trace', String(trace), 'a new Trace()');
}

export function errorName(error: number): string {
  return error === SHORT_WRITE ? 'short write' : getSystemErrorName(-error);
}

function refused(name: string, given: unknown, allowed: string): VarveError {
  return new VarveError('INVALID_ARGUMENT', `trace: ${name} ${String(given)}: give ${allowed}`);
}
