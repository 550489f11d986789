/**
 * `varve inspect`: what a data directory holds, whether it is sound, and what opening it would do. Takes no lock and changes
 * no byte, also beside a store that is open.
 *
 * Exit code: 0 all right, 1 damage was found, 2 it could not be looked at (no data directory, not readable, no such
 * partition or offset, bad arguments).
 */
import { Command, InvalidArgumentError } from 'commander';
import { VarveError } from '../errors.js';
import { inspectDirectory } from '../inspect/inspect-directory.js';
import type { BatchInspection, JournalGroupInspection } from '../inspect/inspection.js';
import { decodeBatchAsync } from '../record/decode.js';
import { ExitError } from './exit.js';
import { batchLine, groupLine, recordLine, renderInspection } from './inspect-report.js';

interface InspectFlags {
  readonly json?: boolean;
  readonly partition?: string;
  readonly batches?: boolean;
  readonly records?: boolean;
  readonly journal?: boolean;
  readonly verify?: boolean;
  readonly offset?: number;
}

const DAMAGED = 1;
const NOT_LOOKED_AT = 2;

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('show what a data directory holds, whether it is sound, and what opening it would do')
    .argument('<directory>', 'the data directory; it may be in use, and nothing in it is changed')
    .option('--json', 'one JSON object; with --batches, --records or --journal one per line, the directory last')
    .option('--partition <name>', 'only this partition, for example events-0')
    .option('--batches', 'each batch')
    .option('--records', 'each batch and its records')
    .option('--journal', 'each group of the journal')
    .option('--offset <number>', 'only the batch that holds this offset; needs --partition', offset)
    .option('--verify', 'read every batch and check its CRC (default: up to 1 GiB of them)')
    .option('--no-verify', 'read no batch')
    .addHelpText(
      'after',
      `
Exit code: 0 all right, 1 damage was found, 2 it could not be looked at (also: no such offset).

Examples:
  $ varve inspect ./d1
  $ varve inspect ./d1 --partition events-0 --offset 1500 --records`,
    )
    .action(inspect);
}

function offset(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError(`"${text}" is no offset: a whole number from 0 on`);
  return Number(text);
}

async function inspect(directory: string, flags: InspectFlags): Promise<void> {
  const { json = false, partition, records = false, verify } = flags;
  if (flags.offset !== undefined && partition === undefined) {
    throw new VarveError('INVALID_ARGUMENT', '--offset says nothing without --partition: give both');
  }
  // A reader that has seen enough closes the pipe.
  process.stdout.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? 0 : NOT_LOOKED_AT),
  );
  const shows = flags.batches === true || records || flags.offset !== undefined;
  const onBatch = async (batch: BatchInspection, bytes: Buffer): Promise<void> => {
    print(json ? JSON.stringify({ batch }) : batchLine(batch));
    if (!records) return;
    for (const record of await decodeBatchAsync(bytes)) {
      print(json ? JSON.stringify({ record: plainRecord(record) }) : recordLine(record));
    }
  };
  const onGroup = (group: JournalGroupInspection): void => print(json ? JSON.stringify({ group }) : groupLine(group));
  const found = await inspectDirectory(directory, {
    ...(partition !== undefined && { partition }),
    ...(verify !== undefined && { verify }),
    ...(flags.offset !== undefined && { offset: flags.offset }),
    ...(shows && { onBatch }),
    ...(flags.journal === true && { onGroup }),
  }).catch((error: unknown) => {
    throw error instanceof VarveError ? new ExitError(error, NOT_LOOKED_AT) : error;
  });
  const lines = shows || flags.journal === true;
  if (json) print(lines ? JSON.stringify({ directory: found }) : JSON.stringify(found, null, 2));
  else print(`${lines ? '\n' : ''}${renderInspection(found)}`);
  if (found.findings.some(({ severity }) => severity === 'damage')) process.exitCode = DAMAGED;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Keys and values are bytes: as text where they are UTF-8, in base64 where they are not. */
function plainRecord({
  offset: at,
  timestamp,
  key,
  value,
  headers,
}: Awaited<ReturnType<typeof decodeBatchAsync>>[number]) {
  return {
    offset: at,
    timestamp,
    key: plainBytes(key),
    value: plainBytes(value),
    headers: headers.map((header) => ({ key: header.key, value: plainBytes(header.value) })),
  };
}

function plainBytes(bytes: Uint8Array | null): string | null | { readonly base64: string } {
  if (bytes === null) return null;
  const text = Buffer.from(bytes).toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : { base64: Buffer.from(bytes).toString('base64') };
}
