// A disk that can really be full: a file system of a few megabytes (tmpfs, or ext4 in a file), which only root can mount.
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
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

/** The same for ext4, which takes a loop device. */
export const noExt4 = noSmallDisk ?? (await whyNoExt4());
if (noExt4 && !noSmallDisk) console.warn(`tests of a full ext4 skipped: ${noExt4}`);

async function whyNoExt4(): Promise<string | undefined> {
  const parent = await mkdtemp(join(tmpdir(), 'varve-mount-'));
  try {
    return await mountExt4(parent, 16 * 1024 * 1024);
  } finally {
    spawnSync('umount', [join(parent, 'mounted')]);
    await rm(parent, { recursive: true });
  }
}

/** Mounts it as `mounted` in the directory. @returns why that can't be done */
async function mountExt4(parent: string, bytes: number): Promise<string | undefined> {
  const image = join(parent, 'image');
  await mkdir(join(parent, 'mounted'));
  await writeFile(image, '');
  await truncate(image, bytes);
  const made = spawnSync('mkfs.ext4', ['-q', '-F', '-m', '0', image]);
  if (made.status !== 0) return 'there is no mkfs.ext4 (Debian: e2fsprogs)';
  const mounted = spawnSync('mount', ['-o', 'loop', image, join(parent, 'mounted')]);
  return mounted.status === 0 ? undefined : 'mounting a loop device is not permitted here';
}

/** An ext4 of this size, until the test ends. */
export async function smallExt4(bytes: number): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'varve-full-'));
  onTestFinished(async () => {
    spawnSync('umount', ['--lazy', join(parent, 'mounted')]);
    await rm(parent, { recursive: true });
  });
  expect(await mountExt4(parent, bytes)).toBe(undefined);
  return join(parent, 'mounted');
}

/** Where a tmpfs of this size is mounted, until the test ends. */
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
