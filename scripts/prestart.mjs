// Runs before `npm start`; needs only Node and npm. Installs (which builds the addon) when that has not been done, then compiles.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);

function npm(...args) {
  const cli = process.env['npm_execpath'];
  const [command, argv] = cli ? [process.execPath, [cli, ...args]] : ['npm', args];
  const { status, error } = spawnSync(command, argv, { stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) {
    console.error(
      `varve: "npm ${args.join(' ')}" failed. The lines above say why; after mending it, run "npm start" again.`,
    );
    process.exit(status ?? 1);
  }
}

const installed = 'node_modules/.package-lock.json';
const stale = !existsSync(installed) || statSync(installed).mtimeMs < statSync('package-lock.json').mtimeMs;
if (stale) npm('ci');
else if (!existsSync('build/Release/varve.node')) npm('run', 'build:native');
npm('run', 'build');
