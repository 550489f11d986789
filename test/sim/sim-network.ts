/**
 * The simulated network: TCP between machines, as its users see it. What was sent over one connection arrives in order,
 * once, or not at all; between connections nothing is ordered. Each direction of each pair of machines has its own delay
 * and can be cut by itself: what is under way then waits, as TCP sends it again, until the cut is healed or the connection
 * has ended.
 *
 * A killed process's kernel ends its connections; a machine without power says nothing, and its peers learn it when they
 * send to it after it came back. A connection attempt to a machine that does not answer waits, one to a port where nobody
 * listens is refused.
 *
 * Not simulated: the kernel's own timeouts, which are longer than those of the users.
 */
import type { ListenOptions, StreamServer, Transport } from '../../src/rpc/transport.js';
import type { Prng } from '../raft/prng.js';
import { EventKind, type EventLoop } from './event-loop.js';
import type { SimMachine } from './sim-machine.js';
import type { SimProcess } from './sim-process.js';
import { SimStream } from './sim-stream.js';

export interface LinkSpeed {
  readonly minMs: number;
  readonly spreadMs: number;
  readonly bytesPerMs: number;
}

export const FAST_LINK: LinkSpeed = { minMs: 0.1, spreadMs: 0.4, bytesPerMs: 100_000 };
export const SLOW_LINK: LinkSpeed = { minMs: 20, spreadMs: 200, bytesPerMs: 1_000 };

/** One direction between two machines. */
export class Link {
  readonly #loop: EventLoop;
  readonly #random: Prng;
  readonly #to: SimMachine;
  speed = FAST_LINK;
  #isCut = false;
  #held: (() => void)[] = [];

  constructor(loop: EventLoop, random: Prng, to: SimMachine) {
    this.#loop = loop;
    this.#random = random;
    this.#to = to;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  set isCut(isCut: boolean) {
    this.#isCut = isCut;
    this.release();
  }

  /** What was held back goes on, if nothing is in its way any more. */
  release(): void {
    if (!this.#isOpen) return;
    for (const arrive of this.#held.splice(0)) this.carry(0, arrive);
  }

  /** `arrive` happens at the other end, when it can be reached. */
  carry(bytes: number, arrive: () => void): void {
    const { minMs, spreadMs, bytesPerMs } = this.speed;
    const delayMs = minMs + this.#random.next() * spreadMs + bytes / bytesPerMs;
    this.#loop.schedule(delayMs, EventKind.Network, undefined, () => {
      if (this.#isOpen) arrive();
      else this.#held.push(arrive);
    });
  }

  get #isOpen(): boolean {
    return !this.#isCut && this.#to.isPowered;
  }
}

export class SimNetwork {
  readonly #loop: EventLoop;
  readonly #random: Prng;
  readonly #machines = new Map<string, SimMachine>();
  readonly #links = new Map<string, Link>();
  readonly #servers = new Map<string, SimServer>();
  #ports = 40_000;
  readonly streams = new Set<SimStream>();

  constructor(loop: EventLoop, random: Prng) {
    this.#loop = loop;
    this.#random = random;
  }

  add(machine: SimMachine): void {
    this.#machines.set(machine.host, machine);
  }

  link(from: SimMachine, to: SimMachine): Link {
    const key = `${from.host}>${to.host}`;
    let link = this.#links.get(key);
    if (link === undefined) {
      link = new Link(this.#loop, this.#random, to);
      this.#links.set(key, link);
    }
    return link;
  }

  get links(): Iterable<Link> {
    return this.#links.values();
  }

  /** All directions as they should be. */
  heal(): void {
    for (const link of this.#links.values()) {
      link.speed = FAST_LINK;
      link.isCut = false;
    }
  }

  /** The machine is without power: its processes' connections are forgotten without a word. */
  powerOff(machine: SimMachine): void {
    machine.isPowered = false;
    for (const stream of [...this.streams]) if (stream.process.machine === machine) stream.forget();
  }

  powerOn(machine: SimMachine): void {
    machine.isPowered = true;
    for (const link of this.#links.values()) link.release();
  }

  transportOf(process: SimProcess): Transport {
    return {
      connect: (host, port) => this.#connect(process, host, port),
      listen: async (options) => this.#listen(process, options),
    };
  }

  #listen(process: SimProcess, options: ListenOptions): StreamServer {
    const port = options.port === 0 ? ++this.#ports : options.port;
    const address = `${process.machine.host}:${port}`;
    if (this.#servers.has(address)) {
      throw Object.assign(new Error(`listen EADDRINUSE: address already in use ${address}`), { code: 'EADDRINUSE' });
    }
    const server = new SimServer(process, port, options, () => this.#servers.delete(address));
    this.#servers.set(address, server);
    process.onDeath.push(() => server.stop());
    return server;
  }

  #connect(process: SimProcess, host: string, port: number): SimStream {
    const machine = this.#machines.get(host);
    const stream = new SimStream(this.#loop, this.streams, process, host, port);
    // Like a name that nobody knows.
    if (machine === undefined) {
      stream.fail('ENOTFOUND');
      return stream;
    }
    const there = this.link(process.machine, machine);
    const back = this.link(machine, process.machine);
    there.carry(0, () => {
      const server = this.#servers.get(`${host}:${port}`);
      if (server === undefined) {
        back.carry(0, () => stream.fail('ECONNREFUSED'));
        return;
      }
      const accepted = new SimStream(this.#loop, this.streams, server.process, process.machine.host, ++this.#ports);
      stream.join(accepted, there, back, this.#random);
      server.accept(accepted, this.#loop);
      back.carry(0, () => stream.connected());
    });
    return stream;
  }
}

class SimServer implements StreamServer {
  readonly process: SimProcess;
  readonly port: number;
  readonly #options: ListenOptions;
  readonly #onStop: () => void;
  #open = 0;
  #whenClosed: (() => void) | undefined;
  #isStopped = false;

  constructor(process: SimProcess, port: number, options: ListenOptions, onStop: () => void) {
    this.process = process;
    this.port = port;
    this.#options = options;
    this.#onStop = onStop;
  }

  accept(stream: SimStream, loop: EventLoop): void {
    this.#open++;
    stream.on('close', () => {
      this.#open--;
      if (this.#open === 0) this.#whenClosed?.();
    });
    loop.schedule(0, EventKind.Network, this.process, () => {
      if (this.#isStopped) stream.destroy();
      else this.#options.onStream(stream);
    });
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#onStop();
  }

  async close(): Promise<void> {
    this.stop();
    if (this.#open === 0) return;
    await new Promise<void>((resolve) => {
      this.#whenClosed = resolve;
    });
  }
}
