/**
 * A run from beginning to end: preflight, floors, cluster, rounds, kill tests, result. Everything it starts is ended and
 * everything it writes is removed before it returns or throws.
 */
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { VarveError } from '../src/errors.js';
import type { Cleanup } from './cleanup.js';
import { BenchCluster } from './cluster.js';
import { captureEnvironment } from './environment.js';
import { FloorCluster, type FloorStorage } from './floor/floor-cluster.js';
import { runSyncLoop } from './floor/sync-loop.js';
import { killLeader } from './kill/kill-leader.js';
import { loadEvents, makeTemplates, RecordSource, type RecordTemplates, runIdentity } from './payload/record-source.js';
import type { Compression } from '../src/record/types.js';
import { type BenchPlan, type CellSettings, cellName, cellsOf, floorOf, type PlanStep, roundSteps } from './plan.js';
import type { Progress, StepKinds } from './progress.js';
import { adviceFor } from './report/advice.js';
import { bytes, count, milliseconds, whole } from './report/format.js';
import {
  type BenchResult,
  type CellResult,
  type CellRound,
  type FloorResult,
  type KillResult,
  RESULT_SCHEMA,
  RESULT_SCHEMA_VERSION,
} from './result.js';
import { measureCell, measureFloor } from './round.js';
import { median } from './statistics.js';
import { floorProblem, summarizeCell, summarizeFloor } from './summary.js';
import { durabilityDoubts, fileSystemOf, Yardstick, type YardstickReading } from './yardstick.js';

/** Floor (a): records written at a time. 64 KiB is what floor (b) has in a frame. */
const SYNC_LOOP_BYTES = [0, 64 * 1024];
const SYNC_LOOP_MS = 250;
/** What a kill test takes, most of it the election and the restart, until one was seen. */
const KILL_SECONDS = 6;
/** Before the leader is killed, and by the next one. */
const KILL_RECORDS_BEFORE = 5000;
const KILL_RECORDS_AFTER = 2000;

export interface RunOptions {
  readonly plan: BenchPlan;
  readonly command: string;
  /** Where data goes: an existing folder. */
  readonly folder: string;
  readonly cleanup: Cleanup;
  readonly progress: (kinds: StepKinds) => Progress;
}

type Unpaired = Omit<CellRound, 'ratioToFloor'>;

/** What a run has gathered so far. */
class Findings {
  readonly cells = new Map<string, { readonly settings: CellSettings; readonly rounds: Unpaired[] }>();
  readonly floors = new Map<
    string,
    Omit<FloorResult, 'rounds' | 'summary'> & { readonly rounds: FloorResult['rounds'][number][] }
  >();
  readonly yardstick: (YardstickReading & { readonly round: number })[] = [];
  readonly kills: KillResult[] = [];
  readonly failures: string[] = [];
  readonly problems: string[] = [];
  readonly warnings: string[] = [];

  addFloor(floor: Omit<FloorResult, 'rounds' | 'summary'>, round: FloorResult['rounds'][number]): void {
    const key = `${floor.kind} ${floor.storage} ${floor.recordBytes} ${floor.recordsPerSync ?? ''}`;
    const known = this.floors.get(key) ?? { ...floor, rounds: [] };
    known.rounds.push(round);
    this.floors.set(key, known);
  }

  addCell(settings: CellSettings, round: Unpaired): void {
    const key = cellName(settings);
    const known = this.cells.get(key) ?? { settings, rounds: [] };
    known.rounds.push(round);
    this.cells.set(key, known);
  }
}

class Run {
  readonly #options: RunOptions;
  readonly #plan: BenchPlan;
  readonly #templates: ReadonlyMap<number, RecordTemplates>;
  readonly #findings = new Findings();
  readonly #yardstick: Yardstick;
  #runs = 0;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#plan = options.plan;
    const events = loadEvents(options.plan.payloadFile);
    this.#templates = new Map(options.plan.recordBytes.map((size) => [size, makeTemplates(events, size)]));
    this.#yardstick = new Yardstick(options.folder);
  }

  async execute(): Promise<BenchResult> {
    const startedAt = new Date();
    const started = performance.now();
    const environment = captureEnvironment(this.#options.folder);
    const kills = this.#plan.killTests ? this.#killCells() : [];
    const progress = this.#options.progress(this.#stepKinds(kills.length));
    this.#preflight(progress);
    const floors = await this.#startFloors();
    const cluster = await this.#startCluster();
    const elapsed = () => (performance.now() - started) / 1000;
    for (let round = 0; round < this.#plan.rounds; round += 1) {
      const before = elapsed();
      await this.#round(round, cluster, floors, progress);
      const another = elapsed() - before + kills.length * KILL_SECONDS;
      if (
        round + 1 < this.#plan.rounds &&
        this.#isOver(elapsed() + another, `only ${round + 1} of ${this.#plan.rounds} rounds were measured`)
      ) {
        break;
      }
    }
    for (const floor of floors.values()) await floor.stop();
    for (const [i, cells] of kills.entries()) {
      if (this.#isOver(elapsed() + KILL_SECONDS, `only ${i} of ${kills.length} kill tests were made`)) break;
      if (!(await this.#kill(cluster, cells, progress))) break;
    }
    const killed = await cluster.stop();
    if (killed.length > 0)
      this.#findings.warnings.push(`node ${killed.join(', ')} did not close by itself and was killed`);
    progress.close();
    return this.#result(environment, startedAt, elapsed());
  }

  close(): void {
    this.#yardstick.close();
  }

  /** True when going on would exceed the plan's budget of time; says so in the result. */
  #isOver(secondsThen: number, consequence: string): boolean {
    const { budgetSeconds } = this.#plan;
    if (budgetSeconds === undefined || secondsThen <= budgetSeconds) return false;
    this.#findings.warnings.push(
      `This machine was too slow for the ${budgetSeconds} s of the preset "${this.#plan.preset}": ${consequence}. --preset full takes the time it needs.`,
    );
    return true;
  }

  #stepKinds(kills: number): StepKinds {
    const seconds = this.#plan.seconds + this.#plan.warmUpSeconds;
    const steps = roundSteps(this.#plan, 0);
    const inAllRounds = (kind: PlanStep['kind']) =>
      this.#plan.rounds * steps.filter((step) => step.kind === kind).length;
    return {
      cell: { count: inAllRounds('cell'), expectedSeconds: seconds + 0.5 },
      floor: { count: inAllRounds('floor'), expectedSeconds: seconds + 0.1 },
      'sync-loop': { count: inAllRounds('sync-loop'), expectedSeconds: (2 * SYNC_LOOP_MS) / 1000 + 0.1 },
      kill: { count: kills, expectedSeconds: KILL_SECONDS },
    };
  }

  #preflight(progress: Progress): void {
    const reading = this.#yardstick.read();
    const fileSystem = fileSystemOf(this.#options.folder);
    progress.say(
      `disk: ${fileSystem}, 4 KiB write + fdatasync ${reading.medianMs.toFixed(3)} ms (p90 ${reading.p90Ms.toFixed(3)}, max ${reading.maxMs.toFixed(1)})`,
    );
    for (const doubt of durabilityDoubts(fileSystem, reading)) {
      this.#findings.warnings.push(`No durable claim here: ${doubt}.`);
      progress.say(`warning: no durable claim here: ${doubt}`);
    }
  }

  async #startFloors(): Promise<Map<FloorStorage, FloorCluster>> {
    const needed = new Set(cellsOf(this.#plan).map(floorOf));
    const floors = new Map<FloorStorage, FloorCluster>();
    for (const storage of needed)
      floors.set(storage, await FloorCluster.start(storage, this.#options.folder, this.#options.cleanup));
    return floors;
  }

  #startCluster(): Promise<BenchCluster> {
    const folder = `${this.#options.folder}/cluster`;
    mkdirSync(folder);
    return BenchCluster.start({ folder }, this.#options.cleanup);
  }

  async #round(
    round: number,
    cluster: BenchCluster,
    floors: ReadonlyMap<FloorStorage, FloorCluster>,
    progress: Progress,
  ): Promise<void> {
    const readings: YardstickReading[] = [];
    for (const step of roundSteps(this.#plan, round)) {
      const name = stepName(step);
      progress.begin(`round ${round + 1}/${this.#plan.rounds}  ${name}`);
      await this.#settleDisk();
      const reading = this.#yardstick.read();
      readings.push(reading);
      const outcome = await this.#step(step, round, reading.medianMs, cluster, floors);
      progress.end(step.kind, name, outcome);
    }
    this.#findings.yardstick.push({
      round,
      medianMs: median(readings.map((reading) => reading.medianMs)),
      p90Ms: median(readings.map((reading) => reading.p90Ms)),
      maxMs: Math.max(...readings.map((reading) => reading.maxMs)),
    });
  }

  async #step(
    step: PlanStep,
    round: number,
    yardstickMs: number,
    cluster: BenchCluster,
    floors: ReadonlyMap<FloorStorage, FloorCluster>,
  ): Promise<string> {
    if (step.kind === 'sync-loop') return this.#syncLoops(step.recordBytes, round, yardstickMs);
    if (step.kind === 'floor') {
      const floor = floors.get(step.storage) as FloorCluster;
      const measured = await measureFloor(floor, this.#plan, this.#source(step.recordBytes));
      const { storage, recordBytes } = step;
      this.#findings.addFloor({ kind: 'server', storage, recordBytes }, { ...measured, round, yardstickMs });
      return `${count(measured.recordsPerSecond)} records/s, p50 ${milliseconds(measured.p50Ms)} ms`;
    }
    const name = cellName(step.cell);
    const { fault, leaderChanged, ...measured } = await measureCell(
      cluster,
      this.#plan,
      step.cell,
      this.#source(step.cell.recordBytes),
    );
    if (fault !== undefined) this.#findings.failures.push(`${name}, round ${round + 1}: ${fault}`);
    if (leaderChanged)
      this.#findings.warnings.push(`${name}, round ${round + 1}: the leader changed while it was measured`);
    if (measured.errors > 0) {
      this.#findings.warnings.push(
        `${name}, round ${round + 1}: ${measured.errors} sends failed (${measured.firstError})`,
      );
    }
    if ((measured.behindRecords ?? 0) > this.#plan.producers * this.#plan.window) {
      this.#findings.problems.push(
        `${name}, round ${round + 1}: ${measured.behindRecords} records behind the schedule of --rate`,
      );
    }
    this.#findings.addCell(step.cell, { ...measured, round, yardstickMs });
    return `${count(measured.recordsPerSecond)} records/s, p50 ${milliseconds(measured.p50Ms)} ms, p99 ${milliseconds(measured.p99Ms)} ms, ${whole(measured.verified.verified)} verified`;
  }

  async #syncLoops(recordBytes: number, round: number, yardstickMs: number): Promise<string> {
    const said: string[] = [];
    for (const chunkBytes of SYNC_LOOP_BYTES) {
      const recordsPerSync = Math.max(1, Math.floor(chunkBytes / recordBytes));
      const { records, seconds } = await runSyncLoop(
        this.#options.folder,
        this.#source(recordBytes),
        recordsPerSync,
        SYNC_LOOP_MS,
      );
      const recordsPerSecond = records / seconds;
      const mbPerSecond = (recordsPerSecond * recordBytes) / 1e6;
      const floor = { kind: 'sync-loop', storage: 'disk', recordBytes, recordsPerSync } as const;
      this.#findings.addFloor(floor, { round, recordsPerSecond, mbPerSecond, yardstickMs });
      said.push(`${count(recordsPerSecond)} records/s at ${recordsPerSync} a sync`);
    }
    return said.join(', ');
  }

  /** One kill per flush mode, under a load for each acks, at the batch and codec of the grid and the largest records. */
  #killCells(): CellSettings[][] {
    const recordBytes = Math.max(...this.#plan.recordBytes);
    const batch = Math.max(...this.#plan.batch.map((setting) => (setting === 'record' ? 1 : setting)));
    const compression = this.#plan.compression.includes('none') ? 'none' : (this.#plan.compression[0] as Compression);
    return this.#plan.flush.map((flush) =>
      this.#plan.acks.map((acks) => ({ acks, flush, batch: batch === 1 ? 'record' : batch, compression, recordBytes })),
    );
  }

  /** False when a promise was broken: the cluster is one node short then. */
  async #kill(cluster: BenchCluster, cells: readonly CellSettings[], progress: Progress): Promise<boolean> {
    const name = `kill -9 of the leader, flush=${cells[0]?.flush}`;
    progress.begin(name);
    const producers = Math.max(1, Math.floor(this.#plan.producers / cells.length));
    const loads = cells.map((cell) => {
      const source = this.#source(cell.recordBytes);
      return { cell, source, producers, window: this.#plan.window };
    });
    const { results } = await killLeader(cluster, loads, {
      acknowledgedBefore: KILL_RECORDS_BEFORE,
      acknowledgedAfter: KILL_RECORDS_AFTER,
    });
    for (const { fault, run: _, ...result } of results) {
      if (fault !== undefined) this.#findings.failures.push(`${name}, acks=${result.acks}: ${fault}`);
      this.#findings.kills.push(result);
    }
    const lost = results.map(
      ({ acks, acknowledged, verified }) => `acks=${acks} ${whole(verified.lost)} of ${whole(acknowledged)}`,
    );
    progress.end('kill', name, `lost ${lost.join(', ')}`);
    return results.every((result) => result.fault === undefined);
  }

  #source(recordBytes: number): RecordSource {
    this.#runs += 1;
    return new RecordSource(
      this.#templates.get(recordBytes) as RecordTemplates,
      runIdentity(this.#plan.seed, this.#runs),
    );
  }

  /** What earlier steps left in the page cache is written out now, and not during the next one. */
  async #settleDisk(): Promise<void> {
    const child = this.#options.cleanup.spawn('sync', [], { stdio: 'ignore' });
    await Promise.race([once(child, 'exit'), once(child, 'error')]);
  }

  #result(environment: BenchResult['environment'], startedAt: Date, seconds: number): BenchResult {
    const plan = this.#plan;
    const { yardstick, kills, failures, warnings, problems } = this.#findings;
    const floors = [...this.#findings.floors.values()].map((floor) => ({
      ...floor,
      summary: summarizeFloor(floor.rounds),
    }));
    for (const floor of floors) {
      const problem = floorProblem(floor, plan.producers, plan.window);
      if (problem !== undefined) problems.push(problem);
    }
    const cells = [...this.#findings.cells.values()].map((cell) => pair(cell, floors, plan.seed));
    return {
      schema: RESULT_SCHEMA,
      schemaVersion: RESULT_SCHEMA_VERSION,
      command: this.#options.command,
      startedAt: startedAt.toISOString(),
      seconds,
      plan,
      environment,
      yardstick,
      valid: problems.length === 0,
      problems,
      failed: failures.length > 0,
      failures,
      warnings,
      floors,
      cells,
      kills,
      advice: adviceFor({ plan, cells, floors, kills }),
    };
  }
}

/** Each round of a cell beside the same round of its floor. */
function pair(
  cell: { readonly settings: CellSettings; readonly rounds: readonly Unpaired[] },
  floors: readonly FloorResult[],
  seed: number,
): CellResult {
  const storage = floorOf(cell.settings);
  const floor = floors.find(
    (candidate) =>
      candidate.kind === 'server' &&
      candidate.storage === storage &&
      candidate.recordBytes === cell.settings.recordBytes,
  );
  const rounds = cell.rounds.map((round) => {
    const beside = floor?.rounds.find((candidate) => candidate.round === round.round);
    if (beside === undefined) throw new VarveError('INVARIANT_BROKEN', `round ${round.round} has no floor`);
    return { ...round, ratioToFloor: round.recordsPerSecond / beside.recordsPerSecond };
  });
  return { settings: cell.settings, floor: storage, rounds, summary: summarizeCell(rounds, seed) };
}

function stepName(step: PlanStep): string {
  if (step.kind === 'cell') return cellName(step.cell);
  if (step.kind === 'floor') return `floor: 3 bare servers, ${step.storage}, ${bytes(step.recordBytes)}`;
  return `floor: write + fdatasync, ${bytes(step.recordBytes)}`;
}

export async function runBench(options: RunOptions): Promise<BenchResult> {
  const run = new Run(options);
  try {
    return await run.execute();
  } finally {
    run.close();
  }
}
