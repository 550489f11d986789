/** What a caller, perhaps one without types, gives a read: every refusal says what was given and what is allowed. */
import { VarveError } from '../errors.js';
import { checkOptionNames } from '../option-names.js';
import { shown } from '../shown.js';
import type { ReadOptions } from './log.js';

const NAMES: readonly (keyof ReadOptions)[] = ['maxBytes', 'minBytes', 'maxWaitMs', 'isolation'];

/** A number at all: where the log ends is another matter. @throws VarveError INVALID_ARGUMENT */
export function checkOffset(offset: unknown, name: string): void {
  if (typeof offset === 'number') return;
  throw new VarveError('INVALID_ARGUMENT', `${name}: offset ${shown(offset)}: give a number, not ${typeof offset}`);
}

/** @throws VarveError INVALID_ARGUMENT */
export function checkReadOptions(options: ReadOptions): void {
  checkOptionNames(options, NAMES);
  const { maxBytes, minBytes, maxWaitMs, isolation } = options;
  checkCount('maxBytes', maxBytes, 1);
  checkCount('minBytes', minBytes, 0);
  if (maxWaitMs !== undefined && !(typeof maxWaitMs === 'number' && maxWaitMs >= 0)) {
    throw new VarveError(
      'INVALID_ARGUMENT',
      `maxWaitMs ${shown(maxWaitMs)}: give a number from 0; Infinity waits for ever`,
    );
  }
  if (isolation === undefined || isolation === 'read_uncommitted' || isolation === 'read_committed') return;
  throw new VarveError(
    'INVALID_ARGUMENT',
    `isolation ${shown(isolation)}: give 'read_uncommitted' or 'read_committed'`,
  );
}

/** @throws VarveError INVALID_ARGUMENT */
export function checkTimestamp(timestamp: unknown, name: string): void {
  if (Number.isFinite(timestamp)) return;
  throw new VarveError(
    'INVALID_ARGUMENT',
    `${name}: timestamp ${shown(timestamp)}: give milliseconds since the epoch, a finite number`,
  );
}

function checkCount(option: string, value: unknown, min: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= min)) return;
  throw new VarveError('INVALID_ARGUMENT', `${option} ${shown(value)}: give a whole number of bytes from ${min}`);
}
