/**
 * A program with one bug planted on purpose, to show that the kill test finds it. The bug is in a copy of the compiled
 * package in a temporary folder: the program that ships has no switch for it.
 */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { VarveError } from '../../src/errors.js';
import { compiled, packageRoot } from '../package-root.js';

interface Mutant {
  readonly about: string;
  readonly file: string;
  readonly right: string;
  readonly wrong: string;
}

export const MUTANTS: Readonly<Record<string, Mutant>> = {
  'leader-alone': {
    about: 'the leader alone counts as a majority',
    file: 'src/raft/quorum.js',
    right: 'return cursors[majority(cursors.length) - 1] ?? 0;',
    wrong: 'return cursors[0] ?? 0;',
  },
};

/** Copies the package into `folder` with the bug in it; returns the copy's command-line program. */
export function plantMutant(name: string, folder: string): string {
  const mutant = Object.hasOwn(MUTANTS, name) ? MUTANTS[name] : undefined;
  if (mutant === undefined) {
    throw new VarveError(
      'INVALID_CONFIG',
      `--mutant: there is no "${name}"; there are ${Object.keys(MUTANTS).join(', ')}`,
    );
  }
  const root = packageRoot();
  mkdirSync(folder, { recursive: true });
  cpSync(dirname(dirname(dirname(compiled('src/cli/main.js')))), join(folder, 'dist'), { recursive: true });
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  for (const part of ['build', 'prebuilds']) symlinkSync(join(root, part), join(folder, part));
  symlinkSync(dependencies(), join(folder, 'node_modules'));
  const file = join(folder, 'dist', mutant.file);
  const code = readFileSync(file, 'utf8');
  if (code.split(mutant.right).length !== 2) {
    throw new VarveError(
      'INVARIANT_BROKEN',
      `the mutant "${name}" expects "${mutant.right}" once in ${mutant.file}: the code has changed, and bench/kill/mutant.ts must follow`,
    );
  }
  writeFileSync(file, code.replace(mutant.right, mutant.wrong));
  return join(folder, 'dist', 'src', 'cli', 'main.js');
}

/** The node_modules that this package's dependencies lie in: its own, or the one it was installed into. */
function dependencies(): string {
  const commander = createRequire(import.meta.url).resolve('commander');
  return commander.slice(0, commander.lastIndexOf('node_modules') + 'node_modules'.length);
}
