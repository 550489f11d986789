/**
 * How the command ends: 0 done, 1 it could not be done, 2 it was asked the wrong way (flags, configuration file). An error
 * is one line on standard error, `varve: CODE: message`.
 */
import { CommanderError } from 'commander';
import { VarveError } from '../errors.js';

/** An error with the exit code it should have, where the kind of error does not decide. */
export class ExitError extends Error {
  readonly exitCode: number;

  constructor(cause: Error, exitCode: number) {
    super(cause.message, { cause });
    this.exitCode = exitCode;
  }
}

const ASKED_WRONG = ['INVALID_CONFIG', 'INVALID_TOPIC', 'INVALID_ARGUMENT'];

export function exitCodeOf(error: unknown): number {
  if (error instanceof ExitError) return error.exitCode;
  // Commander's own "errors" include --help and --version, which are none.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return error instanceof VarveError && ASKED_WRONG.includes(error.code) ? 2 : 1;
}

export function lineOf(error: unknown): string {
  if (error instanceof ExitError) return lineOf(error.cause);
  if (error instanceof VarveError) return `varve: ${error.code}: ${oneLine(error.message)}`;
  // Not one of ours: a mistake in this program, for which the stack is the useful part.
  return `varve: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}

export function oneLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, ' ');
}
