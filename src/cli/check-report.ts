/** What `varve check` prints for people. */
import { ANOMALIES, type AnomalyName, type PermitReason } from '../checker/anomaly.js';
import type { Verdict } from '../checker/history-checker.js';

const REASONS: Readonly<Record<PermitReason, string>> = {
  'acks-0': 'acks 0 promises nothing',
  'leader-replaced': 'acks 1, and the leader was replaced',
  'power-cut': 'relaxed flush, and a power cut within its bound',
  'disks-lost': 'a majority lost their disks',
  'unclean-recovery': 'an operator allowed an unclean recovery',
  retried: 'the client tried again, without idempotence',
};

export function renderVerdict(history: string, verdict: Verdict): string {
  const { operations, partitions, sends, unknown } = verdict;
  const name = history === '-' ? 'standard input' : history;
  const lines = [
    `${name}: ${number(operations, 'operation')} in ${number(partitions, 'partition')}`,
    `  sends           ${whole(sends.ok)} acknowledged, ${whole(sends.failed)} failed, ${whole(sends.unknown)} of unknown outcome`,
  ];
  if (unknown.records > 0) {
    lines.push(
      `  unknown         ${whole(unknown.read)} of ${number(unknown.records, 'record')} were read, and count as stored`,
    );
  }
  for (const { anomaly, reason, count, line } of verdict.permitted) {
    lines.push(
      `  permitted       ${whole(count)} × ${anomaly}: ${REASONS[reason]} (line ${line}${count > 1 ? ' first' : ''})`,
    );
  }
  const names = Object.keys(verdict.counts) as AnomalyName[];
  if (names.length === 0) return `${[...lines, '', 'No anomaly was found.'].join('\n')}\n`;
  for (const anomaly of names) {
    const count = verdict.counts[anomaly]!;
    const shown = verdict.anomalies.filter((one) => one.anomaly === anomaly);
    lines.push('', `${anomaly.toUpperCase()} × ${whole(count)}: ${ANOMALIES[anomaly]}`);
    for (const { partition, lines: at, message } of shown) {
      const where = partition === undefined ? '' : `${partition}: `;
      lines.push(`  ${where}${message} (${at.length === 1 ? 'line' : 'lines'} ${at.join(', ')})`);
    }
    if (count > shown.length) lines.push(`  … and ${whole(count - shown.length)} more`);
  }
  const total = names.reduce((sum, anomaly) => sum + verdict.counts[anomaly]!, 0);
  lines.push('', `${total === 1 ? '1 anomaly' : `${whole(total)} anomalies`} of ${number(names.length, 'kind')}.`);
  return `${lines.join('\n')}\n`;
}

function whole(value: number): string {
  return value.toLocaleString('en-US');
}

function number(value: number, noun: string): string {
  return `${whole(value)} ${noun}${value === 1 ? '' : 's'}`;
}
