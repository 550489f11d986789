/** Where the package lies: the same answer from the TypeScript sources and from dist/. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VarveError } from '../src/errors.js';

/** Absolute path of the folder that holds Varve's package.json. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder)
      throw new VarveError('INVALID_CONFIG', 'no package.json above the benchmark: reinstall varve');
    folder = parent;
  }
  return folder;
}

/** Absolute path of a compiled program of this package, e.g. `compiled('src/cli/main.js')`. */
export function compiled(path: string): string {
  const file = join(packageRoot(), 'dist', path);
  if (!existsSync(file)) {
    throw new VarveError('INVALID_CONFIG', `${file} does not exist: compile the package first, with "npm run build"`);
  }
  return file;
}
