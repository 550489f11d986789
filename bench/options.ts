/**
 * Flags into a plan. Every flag is checked here, once, with a message that names the flag, the value and what would be
 * right; the command prints it and exits with 2.
 */
import type { Acks } from '../src/client/options.js';
import type { FlushMode } from '../src/disk/disk.js';
import { VarveError } from '../src/errors.js';
import { COMPRESSIONS, type Compression } from '../src/record/types.js';
import { MAX_PRODUCERS, MAX_RECORD_BYTES, MIN_RECORD_BYTES } from './payload/record-source.js';
import { type BatchSetting, type BenchPlan, PRESETS, type PresetName } from './plan.js';

/** As the command line gives them: everything is text. */
export interface BenchFlags {
  readonly preset?: string;
  readonly acks?: string;
  readonly flush?: string;
  readonly batch?: string;
  readonly compression?: string;
  readonly size?: string;
  readonly rounds?: string;
  readonly repeats?: string;
  readonly seconds?: string;
  readonly warmup?: string;
  readonly producers?: string;
  readonly window?: string;
  readonly rate?: string;
  readonly payload?: string;
  readonly seed?: string;
  readonly kill?: boolean;
}

const ACKS: readonly Acks[] = [0, 1, 'all'];
const FLUSH_MODES: readonly FlushMode[] = ['sync', 'async', 'none'];
const MAX_WINDOW = 100_000;
const MAX_BATCH_BYTES = 1024 * 1024;
/** Records in flight are held in memory twice. */
const MAX_IN_FLIGHT_BYTES = 512 * 1024 * 1024;

/** @throws VarveError INVALID_CONFIG */
export function planFrom(flags: BenchFlags): BenchPlan {
  const preset = presetOf(flags.preset ?? 'default');
  const { about: _, ...base } = PRESETS[preset];
  if (flags.rounds !== undefined && flags.repeats !== undefined) {
    throw invalid('--rounds and --repeats are two names of one thing: give one of them');
  }
  const rounds = flags.rounds ?? flags.repeats;
  const plan: BenchPlan = {
    ...base,
    preset,
    acks: listOf('--acks', flags.acks, ACKS) ?? base.acks,
    flush: listOf('--flush', flags.flush, FLUSH_MODES) ?? base.flush,
    compression: listOf<Compression>('--compression', flags.compression, COMPRESSIONS) ?? base.compression,
    batch: flags.batch === undefined ? base.batch : items('--batch', flags.batch).map(batchOf),
    recordBytes: flags.size === undefined ? base.recordBytes : items('--size', flags.size).map(recordBytesOf),
    rounds: rounds === undefined ? base.rounds : wholeNumber('--rounds', rounds, 1, 1000),
    seconds: flags.seconds === undefined ? base.seconds : decimal('--seconds', flags.seconds, 0.05, 3600),
    warmUpSeconds: flags.warmup === undefined ? base.warmUpSeconds : decimal('--warmup', flags.warmup, 0, 600),
    producers:
      flags.producers === undefined ? base.producers : wholeNumber('--producers', flags.producers, 1, MAX_PRODUCERS),
    window: flags.window === undefined ? base.window : wholeNumber('--window', flags.window, 1, MAX_WINDOW),
    seed: flags.seed === undefined ? base.seed : wholeNumber('--seed', flags.seed, 0, 2 ** 32 - 1),
    // Commander sets it to true when --no-kill is not there.
    killTests: flags.kill === false ? false : base.killTests,
    ...(flags.rate !== undefined && { ratePerSecond: decimal('--rate', flags.rate, 1, 1e9) }),
    ...(flags.payload !== undefined && { payloadFile: flags.payload }),
  };
  const inFlightBytes = plan.producers * plan.window * Math.max(...plan.recordBytes);
  if (inFlightBytes > MAX_IN_FLIGHT_BYTES) {
    throw invalid(
      `--producers × --window × --size is ${Math.round(inFlightBytes / 2 ** 20)} MiB in flight; at most ${MAX_IN_FLIGHT_BYTES / 2 ** 20} MiB are allowed`,
    );
  }
  return plan;
}

/** `1`, `100`, `16k`, `1m`: bytes, in powers of 1024. */
export function parseSize(flag: string, text: string): number {
  const match = /^(\d{1,12})([km]?)b?$/i.exec(text.trim());
  if (match === null) throw invalid(`${flag}: "${text}" is no size; write it as 100, 16k or 1m`);
  const unit = { '': 1, k: 1024, m: 1024 * 1024 }[(match[2] as string).toLowerCase()] as number;
  return Number(match[1]) * unit;
}

function presetOf(name: string): PresetName {
  if (Object.hasOwn(PRESETS, name)) return name as PresetName;
  throw invalid(`--preset: there is no preset "${name}"; there are ${Object.keys(PRESETS).join(', ')}`);
}

function items(flag: string, text: string): string[] {
  const list = text.split(',').map((item) => item.trim());
  if (list.some((item) => item === '')) throw invalid(`${flag}: "${text}" has an empty item; write it as a,b,c`);
  if (new Set(list).size !== list.length) throw invalid(`${flag}: "${text}" names something twice`);
  return list;
}

function listOf<T extends string | number>(
  flag: string,
  text: string | undefined,
  allowed: readonly T[],
): T[] | undefined {
  if (text === undefined) return undefined;
  return items(flag, text).map((item) => {
    const found = allowed.find((value) => `${value}` === item);
    if (found === undefined) throw invalid(`${flag}: "${item}" is none of ${allowed.join(', ')}`);
    return found;
  });
}

/** A batch of 1 is one record; any other number is bytes. */
function batchOf(text: string): BatchSetting {
  const bytes = parseSize('--batch', text);
  if (bytes === 1) return 'record';
  if (bytes < 1024 || bytes > MAX_BATCH_BYTES) {
    throw invalid(`--batch: ${text} is neither 1 (one record a batch) nor from 1k to ${MAX_BATCH_BYTES / 2 ** 20}m`);
  }
  return bytes;
}

function recordBytesOf(text: string): number {
  const bytes = parseSize('--size', text);
  if (bytes < MIN_RECORD_BYTES || bytes > MAX_RECORD_BYTES / 2) {
    throw invalid(`--size: records have from ${MIN_RECORD_BYTES} bytes to ${MAX_RECORD_BYTES / 2048}k, not ${text}`);
  }
  return bytes;
}

function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text.trim()) || value < min || value > max) {
    throw invalid(`${flag}: "${text}" is no whole number from ${min} to ${max}`);
  }
  return value;
}

function decimal(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < min || value > max) {
    throw invalid(`${flag}: "${text}" is no number from ${min} to ${max}`);
  }
  return value;
}

function invalid(message: string): VarveError {
  return new VarveError('INVALID_CONFIG', message);
}
