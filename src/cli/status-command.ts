/** `varve status`: asks one node what it knows about itself, its peers and its partitions. */
import Table from 'cli-table3';
import { Command, InvalidArgumentError } from 'commander';
import type { NodeStatus } from '../cluster/status.js';
import { VarveError } from '../errors.js';
import { dial } from '../rpc/dial.js';
import { FrameType } from '../rpc/protocol.js';
import { address } from './settings.js';

interface StatusFlags {
  readonly broker: { readonly host: string; readonly port: number };
  readonly json?: boolean;
}

const TIMEOUT_MS = 5000;

export function statusCommand(): Command {
  return new Command('status')
    .description('show what a running node says about itself')
    .requiredOption('--broker <host:port>', 'address of the node', broker)
    .option('--json', 'everything, as one JSON object')
    .addHelpText('after', '\nExample:\n  $ varve status --broker 127.0.0.1:9101')
    .action(show);
}

function broker(text: string): { host: string; port: number } {
  try {
    return address(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

async function show({ broker: { host, port }, json }: StatusFlags): Promise<void> {
  const status = await fetchStatus(host, port).catch((error: unknown) => {
    throw error instanceof VarveError && error.code === 'CONNECTION_LOST' ? withAdvice(error) : error;
  });
  process.stdout.write(json === true ? `${JSON.stringify(status, null, 2)}\n` : render(status));
}

function withAdvice(error: VarveError): VarveError {
  const message = `${error.message}. Is the node running, and is this its --listen address?`;
  return new VarveError(error.code, message, { cause: error });
}

async function fetchStatus(host: string, port: number): Promise<NodeStatus> {
  const { connection } = await dial({
    host,
    port,
    handshake: { kind: 'client', channel: 'client', clusterId: '', nodeId: 0, directoryId: '', incarnation: '' },
    timeoutMs: TIMEOUT_MS,
  });
  try {
    const { header } = await connection.request(FrameType.Status, [], undefined, { timeoutMs: TIMEOUT_MS });
    return header[0] as NodeStatus;
  } finally {
    connection.close();
  }
}

function render(status: NodeStatus): string {
  const { nodeId, clusterId, uptimeMs, memory, journal, diskFailure } = status;
  const lines = [
    `node ${nodeId} of cluster ${clusterId}, up ${(uptimeMs / 1000).toFixed(0)} s, ${mib(memory.rss)} MiB, ${journal.syncs} syncs`,
  ];
  if (diskFailure !== '') lines.push(`DISK FAILED: ${diskFailure}`);
  for (const peer of status.peers) {
    const state = peer.control && peer.data ? 'connected' : `not connected${peer.lastError && ` (${peer.lastError})`}`;
    lines.push(`peer ${peer.nodeId} at ${peer.address}: ${state}`);
  }
  const table = new Table({
    head: ['partition', 'flush', 'role', 'leader', 'term', 'start', 'high watermark', 'durable', 'end', 'remarks'],
    style: { head: [], border: [] },
    colAligns: ['left', 'left', 'left', 'right', 'right', 'right', 'right', 'right', 'right', 'left'],
  });
  for (const p of status.partitions) {
    const remarks = [
      p.stopped && `stopped: ${p.stopped}`,
      p.throttled && 'throttled',
      p.recovery.mayHaveForgotten && 'may have forgotten acknowledged records (unclean stop under relaxed flush)',
      p.recovery.damaged.length > 0 && `${p.recovery.damaged.length} damaged ranges`,
    ].filter(Boolean);
    table.push([
      `${p.topic}-${p.partition}`,
      p.flush,
      p.role,
      p.leader === 0 ? '?' : p.leader,
      p.term,
      p.logStart,
      p.highWatermark,
      p.durable,
      p.logEnd,
      remarks.join('; '),
    ]);
  }
  return `${lines.join('\n')}\n${table.toString()}\n`;
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}
