/** `varve check` as scripts run it: exit codes, JSON, and lines for people. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const PROGRAM = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const HISTORIES = fileURLToPath(new URL('../checker/histories/', import.meta.url));

function check(args: readonly string[], input?: string): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, 'check', ...args], {
    encoding: 'utf8',
    ...(input !== undefined && { input }),
  });
  return { code: status, stdout, stderr };
}

test('0 no anomaly, 1 anomalies, 2 it could not be read', () => {
  const lost = check([`${HISTORIES}lost-write.jsonl`]);
  expect(lost).toMatchObject({ code: 1, stderr: '' });
  expect(lost.stdout).toMatch(/LOST-WRITE × 1: .*\n {2}p: record "a" was acknowledged at offset 0.*\(lines 2, 4\)/);
  expect(lost.stdout).toContain('1 anomaly of 1 kind.');

  const permitted = check([`${HISTORIES}lost-write.near.jsonl`]);
  expect(permitted).toMatchObject({ code: 0, stderr: '' });
  expect(permitted.stdout).toContain('1 × lost-write: acks 1, and the leader was replaced (line 2)');
  expect(permitted.stdout).toContain('No anomaly was found.');

  for (const args of [[], [`${HISTORIES}nothing.jsonl`], [`${HISTORIES}expectations.json`], ['-', '--show', 'x']]) {
    const refused = check(args, '');
    expect(refused.code, args.join(' ')).toBe(2);
    expect(refused.stderr, args.join(' ')).toMatch(/^varve: [A-Z_]+: .+\n$/);
    expect(refused.stdout).toBe('');
  }
});

test('- reads standard input, --json is the verdict as one object', () => {
  const { code, stdout } = check(['-', '--json'], readFileSync(`${HISTORIES}poll-skip.jsonl`, 'utf8'));
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    clean: false,
    operations: 4,
    counts: { 'poll-skip': 1 },
    anomalies: [{ anomaly: 'poll-skip', partition: 'p', offset: 0, lines: [4, 5] }],
    permitted: [],
  });
});

test('--show says how many of each kind are shown', () => {
  const { stdout } = check(['--show', '0', `${HISTORIES}poll-skip.jsonl`]);
  expect(stdout).toContain('POLL-SKIP × 1');
  expect(stdout).toContain('… and 1 more');
});
