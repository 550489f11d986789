/** Everything the checker can find wrong, by the name it reports. docs/HISTORY.md explains each. */
export const ANOMALIES = {
  'lost-write': 'acknowledged, and a reader went past its place without finding it',
  unseen: 'acknowledged, and the final read ended before its place',
  duplicate: 'stored more often than it was tried',
  'inconsistent-offsets': 'acknowledged at one offset and found at another, or two records acknowledged at one offset',
  'offset-gap': 'no batch covers an offset',
  'aborted-read': 'a reader was given a record whose send had failed, or whose transaction was aborted',
  'precommitted-read': 'a reader was given a record before it was committed',
  'poll-skip': 'a consumer went past a record that others were given',
  'nonmonotonic-poll': 'a consumer was given offsets that go back, within a poll or between two',
  'nonmonotonic-send': 'a later send lies before an earlier one',
  'unstable-read': 'one offset was read with two records',
  'hw-regression': 'the high watermark went back under the eyes of one observer',
  'end-offset-stale': 'an end offset below what was known to be committed',
  'epoch-regression': 'leader epochs go back along the log, or on a node',
  'epoch-index-mismatch': 'the epoch index, or its answer, contradicts the epochs of the batches',
  'two-leaders-one-epoch': 'two nodes led one epoch',
  'committed-truncated': 'a record that readers were given is gone, or a node cut its log below its high watermark',
  'replica-divergence': 'two replicas hold different batches below both high watermarks',
  resurrected: 'a record came back after it had gone',
  'retention-ate-live': 'a record was deleted that retention, or compaction, had to keep',
  'log-start-regression': 'the log start went back under the eyes of one observer',
  'dedupe-miss': 'an idempotent record was stored twice',
  'dedupe-false-positive': 'a new record was taken for one that had been stored before',
  'fenced-writer-accepted': 'a record of a fenced producer epoch was stored',
  'corrupt-served': 'a reader was given something that nobody sent',
  'silent-repair-by-truncation': 'a node cut its log at damage instead of reporting it',
  'torn-batch': 'a part of a batch is there without the rest',
  'timestamp-index-wrong': 'a lookup by timestamp found the wrong offset',
  'committed-offset-regression': 'a group got back an older offset than it had committed',
  'ack-after-sync-error': 'a node acknowledged after a write or sync had failed, without a restart',
  'ack-not-durable': 'acknowledged, and too few replicas had it when they opened again',
  'cross-partition-leak': 'a reader was given a record of another partition',
  'config-fork': 'two committed memberships whose majorities need not meet',
  stuck: 'nothing succeeded any more though no fault was at work',
  'unbounded-retry': 'a client tried without end',
} as const;

export type AnomalyName = keyof typeof ANOMALIES;

/** Why a loss or a duplicate is permitted. docs/HISTORY.md, "What a setting permits". */
export type PermitReason = 'acks-0' | 'leader-replaced' | 'power-cut' | 'disks-lost' | 'unclean-recovery' | 'retried';

export interface Anomaly {
  readonly anomaly: AnomalyName;
  /** The partition, where there is one. */
  readonly partition?: string;
  /** The offset, where there is one. */
  readonly offset?: number;
  /** Lines of the history that show it, ascending. */
  readonly lines: readonly number[];
  readonly message: string;
}

export interface Permitted {
  readonly anomaly: AnomalyName;
  readonly reason: PermitReason;
  readonly count: number;
  /** The first line that it was found at. */
  readonly line: number;
}

/** Takes what the checks find. Of each anomaly at most `keep` are kept whole; all are counted. */
export class Findings {
  readonly #keep: number;
  readonly #kept: Anomaly[] = [];
  readonly #counts = new Map<AnomalyName, number>();
  readonly #permitted = new Map<string, { anomaly: AnomalyName; reason: PermitReason; count: number; line: number }>();

  constructor(keep: number) {
    this.#keep = keep;
  }

  /** `message` is made only if the finding is kept. Lines that are 0 are left out: there is none. */
  report(
    anomaly: AnomalyName,
    where: { readonly partition?: string | undefined; readonly offset?: number | undefined },
    lines: readonly number[],
    message: () => string,
  ): void {
    const count = this.#counts.get(anomaly) ?? 0;
    this.#counts.set(anomaly, count + 1);
    if (count >= this.#keep) return;
    const { partition, offset } = where;
    const shown = [...new Set(lines)].filter((line) => line > 0).sort((a, b) => a - b);
    this.#kept.push({
      anomaly,
      ...(partition !== undefined && { partition }),
      ...(offset !== undefined && { offset }),
      lines: shown,
      message: message(),
    });
  }

  permit(anomaly: AnomalyName, reason: PermitReason, line: number): void {
    const key = `${anomaly} ${reason}`;
    const known = this.#permitted.get(key);
    if (known === undefined) {
      this.#permitted.set(key, { anomaly, reason, count: 1, line });
      return;
    }
    known.count += 1;
    known.line = Math.min(known.line, line);
  }

  /** In the order of the list of anomalies; those of one kind by line. */
  get anomalies(): readonly Anomaly[] {
    const rank = new Map(Object.keys(ANOMALIES).map((name, i) => [name, i]));
    return this.#kept.sort(
      (a, b) => rank.get(a.anomaly)! - rank.get(b.anomaly)! || (a.lines[0] ?? 0) - (b.lines[0] ?? 0),
    );
  }

  get counts(): Readonly<Partial<Record<AnomalyName, number>>> {
    const names = Object.keys(ANOMALIES) as AnomalyName[];
    return Object.fromEntries(names.filter((n) => this.#counts.has(n)).map((n) => [n, this.#counts.get(n)]));
  }

  get permitted(): readonly Permitted[] {
    return [...this.#permitted.values()].sort((a, b) => a.line - b.line);
  }
}
