/** `varve format`: makes an empty data directory that belongs to one node of one cluster. Once, before its first start. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { VarveError } from '../errors.js';
import { openStore } from '../log/store.js';
import { ExitError } from './exit.js';

interface FormatFlags {
  readonly data: string;
  readonly id: number;
  readonly clusterId: string;
}

export function formatCommand(): Command {
  return new Command('format')
    .description('prepare an empty data directory for one node')
    .requiredOption('--data <directory>', 'the directory: missing or empty')
    .requiredOption('--id <number>', 'id of the node', nodeId)
    .requiredOption('--cluster-id <name>', 'name of the cluster')
    .addHelpText('after', '\nExample:\n  $ varve format --data ./d1 --id 1 --cluster-id demo')
    .action(format);
}

function nodeId(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError(`"${text}" is no node id: a whole number from 1 on`);
  return Number(text);
}

async function format(flags: FormatFlags): Promise<void> {
  const { data, id, clusterId } = flags;
  if (await isFormatted(data)) {
    const error = new VarveError(
      'DIRECTORY_MISMATCH',
      `${data} is formatted already; formatting never overwrites. Choose another directory, or remove this one if its data may go`,
    );
    throw new ExitError(error, 1);
  }
  const store = await openStore(data, { create: true, clusterId, nodeId: id });
  const { directoryId } = store;
  await store.close();
  process.stdout.write(`${JSON.stringify({ event: 'formatted', data, nodeId: id, clusterId, directoryId })}\n`);
}

/** Looks, and touches nothing: opening a store that crashed recovers it, and then nobody could tell that it had crashed. */
async function isFormatted(data: string): Promise<boolean> {
  try {
    await access(join(data, 'meta.json'));
    return true;
  } catch {
    return false;
  }
}
