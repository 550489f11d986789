/** The version of this package, from its package.json: the nearest one above this file, wherever it was compiled to. */
import { existsSync, readFileSync } from 'node:fs';

export const VERSION: string = readVersion();

function readVersion(): string {
  let directory = new URL('.', import.meta.url);
  for (;;) {
    const file = new URL('package.json', directory);
    if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
    const parent = new URL('..', directory);
    if (parent.href === directory.href) return 'unknown';
    directory = parent;
  }
}
