// The TypeScript examples of the README and of docs/EMBEDDING.md compile against the published types and run against the built package.
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
  await expectToPrintWhatItSays(example!);
});

test('the blocks of docs/EMBEDDING.md, one behind the other, are a program that prints what it says', async () => {
  const page = await readFile(join(root, 'docs/EMBEDDING.md'), 'utf8');
  const blocks = [...page.matchAll(/```(\w*)\n([\s\S]*?)```/g)];
  expect(blocks.map(([, language]) => language)).toEqual(blocks.map(() => 'ts'));
  await expectToPrintWhatItSays(blocks.map(([, , code]) => code).join('\n'));
});

async function expectToPrintWhatItSays(program: string): Promise<void> {
  await writeFile(join(project, 'example.ts'), program);
  await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project], { cwd: project });
  const { stdout } = await run(process.execPath, ['example.js'], { cwd: project });
  const promised = [...program.matchAll(/\/\/ prints: (.*)$/gm)].map((match) => match[1]);
  expect(promised.length).toBeGreaterThan(0);
  expect(stdout.trim().split('\n')).toEqual(promised);
}
