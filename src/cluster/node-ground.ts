/**
 * What a node stands on: the process and machine, the network and the disk. A simulator gives nodes a ground of its own;
 * nothing else in this folder reaches the outside by itself.
 */
import { type Environment, systemEnvironment } from '../environment.js';
import { listPartitions, openStore, readOwner, type Store } from '../log/store.js';
import { tcpTransport, type Transport } from '../rpc/transport.js';
import { type LoadFigures, ProcessLoad } from './process-load.js';

/** As the functions of these names in log/store.ts. */
export interface NodeStorage {
  readonly readOwner: typeof readOwner;
  readonly listPartitions: typeof listPartitions;
  readonly openStore: (path: string, options: NonNullable<Parameters<typeof openStore>[1]>) => Promise<Store>;
}

export interface NodeGround {
  readonly environment: Environment;
  readonly transport: Transport;
  readonly storage: NodeStorage;
  /** Of the process; `start` and `stop` once each. */
  readonly createLoad: () => { start(): void; stop(): void; take(): LoadFigures };
}

export const systemGround: NodeGround = Object.freeze({
  environment: systemEnvironment,
  transport: tcpTransport,
  storage: { readOwner, listPartitions, openStore },
  createLoad: () => new ProcessLoad(),
});
