/**
 * Refuses options that nobody would read: `asyncMaxMS` given for `asyncMaxMs` is a mistake that types catch, but only for
 * callers who have them.
 */
import { VarveError } from './errors.js';
import { didYouMean } from './suggestion.js';

/** @throws VarveError INVALID_ARGUMENT unless `options` is an object with no names but the known ones */
export function checkOptionNames(options: unknown, known: readonly string[]): asserts options is object {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new VarveError('INVALID_ARGUMENT', `options: give an object, with any of ${known.join(', ')}`);
  }
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new VarveError('INVALID_ARGUMENT', `there is no option "${unknown}"${didYouMean(unknown, known)}`);
  }
}
