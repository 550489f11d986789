/** What a figure depends on besides the program: captured once per run. Nothing here names the machine or its user. */
import { spawnSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from './package-root.js';
import type { Environment } from './result.js';
import { fileSystemOf } from './yardstick.js';

export function captureEnvironment(folder: string): Environment {
  const mount = mountOf(folder);
  const gitCommit = gitCommitOf(packageRoot());
  const disk = mount === undefined ? undefined : diskOf(mount.device);
  return {
    varve: packageVersion(),
    ...(gitCommit !== undefined && { gitCommit }),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    kernel: release(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    fileSystem: fileSystemOf(folder),
    ...(mount !== undefined && { mount: mount.options }),
    ...(disk !== undefined && { disk }),
    loadAverage: loadavg()[0] as number,
  };
}

function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }).version;
}

/** The commit of a source checkout, with a plus sign when files differ from it. Absent in an installed package. */
function gitCommitOf(root: string): string | undefined {
  const git = (...args: string[]) => spawnSync('git', ['-C', root, ...args], { encoding: 'utf8', timeout: 5000 });
  const top = git('rev-parse', '--show-toplevel');
  if (top.status !== 0 || realpathSync(top.stdout.trim()) !== realpathSync(root)) return undefined;
  const commit = git('rev-parse', '--short=12', 'HEAD');
  if (commit.status !== 0) return undefined;
  return commit.stdout.trim() + (git('status', '--porcelain').stdout === '' ? '' : '+');
}

interface Mount {
  readonly device: string;
  readonly options: string;
}

/** The mount that holds `folder`, from /proc/mounts. */
function mountOf(folder: string): Mount | undefined {
  const real = realpathSync(folder);
  let best: Mount | undefined;
  let longest = -1;
  for (const line of readLines('/proc/mounts')) {
    const [device = '', point = '', type = '', options = ''] = line.split(' ');
    const inside = point === '/' || real === point || real.startsWith(`${point}/`);
    if (!inside || point.length < longest) continue;
    longest = point.length;
    best = { device, options: `${type} (${options})` };
  }
  return best;
}

/** `vda, 252 GiB, write back`: what the kernel says of the device. */
function diskOf(device: string): string | undefined {
  const name = device.replace('/dev/', '');
  const read = (file: string) => readLines(`/sys/class/block/${name}/${file}`)[0];
  const sectors = Number(read('size'));
  if (!Number.isFinite(sectors) || sectors === 0) return undefined;
  const model = read('device/model')?.trim();
  const cache = read('queue/write_cache');
  const size = `${Math.round((sectors * 512) / 2 ** 30)} GiB`;
  return [model ?? name, size, cache && `cache: ${cache}`].filter(Boolean).join(', ');
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}
