// The proof that the corruption cases can fail: a store that lies about damage must be found out.
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Log, ReadOptions } from '../../src/log/log.js';
import { CorruptionCampaign } from './corruption-campaign.js';
import type { Lie } from './corruption-check.js';
import type { DamageKind } from './damage.js';
import type { FileKind } from './file-regions.js';
import { Scratch } from './scratch.js';
import { recordsOf } from './true-batches.js';

const CASES = 12;
const scratch = new Scratch();
afterAll(() => scratch.close());

/** The log with some of its answers replaced. */
function lying(log: Log, answers: Partial<Log>): Log {
  return new Proxy(log, {
    get(target, key) {
      if (key in answers) return Reflect.get(answers, key);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Decodes whatever it finds. */
const readWithoutCrc = (log: Log) => async (offset: number, options: ReadOptions) => {
  const { views, nextOffset, highWatermark } = log.viewsFrom(offset, options.maxBytes!, 'end');
  const found = views.flatMap((view) => {
    const all = [];
    for (let at = 0; at < view.length; ) {
      const bytes = view.readInt32BE(at + 8) + 12;
      if (bytes < 61) break;
      const base = Number(view.readBigInt64BE(at));
      const end = base + view.readInt32BE(at + 23) + 1;
      all.push(...recordsOf({ base, end, epoch: 0, bytes, crc: 0, raw: view.subarray(at, at + bytes) }));
      at += bytes;
    }
    return all;
  });
  const records = found.filter((record) => record.offset >= offset).map((record) => ({ ...record, headers: [] }));
  return { records, nextOffset, highWatermark };
};

/** What cannot be read is not there. */
const readWithoutErrors = (log: Log) => async (offset: number, options: ReadOptions) => {
  try {
    return await log.read(offset, options);
  } catch {
    return { records: [], nextOffset: offset + 1, highWatermark: log.highWatermark };
  }
};

interface KnownLie {
  readonly what: string;
  readonly file: FileKind;
  readonly damage: DamageKind;
  readonly lie: Lie;
}

const lies: readonly KnownLie[] = [
  {
    what: 'a reader skips the CRC',
    file: 'log (sealed)',
    damage: 'byte',
    lie: { shown: (log) => lying(log, { read: readWithoutCrc(log) as Log['read'] }) },
  },
  {
    what: 'records that cannot be read are left out',
    file: 'log (sealed)',
    damage: 'sector',
    lie: { shown: (log) => lying(log, { read: readWithoutErrors(log) }) },
  },
  {
    what: 'recovery cuts a segment off below the durable mark',
    file: 'log (sealed)',
    damage: 'bit',
    lie: { afterClose: (directory, { path }) => truncateSync(join(directory, path), 61) },
  },
  {
    what: 'recovery ends the log at damage, and calls it a torn write',
    file: 'log (active)',
    damage: 'remove',
    lie: { shown: (log) => lying(log, { end: log.end - 3, recovery: { ...log.recovery, damaged: [] } }) },
  },
  {
    what: 'verify finds nothing',
    file: 'log (sealed)',
    damage: 'page',
    lie: {
      shown: (log) =>
        lying(log, { verify: () => Promise.resolve({ segments: 0, batches: 0, bytes: 0, damaged: [], resealed: [] }) }),
    },
  },
  {
    what: 'a lookup by timestamp finds nothing',
    file: 'timeindex',
    damage: 'page',
    lie: { shown: (log) => lying(log, { offsetForTimestamp: () => Promise.resolve(undefined) }) },
  },
];

test.each(lies)('found out: $what', async ({ file, damage, lie }) => {
  const only = { files: [file], damages: [damage], workload: 'basic' };
  const campaign = new CorruptionCampaign({ scratch, seed: 1, cases: CASES, ...only, lie });
  await campaign.run();
  expect(campaign.tally.failures.length).toBeGreaterThan(0);
});
