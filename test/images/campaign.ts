/**
 * A campaign over one workload: record it, take images of what a power cut could leave at every place of the trace, open and
 * check each. Also of the recovery of such images, and of a recovery after kill -9 (the page cache survived, and is all that
 * holds what was not synced).
 *
 * Threads interleave, so two recordings of a workload differ a little: a replay takes the same images of a new recording.
 */
import { createHash } from 'node:crypto';
import { Trace, type TraceEvent } from '../../src/disk/trace.js';
import type { VarveError } from '../../src/errors.js';
import { DiskModel } from './disk-model.js';
import { History, type Note } from './history.js';
import { IMAGE_KINDS, type Image, type ImageKind, makeImage } from './image-kinds.js';
import { type Random, seeded } from './random.js';
import type { Scratch } from './scratch.js';
import { verify } from './verifier.js';
import { Workbench } from './workbench.js';
import type { Workload } from './workloads.js';

const FIRST_BOOT = 'first boot';
const SECOND_BOOT = 'second boot';
/** Images that are checked at the same time. */
const PARALLEL = 4;

export interface ImageFailure {
  readonly operation: string;
  readonly seed: number;
  readonly event: number;
  readonly kind: ImageKind;
  readonly problems: readonly string[];
  /** The last events before the cut. */
  readonly context: readonly string[];
}

export interface CampaignOptions {
  readonly scratch: Scratch;
  readonly seed: number;
  /** About as many images. */
  readonly images: number;
  /** Only these. */
  readonly kinds?: readonly ImageKind[] | undefined;
}

/** Counts by operation and kind of image. */
export class Tally {
  readonly counts = new Map<string, Map<ImageKind, number>>();
  readonly failures: ImageFailure[] = [];

  count(operation: string, kind: ImageKind): void {
    const kinds = this.counts.get(operation) ?? new Map<ImageKind, number>();
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    this.counts.set(operation, kinds);
  }

  of(operation: string): number {
    return [...(this.counts.get(operation)?.values() ?? [])].reduce((sum, count) => sum + count, 0);
  }

  get total(): number {
    return [...this.counts.keys()].reduce((sum, operation) => sum + this.of(operation), 0);
  }
}

/** Images of the workload itself. `alter`: what the trace is to say instead, for tests of the tests. */
export async function cutWorkload(
  workload: Workload,
  options: CampaignOptions,
  tally: Tally,
  alter: (events: readonly TraceEvent[]) => readonly TraceEvent[] = (events) => events,
): Promise<void> {
  const events = alter(await record(workload, options.scratch, options.seed));
  const run = new Run(workload, workload.name, options, tally);
  await run.cut(new DiskModel(new Map()), events, new History(), FIRST_BOOT);
}

/** Images of the recovery after a power cut in the workload. */
export async function cutRecovery(workload: Workload, options: CampaignOptions, tally: Tally): Promise<void> {
  const { scratch, seed } = options;
  const random = seeded(seed, workload.name, 'recovery');
  const events = await record(workload, scratch, seed);
  const { model, history } = replayed(events, somewhere(events, random));
  const kind = IMAGE_KINDS[random.below(IMAGE_KINDS.length)]!;
  const image = makeImage(model, kind, random) ?? makeImage(model, 'all', random)!;
  const run = new Run(workload, 'recovery', options, tally);
  const recovery = await run.recover(image, history, SECOND_BOOT);
  await run.cut(new DiskModel(image), recovery, history, SECOND_BOOT);
}

/** Images of the recovery after kill -9 in the workload: what was not synced then still may be lost. */
export async function cutRestart(workload: Workload, options: CampaignOptions, tally: Tally): Promise<void> {
  const { scratch, seed } = options;
  const random = seeded(seed, workload.name, 'restart');
  const events = await record(workload, scratch, seed);
  const { model, history } = replayed(events, somewhere(events, random));
  const run = new Run(workload, 'restart', options, tally);
  const recovery = await run.recover(cacheOf(model), history, FIRST_BOOT);
  model.nextTrace();
  await run.cut(model, recovery, history, FIRST_BOOT);
}

export async function record(workload: Workload, scratch: Scratch, seed: number): Promise<TraceEvent[]> {
  const directory = scratch.directory();
  const bench = new Workbench(directory, FIRST_BOOT);
  await workload.run(bench, seeded(seed, workload.name));
  const error = bench.errors.find((each) => !workload.fills || (each as VarveError).code !== 'DISK_FULL');
  if (error !== undefined) throw new Error(`workload ${workload.name} fails without any fault`, { cause: error });
  const events = bench.trace.take();
  await bench.close();
  scratch.remove(directory);
  return events;
}

/** As after the first `count` events. */
export function replayed(events: readonly TraceEvent[], count: number): { model: DiskModel; history: History } {
  const model = new DiskModel(new Map());
  const history = new History();
  for (const event of events.slice(0, count)) step(model, history, event);
  return { model, history };
}

function step(model: DiskModel, history: History, event: TraceEvent): void {
  if (event.kind === 'note') history.add(JSON.parse(event.text) as Note);
  else model.apply(event);
}

/** What every process sees of the files: all writes, synced or not. */
export function cacheOf(model: DiskModel): Image {
  return makeImage(model, 'all', { below: () => 0 })!;
}

function somewhere(events: readonly TraceEvent[], random: Random): number {
  return 1 + random.below(events.length);
}

class Run {
  readonly #workload: Workload;
  readonly #operation: string;
  readonly #options: CampaignOptions;
  readonly #tally: Tally;
  readonly #seen = new Set<string>();
  readonly #running = new Set<Promise<void>>();

  constructor(workload: Workload, operation: string, options: CampaignOptions, tally: Tally) {
    this.#workload = workload;
    this.#operation = operation;
    this.#options = options;
    this.#tally = tally;
  }

  /** Opens an image, and takes down how. */
  async recover(image: Image, history: History, bootId: string): Promise<TraceEvent[]> {
    const { scratch } = this.#options;
    const directory = scratch.directory(image);
    const trace = new Trace();
    const problems = await verify({ ...this.#case(directory, history, bootId), trace });
    if (problems.length > 0) this.#fail(0, 'all', problems, []);
    scratch.remove(directory);
    return trace.take();
  }

  /** Takes images all along the events, and checks each. */
  async cut(model: DiskModel, events: readonly TraceEvent[], history: History, bootId: string): Promise<void> {
    const { images, seed, kinds = IMAGE_KINDS } = this.#options;
    // A cut after the first boot is followed by another boot; one after a recovery by the next one.
    const nextBoot = bootId === FIRST_BOOT ? SECOND_BOOT : 'third boot';
    const places = events.filter(isPlace).length;
    let left = images;
    let placesLeft = places;
    for (const [index, event] of events.entries()) {
      step(model, history, event);
      if (!isPlace(event)) continue;
      const random = seeded(seed, this.#workload.name, this.#operation, index);
      // Evenly over the places that are left, by chance where there are more places than images.
      const share = left / placesLeft--;
      const count = Math.floor(share) + (random.below(1000) < (share % 1) * 1000 ? 1 : 0);
      for (let i = 0; i < count; i++) {
        const kind = kinds[random.below(kinds.length)]!;
        const image = makeImage(model, kind, random);
        if (image === undefined || !this.#isNew(image, history)) continue;
        left--;
        const context = events.slice(Math.max(0, index - 5), index + 1).map(shortly);
        await this.#start(image, kind, history.copy(), nextBoot, index, context);
      }
    }
    await Promise.all(this.#running);
  }

  async #start(
    image: Image,
    kind: ImageKind,
    history: History,
    bootId: string,
    event: number,
    context: readonly string[],
  ): Promise<void> {
    const { scratch } = this.#options;
    const directory = scratch.directory(image);
    const checked = verify(this.#case(directory, history, bootId)).then((problems) => {
      scratch.remove(directory);
      this.#tally.count(this.#operation, kind);
      if (problems.length > 0) this.#fail(event, kind, problems, context);
      this.#running.delete(checked);
    });
    this.#running.add(checked);
    if (this.#running.size >= PARALLEL) await Promise.race(this.#running);
  }

  #case(directory: string, history: History, bootId: string) {
    const { logs, options } = this.#workload;
    return { directory, logs, options, history, bootId };
  }

  #fail(event: number, kind: ImageKind, problems: readonly string[], context: readonly string[]): void {
    const { seed } = this.#options;
    this.#tally.failures.push({
      operation: `${this.#operation}:${this.#workload.name}`,
      seed,
      event,
      kind,
      problems,
      context,
    });
  }

  /** The same bytes with the same promises are checked once. */
  #isNew(image: Image, history: History): boolean {
    const hash = createHash('md5').update(String(history.version));
    for (const [path, bytes] of image) hash.update(path).update(String(bytes.length)).update(bytes);
    const key = hash.digest('base64');
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    return true;
  }
}

/** Events after which the disk or a promise is another. */
function isPlace({ kind }: TraceEvent): boolean {
  return kind !== 'open' && kind !== 'write-back' && kind !== 'sync-begin';
}

export function shortly({ kind, path, position, length, text, error }: TraceEvent): string {
  const where = length > 0 ? ` [${position}, ${position + length})` : '';
  return [kind, path, where, text.slice(0, 160), error ?? ''].filter((part) => part !== '').join(' ');
}

/** The line that takes these images again. */
export function replayCommand(failure: ImageFailure): string {
  const { operation, seed, kind } = failure;
  return `IMAGES_OPERATION=${operation} IMAGES_SEED=${seed} IMAGES_KIND=${kind} IMAGES=2000 npx vitest run test/images/images.test.ts`;
}

export function failureText(failure: ImageFailure): string {
  const { operation, seed, event, kind, problems, context } = failure;
  return [
    `FAILED ${operation}, seed ${seed}, event ${event}, image kind ${kind}`,
    ...problems.slice(0, 5).map((problem) => `  ${problem}`),
    ...context.map((line) => `    after: ${line}`),
    `  replay: ${replayCommand(failure)}`,
  ].join('\n');
}

export function tallyTable(tally: Tally): string {
  const head = ['operation', ...IMAGE_KINDS, 'images', 'failed'];
  const rows = [...tally.counts.keys()].map((operation) => [
    operation,
    ...IMAGE_KINDS.map((kind) => String(tally.counts.get(operation)?.get(kind) ?? 0)),
    String(tally.of(operation)),
    String(tally.failures.filter((failure) => failure.operation.split(':')[0] === operation).length),
  ]);
  const all = [
    head,
    ...rows,
    ['all', ...IMAGE_KINDS.map(() => ''), String(tally.total), String(tally.failures.length)],
  ];
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i]!.length)));
  return all
    .map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '))
    .join('\n');
}
