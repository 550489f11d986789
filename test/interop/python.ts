/** Runs the Python scripts of this folder; says why when it cannot. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Debian's own interpreter: the packages python3-kafka, -lz4, -snappy and -zstandard belong to it and to no other. */
const PYTHON = '/usr/bin/python3';

/** Undefined when Python can import the modules; else the reason, printed once. */
export function whyNoPython(modules: readonly string[]): string | undefined {
  const program = modules.map((name) => `import ${name}`).join('\n');
  const { status, error, stderr } = spawnSync(PYTHON, ['-c', program], { encoding: 'utf8' });
  if (status === 0) return undefined;
  const reason = error?.message ?? stderr.trim().split('\n').at(-1) ?? `exit status ${status}`;
  console.warn(`skipped: ${PYTHON} cannot import ${modules.join(', ')}: ${reason}`);
  return reason;
}

export function runPython(script: string, input: string): string {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const { status, error, stdout, stderr } = spawnSync(PYTHON, [path], {
    input,
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${script} ended with status ${status}:\n${stderr}`);
  return stdout;
}
