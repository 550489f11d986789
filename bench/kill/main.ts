/**
 * `npm run kill-test`: kills the leader with -9 in the middle of load, again and again, and compares every record, on the
 * new leader each time and, at the end, in the data directory of every node, the killed ones among them.
 *
 *   npm run kill-test -- --kills 20                          acks=all, flush=sync
 *   npm run kill-test -- --kills 5 --mutant leader-alone     must find the bug planted in a copy
 *
 * In every second kill the followers are paused for a moment just before it, so that the leader dies with records that
 * nobody else has.
 *
 * All of it is written down as a history as well (docs/HISTORY.md), and judged by the checker.
 *
 * Exit code: 0 nothing was lost (with --mutant: the bug was found), 1 otherwise, 2 a flag is wrong.
 */
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { checkHistoryFile } from '../../src/checker/history-file.js';
import type { ReplicaBatch } from '../../src/checker/operation.js';
import type { Acks } from '../../src/client/options.js';
import type { FlushMode } from '../../src/disk/disk.js';
import { VarveError } from '../../src/errors.js';
import { Cleanup } from '../cleanup.js';
import { BenchCluster, topicOf } from '../cluster.js';
import { planFrom } from '../options.js';
import { loadEvents, makeTemplates, RecordSource, runIdentity } from '../payload/record-source.js';
import type { BenchPlan, CellSettings } from '../plan.js';
import { whole } from '../report/format.js';
import { findFault, Verifier } from '../verify.js';
import { KillHistory, replicaBatch } from './kill-history.js';
import { type KillOutcome, killLeader } from './kill-leader.js';
import { MUTANTS, plantMutant } from './mutant.js';
import { readStoredLog } from './stored-log.js';

interface KillFlags {
  readonly kills: string;
  readonly records: string;
  readonly acks: string;
  readonly flush: string;
  readonly size: string;
  readonly producers: string;
  readonly window: string;
  readonly seed: string;
  readonly pause: string;
  readonly mutant?: string;
  readonly json?: string;
  readonly history?: string;
  readonly keep?: boolean;
}

/** One kill under one load. */
type Episode = KillOutcome['results'][number] & { readonly killed: number; readonly leader: number };

const RECORDS_AFTER = 1000;

class KillTest {
  readonly #flags: KillFlags;
  readonly #plan: BenchPlan;
  readonly #cell: CellSettings;
  readonly #records: number;
  readonly #kills: number;
  readonly #pauseMs: number;
  readonly #episodes: Episode[] = [];
  readonly #faults: string[] = [];

  constructor(flags: KillFlags) {
    this.#flags = flags;
    const { acks, flush, size, producers, window, seed } = flags;
    this.#plan = planFrom({ acks, flush, size, producers, window, seed, batch: '256k', compression: 'none' });
    if (this.#plan.acks.length * this.#plan.flush.length * this.#plan.recordBytes.length !== 1) {
      throw new VarveError('INVALID_CONFIG', '--acks, --flush and --size: the kill test takes one of each');
    }
    this.#cell = {
      acks: this.#plan.acks[0] as Acks,
      flush: this.#plan.flush[0] as FlushMode,
      batch: 256 * 1024,
      compression: 'none',
      recordBytes: this.#plan.recordBytes[0] as number,
    };
    this.#kills = wholeNumber('--kills', flags.kills);
    this.#records = wholeNumber('--records', flags.records);
    this.#pauseMs = wholeNumber('--pause', flags.pause);
  }

  /** Returns what was found wrong. */
  async run(cleanup: Cleanup): Promise<readonly string[]> {
    const folder = cleanup.folder();
    if (this.#flags.keep) console.error(`data and logs of the nodes: ${folder}`);
    const { mutant } = this.#flags;
    const program = mutant === undefined ? undefined : plantMutant(mutant, `${folder}/mutant`);
    if (mutant !== undefined) console.log(`mutant "${mutant}": ${MUTANTS[mutant]?.about}`);
    const cluster = await BenchCluster.start({ folder, ...(program !== undefined && { program }) }, cleanup);
    const path = this.#flags.history ?? `${folder}/history.jsonl`;
    const history = new KillHistory(path, topicOf(this.#cell.flush), this.#cell.flush, cluster.nodeIds);
    try {
      await this.#killAll(cluster, history);
    } finally {
      history.close();
    }
    await this.#judge(path);
    return this.#faults;
  }

  async #killAll(cluster: BenchCluster, history: KillHistory): Promise<void> {
    const templates = makeTemplates(loadEvents(), this.#cell.recordBytes);
    for (let kill = 0; kill < this.#kills; kill += 1) {
      const source = new RecordSource(templates, runIdentity(this.#plan.seed, kill));
      await this.#episode(kill, cluster, source, history);
      // The killed node stays down after a fault, so that nothing happens to the evidence.
      if (this.#faults.length > 0) return;
    }
    await this.#compareDirectories(cluster, history);
  }

  /** The history checker's word, which knows nothing of this program. */
  async #judge(path: string): Promise<void> {
    const { operations, anomalies, permitted } = await checkHistoryFile(path, { keep: 3 });
    for (const { anomaly, lines, message } of anomalies) {
      this.#faults.push(`history: ${anomaly}: ${message} (lines ${lines.join(', ')})`);
    }
    const excused = permitted.map(({ anomaly, count }) => `, ${whole(count)} × ${anomaly} permitted`).join('');
    console.log(
      `history of ${whole(operations)} operations checked: ${anomalies.length === 0 ? 'no anomaly' : 'ANOMALIES'}${excused}`,
    );
  }

  summary(): object {
    return {
      cell: this.#cell,
      kills: this.#episodes.map(({ run: _, ...episode }) => episode),
      faults: this.#faults,
    };
  }

  async #episode(kill: number, cluster: BenchCluster, source: RecordSource, history: KillHistory): Promise<void> {
    const paused = kill % 2 === 1 || this.#flags.mutant !== undefined;
    const load = { cell: this.#cell, source, producers: this.#plan.producers, window: this.#plan.window };
    const { results, killed, leader } = await killLeader(cluster, [load], {
      acknowledgedBefore: this.#records,
      acknowledgedAfter: RECORDS_AFTER,
      history,
      ...(paused && { pauseMs: this.#pauseMs }),
    });
    const result = results[0] as KillOutcome['results'][number];
    this.#episodes.push({ ...result, killed, leader });
    console.log(
      `kill ${kill + 1}/${this.#kills}: node ${killed} → ${leader}${paused ? ', followers paused' : ''}; ` +
        `${whole(result.acknowledgedBeforeKill)} acknowledged before, ${whole(result.acknowledged)} in all, ` +
        `${whole(result.inFlightAtKill)} in flight; down ${whole(result.unavailableMs)} ms, caught up in ${whole(result.catchUpMs ?? 0)} ms; ` +
        `${result.fault ?? `${whole(result.verified.verified)} compared, nothing lost`}`,
    );
    if (result.fault !== undefined) this.#faults.push(`kill ${kill + 1}, new leader (node ${leader}): ${result.fault}`);
    if (this.#cell.acks !== 0 && result.inFlightAtKill === 0) {
      this.#faults.push(`kill ${kill + 1} proves nothing: no batch was in flight`);
    }
  }

  /** The same comparison over the files of each node, once all are down. */
  async #compareDirectories(cluster: BenchCluster, history: KillHistory): Promise<void> {
    const topic = topicOf(this.#cell.flush);
    const end = await cluster.endOffset(topic);
    for (const node of cluster.nodeIds) await cluster.caughtUp(node, topic);
    await cluster.stop();
    for (const node of cluster.nodeIds) {
      const verifier = new Verifier(
        this.#episodes.map(({ run }) => run),
        0,
      );
      const batches: ReplicaBatch[] = [];
      const reached = await readStoredLog(cluster.dataFolder(node), topic, this.#cell.flush, 0, end, async (batch) => {
        batches.push(replicaBatch(batch));
        await verifier.addBatches([batch]);
      });
      history.replica(node, 0, end, batches);
      if (reached < end)
        this.#faults.push(`data directory of node ${node}: its log ends at ${reached}, ${end} were committed`);
      const found = verifier.finish();
      for (const [i, verification] of found.entries()) {
        const fault = findFault(verification, this.#cell.acks === 'all' ? 'all' : 0);
        if (fault !== undefined) this.#faults.push(`kill ${i + 1}, data directory of node ${node}: ${fault}`);
      }
      const compared = found.reduce((sum, { verified }) => sum + verified, 0);
      console.log(`data directory of node ${node}: ${whole(compared)} records compared`);
    }
  }
}

function wholeNumber(flag: string, text: string): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) < 1) {
    throw new VarveError('INVALID_CONFIG', `${flag}: "${text}" is no whole number from 1 on`);
  }
  return Number(text);
}

async function killTest(flags: KillFlags): Promise<boolean> {
  const test = new KillTest(flags);
  const cleanup = new Cleanup();
  cleanup.keepFolders = flags.keep === true;
  try {
    const faults = await test.run(cleanup);
    if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(test.summary(), null, 1)}\n`);
    for (const fault of faults) console.log(`FAULT ${fault}`);
    if (flags.mutant === undefined) {
      console.log(faults.length === 0 ? `passed: ${flags.kills} kills, no fault` : `FAILED: ${faults.length} faults`);
      return faults.length === 0;
    }
    console.log(faults.length > 0 ? 'passed: the planted bug was found' : 'FAILED: the planted bug was not found');
    return faults.length > 0;
  } finally {
    await cleanup.finish();
  }
}

const program = new Command('kill-test')
  .description('kill -9 of the leader under load, and a comparison of every record')
  .option('--kills <n>', 'times', '20')
  .option('--records <n>', 'acknowledged before each kill', '5000')
  .option('--acks <acks>', '0, 1 or all', 'all')
  .option('--flush <mode>', 'sync, async or none', 'sync')
  .option('--size <bytes>', 'bytes of a record', '1k')
  .option('--producers <n>', 'connections', '8')
  .option('--window <n>', 'records in flight per producer', '128')
  .option('--pause <ms>', 'the followers are paused this long before every second kill', '150')
  .option('--seed <n>', 'of the records', '1')
  .option('--mutant <name>', `run a copy with a bug planted in it: ${Object.keys(MUTANTS).join(', ')}`)
  .option('--json <file>', 'where the result goes')
  .option('--history <file>', 'where the history goes that the checker judges')
  .option('--keep', 'leave data and logs of the nodes where they are');

try {
  const passed = await killTest(program.parse().opts<KillFlags>());
  process.exit(passed ? 0 : 1);
} catch (error) {
  console.error(error instanceof VarveError ? `kill-test: ${error.code}: ${error.message}` : error);
  process.exit(error instanceof VarveError && error.code === 'INVALID_CONFIG' ? 2 : 1);
}
