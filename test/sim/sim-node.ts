/**
 * One simulated node: the real `Node` of src/cluster on a machine's disk, network and clocks. It is started, stopped, killed,
 * paused, and cut off from power; what it reports goes to whoever watches.
 */
import { Node } from '../../src/cluster/node.js';
import type { NodeGround } from '../../src/cluster/node-ground.js';
import type { NodeEvent, NodeOptions } from '../../src/cluster/node-options.js';
import { readMeta } from '../../src/log/data-directory.js';
import { Store } from '../../src/log/partition-store.js';
import { parsePartitionDirectory } from '../../src/segment/file-names.js';
import type { SimMachine } from './sim-machine.js';
import type { SimNetwork } from './sim-network.js';
import { TwinDisk } from './twin-disk.js';
import type { Choose } from './twin-file.js';
import type { TwinFaults } from './twin-process.js';

export interface SimNodeWatcher {
  onEvent(node: SimNode, event: NodeEvent): void;
  /** It could not be opened, or ended by itself. */
  onEnd(node: SimNode, error: Error): void;
}

/** Figures of a process that has none. */
const NO_LOAD = {
  pid: 1,
  memory: { rss: 0, heapUsed: 0, external: 0 },
  cpu: { userMs: 0, systemMs: 0 },
  eventLoopDelay: { meanMs: 0, p99Ms: 0, maxMs: 0 },
};

export class SimNode {
  readonly id: number;
  readonly machine: SimMachine;
  readonly #network: SimNetwork;
  readonly #options: NodeOptions;
  readonly #watcher: SimNodeWatcher;
  #disk: TwinDisk | undefined;
  #node: Node | undefined;
  #isStopping = false;
  /** No write or sync of this process has failed. */
  #hasDisk = false;
  /** The last process was killed: what it had written is in the page cache still. */
  wasKilled = false;
  /** Asked before each call of the disk. */
  faults: TwinFaults | undefined;

  constructor(machine: SimMachine, network: SimNetwork, options: NodeOptions, watcher: SimNodeWatcher) {
    this.id = options.nodeId;
    this.machine = machine;
    this.#network = network;
    this.#options = options;
    this.#watcher = watcher;
  }

  /** While it serves. */
  get node(): Node | undefined {
    return this.#node;
  }

  /** Its process is there, whether or not it serves yet. */
  get isRunning(): boolean {
    return this.machine.process !== undefined;
  }

  start(): void {
    const { machine } = this;
    const process = machine.startProcess();
    const disk = new TwinDisk(machine.fileSystem, {
      scheduler: process.scheduler,
      faults: (call) => this.faults?.(call),
      root: this.#options.dataDirectory,
    });
    this.#disk = disk;
    const { environment } = process;
    const path = this.#options.dataDirectory;
    const bootId = `${machine.host} boot ${machine.boots}`;
    const ground: NodeGround = {
      environment,
      transport: this.#network.transportOf(process),
      storage: {
        readOwner: () => readMeta(disk, path),
        listPartitions: async () => {
          const entries = await disk.readDirectory('');
          return entries.map(({ name }) => parsePartitionDirectory(name)).filter((parsed) => parsed !== undefined);
        },
        openStore: (_, options) => Store.open({ disk, path, bootId, environment }, options),
      },
      createLoad: () => ({ start: () => {}, stop: () => {}, take: () => NO_LOAD }),
    };
    const onEvent = (event: NodeEvent): void => {
      if (event.event === 'disk-failed') this.#hasDisk = false;
      this.#watcher.onEvent(this, event);
    };
    this.#hasDisk = true;
    const ends = (error: unknown): void => {
      if (process.isDead) return;
      this.wasKilled = false;
      this.#node = undefined;
      machine.killProcess();
      this.#leave({ kind: 'process' });
      this.#watcher.onEnd(this, error as Error);
    };
    Node.start({ ...this.#options, onEvent }, ground).then((node) => {
      if (process.isDead) return;
      this.#node = node;
      node.stopped.then((error) => {
        if (error !== undefined && !this.#isStopping) ends(error);
      });
    }, ends);
  }

  /** As an operator does it; resolves when the process has ended, cleanly or not. */
  async stop(): Promise<void> {
    const node = this.#node;
    const { process } = this.machine;
    if (node === undefined || process === undefined) return;
    this.#node = undefined;
    this.#isStopping = true;
    this.wasKilled = false;
    // A disk that failed cannot be closed cleanly, and says so.
    await node.close().catch(() => {});
    this.#isStopping = false;
    if (process.isDead) return;
    this.machine.killProcess();
    this.#leave({ kind: 'process' });
  }

  /** kill -9: the page cache stays. */
  kill(): void {
    if (!this.isRunning) return;
    this.wasKilled = this.#hasDisk;
    this.machine.killProcess();
    this.#leave({ kind: 'process' });
  }

  /** The page cache is lost, but for what `choose` keeps. The machine stays dark until `powerOn`. */
  cutPower(choose: Choose, torn: boolean): void {
    this.#network.powerOff(this.machine);
    this.wasKilled = false;
    this.machine.killProcess();
    if (this.#disk !== undefined) this.#leave({ kind: 'power', choose, torn });
    else this.machine.fileSystem = this.machine.fileSystem.afterPowerCut(choose, { torn });
  }

  powerOn(): void {
    this.machine.boots++;
    this.#network.powerOn(this.machine);
  }

  #leave(how: Parameters<TwinDisk['crash']>[0]): void {
    this.#node = undefined;
    this.#isStopping = false;
    if (this.#disk === undefined) return;
    this.machine.fileSystem = this.#disk.crash(how);
    this.#disk = undefined;
  }
}
