/** The native disk with faults on demand: any call of the disk interface can be made to fail. */

import type { Disk, JournalOptions } from '../../src/disk/disk.js';
import { bootId, openDisk } from '../../src/disk/native-disk.js';
import { VarveError } from '../../src/errors.js';
import type { StoreOptions } from '../../src/log/options.js';
import { Store } from '../../src/log/partition-store.js';

export class Faults {
  /** Calls of these methods whose first argument contains the text fail with the code. */
  readonly calls: { readonly method: keyof Disk; readonly path: string; readonly code: 'DISK_FULL' | 'DISK_FAILED' }[] =
    [];
  /** Told of every call before it is made. */
  onCall: (method: string, path: unknown) => void = () => {};
  /** Fails the journal as a failed sync would. */
  failJournal: (message: string) => void = () => {
    throw new Error('no journal was opened');
  };

  fail(method: keyof Disk, path: string, code: 'DISK_FULL' | 'DISK_FAILED'): void {
    this.calls.push({ method, path, code });
  }

  heal(): void {
    this.calls.length = 0;
  }

  /** @throws VarveError when the call is to fail */
  check(method: string, path: unknown): void {
    this.onCall(method, path);
    const fault = this.calls.find((call) => call.method === method && String(path).includes(call.path));
    if (fault !== undefined) throw new VarveError(fault.code, `${method} of ${String(path)}: made to fail`);
  }
}

export async function openFailing(path: string, faults: Faults, options: Partial<StoreOptions>): Promise<Store> {
  const real = await openDisk(path);
  const disk = new Proxy(real, {
    get(target, name: keyof Disk & string) {
      const method = target[name] as (...values: unknown[]) => unknown;
      if (typeof method !== 'function') return method;
      if (name === 'openJournal') {
        return (given: JournalOptions) => {
          let failed = false;
          faults.failJournal = (message) => {
            failed = true;
            given.onFailure(new VarveError('DISK_FAILED', message));
          };
          const onDurable: JournalOptions['onDurable'] = (...progress) => {
            if (!failed) given.onDurable(...progress);
          };
          return target.openJournal({ ...given, onDurable });
        };
      }
      const isSync = ['createSegment', 'openSegment', 'readFileSync', 'stats', 'dropFile', 'reclaim'].includes(name);
      return (...values: unknown[]) => {
        if (isSync) {
          faults.check(name, values[0]);
          return method.apply(target, values);
        }
        return (async () => {
          faults.check(name, values[0]);
          return method.apply(target, values);
        })();
      };
    },
  });
  return Store.open({ disk, path, bootId: bootId() }, options);
}
