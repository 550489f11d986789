/**
 * The logs of a store, by topic id and partition: the open ones, those being opened, and of all others the state that the
 * next checkpoint says of them.
 */
import type { Disk } from '../disk/disk.js';
import { VarveError } from '../errors.js';
import { encodeRelaxed, RecordType } from '../journal/journal-records.js';
import { type LogState, logKey, newLogState } from '../journal/log-state.js';
import { checkPartition, checkTopicId, checkTopicName, partitionDirectory } from '../segment/file-names.js';
import type { MappedSegments } from '../segment/mapped-segments.js';
import { MAX_RUN_BYTES } from './batch-run.js';
import { checkAccepting, type LogHost } from './log-host.js';
import { LogSegments } from './log-segments.js';
import type { LogOptions } from './options.js';
import { PartitionLog } from './partition-log.js';
import { PartitionProducers, type ProducersGround } from './partition-producers.js';
import { cleanReport, type RecoveryReport } from './recovery-report.js';
import { checkLogOptionNames, resolveLogOptions } from './resolved-options.js';
import type { StoreRecovery } from './store-recovery.js';

export interface OpenLogOptions extends Partial<LogOptions> {
  /** 32 hex digits. Default: that of the topic's logs in this directory, or a new one. */
  readonly topicId?: string;
  /** The high watermark is moved by whoever replicates the log; without it, the log is its own majority. Default false. */
  readonly replicated?: boolean;
}

export interface LogRegistryParts {
  readonly disk: Disk;
  readonly host: LogHost;
  readonly mapped: MappedSegments;
  /** A log was opened with this state. */
  readonly opened: (log: PartitionLog, state: LogState) => void;
  /** Makes everything of the log durable in its own files. @returns its state then; undefined: the store has failed */
  readonly makeDurable: (log: PartitionLog) => Promise<LogState | undefined>;
}

export class LogRegistry {
  /** The logs that are open. */
  readonly logs = new Map<string, PartitionLog>();
  /** Of logs that are not open: their state. Of open ones: that of the last checkpoint. */
  readonly states: Map<string, LogState>;
  readonly #parts: LogRegistryParts;
  readonly #opening = new Map<string, LogState>();
  readonly #reports: Map<string, RecoveryReport>;

  constructor(parts: LogRegistryParts, { states, reports }: StoreRecovery) {
    this.#parts = parts;
    this.states = states;
    this.#reports = reports;
  }

  /** @see Store.openLog */
  async open(topic: string, partition: number, given: OpenLogOptions): Promise<PartitionLog> {
    checkTopicName(topic);
    checkPartition(partition);
    checkLogOptionNames(given);
    if (given.topicId !== undefined) checkTopicId(given.topicId);
    const options = resolveLogOptions(given);
    const { host } = this.#parts;
    checkAccepting(host);
    const topicId = given.topicId ?? this.#topicIdOf(topic, partition);
    const key = logKey(topicId, partition);
    this.#checkNotOpen(key, `${topic}-${partition}`);
    const fresh = newLogState(topic, partition, topicId);
    this.#opening.set(key, fresh);
    try {
      // Before and after its turn, so that logs which are opened side by side share their syncs.
      if (!this.states.has(key)) await this.#makeDirectory(key, fresh);
      const { log, wasRelaxed } = await host.exclusive(() =>
        this.#open(key, fresh, options, given.replicated ?? false),
      );
      // Durable before the first acknowledgement from memory, and taken back only once nothing is in memory alone.
      const relaxed = options.flush !== 'sync';
      if (relaxed !== wasRelaxed) await log.record(RecordType.Relaxed, encodeRelaxed(relaxed));
      return log;
    } finally {
      this.#opening.delete(key);
    }
  }

  /** The store was closed. */
  closed(error: Error): void {
    for (const log of this.logs.values()) log.storeClosed(error);
    this.logs.clear();
  }

  async #open(
    key: string,
    fresh: LogState,
    options: LogOptions,
    replicated: boolean,
  ): Promise<{ readonly log: PartitionLog; readonly wasRelaxed: boolean }> {
    const { disk, host, mapped } = this.#parts;
    checkAccepting(host);
    const state = this.states.get(key) ?? fresh;
    const { topic, partition, topicId } = fresh;
    if (state.topic !== topic) {
      throw new VarveError(
        'INVALID_ARGUMENT',
        `topic id ${topicId} belongs to topic '${state.topic}', not to '${topic}'`,
      );
    }
    const directory = partitionDirectory(topic, partition, topicId);
    const { environment } = host;
    const parts = { disk, directory, options, maxRunBytes: MAX_RUN_BYTES, mapped, environment };
    const segments = await LogSegments.open(parts, state);
    const ground = { disk, directory, state, segments: segments.list, replicated, now: environment.now() };
    const producers = await openProducers(ground, segments).catch((error: unknown) => {
      segments.close();
      throw error;
    });
    const recovery = this.#reports.get(key) ?? cleanReport(state);
    this.#reports.delete(key);
    const log = new PartitionLog({
      host,
      state,
      directory,
      segments,
      producers,
      options,
      replicated,
      recovery,
      close: (closing) => host.exclusive(() => this.#close(key, closing)),
    });
    this.logs.set(key, log);
    this.#parts.opened(log, state);
    return { log, wasRelaxed: state.relaxed };
  }

  async #close(key: string, log: PartitionLog): Promise<void> {
    // The store was faster.
    if (this.logs.get(key) !== log) return;
    try {
      const state = await this.#parts.makeDurable(log);
      if (state !== undefined) this.states.set(key, state);
    } catch (error) {
      throw this.#parts.host.fail(error);
    } finally {
      this.logs.delete(key);
      log.segments.close();
    }
  }

  #checkNotOpen(key: string, name: string): void {
    if (this.logs.get(key)?.isClosed) {
      throw new VarveError(
        'INVALID_ARGUMENT',
        `${name} is still being closed: await that close() before opening it again`,
      );
    }
    if (this.logs.has(key) || this.#opening.has(key)) {
      throw new VarveError('INVALID_ARGUMENT', `${name} is open already: share its handle, or close it first`);
    }
  }

  /**
   * From here on the store knows the log, also if opening it fails: the directory is there, and its name says the topic
   * id.
   */
  async #makeDirectory(key: string, state: LogState): Promise<void> {
    await this.#parts.disk.makeDirectory(partitionDirectory(state.topic, state.partition, state.topicId));
    this.states.set(key, state);
  }

  #topicIdOf(topic: string, partition: number): string {
    const known = new Map([...this.#opening, ...this.states]);
    const states = [...known.values()].filter((state) => state.topic === topic);
    const same = states.filter((state) => state.partition === partition);
    if (same.length > 1) {
      throw new VarveError(
        'INVALID_ARGUMENT',
        `${topic}-${partition} exists under several topic ids: say which (topicId)`,
      );
    }
    return (same[0] ?? states[0])?.topicId ?? this.#parts.host.environment.randomBytes(16).toString('hex');
  }
}

async function openProducers(ground: ProducersGround, segments: LogSegments): Promise<PartitionProducers> {
  const producers = await PartitionProducers.open(ground);
  // A deletion that closing overtook.
  await segments.removeBelow(ground.state.logStart);
  await producers.removeBelow(segments.list.all[0]!.base);
  return producers;
}
