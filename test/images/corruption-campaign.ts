/** Many damages, one after the other from their seed; counted by kind of file, damage and outcome. */
import { checkDamage, type Lie, OUTCOMES, type Outcome } from './corruption-check.js';
import { type Recording, recordStore } from './corruption-store.js';
import { corruptionWorkload, WORKLOAD_KINDS } from './corruption-workloads.js';
import { DAMAGES, type Damage, type DamageKind, makeDamage } from './damage.js';
import { FILE_KINDS, type FileKind } from './file-regions.js';
import { type Random, seeded } from './random.js';
import type { Scratch } from './scratch.js';

/** Stores that are damaged; each case chooses one. */
const RECORDINGS = 2 * WORKLOAD_KINDS;
const PARALLEL = 4;

export interface CorruptionFailure {
  readonly seed: number;
  readonly number: number;
  readonly workload: string;
  readonly damage: Damage;
  readonly problems: readonly string[];
}

interface Row {
  readonly outcomes: Map<Outcome, number>;
  cases: number;
  failures: number;
}

export interface CorruptionOptions {
  readonly scratch: Scratch;
  readonly seed: number;
  /** Of each kind of file and damage; 0.5: of half of them, by chance. */
  readonly cases: number;
  readonly files?: readonly FileKind[];
  readonly damages?: readonly DamageKind[];
  /** Only stores of this workload. */
  readonly workload?: string | undefined;
  /** Only the case of this number. */
  readonly number?: number | undefined;
  readonly lie?: Lie;
}

export class CorruptionTally {
  readonly rows = new Map<string, Row>();
  readonly failures: CorruptionFailure[] = [];

  count(damage: Damage, outcome: Outcome, hasFailed: boolean): void {
    const key = `${damage.fileKind}|${damage.kind}`;
    const row = this.rows.get(key) ?? { outcomes: new Map(), cases: 0, failures: 0 };
    row.cases++;
    if (hasFailed) row.failures++;
    else row.outcomes.set(outcome, (row.outcomes.get(outcome) ?? 0) + 1);
    this.rows.set(key, row);
  }

  get total(): number {
    return [...this.rows.values()].reduce((sum, { cases }) => sum + cases, 0);
  }
}

export class CorruptionCampaign {
  readonly tally = new CorruptionTally();
  readonly #options: CorruptionOptions;
  readonly #recordings = new Map<number, Promise<Recording>>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: CorruptionOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { files = FILE_KINDS, damages = DAMAGES, seed, cases, number } = this.#options;
    for (const fileKind of files) {
      for (const kind of damages) {
        const chance = seeded(seed, fileKind, kind, 'cases').below(1000) < (cases % 1) * 1000;
        const count = Math.floor(cases) + (chance ? 1 : 0);
        for (let i = number ?? 0; i < (number === undefined ? count : number + 1); i++) {
          if (!(await this.#start(fileKind, kind, i))) break;
        }
      }
    }
    await Promise.all(this.#running);
  }

  /** False when there is no such damage. */
  async #start(fileKind: FileKind, kind: DamageKind, number: number): Promise<boolean> {
    const { seed, scratch, lie } = this.#options;
    const random = seeded(seed, fileKind, kind, number);
    const damaged = await this.#damage(fileKind, kind, random);
    if (damaged === undefined) return false;
    const { recording, damage } = damaged;
    const checked = checkDamage(recording, damage, scratch, lie).then(({ outcome, problems }) => {
      this.tally.count(damage, outcome, problems.length > 0);
      if (problems.length > 0)
        this.tally.failures.push({ seed, number, workload: recording.workload.name, damage, problems });
      this.#running.delete(checked);
    });
    this.#running.add(checked);
    if (this.#running.size >= PARALLEL) await Promise.race(this.#running);
    return true;
  }

  /** Of a recording by chance, or of the next one that has such a file. */
  async #damage(fileKind: FileKind, kind: DamageKind, random: Random) {
    const { seed, workload } = this.#options;
    const seeds = Array.from({ length: RECORDINGS }, (_, i) => seed + i).filter((each) => {
      return workload === undefined || workload === corruptionWorkload(each).name;
    });
    const first = random.below(seeds.length);
    for (let i = 0; i < seeds.length; i++) {
      const chosen = seeds[(first + i) % seeds.length]!;
      const recording = await this.#recording(chosen);
      const other = await this.#recording(kind === 'foreign' ? this.#sameKind(chosen) : chosen);
      const damage = makeDamage(recording, other, fileKind, kind, random);
      if (damage !== undefined) return { recording, damage };
    }
    return undefined;
  }

  /** Another one of the same workload. */
  #sameKind(seed: number): number {
    const first = this.#options.seed;
    return first + ((seed - first + WORKLOAD_KINDS) % RECORDINGS);
  }

  #recording(seed: number): Promise<Recording> {
    const recording = this.#recordings.get(seed) ?? recordStore(this.#options.scratch, seed);
    this.#recordings.set(seed, recording);
    return recording;
  }
}

export function corruptionFailureText({ seed, number, workload, damage, problems }: CorruptionFailure): string {
  const { fileKind, kind, path, left, where } = damage;
  const replay = `CORRUPTION_FILE='${fileKind}' CORRUPTION_DAMAGE='${kind}' CORRUPTION_SEED=${seed} CORRUPTION_CASE=${number}`;
  return [
    `FAILED ${kind} of ${path} (${where}), a store '${workload}' that was ${left}`,
    ...problems.slice(0, 4).map((problem) => `  ${problem}`),
    `  replay: ${replay} npx vitest run test/images/corruption.test.ts`,
  ].join('\n');
}

export function corruptionTable({ rows, total, failures }: CorruptionTally): string {
  const head = ['file', 'damage', 'cases', ...OUTCOMES, 'failed'];
  const lines = [...rows].map(([key, { cases, outcomes, failures: failed }]) => [
    ...key.split('|'),
    String(cases),
    ...OUTCOMES.map((outcome) => String(outcomes.get(outcome) ?? 0)),
    String(failed),
  ]);
  const sums = OUTCOMES.map((outcome) => {
    return String([...rows.values()].reduce((sum, { outcomes }) => sum + (outcomes.get(outcome) ?? 0), 0));
  });
  const all = [head, ...lines, ['all', '', String(total), ...sums, String(failures.length)]];
  const widths = head.map((_, i) => Math.max(...all.map((line) => line[i]!.length)));
  return all
    .map((line) => line.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '))
    .join('\n');
}
