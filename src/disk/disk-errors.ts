/** Turns what the operating system says into the errors of Varve. */
import { type ErrorCode, VarveError } from '../errors.js';

interface SystemError extends Error {
  readonly code?: string;
  readonly syscall?: string;
}

/** Calls whose ENOSPC means that nothing happened. From a write or sync it is a failed write like any other. */
const HARMLESS_WHEN_FULL: ReadonlySet<string> = new Set(['open', 'mkdir', 'rename', 'fallocate']);

const FORBIDDEN: ReadonlySet<string> = new Set(['EACCES', 'EPERM']);

/** DISK_FULL or DISK_FAILED, with the path and the system call in its message. Errors that have a code of ours pass. */
export function diskError(error: unknown, path: string): VarveError {
  if (error instanceof VarveError) return error;
  const { code = 'unknown error', syscall = 'operation', message } = error as SystemError;
  const full = (code === 'ENOSPC' || code === 'EDQUOT') && HARMLESS_WHEN_FULL.has(syscall);
  const errorCode: ErrorCode = full ? 'DISK_FULL' : 'DISK_FAILED';
  return new VarveError(
    errorCode,
    `${syscall} of ${path} failed: ${reason(code, syscall, message)}${advice(code, full)}`,
    {
      cause: error,
    },
  );
}

/** Node.js says "ENOENT: no such file or directory, open '/there'": the call and the path are said already. */
function reason(code: string, syscall: string, message: string): string {
  if (!message.startsWith(`${code}: `)) return `${code}: ${message}`;
  const end = message.indexOf(`, ${syscall}`);
  return end < 0 ? message : message.slice(0, end);
}

function advice(code: string, full: boolean): string {
  if (full) return '; nothing was changed, free some space';
  return FORBIDDEN.has(code) ? '; the user that runs this must be allowed to read and write there' : '';
}

export function isMissing(error: unknown): boolean {
  return (error as SystemError).code === 'ENOENT';
}
