/** How messages show what a caller gave: text in quotes, so that '50' is told from 50, on one line, and never long. */
import { inspect } from 'node:util';

export function shown(value: unknown): string {
  return inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 80, maxArrayLength: 3 });
}
