/**
 * The embedded stores that people would use instead, each set so that a returned or resolved write is on disk:
 * better-sqlite3 in WAL mode with synchronous=FULL, and lmdb without overlapping syncs. They are installed into
 * tools/store-peers at the first run, by whoever starts the benchmark; without them their rows are left out.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packageRoot } from '../package-root.js';

export interface Peer {
  /** One durable transaction of these values. Synchronous inside where that is the store's fastest way. */
  write(values: readonly Buffer[]): void;
  /** The same for callers that wait side by side; undefined where the store has no such thing. */
  readonly writeAsync?: (values: readonly Buffer[]) => Promise<void>;
  close(): Promise<void>;
}

export interface PeerStore {
  readonly name: 'better-sqlite3' | 'lmdb';
  open(file: string): Peer;
}

interface SqliteDatabase {
  pragma(text: string): unknown;
  exec(sql: string): unknown;
  prepare(sql: string): { run(...values: unknown[]): unknown };
  transaction<T extends unknown[]>(work: (...given: T) => void): (...given: T) => void;
  close(): void;
}

interface LmdbDatabase {
  putSync(key: number, value: Buffer): void;
  put(key: number, value: Buffer): Promise<boolean>;
  transaction<T>(work: () => T): Promise<T>;
  transactionSync<T>(work: () => T): T;
  close(): Promise<void>;
}

const SQLITE_PAGE_CACHE_KIB = 64 * 1024;

/** The peers that are there, installing them if need be. `say` gets one line per thing that takes time or fails. */
export function findPeers(say: (line: string) => void): PeerStore[] {
  const folder = join(packageRoot(), 'tools', 'store-peers');
  if (!existsSync(join(folder, 'node_modules', 'lmdb'))) {
    say(
      'installing better-sqlite3 and lmdb into tools/store-peers (once; better-sqlite3 may be compiled, about a minute)…',
    );
    const { status, stderr } = spawnSync('npm', ['install', '--no-package-lock', '--no-audit', '--no-fund'], {
      cwd: folder,
      encoding: 'utf8',
    });
    if (status !== 0) say(`they could not be installed, their rows are left out: ${stderr.trim().split('\n').at(-1)}`);
  }
  const require = createRequire(join(folder, 'package.json'));
  return [sqlite(require, say), lmdb(require, say)].filter((peer) => peer !== undefined);
}

function load<T>(require: NodeJS.Require, name: string, say: (line: string) => void): T | undefined {
  try {
    return require(name) as T;
  } catch (error) {
    say(`${name} is left out: ${(error as Error).message.split('\n')[0]}; run "npm install" in tools/store-peers`);
    return undefined;
  }
}

function sqlite(require: NodeJS.Require, say: (line: string) => void): PeerStore | undefined {
  const Database = load<new (file: string) => SqliteDatabase>(require, 'better-sqlite3', say);
  if (Database === undefined) return undefined;
  return {
    name: 'better-sqlite3',
    open(file) {
      for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
      const database = new Database(file);
      database.pragma('journal_mode = WAL');
      database.pragma('synchronous = FULL');
      database.pragma(`cache_size = -${SQLITE_PAGE_CACHE_KIB}`);
      database.exec('CREATE TABLE log (offset INTEGER PRIMARY KEY, value BLOB)');
      const insert = database.prepare('INSERT INTO log (value) VALUES (?)');
      const write = database.transaction((values: readonly Buffer[]) => {
        for (const value of values) insert.run(value);
      });
      return { write, close: async () => database.close() };
    },
  };
}

function lmdb(require: NodeJS.Require, say: (line: string) => void): PeerStore | undefined {
  const library = load<{ open(options: object): LmdbDatabase }>(require, 'lmdb', say);
  if (library === undefined) return undefined;
  return {
    name: 'lmdb',
    open(file) {
      rmSync(file, { recursive: true, force: true });
      const database = library.open({ path: file, encoding: 'binary', keyEncoding: 'uint32', overlappingSync: false });
      let offset = 0;
      return {
        write(values) {
          database.transactionSync(() => {
            for (const value of values) database.putSync(offset++, value);
          });
        },
        async writeAsync(values) {
          if (values.length === 1) {
            await database.put(offset++, values[0]!);
            return;
          }
          await database.transaction(() => {
            for (const value of values) database.putSync(offset++, value);
          });
        },
        close: () => database.close(),
      };
    },
  };
}
