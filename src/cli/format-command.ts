/** `varve format`: makes an empty data directory that belongs to one node of one cluster. Once, before its first start. */
import { Command, InvalidArgumentError } from 'commander';
import { checkClusterId } from '../cluster/node-options.js';
import { VarveError } from '../errors.js';
import { openStore, readOwner } from '../log/store.js';
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
  checkClusterId(clusterId);
  const owner = await readOwner(data);
  if (owner !== undefined) {
    const error = new VarveError(
      'DIRECTORY_MISMATCH',
      `${data} is formatted already, for node ${owner.nodeId} of cluster ${owner.clusterId}; formatting never overwrites. Choose another directory, or remove this one if its data may go`,
    );
    throw new ExitError(error, 1);
  }
  const store = await openStore(data, { create: true, clusterId, nodeId: id });
  const { directoryId } = store;
  await store.close();
  process.stdout.write(`${JSON.stringify({ event: 'formatted', data, nodeId: id, clusterId, directoryId })}\n`);
}
