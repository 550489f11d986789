/**
 * What goes wrong in a simulated cluster, at random moments: each fault begins, and what can end by itself ends after a
 * while. All of them together leave every acknowledged record on a majority of the disks, so that a healed cluster must
 * come back whole: no fault here takes a durable byte away.
 */
import type { Prng } from '../raft/prng.js';
import { EventKind, type EventLoop } from './event-loop.js';
import { FAST_DISK, SLOW_DISK } from './sim-machine.js';
import { type SimNetwork, SLOW_LINK } from './sim-network.js';
import type { SimHistory } from './sim-history.js';
import type { SimNode } from './sim-node.js';
import type { Choose } from './twin-file.js';

export const FAULTS = [
  'kill',
  'power-cut',
  'power-cut-of-all',
  'stop',
  'pause',
  'partition',
  'one-way-cut',
  'slow-link',
  'reset',
  'slow-disk',
  'disk-error',
  'disk-full',
  'clock-jump',
] as const;
export type Fault = (typeof FAULTS)[number];
export type FaultCounts = Record<Fault, number>;

const POWER: readonly Fault[] = ['power-cut', 'power-cut-of-all', 'disk-error'];

/** What the history calls them. */
const NAMES = {
  kill: 'kill',
  'power-cut': 'power-cut',
  'power-cut-of-all': 'power-cut',
  stop: 'other',
  pause: 'pause',
  partition: 'network',
  'one-way-cut': 'network',
  'slow-link': 'network',
  reset: 'network',
  'slow-disk': 'other',
  'disk-error': 'other',
  'disk-full': 'disk-full',
  'clock-jump': 'clock',
} as const satisfies Record<Fault, string>;

export interface ClusterFaultsParts {
  readonly loop: EventLoop;
  readonly random: Prng;
  readonly network: SimNetwork;
  readonly nodes: readonly SimNode[];
  /** Mean time between two faults; 0: none. */
  readonly everyMs: number;
  readonly note: (line: string) => void;
  readonly history: SimHistory;
  /** False: what is only in memory stays there, since replicas under a relaxed flush do not know yet that they forgot. */
  readonly withPowerCuts: boolean;
}

export class ClusterFaults {
  readonly #parts: ClusterFaultsParts;
  readonly #latched = new Set<SimNode>();
  readonly #kinds: readonly Fault[];
  #isOver = false;
  readonly counts = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as FaultCounts;

  constructor(parts: ClusterFaultsParts) {
    this.#parts = parts;
    this.#kinds = FAULTS.filter((fault) => parts.withPowerCuts || !POWER.includes(fault));
  }

  begin(): void {
    const { everyMs, random } = this.#parts;
    if (everyMs === 0) return;
    this.#after(-Math.log(1 - random.next()) * everyMs, () => {
      if (this.#isOver) return;
      const fault = random.pick(this.#kinds);
      this.counts[fault]++;
      this.#strike(fault);
      this.begin();
    });
  }

  /** Nothing new goes wrong, and everything that is wrong is mended. */
  heal(): void {
    this.#isOver = true;
    const { network, nodes, history } = this.#parts;
    history.add({ op: 'heal' });
    network.heal();
    for (const node of nodes) {
      const { machine } = node;
      machine.disk = FAST_DISK;
      node.faults = undefined;
      machine.fileSystem.foreignBytes = 0;
      machine.process?.resume();
      if (!machine.isPowered) node.powerOn();
      if (this.#latched.has(node)) node.kill();
      this.#startSoon(node);
    }
  }

  /** Its disk has failed: somebody must restart it. */
  onDiskFailed(node: SimNode): void {
    this.#latched.add(node);
    this.#parts.history.add({ op: 'fault', fault: 'sync-error', nodes: [node.id] });
    this.#after(this.#while(), () => {
      if (!this.#latched.has(node)) return;
      node.kill();
      this.#startSoon(node);
    });
  }

  /** Its process is gone. */
  onEnded(node: SimNode): void {
    this.#startSoon(node);
  }

  #strike(fault: Fault): void {
    const { random, network, nodes, note, history } = this.#parts;
    const node = random.pick(nodes);
    const { machine } = node;
    const struck = fault === 'power-cut-of-all' ? nodes : [node];
    history.add({ op: 'fault', fault: NAMES[fault], nodes: struck.map(({ id }) => id) });
    note(`fault: ${fault} (node ${node.id})`);
    switch (fault) {
      case 'kill':
        node.kill();
        this.#startSoon(node);
        break;
      case 'power-cut':
        this.#cutPower(node);
        break;
      case 'power-cut-of-all':
        for (const each of nodes) this.#cutPower(each);
        break;
      case 'stop':
        void node.stop().then(() => this.#startSoon(node));
        break;
      case 'pause': {
        const { process } = machine;
        process?.pause();
        this.#after(this.#while(), () => process?.resume());
        break;
      }
      case 'partition': {
        const side = new Set(nodes.filter(() => random.chance(0.5)));
        for (const a of nodes) {
          for (const b of nodes) if (side.has(a) !== side.has(b)) network.link(a.machine, b.machine).isCut = true;
        }
        this.#after(this.#while(), () => network.heal());
        break;
      }
      case 'one-way-cut': {
        const link = network.link(machine, random.pick(nodes).machine);
        link.isCut = true;
        this.#after(this.#while(), () => {
          link.isCut = false;
        });
        break;
      }
      case 'slow-link':
        network.link(machine, random.pick(nodes).machine).speed = SLOW_LINK;
        this.#after(this.#while(), () => network.heal());
        break;
      case 'reset':
        for (const stream of [...network.streams]) {
          if (stream.process.machine === machine && random.chance(0.5)) stream.reset();
        }
        break;
      case 'slow-disk':
        machine.disk = SLOW_DISK;
        this.#after(this.#while(), () => {
          machine.disk = FAST_DISK;
        });
        break;
      case 'disk-error': {
        const operation = random.pick(['write', 'sync'] as const);
        node.faults = (call) => {
          if (call.operation !== operation) return undefined;
          node.faults = undefined;
          return 'EIO';
        };
        break;
      }
      case 'disk-full': {
        const { fileSystem } = machine;
        fileSystem.foreignBytes += fileSystem.freeSpace().freeBytes - random.pick([0, 4096, 65_536, 300_000]);
        this.#after(this.#while(), () => {
          machine.fileSystem.foreignBytes = 0;
        });
        break;
      }
      case 'clock-jump':
        machine.wallOffsetMs += Math.floor((random.next() - 0.5) * 7_200_000);
        break;
    }
  }

  #cutPower(node: SimNode): void {
    const { random } = this.#parts;
    if (!node.machine.isPowered) return;
    node.cutPower(chooser(random), random.chance(0.3));
    this.#latched.delete(node);
    this.#after(this.#while(), () => {
      if (!node.machine.isPowered) node.powerOn();
      this.#startSoon(node);
    });
  }

  #startSoon(node: SimNode): void {
    const { random } = this.#parts;
    this.#after(20 + random.next() * random.pick([50, 500, 3000]), () => {
      if (node.isRunning || !node.machine.isPowered) return;
      this.#latched.delete(node);
      this.#parts.note(`start node ${node.id}`);
      node.start();
    });
  }

  #while(): number {
    const { random } = this.#parts;
    return random.next() * random.pick([100, 1500, 6000, 15_000]);
  }

  #after(ms: number, task: () => void): void {
    this.#parts.loop.schedule(ms, EventKind.Control, undefined, task);
  }
}

/** What a power cut keeps: nothing, everything, or each unit by a throw of the dice. */
function chooser(random: Prng): Choose {
  const kept = random.pick([0, 1, 0.5, 0.9]);
  return (count) => (kept === 0 ? 0 : kept === 1 ? count - 1 : random.chance(kept) ? random.below(count) : 0);
}
