// Every decoder of what a store writes, over changed bytes of real files: the right answer, "this can't be right", or a
// typed error; never another exception, a hang, or memory out of proportion.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { JournalReader } from '../../src/disk/journal-reader.js';
import { VarveError } from '../../src/errors.js';
import { EpochIndex } from '../../src/index/epoch-index.js';
import { OffsetIndex } from '../../src/index/offset-index.js';
import { TimeIndex } from '../../src/index/time-index.js';
import { decodeTxnIndex, encodeTxnIndex } from '../../src/index/txn-index.js';
import { decodeCheckpoint } from '../../src/journal/checkpoint.js';
import {
  decodeHardState,
  decodeLogStart,
  decodeRelaxed,
  decodeSwap,
  decodeTruncation,
  encodeTruncation,
} from '../../src/journal/journal-records.js';
import { LogFold } from '../../src/journal/replay.js';
import { newLogState } from '../../src/journal/log-state.js';
import { readMeta } from '../../src/log/data-directory.js';
import { decodeSnapshot, encodeSnapshot } from '../../src/log/producer-snapshot.js';
import { openStore } from '../../src/log/store.js';
import { parsePartitionDirectory } from '../../src/segment/file-names.js';
import { mutate, mutations, RUNS } from './mutations.js';
import { referenceCrc } from './reference-scan.js';

interface RealFiles {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly directoryId: string;
  readonly topicId: string;
}

let real: RealFiles;

beforeAll(async () => {
  const path = mkdtempSync(join(tmpdir(), 'varve-fuzz-'));
  const store = await openStore(path, {
    create: true,
    journalFileBytes: 65536,
    journalMaxBytes: 1024 * 1024,
    reserveBytes: 0,
  });
  const log = await store.openLog('t', 0, { segmentBytes: 1024 * 1024, indexIntervalBytes: 64 });
  for (let i = 0; i < 30; i++) await log.append([{ key: `${i}`, value: 'v'.repeat(200), timestamp: 1000 + i }]);
  const follower = await store.openLog('f', 0, { replicated: true });
  await new Promise<void>((resolve) => follower.saveHardState({ term: 3, vote: 2 }, resolve));
  follower.appendControl(1000, Buffer.alloc(0), 3);
  follower.appendControl(1000, Buffer.alloc(0), 4);
  follower.truncate(1);
  await store.close();
  const files = new Map<string, Buffer>();
  for (const name of readdirSync(path, { recursive: true, encoding: 'utf8' })) {
    try {
      files.set(name, readFileSync(join(path, name)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EISDIR') throw error;
    }
  }
  const topicId = parsePartitionDirectory(readdirSync(path).find((name) => name.startsWith('t-0.'))!)!.topicId;
  real = { files, directoryId: store.directoryId, topicId };
  rmSync(path, { recursive: true });
});

function bytesOf(pattern: RegExp): Buffer {
  const found = [...real.files].find(([name]) => pattern.test(name));
  expect(found, String(pattern)).toBeDefined();
  return found![1];
}

/** The property: an answer, or an error of ours. */
function typed<T>(decode: () => T): T | VarveError {
  try {
    return decode();
  } catch (error) {
    if (error instanceof VarveError) return error;
    throw error;
  }
}

function overChanges(original: () => Buffer, decode: (bytes: Buffer) => void): void {
  fc.assert(
    fc.property(mutations, (changes) => {
      decode(mutate(original(), changes));
    }),
    { numRuns: RUNS },
  );
}

test('the checkpoint: also where the checksum is right and the content is not', () => {
  const original = bytesOf(/^checkpoint$/);
  expect(decodeCheckpoint(original, 'checkpoint').logs).toHaveLength(2);
  overChanges(
    () => original,
    (bytes) => {
      const found = typed(() => decodeCheckpoint(bytes, 'checkpoint'));
      if (!(found instanceof VarveError)) expect(found.directoryId).toBe(real.directoryId);
    },
  );
  overChanges(
    () => original.subarray(20),
    (body) => {
      const head = Buffer.from(original.subarray(0, 20));
      head.writeUInt32LE(body.length, 12);
      head.writeUInt32LE(referenceCrc(body), 16);
      const found = typed(() => decodeCheckpoint(Buffer.concat([head, body]), 'checkpoint'));
      if (!(found instanceof VarveError)) expect(Array.isArray(found.logs)).toBe(true);
    },
  );
});

test('index files: undefined, or one that is right in itself', () => {
  const limits = { baseOffset: 0, endOffset: 30, sizeBytes: 1024 * 1024 };
  overChanges(
    () => bytesOf(/^t-0.*\.index$/),
    (bytes) => {
      const index = OffsetIndex.fromBytes(bytes, limits);
      if (index !== undefined) expect(index.toBytes()).toEqual(bytes);
    },
  );
  overChanges(
    () => bytesOf(/^t-0.*\.timeindex$/),
    (bytes) => {
      const index = TimeIndex.fromBytes(bytes, limits);
      if (index !== undefined) expect(index.toBytes()).toEqual(bytes);
    },
  );
  overChanges(
    () => bytesOf(/^f-0.*leader-epoch-checkpoint$/),
    (bytes) => {
      const index = EpochIndex.fromBytes(bytes, { endOffset: 10 });
      if (index !== undefined) expect(index.entries.every(({ startOffset }) => startOffset <= 10)).toBe(true);
    },
  );
  const transactions = encodeTxnIndex([
    { producerId: 7, firstOffset: 3, lastOffset: 9, lastStableOffset: 10 },
    { producerId: 8, firstOffset: 12, lastOffset: 19, lastStableOffset: 20 },
  ]);
  overChanges(
    () => transactions,
    (bytes) => {
      const entries = decodeTxnIndex(bytes);
      if (entries !== undefined) expect(encodeTxnIndex(entries)).toEqual(bytes);
    },
  );
});

test('producer snapshots: undefined, or one of the log and offset asked for', () => {
  const expected = { topicId: real.topicId, partition: 0, offset: 30 };
  const batch = (sequence: number) => ({
    firstSequence: sequence,
    lastSequence: sequence + 2,
    baseOffset: 3 * sequence,
    lastOffset: 3 * sequence + 2,
    timestamp: 5,
  });
  const entry = { epoch: 1, coordinatorEpoch: -1, timestamp: 9, txnFirstOffset: -1, seenAt: 12 };
  const original = encodeSnapshot({
    ...expected,
    entries: [
      { ...entry, producerId: 7, batches: [0, 3, 6].map(batch) },
      { ...entry, producerId: 9, txnFirstOffset: 20, batches: [batch(1)] },
    ],
    txnFiles: [{ base: 0, count: 2, crc: 77 }],
  });
  expect(decodeSnapshot(original, expected)).toBeDefined();
  overChanges(
    () => original,
    (bytes) => {
      // Also with a checksum that is right: it guards against rot, not against who wrote it.
      for (const repaired of [false, true]) {
        const copy = Buffer.from(bytes);
        if (repaired && copy.length > 6) copy.writeUInt32BE(referenceCrc(copy.subarray(6)), 2);
        const found = typed(() => decodeSnapshot(copy, expected));
        if (found !== undefined && !(found instanceof VarveError)) expect(found).toMatchObject(expected);
      }
    },
  );
});

test('meta.json', async () => {
  await fc.assert(
    fc.asyncProperty(mutations, async (changes) => {
      const bytes = mutate(bytesOf(/^meta\.json$/), changes);
      const found = await readMeta({ readFile: async () => bytes }, '/d').catch((error: unknown) => error);
      if (found instanceof Error) expect(found).toBeInstanceOf(VarveError);
      else expect((found as { directoryId: string }).directoryId).toMatch(/^[0-9a-f]{32}$/);
    }),
    { numRuns: RUNS },
  );
});

test("the payloads of the journal's small records", () => {
  const truncation = encodeTruncation({
    to: 9,
    endSegment: { base: 5, tag: 0 },
    endLength: 700,
    newTag: 2,
    removed: [
      { base: 9, tag: 0 },
      { base: 12, tag: 1 },
    ],
  });
  for (const decode of [decodeTruncation, decodeSwap, decodeHardState, decodeLogStart, decodeRelaxed]) {
    overChanges(
      () => truncation,
      (bytes) => void typed<unknown>(() => decode(bytes)),
    );
  }
});

test('the journal: the records that were written, a prefix of them, or CORRUPT_JOURNAL; and so their replay', async () => {
  const files = [...real.files]
    .filter(([name]) => name.startsWith('journal/'))
    .map(([name, bytes]) => [name.slice(8), bytes] as const);
  const written = (await read(new Map(files))) as string[];
  expect(written.length).toBeGreaterThan(3);
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: files.length - 1 }), mutations, async (which, changes) => {
      const changed = new Map(files);
      const [name, bytes] = files[which]!;
      changed.set(name, mutate(bytes, changes));
      const found = await read(changed);
      if (found instanceof Error) {
        expect(found).toBeInstanceOf(VarveError);
        expect(['CORRUPT_JOURNAL', 'DIRECTORY_MISMATCH']).toContain((found as VarveError).code);
      } else {
        // Files in front may be missing, where the first one is unreadable: the checkpoint tells, not the reader.
        expect(written.join()).toContain(found.join());
      }
    }),
    { numRuns: Math.min(RUNS, 300) * (RUNS > 300 ? 10 : 1) },
  );
});

/** The records, each as text; and their replay, which must not throw anything of its own. */
async function read(files: ReadonlyMap<string, Buffer>): Promise<string[] | Error> {
  const disk = {
    readDirectory: async () => [...files.keys()].map((name) => ({ name, isDirectory: false })),
    fileSize: async (path: string) => files.get(path.split('/')[1]!)?.length,
    readFile: async (path: string, position = 0, length = Number.POSITIVE_INFINITY) =>
      files.get(path.split('/')[1]!)?.subarray(position, position + length),
  };
  const texts: string[] = [];
  const folds = new Map<string, LogFold>();
  try {
    for await (const record of new JournalReader(disk, 'journal', Buffer.from(real.directoryId, 'hex')).records()) {
      texts.push(`${record.type}:${record.topicId}:${record.generation}:${record.payload.toString('hex')}`);
      const fold = folds.get(record.topicId) ?? new LogFold(newLogState('t', 0, record.topicId));
      folds.set(record.topicId, fold);
      fold.apply(record);
    }
  } catch (error) {
    return error as Error;
  }
  return texts;
}
