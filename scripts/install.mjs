// Gives this checkout or package its native addon: a shipped prebuild if there is one that loads, else a build with
// cmake-js, else (without cmake) with the node-gyp that npm brings. Downloads nothing. Run by `npm install`; with --force
// it builds even if an addon is already there.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const force = process.argv.includes('--force');
const built = join(root, 'build', 'Release', 'varve.node');
const platform = `${process.platform}-${process.arch}`;
const supported = ['linux-x64', 'linux-arm64'];

/** True when the file loads in a process of its own: a broken build must fail here, not in the first program that uses it. */
function loads(file) {
  const check = `const a = require(${JSON.stringify(file)}); process.exit(typeof a.crc32c === 'function' ? 0 : 1)`;
  return spawnSync(process.execPath, ['-e', check], { stdio: force ? 'inherit' : 'ignore' }).status === 0;
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) console.error(`varve: cannot run ${command}: ${error.message}`);
  return status === 0;
}

function isOnPath(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

function buildWithCmake() {
  const require = createRequire(join(root, 'package.json'));
  const manifest = require.resolve('cmake-js/package.json');
  // `build`, not `compile`: the latter answers a failed build by deleting the whole build folder.
  return run(process.execPath, [
    join(dirname(manifest), require(manifest).bin['cmake-js']),
    'build',
    '--log-level',
    'warn',
  ]);
}

/** A folder with include/node, so that node-gyp need not download headers; undefined if there is none. */
function headersFolder() {
  const candidates = [process.env['npm_config_nodedir'], dirname(dirname(realpathSync(process.execPath))), '/usr'];
  return candidates.find((folder) => folder && existsSync(join(folder, 'include', 'node', 'node_api.h')));
}

function nodeGyp() {
  const cli = process.env['npm_execpath'] ?? join(dirname(process.execPath), '../lib/node_modules/npm/bin/npm-cli.js');
  if (!existsSync(cli)) return undefined;
  const script = join(dirname(realpathSync(cli)), '../node_modules/node-gyp/bin/node-gyp.js');
  return existsSync(script) ? script : undefined;
}

function buildWithNodeGyp() {
  const headers = headersFolder();
  const script = nodeGyp();
  if (!headers || !script) {
    console.error(
      'varve: no cmake on PATH, and node-gyp cannot be used either (npm or the headers of Node are missing).',
    );
    return false;
  }
  return run(process.execPath, [script, 'rebuild', `--nodedir=${headers}`]);
}

function main() {
  if (!supported.includes(platform)) {
    console.log(
      `varve: no native store for ${platform} (there is one for ${supported.join(' and ')}); importing it will say so.`,
    );
    return 0;
  }
  if (!force) {
    if (existsSync(built) && loads(built)) return 0;
    const folder = join(root, 'prebuilds', platform);
    const prebuilds = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.node')) : [];
    if (prebuilds.some((name) => loads(join(folder, name)))) return 0;
  }
  const ok = isOnPath('cmake') ? buildWithCmake() : buildWithNodeGyp();
  if (!ok || !loads(built)) {
    console.error(
      'varve: the native addon could not be built. It needs a C++20 compiler (gcc 11 or clang 14, or newer), make, and ' +
        'cmake 3.19 or newer (or Python 3, for node-gyp). Debian: apt-get install g++ make cmake. Then run: npm run build:native',
    );
    return 1;
  }
  return 0;
}

process.exitCode = main();
