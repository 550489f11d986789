#!/usr/bin/env node
/** The `varve` command. Each subcommand is a file of its own; this one puts them together and decides how to end. */
import { Command, CommanderError } from 'commander';
import { VERSION } from '../cluster/version.js';
import { checkCommand } from './check-command.js';
import { exitCodeOf, lineOf, oneLine } from './exit.js';
import { formatCommand } from './format-command.js';
import { inspectCommand } from './inspect-command.js';
import { nodeCommand } from './node-command.js';
import { statusCommand } from './status-command.js';

async function main(args: readonly string[]): Promise<void> {
  const program = new Command('varve')
    .description('a Raft-replicated commit log')
    .version(VERSION)
    .addHelpText(
      'after',
      `
Examples:
  $ varve bench                                 a three-node cluster on this machine, measured
  $ varve node --config node.yaml               one node
  $ varve status --broker 127.0.0.1:9101        what it says about itself
  $ varve inspect ./d1                          what a data directory holds, and whether it is sound
  $ varve check history.jsonl                   whether a run kept its promises`,
    );
  const commands = [nodeCommand(), formatCommand(), statusCommand(), inspectCommand(), checkCommand()];
  if (wantsBench(args)) commands.push(await benchCommand());
  for (const command of commands) program.addCommand(command);
  for (const command of [program, ...commands]) {
    command.exitOverride();
    command.configureOutput({
      outputError: (text, write) => write(`varve: INVALID_CONFIG: ${oneLine(text.replace(/^error: /, ''))}\n`),
    });
  }
  await program.parseAsync(args, { from: 'user' });
}

/** The benchmark brings much code along: it is loaded when it is run, and for the list of commands. */
function wantsBench([name]: readonly string[]): boolean {
  return name === undefined || name === 'bench' || name === 'help' || name.startsWith('-');
}

async function benchCommand(): Promise<Command> {
  const bench = await import('../../bench/cli.js');
  return bench.benchCommand();
}

main(process.argv.slice(2)).then(
  // Open handles must not keep a finished command alive, but what is written must get out.
  () => process.exit(process.exitCode ?? 0),
  (error: unknown) => {
    // Commander has already said what is wrong.
    if (!(error instanceof CommanderError)) process.stderr.write(`${lineOf(error)}\n`);
    process.exit(exitCodeOf(error));
  },
);
