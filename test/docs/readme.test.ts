// The README's TypeScript examples compile against the published types and run against the built package.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

let project: string;
beforeEach(async () => {
  project = await mkdtemp(join(tmpdir(), 'varve-readme-'));
  await mkdir(join(project, 'node_modules', '@types'), { recursive: true });
  await symlink(root, join(project, 'node_modules', 'varve'));
  await symlink(join(root, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'));
  await writeFile(join(project, 'package.json'), '{"type":"module"}');
  await writeFile(
    join(project, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { target: 'ES2023', module: 'NodeNext', strict: true, types: ['node'] } }),
  );
});
afterEach(() => rm(project, { recursive: true, force: true }));

test('the embedded example of the README is at most 15 lines, compiles and prints what it says', async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1];
  expect(example, 'README.md has a ```ts block').toBeDefined();
  expect(example!.trim().split('\n').length).toBeLessThanOrEqual(15);
  await writeFile(join(project, 'example.ts'), example!);
  await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project], { cwd: project });
  const { stdout } = await run(process.execPath, ['example.js'], { cwd: project });
  const promised = [...example!.matchAll(/\/\/ prints: (.*)$/gm)].map((match) => match[1]);
  expect(promised.length).toBeGreaterThan(0);
  expect(stdout.trim().split('\n')).toEqual(promised);
});
