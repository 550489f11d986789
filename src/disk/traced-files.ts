/**
 * The calls of node:fs, traced: each asks the trace first whether it is to fail, and is recorded when it is done. Only the
 * store opened with a trace gets these.
 */
import { constants } from 'node:os';
import { addon, type NativeTraceHandle } from './addon.js';
import { type FileCalls, fileCalls, type OpenFile } from './file-calls.js';
import { errorName, type FailingKind, TRACE_KINDS, type TraceKind } from './trace.js';

const SHORT_WRITE = -1;

/** As diskError reads them. */
const SYSCALLS: Readonly<Record<FailingKind, string>> = {
  create: 'open',
  open: 'open',
  write: 'write',
  allocate: 'fallocate',
  truncate: 'ftruncate',
  rename: 'rename',
  unlink: 'unlink',
  mkdir: 'mkdir',
  'sync-begin': 'fsync',
  'write-back': 'sync_file_range',
};

interface Details {
  readonly text?: string;
  readonly directory?: boolean;
  readonly sync?: number;
  readonly error?: number;
  readonly position?: number;
  readonly length?: number;
  readonly bytes?: Uint8Array;
}

export function tracedFileCalls(handle: NativeTraceHandle): FileCalls {
  const recorder = new Recorder(handle);
  return {
    async open(path, flags) {
      if (flags === 'r') return fileCalls.open(path, flags);
      recorder.refuse(flags === 'r+' ? 'open' : 'create', path);
      const existed = flags === 'w' && (await exists(path));
      const file = await fileCalls.open(path, flags);
      if (existed) recorder.record('truncate', path, { position: 0 });
      else if (flags !== 'r+') recorder.record('create', path);
      return new TracedFile(file, path, recorder);
    },
    async mkdir(path) {
      recorder.refuse('mkdir', path);
      await fileCalls.mkdir(path);
      recorder.record('mkdir', path);
    },
    async rename(from, to) {
      recorder.refuse('rename', from);
      await fileCalls.rename(from, to);
      recorder.record('rename', from, { text: to });
    },
    async unlink(path) {
      recorder.refuse('unlink', path);
      await fileCalls.unlink(path);
      recorder.record('unlink', path);
    },
    syncDirectory: (path) => recorder.sync(path, true, () => fileCalls.syncDirectory(path)),
  };
}

async function exists(path: string): Promise<boolean> {
  try {
    await (await fileCalls.open(path, 'r')).close();
    return true;
  } catch {
    return false;
  }
}

class Recorder {
  readonly #handle: NativeTraceHandle;
  readonly #native = addon();

  constructor(handle: NativeTraceHandle) {
    this.#handle = handle;
  }

  /** 0, an errno, or SHORT_WRITE. An interrupted call is made again, as libuv does it. */
  ask(kind: FailingKind, path: string): number {
    for (;;) {
      const error = this.#native.traceAsk(this.#handle, TRACE_KINDS.indexOf(kind), path);
      if (error !== constants.errno.EINTR) return error;
    }
  }

  refuse(kind: FailingKind, path: string): void {
    const error = this.ask(kind, path);
    if (error > 0) throw systemError(error, SYSCALLS[kind], path);
  }

  record(kind: TraceKind, path: string, details: Details = {}): number {
    const { text = '', directory = false, sync = 0, error = 0, position = 0, length = 0, bytes } = details;
    const number = TRACE_KINDS.indexOf(kind);
    return this.#native.traceRecord(
      this.#handle,
      number,
      path,
      text,
      directory ? 1 : 0,
      sync,
      error,
      position,
      length,
      bytes,
    );
  }

  async sync(path: string, directory: boolean, call: () => Promise<void>): Promise<void> {
    const sync = this.record('sync-begin', path, { directory });
    const end = (error: number): unknown => this.record('sync-end', path, { directory, sync, error });
    const error = this.ask('sync-begin', path);
    if (error > 0) {
      end(error);
      throw systemError(error, SYSCALLS['sync-begin'], path);
    }
    try {
      await call();
    } catch (failure) {
      end(-((failure as NodeJS.ErrnoException).errno ?? -constants.errno.EIO));
      throw failure;
    }
    end(0);
  }
}

class TracedFile implements OpenFile {
  readonly #file: OpenFile;
  readonly #path: string;
  readonly #recorder: Recorder;

  constructor(file: OpenFile, path: string, recorder: Recorder) {
    this.#file = file;
    this.#path = path;
    this.#recorder = recorder;
  }

  stat(): Promise<{ readonly size: number }> {
    return this.#file.stat();
  }

  read(bytes: Buffer, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }> {
    return this.#file.read(bytes, offset, length, position);
  }

  async write(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesWritten: number }> {
    const error = this.#recorder.ask('write', this.#path);
    if (error > 0) throw systemError(error, SYSCALLS.write, this.#path);
    const allowed = error === SHORT_WRITE ? Math.max(1, length >>> 1) : length;
    const { bytesWritten } = await this.#file.write(bytes, offset, allowed, position);
    const written = bytes.subarray(offset, offset + bytesWritten);
    this.#recorder.record('write', this.#path, { position, length: bytesWritten, bytes: written });
    return { bytesWritten };
  }

  async truncate(size: number): Promise<void> {
    this.#recorder.refuse('truncate', this.#path);
    await this.#file.truncate(size);
    this.#recorder.record('truncate', this.#path, { position: size });
  }

  sync(): Promise<void> {
    return this.#recorder.sync(this.#path, false, () => this.#file.sync());
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

function systemError(error: number, syscall: string, path: string): NodeJS.ErrnoException {
  const code = errorName(error);
  return Object.assign(new Error(`${code}: made to fail, ${syscall} '${path}'`), {
    code,
    syscall,
    path,
    errno: -error,
  });
}
