/** What is done to a store while its trace is recorded: one workload per operation whose crashes are to be survived. */
import type { StoreOptions } from '../../src/log/options.js';
import type { Random } from './random.js';
import { type LogSpec, logSpec, type Workbench } from './workbench.js';

const KIB = 1024;

export interface Workload {
  readonly name: string;
  readonly logs: readonly LogSpec[];
  readonly options?: Partial<StoreOptions>;
  /** The disk lacks space now and then: DISK_FULL is no failure. Injected, so nothing else can be. */
  readonly fills?: true;
  /** The store is to be opened; it may be left open. */
  run(bench: Workbench, random: Random): Promise<void>;
}

function sizes(random: Random, count: number, limit: number): number[] {
  return Array.from({ length: count }, () => 1 + random.below(limit));
}

const a = logSpec('a');
const b = logSpec('b');
const c = logSpec('c');
const embedded = logSpec('e', { replicated: false });
const relaxed = [logSpec('async', { flush: 'async' }), logSpec('none', { flush: 'none' })] as const;

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'append',
    logs: [a, b, c],
    async run(bench, random) {
      await bench.open();
      const logs = await Promise.all([a, b, c].map((spec) => bench.log(spec)));
      for (let round = 0; round < 8; round++) {
        for (const log of logs) log.append(...sizes(random, 1 + random.below(3), round % 3 === 0 ? 9000 : 400));
        if (random.below(2) === 0) await logs[random.below(3)]!.flush();
        logs[random.below(3)]!.commit();
      }
      await logs[0]!.flush();
    },
  },
  {
    name: 'append-embedded',
    logs: [embedded],
    async run(bench, random) {
      await bench.open();
      const log = await bench.log(embedded);
      for (let round = 0; round < 6; round++) {
        await Promise.all(sizes(random, 1 + random.below(5), 3000).map((size) => log.appendEmbedded(size)));
      }
    },
  },
  {
    name: 'append-relaxed',
    logs: [...relaxed, a],
    options: { asyncMaxMs: 60_000 },
    async run(bench, random) {
      await bench.open({ asyncMaxMs: 60_000 });
      const [slow, none] = await Promise.all(relaxed.map((spec) => bench.log(spec)));
      const sync = await bench.log(a);
      for (let round = 0; round < 10; round++) {
        slow!.append(...sizes(random, 2, 2000));
        none!.append(...sizes(random, 2, 2000));
        if (random.below(4) === 0) none!.control('by-a-leader');
        if (random.below(4) === 0) sync.append(10);
        if (random.below(3) === 0) await [slow!, none!, sync][random.below(3)]!.flush();
      }
    },
  },
  {
    name: 'roll',
    logs: [a],
    async run(bench, random) {
      await bench.open({ journalFileBytes: 512 * KIB });
      const log = await bench.log(a);
      for (let round = 0; round < 7; round++) {
        log.append(...sizes(random, 3, 220 * KIB));
        if (random.below(2) === 0) await log.flush();
        if (round === 4) await bench.checkpoint(log);
      }
      await log.flush();
    },
  },
  {
    name: 'truncate',
    logs: [a, b],
    async run(bench, random) {
      await bench.open();
      const logs = await Promise.all([a, b].map((spec) => bench.log(spec)));
      const bases = new Map(logs.map((log) => [log, [0]]));
      for (let round = 0; round < 14; round++) {
        const log = logs[random.below(2)]!;
        const known = bases.get(log)!;
        for (let i = 1 + random.below(3); i > 0; i--) {
          known.push(log.end);
          log.append(...sizes(random, 1, 3000));
        }
        if (random.below(3) === 0) await log.flush();
        const allowed = known.filter((base) => base >= log.highWatermark && base < log.end);
        const to = allowed[random.below(allowed.length)];
        if (to !== undefined && random.below(3) > 0) {
          log.truncate(to);
          log.newEpoch();
          bases.set(
            log,
            known.filter((base) => base <= to),
          );
          // Twice in a row, with or without something in between.
          if (random.below(3) === 0) log.append(50);
        }
        if (random.below(4) === 0) log.commit();
        if (random.below(5) === 0) await bench.checkpoint(...logs);
      }
      await logs[0]!.flush();
    },
  },
  {
    name: 'retention',
    logs: [a],
    async run(bench, random) {
      await bench.open({ journalFileBytes: 512 * KIB });
      const log = await bench.log(a);
      for (let round = 0; round < 6; round++) {
        log.append(...sizes(random, 4, 200 * KIB));
        await log.flush();
        log.commit();
        const start = Math.floor((log.highWatermark * random.below(100)) / 100);
        await log.deleteBefore(start);
        if (random.below(3) === 0) await bench.checkpoint(log);
      }
      await log.deleteBefore(log.highWatermark);
    },
  },
  {
    name: 'checkpoint',
    logs: [a, b],
    async run(bench, random) {
      await bench.open();
      const logs = await Promise.all([a, b].map((spec) => bench.log(spec)));
      for (let round = 0; round < 5; round++) {
        for (const log of logs) log.append(...sizes(random, 2, 3000));
        if (random.below(2) === 0) logs[0]!.commit();
        const checkpoint = bench.checkpoint(...logs);
        for (let i = 0; i < 3; i++) {
          logs[random.below(2)]!.append(...sizes(random, 1, 500));
          await Promise.resolve();
        }
        if (random.below(2) === 0) logs[1]!.vote(round + 1, 1);
        await checkpoint;
      }
    },
  },
  {
    name: 'journal',
    logs: [a, b],
    options: { journalMaxBytes: 128 * KIB },
    async run(bench, random) {
      await bench.open({ journalMaxBytes: 128 * KIB });
      const logs = await Promise.all([a, b].map((spec) => bench.log(spec)));
      for (let round = 0; round < 16; round++) {
        logs[round % 2]!.append(...sizes(random, 2, 16 * KIB));
        if (random.below(3) > 0) await logs[0]!.flush();
        if (round % 5 === 4) await bench.checkpoint(...logs);
      }
      // Larger than a journal file.
      logs[0]!.append(...sizes(random, 2, 100 * KIB));
      await logs[0]!.flush();
    },
  },
  {
    name: 'direct-flush',
    logs: [a, relaxed[1]],
    options: { directFlushBytes: 2000, directMarkMaxMs: 10_000 },
    async run(bench, random) {
      // Marks come with the next group, or so late that no cut meets them; or at once.
      const directMarkMaxMs = random.below(3) === 0 ? 1 : 10_000;
      await bench.open({ directFlushBytes: 2000, directMarkMaxMs, journalFileBytes: 512 * KIB });
      const log = await bench.log(a);
      const none = await bench.log(relaxed[1]);
      let bases = [0];
      for (let round = 0; round < 16; round++) {
        bases.push(log.end);
        const large = random.below(3) > 0;
        log.append(...sizes(random, 1, large ? 9000 : 500), ...(large ? [3000 + random.below(150 * KIB)] : []));
        if (random.below(3) === 0) none.append(...sizes(random, 1, 20 * KIB));
        if (random.below(3) > 0) await [log, none][random.below(4) === 0 ? 1 : 0]!.flush();
        if (random.below(6) === 0) log.newEpoch();
        const allowed = bases.filter((base) => base >= log.highWatermark && base < log.end);
        const to = allowed[random.below(allowed.length)];
        if (to !== undefined && random.below(4) === 0) {
          log.truncate(to);
          log.newEpoch();
          bases = bases.filter((base) => base <= to);
        }
        if (random.below(5) === 0) log.commit();
        if (random.below(8) === 0) await bench.checkpoint(log);
      }
      await log.flush();
    },
  },
  {
    name: 'vote',
    logs: [a, b],
    async run(bench, random) {
      await bench.open();
      const logs = await Promise.all([a, b].map((spec) => bench.log(spec)));
      for (let term = 1; term < 12; term++) {
        const log = logs[random.below(2)]!;
        log.vote(term, random.below(2) === 0 ? 0 : 1 + random.below(3));
        if (random.below(2) === 0) log.append(...sizes(random, 1, 300));
        if (random.below(3) > 0) await log.flush();
        if (random.below(5) === 0) await bench.checkpoint(...logs);
      }
    },
  },
  {
    name: 'membership',
    logs: [a, relaxed[1]],
    async run(bench, random) {
      await bench.open();
      const logs = await Promise.all([a, relaxed[1]].map((spec) => bench.log(spec)));
      for (let round = 0; round < 10; round++) {
        const log = logs[random.below(2)]!;
        if (random.below(3) === 0) log.newEpoch();
        log.control(random.below(2) === 0 ? 'here' : 'by-a-leader');
        log.append(...sizes(random, random.below(2) + 1, 1000));
        if (random.below(3) === 0) await log.flush();
        if (random.below(4) === 0) log.commit();
      }
    },
  },
  {
    name: 'open-close',
    logs: [a, embedded],
    async run(bench, random) {
      await bench.open();
      const log = await bench.log(a);
      log.append(...sizes(random, 3, 2000));
      const other = await bench.log(embedded);
      await other.appendEmbedded(100);
      await log.close();
      const again = await bench.log(a);
      again.append(...sizes(random, 2, 2000));
      again.commit();
      await bench.close();
    },
  },
  {
    name: 'producers',
    logs: [a],
    async run(bench, random) {
      await bench.open({ journalFileBytes: 512 * KIB });
      const log = await bench.log(a);
      for (let round = 0; round < 12; round++) {
        for (let i = 1 + random.below(3); i > 0; i--) log.appendBy(1 + random.below(3), random.below(120 * KIB));
        if (random.below(2) === 0) await log.flush();
        if (random.below(5) === 0) await bench.checkpoint(log);
      }
      await log.flush();
    },
  },
  {
    name: 'reserve',
    logs: [a, b],
    options: { reserveBytes: 128 * KIB },
    fills: true,
    async run(bench, random) {
      await bench.open({ reserveBytes: 128 * KIB });
      const logs = await Promise.all([a, b].map((spec) => bench.log(spec)));
      for (let round = 0; round < 8; round++) {
        const log = logs[random.below(2)]!;
        const base = log.end;
        log.append(...sizes(random, 2, 3000));
        // The first attempt finds no space, gives the reserve up, and the second one does.
        const lacking = (['truncate', 'checkpoint', 'journal', 'append'] as const)[random.below(4)]!;
        if (lacking === 'truncate') {
          bench.trace.fail({ error: 'ENOSPC', call: 1, kinds: ['create', 'allocate'], path: '.log' });
          log.truncate(base);
          log.newEpoch();
        } else if (lacking === 'checkpoint') {
          bench.trace.fail({ error: 'ENOSPC', call: 1, kinds: ['create', 'write'], path: 'checkpoint.tmp' });
          await bench.checkpoint(...logs);
        } else if (lacking === 'journal') {
          bench.trace.fail({ error: 'ENOSPC', call: 1, kinds: ['create', 'allocate'], path: 'journal/' });
          for (let i = 0; i < 4; i++) logs[i % 2]!.append(...sizes(random, 2, 16 * KIB));
        } else {
          bench.trace.fail({ error: 'ENOSPC', call: 1, kinds: ['allocate'], path: '.log' });
          log.append(100 * KIB);
        }
        log.append(...sizes(random, 1, 500));
        if (random.below(2) === 0) log.vote(round + 1, 1);
        await log.flush();
        bench.trace.heal();
        if (random.below(3) === 0) await bench.whenSpace();
        if (random.below(3) === 0) log.commit();
      }
      await bench.whenSpace();
      logs[0]!.append(...sizes(random, 2, 3000));
      await logs[0]!.flush();
    },
  },
];
