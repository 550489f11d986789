/** One store for all tests of a file: opening one takes longer than most of them. */
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { type Log, type OpenLogOptions, openStore, type Store } from '../../src/main.js';
import { sharedDirectory } from '../temporary-directory.js';

/** @returns opens a log that no other test has */
export function sharedStore(): (options?: OpenLogOptions) => Promise<Log> {
  const directory = sharedDirectory();
  let store: Store;
  let partition = 0;
  beforeAll(async () => {
    store = await openStore(join(directory, 'store'), {
      create: true,
      journalFileBytes: 2 ** 20,
      reserveBytes: 2 ** 20,
    });
  });
  afterAll(() => store.close());
  return (options) => store.openLog('events', partition++, options);
}
