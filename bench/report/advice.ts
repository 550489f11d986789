/**
 * What the figures say, in plain sentences. Each follows from numbers of this run, names them, and is left out when the
 * run did not measure them or could not tell the two sides apart.
 */
import type { BenchPlan, BatchSetting, CellSettings } from '../plan.js';
import { batchName } from '../plan.js';
import type { CellResult, FloorResult, KillResult } from '../result.js';
import { comparePairs, PAIRS_MIN } from '../statistics.js';
import { findCell } from '../summary.js';
import { bytes, count, milliseconds, ratio, whole } from './format.js';

export interface AdviceInput {
  readonly plan: BenchPlan;
  readonly cells: readonly CellResult[];
  readonly floors: readonly FloorResult[];
  readonly kills: readonly KillResult[];
}

export function adviceFor(input: AdviceInput): string[] {
  const sentences: (string | undefined)[] = [];
  for (const recordBytes of [...input.plan.recordBytes].reverse()) {
    sentences.push(
      strictest(input, recordBytes),
      priceOfFlush(input, recordBytes),
      priceOfMajority(input, recordBytes),
      priceOfSmallBatches(input, recordBytes),
      codecs(input, recordBytes),
    );
  }
  sentences.push(...losses(input.kills), failover(input.kills));
  return sentences.filter((sentence) => sentence !== undefined);
}

/** The cell of acks × flush at the batch and codec of the grid. */
function gridCell(input: AdviceInput, acks: CellSettings['acks'], flush: CellSettings['flush'], recordBytes: number) {
  const at = { acks, flush, recordBytes };
  return findCell(input.cells, { ...at, batch: 256 * 1024, compression: 'none' }) ?? findCell(input.cells, at);
}

function strictest(input: AdviceInput, recordBytes: number): string | undefined {
  const cell = gridCell(input, 'all', 'sync', recordBytes);
  if (cell === undefined) return undefined;
  const { recordsPerSecond, p99Ms, ratioToFloor } = cell.summary;
  return (
    `With acks=all and flush=sync (the default: nothing acknowledged is lost, whatever single thing fails) this machine takes ` +
    `${count(recordsPerSecond.median)} records of ${bytes(recordBytes)} a second, 99 of 100 within ${milliseconds(p99Ms.median)} ms: ` +
    `${ratio(ratioToFloor.median)} of what three bare servers reach that keep no checksum, index or term.`
  );
}

interface Comparison {
  readonly ratio: number;
  readonly differs: boolean;
}

/** Two cells of the same rounds; undefined when there are too few of these to say anything. */
function compare(a: CellResult, b: CellResult, seed: number): Comparison | undefined {
  const byRound = new Map(b.rounds.map((round) => [round.round, round.recordsPerSecond]));
  const pairs = a.rounds.filter((round) => byRound.has(round.round));
  if (pairs.length < PAIRS_MIN) return undefined;
  const { ratio: median, verdict } = comparePairs(
    pairs.map((round) => round.recordsPerSecond),
    pairs.map((round) => byRound.get(round.round) as number),
    seed,
  );
  return { ratio: median, differs: verdict !== 'not distinguishable' };
}

function priceOfFlush(input: AdviceInput, recordBytes: number): string | undefined {
  const sync = gridCell(input, 'all', 'sync', recordBytes);
  const relaxed = gridCell(input, 'all', 'async', recordBytes) ?? gridCell(input, 'all', 'none', recordBytes);
  if (sync === undefined || relaxed === undefined) return undefined;
  const compared = compare(relaxed, sync, input.plan.seed);
  if (compared === undefined) return undefined;
  const { ratio: gain, differs } = compared;
  const flush = relaxed.settings.flush;
  if (!differs) {
    return `At ${bytes(recordBytes)}, flush=${flush} is not distinguishable from flush=sync here: keep sync, which also survives a power cut of every node.`;
  }
  return gain > 1
    ? `At ${bytes(recordBytes)}, flush=${flush} takes ${ratio(gain)} × the records of flush=sync; the price is what a simultaneous power cut of a majority may lose.`
    : `At ${bytes(recordBytes)}, flush=${flush} is no faster than flush=sync here (${ratio(gain)} ×): there is no reason to give the disk up.`;
}

function priceOfMajority(input: AdviceInput, recordBytes: number): string | undefined {
  const all = gridCell(input, 'all', 'sync', recordBytes);
  const one = gridCell(input, 1, 'sync', recordBytes);
  if (all === undefined || one === undefined) return undefined;
  const compared = compare(one, all, input.plan.seed);
  if (compared === undefined) return undefined;
  const { ratio: gain, differs } = compared;
  const kill = input.kills.find((k) => k.acks === 1 && k.flush === 'sync');
  const loss =
    kill !== undefined && kill.verified.lost > 0
      ? ` It lost ${whole(kill.verified.lost)} of ${whole(kill.acknowledged)} acknowledged records when the leader was killed.`
      : '';
  if (!differs)
    return `At ${bytes(recordBytes)}, acks=1 is not distinguishable from acks=all: it gives up safety for nothing here.${loss}`;
  return `At ${bytes(recordBytes)}, acks=1 takes ${ratio(gain)} × the records of acks=all at flush=sync.${loss}`;
}

function priceOfSmallBatches(input: AdviceInput, recordBytes: number): string | undefined {
  const at = (batch: BatchSetting) =>
    findCell(input.cells, { acks: 'all', flush: 'sync', compression: 'none', recordBytes, batch });
  const single = at('record');
  const largest = [...input.plan.batch].filter((batch) => batch !== 'record').sort((a, b) => Number(b) - Number(a))[0];
  const large = largest === undefined ? undefined : at(largest);
  if (single === undefined || large === undefined || largest === undefined) return undefined;
  const compared = compare(large, single, input.plan.seed);
  if (compared === undefined || !compared.differs) return undefined;
  return `At ${bytes(recordBytes)}, batches of up to ${batchName(largest)} take ${ratio(compared.ratio)} × the records of one-record batches; a batch is what is stored, checked and sent as one, so let the producer gather.`;
}

function codecs(input: AdviceInput, recordBytes: number): string | undefined {
  const at = (compression: CellSettings['compression']) =>
    findCell(input.cells, { acks: 'all', flush: 'sync', recordBytes, batch: 256 * 1024, compression });
  const none = at('none');
  if (none === undefined) return undefined;
  const said = input.plan.compression
    .filter((name) => name !== 'none')
    .flatMap((name) => {
      const cell = at(name);
      if (cell === undefined) return [];
      const compared = compare(cell, none, input.plan.seed);
      if (compared === undefined) return [];
      const speed = compared.differs
        ? `${ratio(compared.ratio)} × the records/s`
        : 'no distinguishable change of records/s';
      return [`${name} stores 1/${ratio(cell.summary.compressionRatio.median)} of the bytes at ${speed}`];
    });
  if (said.length === 0) return undefined;
  return `On these events of ${bytes(recordBytes)}, in batches of 256 KiB at acks=all and flush=sync: ${said.join('; ')}.`;
}

function losses(kills: readonly KillResult[]): string[] {
  const safe = kills.filter((kill) => kill.mustLoseNothing && kill.verified.lost === 0);
  const lossy = kills.filter((kill) => kill.verified.lost > 0);
  const sentences: string[] = [];
  if (safe.length > 0) {
    const records = safe.reduce((sum, kill) => sum + kill.acknowledged, 0);
    sentences.push(
      `kill -9 of the leader lost none of ${whole(records)} records acknowledged under ${safe.map((k) => `acks=${k.acks} ${k.flush}`).join(', ')}. ` +
        `A killed process leaves its page cache behind, so this says nothing about a power cut.`,
    );
  }
  for (const acks of [0, 1, 'all'] as const) {
    const of = lossy.filter((kill) => kill.acks === acks);
    if (of.length === 0) continue;
    const counts = of
      .map((kill) => `${kill.flush} ${whole(kill.verified.lost)} of ${whole(kill.acknowledged)}`)
      .join(', ');
    const promise = of.some((kill) => kill.mustLoseNothing)
      ? 'This breaks its promise.'
      : 'It may: it waits for nobody but the leader.';
    sentences.push(`acks=${acks} lost acknowledged records when the leader was killed (${counts}). ${promise}`);
  }
  return sentences;
}

function failover(kills: readonly KillResult[]): string | undefined {
  if (kills.length === 0) return undefined;
  const down = kills.map((kill) => kill.unavailableMs).sort((a, b) => a - b);
  const [least, most] = [whole(down[0] as number), whole(down.at(-1) as number)];
  return `After the leader was killed, records were taken again within ${least === most ? most : `${least} to ${most}`} ms: buffer that much on the producer's side.`;
}
