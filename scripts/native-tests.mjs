// Builds and runs the native unit tests: plain, under AddressSanitizer + UndefinedBehaviorSanitizer, under ThreadSanitizer;
// and the scenes of test/disk/native-child.mjs in a node with the addon under AddressSanitizer. Prints the seconds of each. Installs nothing: without cmake or doctest it says how to get them and exits with 3
// (skipped), or with --require with 1. Names of variants as arguments run only those.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

const variants = [
  { name: 'plain', sanitize: '' },
  { name: 'asan', sanitize: 'address,undefined' },
  // The address space is not randomized for ThreadSanitizer: its shadow memory needs fixed places.
  { name: 'tsan', sanitize: 'thread', wrapper: ['setarch', '-R'] },
];

function succeeds(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

function run(command, args, options = {}) {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', ...options });
  if (status === 0) return true;
  console.error(`${command} ${args.join(' ')}: ${error?.message ?? signal ?? `exit ${status}`}`);
  console.error(`${stdout ?? ''}${stderr ?? ''}`);
  return false;
}

function missing() {
  if (process.platform !== 'linux') return 'the native store runs on Linux only';
  if (!succeeds('cmake', ['--version'])) return 'cmake is not on PATH (Debian: apt-get install cmake g++ make)';
  const header = ['/usr/include', '/usr/local/include'].some((dir) => existsSync(join(dir, 'doctest/doctest.h')));
  return header ? undefined : 'doctest is not installed (Debian: apt-get install doctest-dev)';
}

function test({ name, sanitize, wrapper = [] }) {
  const start = performance.now();
  const folder = join(root, 'build', `test-${name}`);
  const configure = ['-S', root, '-B', folder, '-DCMAKE_BUILD_TYPE=Release', '-DVARVE_TESTS=ON'];
  const ok =
    run('cmake', [...configure, `-DVARVE_SANITIZE=${sanitize}`]) &&
    run('cmake', ['--build', folder, '--parallel', '2']) &&
    run([...wrapper, join(folder, 'varve_tests')][0], [...wrapper, join(folder, 'varve_tests')].slice(1), {
      env: { ...process.env, TSAN_OPTIONS: 'halt_on_error=1', UBSAN_OPTIONS: 'print_stacktrace=1' },
    });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`native tests, ${name}: ${ok ? 'passed' : 'FAILED'}, ${seconds} s`);
  return ok;
}

/** The scenes that end by themselves, each in a process and a directory of its own. */
const scenes = [
  'view-outlives-close',
  'forgotten-segment',
  'sigbus',
  'structured-clone',
  'no-close',
  'no-close-idle',
  'exit-under-load',
  'workers',
];

function play(scene, addon, preload) {
  const directory = mkdtempSync(join(tmpdir(), 'varve-scene-'));
  const script = join(root, 'test', 'disk', 'native-child.mjs');
  const env = { ...process.env, LD_PRELOAD: preload, ASAN_OPTIONS: 'detect_leaks=0', VARVE_TEST_ADDON: addon };
  const ok = run(process.execPath, ['--expose-gc', script, scene, directory], { env });
  rmSync(directory, { recursive: true });
  return ok;
}

function testInNode() {
  const start = performance.now();
  const folder = join(root, 'build', 'test-node-asan');
  const { stdout } = spawnSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  const ok =
    run('cmake', ['-S', root, '-B', folder, '-DCMAKE_BUILD_TYPE=Release', '-DVARVE_SANITIZE=address,undefined']) &&
    run('cmake', ['--build', folder, '--parallel', '2']) &&
    scenes.every((scene) => play(scene, join(folder, 'varve.node'), stdout.trim()));
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`native tests, asan in node: ${ok ? 'passed' : 'FAILED'}, ${seconds} s`);
  return ok;
}

const reason = missing();
if (reason) {
  console.error(`native tests skipped: ${reason}`);
  process.exitCode = process.argv.includes('--require') ? 1 : 3;
} else {
  const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
  const chosen = (name) => names.length === 0 || names.includes(name);
  const results = variants.filter(({ name }) => chosen(name)).map(test);
  if (chosen('node')) results.push(testInNode());
  process.exitCode = results.every(Boolean) ? 0 : 1;
}
