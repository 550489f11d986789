/**
 * `varve node`: one broker process. Standard output carries one JSON line per event that a program may wait for
 * ("ready"); the log goes to standard error. SIGTERM and SIGINT close the node cleanly and the process ends with 0.
 */
import { setFlagsFromString } from 'node:v8';
import { Command, InvalidArgumentError } from 'commander';
import { pino } from 'pino';
import { Node } from '../cluster/node.js';
import { type NodeEvent, type NodeOptions, resolveNodeOptions } from '../cluster/node-options.js';
import { VarveError } from '../errors.js';
import { readConfigFile } from './config-file.js';
import { ExitError } from './exit.js';
import { nodeSettings, SETTINGS, type Setting, SettingError } from './settings.js';

export function nodeCommand(): Command {
  const command = new Command('node')
    .description('run one node of a cluster')
    .option('--config <file>', 'YAML file with the same settings as the flags; a flag wins')
    .addHelpText(
      'after',
      `
Example, a cluster of one:
  $ varve node --id 1 --cluster-id demo --data ./d1 --listen 127.0.0.1:9101 \\
      --topic events:partitions=3,flush=sync --format-if-missing

Example, one of three (start the others with --id 2 and 3 and their own --data and --listen):
  $ varve node --id 1 --cluster-id demo --data ./d1 --listen 127.0.0.1:9101 \\
      --peers 1@127.0.0.1:9101,2@127.0.0.1:9102,3@127.0.0.1:9103 \\
      --topic events:partitions=3,flush=sync --format-if-missing`,
    );
  for (const setting of SETTINGS) {
    // A default of its own would hide what the file says: unset flags stay undefined.
    if (setting.flag.includes('<')) command.option(setting.flag, setting.help, reader(setting));
    else command.option(setting.flag, setting.help);
  }
  return command.action((_options: unknown, self: Command) => runNode(valuesOf(self)));
}

/** Reads a flag's text; commander turns the refusal into one line and exit code 2. */
function reader(setting: Setting): (text: string, previous: unknown) => unknown {
  return (text, previous) => {
    try {
      if (!setting.repeats) return setting.read(text);
      return [...((previous as unknown[] | undefined) ?? []), ...(setting.read([text]) as unknown[])];
    } catch (error) {
      if (error instanceof SettingError) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}

/** File first, flags over it. */
function valuesOf(command: Command): Map<string, unknown> {
  const flags = command.opts<Record<string, unknown>>();
  const file = flags['config'] as string | undefined;
  const values = file === undefined ? new Map<string, unknown>() : readConfigFile(file);
  for (const option of command.options) {
    const setting = SETTINGS.find((known) => known.flag === option.flags);
    const value = flags[option.attributeName()];
    if (setting !== undefined && value !== undefined) values.set(setting.key, value);
  }
  return values;
}

/** What the store can't know: the commands that make it right. */
function withAdvice(error: VarveError, options: NodeOptions): VarveError {
  const { nodeId, clusterId, dataDirectory, formatIfMissing } = options;
  // With --format-if-missing it could not be made, which formatting by hand can't either.
  if (error.code !== 'DIRECTORY_MISSING' || formatIfMissing) return error;
  const format = `varve format --data ${dataDirectory} --id ${nodeId} --cluster-id ${clusterId}`;
  const message = `${error.message}. To make it, run "${format}", or start with --format-if-missing`;
  return new VarveError(error.code, message, { cause: error });
}

/**
 * How much garbage may gather before V8 collects the whole heap, as a percentage of what lives in it. The live heap of a
 * node is small (10 MB), its garbage is mostly network buffers, and by default 10 MB of those are enough for a full
 * collection of some 10 ms: at 50 MB/s eleven a second. At 1000 % it is one a second, for about 90 MB of memory.
 */
const HEAP_GROWING_PERCENT = 1000;

async function runNode(values: Map<string, unknown>): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  const { node: options, logLevel } = nodeSettings(values);
  // Mistakes of the settings end with 2, before anything is opened.
  resolveNodeOptions(options);
  const log = pino({ level: logLevel, base: { node: options.nodeId } }, pino.destination({ dest: 2, sync: true }));
  const onEvent = ({ level, event, details }: NodeEvent): void => log[level](details, event);

  // A signal that comes while the store is still recovering counts as well.
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  let node: Node;
  try {
    node = await Node.start({ ...options, onEvent });
  } catch (error) {
    throw error instanceof VarveError ? new ExitError(withAdvice(error, options), 1) : error;
  }
  const { nodeId, clusterId, directoryId } = node.status();
  const ready = { event: 'ready', nodeId, clusterId, host: options.listen.host, port: node.port, pid: process.pid };
  process.stdout.write(`${JSON.stringify({ ...ready, directoryId, incarnation: node.incarnation })}\n`);
  log.info({ port: node.port }, 'ready');

  const ended = await Promise.race([signalled, node.stopped]);
  if (typeof ended === 'string') {
    log.info({ signal: ended }, 'closing');
    await node.close().catch((error: unknown) => {
      throw error instanceof VarveError ? new ExitError(error, 1) : error;
    });
  }
  // It may have been stopping by itself when the signal came.
  const failure = await node.stopped;
  if (failure !== undefined) throw new ExitError(failure, 1);
  log.info('closed');
}
