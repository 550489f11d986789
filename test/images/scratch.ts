/** Directories for images: in memory where there is room for that, removed when the run ends. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fastDirectory, removeDirectory } from '../temporary-directory.js';
import type { Image } from './image-kinds.js';

export class Scratch {
  readonly root: string;
  #next = 0;

  constructor() {
    this.root = fastDirectory();
  }

  /** A directory of its own, with this in it. */
  directory(image: Image = new Map()): string {
    const path = join(this.root, String(this.#next++));
    mkdirSync(path);
    for (const [name, bytes] of image) {
      const target = join(path, name);
      if (name.endsWith('/')) mkdirSync(target, { recursive: true });
      else {
        mkdirSync(dirname(target), { recursive: true });
        writeFileSync(target, bytes);
      }
    }
    return path;
  }

  remove(directory: string): void {
    removeDirectory(directory);
  }

  close(): void {
    this.remove(this.root);
  }
}

/** The files below a directory as an image; the lock left out. A store's threads may rename some meanwhile: then again. */
export function imageOf(directory: string): Map<string, Buffer> {
  for (;;) {
    try {
      return filesBelow(directory, '');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

function filesBelow(directory: string, prefix: string): Map<string, Buffer> {
  const image = new Map<string, Buffer>();
  for (const entry of readdirSync(join(directory, prefix), { withFileTypes: true })) {
    const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    if (entry.isDirectory()) {
      image.set(`${path}/`, Buffer.alloc(0));
      for (const [name, bytes] of filesBelow(directory, path)) image.set(name, bytes);
    } else if (path !== 'LOCK') {
      image.set(path, readFileSync(join(directory, path)));
    }
  }
  return image;
}
