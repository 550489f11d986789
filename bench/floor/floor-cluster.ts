/** Starts and ends the three processes of floor (b). Their files lie in the folder given; the caller removes it. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { VarveError } from '../../src/errors.js';
import type { Cleanup } from '../cleanup.js';
import { compiled } from '../package-root.js';
import type { FloorServerOptions, FloorServerReady } from './server.js';

export type FloorStorage = 'disk' | 'memory';

export class FloorCluster {
  readonly storage: FloorStorage;
  /** Where clients connect: the leader, on the loopback interface. */
  readonly port: number;
  readonly #processes: readonly ChildProcess[];

  private constructor(storage: FloorStorage, port: number, processes: readonly ChildProcess[]) {
    this.storage = storage;
    this.port = port;
    this.#processes = processes;
  }

  static async start(storage: FloorStorage, folder: string, cleanup: Cleanup): Promise<FloorCluster> {
    const processes: ChildProcess[] = [];
    const launch = async (name: string, followers?: readonly number[]) => {
      const options: FloorServerOptions = {
        ...(storage === 'disk' && { file: join(folder, `floor-${name}.ring`) }),
        ...(followers !== undefined && { followers }),
      };
      const child = fork(compiled('bench/floor/server.js'), [JSON.stringify(options)], {
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
        execArgv: [],
      });
      processes.push(cleanup.track(child));
      return (await ready(child)).port;
    };
    try {
      const followers = await Promise.all([launch('follower-1'), launch('follower-2')]);
      return new FloorCluster(storage, await launch('leader', followers), processes);
    } catch (error) {
      await endAll(processes);
      throw error;
    }
  }

  /** Process ids, the leader's last. */
  get pids(): number[] {
    return this.#processes.map((child) => child.pid as number);
  }

  async stop(): Promise<void> {
    await endAll(this.#processes);
  }
}

function ready(child: ChildProcess): Promise<FloorServerReady> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as FloorServerReady));
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      reject(
        new VarveError(
          'INVALID_CONFIG',
          `a server of the floor ended before it was ready (${signal ?? code}); its message is above`,
        ),
      ),
    );
  });
}

async function endAll(processes: readonly ChildProcess[]): Promise<void> {
  await Promise.all(
    processes.map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }),
  );
}
