// A disk that can really be full: a tmpfs of a few megabytes, which only root can mount.
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';

/** Why tests that need one can't run here; undefined when they can. */
export const noSmallDisk = await (async () => {
  if (process.getuid?.() !== 0) return 'only root can mount a tmpfs';
  const probe = await mkdtemp(join(tmpdir(), 'varve-mount-'));
  const mounted = mount(probe, 64 * 1024);
  if (mounted) spawnSync('umount', [probe]);
  await rm(probe, { recursive: true });
  return mounted ? undefined : 'mounting a tmpfs is not permitted here';
})();
if (noSmallDisk) console.warn(`tests of a full disk skipped: ${noSmallDisk}`);

function mount(path: string, bytes: number): boolean {
  return spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'varve-test', path]).status === 0;
}

/** Where it is mounted, until the test ends. */
export async function smallDisk(bytes: number): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'varve-full-'));
  const root = join(parent, 'mounted');
  await mkdir(root);
  expect(mount(root, bytes)).toBe(true);
  onTestFinished(async () => {
    spawnSync('umount', ['--lazy', root]);
    await rm(parent, { recursive: true });
  });
  return root;
}

/** Takes space, with a file named `ballast`, until about this much is left. A store may be taking space at the same time. */
export async function leave(root: string, freeBytes: number): Promise<void> {
  for (;;) {
    const { stdout } = spawnSync('df', ['--output=avail', '--block-size=1', root], { encoding: 'utf8' });
    const available = Number(stdout.trim().split('\n').at(-1));
    expect(available).toBeGreaterThan(freeBytes);
    try {
      await writeFile(join(root, 'ballast'), Buffer.alloc(available - freeBytes));
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      await rm(join(root, 'ballast'));
    }
  }
}
