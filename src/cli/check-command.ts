/**
 * `varve check`: judges a history of what clients, nodes and faults did to a log. Exit code: 0 no anomaly, 1 anomalies,
 * 2 the history could not be read.
 */
import { Command, InvalidArgumentError } from 'commander';
import { checkHistoryFile, checkHistoryStream } from '../checker/history-file.js';
import { VarveError } from '../errors.js';
import { renderVerdict } from './check-report.js';
import { ExitError } from './exit.js';

interface CheckFlags {
  readonly json?: boolean;
  readonly show: number;
}

const ANOMALIES_FOUND = 1;
const NOT_READ = 2;
const SHOWN_MAX = 1_000_000;

export function checkCommand(): Command {
  return new Command('check')
    .description('judge a history: did the log keep its promises?')
    .argument('<history>', 'a file of JSON Lines, or - for standard input')
    .option('--json', 'the verdict as one JSON object')
    .option('--show <number>', 'how many anomalies of each kind are shown; all are counted', count, 10)
    .addHelpText(
      'after',
      `
What a history looks like, and each anomaly: docs/HISTORY.md. Losses that acks, flush and the faults of the history
permit are counted, and are no anomalies.

Exit code: 0 no anomaly, 1 anomalies, 2 the history could not be read (also: a wrong line, a wrong flag).

Examples:
  $ varve check history.jsonl
  $ gunzip -c history.jsonl.gz | varve check - --json`,
    )
    .action(check);
}

function count(text: string): number {
  if (!/^\d{1,7}$/.test(text) || Number(text) > SHOWN_MAX) {
    throw new InvalidArgumentError(`"${text}": give a whole number from 0 to ${SHOWN_MAX}`);
  }
  return Number(text);
}

async function check(history: string, { json = false, show }: CheckFlags): Promise<void> {
  const judged =
    history === '-'
      ? checkHistoryStream(process.stdin, { name: 'standard input', keep: show })
      : checkHistoryFile(history, { keep: show });
  const verdict = await judged.catch((error: unknown) => {
    throw error instanceof VarveError ? new ExitError(error, NOT_READ) : error;
  });
  process.stdout.write(json ? `${JSON.stringify(verdict, null, 2)}\n` : renderVerdict(history, verdict));
  if (!verdict.clean) process.exitCode = ANOMALIES_FOUND;
}
