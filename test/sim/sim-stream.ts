/**
 * One end of a simulated connection: what node:net's Socket is to src/rpc. Its kernel takes WINDOW_BYTES that the other
 * side has not read yet; more waits in the process (`writableLength`).
 */
import { crc32c } from '../../src/disk/addon.js';
import type { ByteStream } from '../../src/rpc/transport.js';
import type { Prng } from '../raft/prng.js';
import { EventKind, type EventLoop, type SimEvent } from './event-loop.js';
import type { SimProcess } from './sim-process.js';

const WINDOW_BYTES = 1024 * 1024;
/** How often what one write sent arrives in two pieces. */
const SPLIT = 0.05;

/** The part of a link that a stream uses. */
interface Carrier {
  carry(bytes: number, arrive: () => void): void;
}

type Packet = Buffer | 'end' | 'reset';
type StreamEvent = 'connect' | 'data' | 'drain' | 'end' | 'error' | 'close' | 'timeout';
// biome-ignore lint/suspicious/noExplicitAny: each event has its own argument
type Listener = (argument?: any) => void;

const NO_BYTES = Buffer.alloc(0);

export class SimStream implements ByteStream {
  readonly process: SimProcess;
  readonly remoteAddress: string;
  readonly remotePort: number;
  timeout = 0;

  readonly #loop: EventLoop;
  readonly #all: Set<SimStream>;
  readonly #listeners = new Map<StreamEvent, Listener[]>();
  #peer: SimStream | undefined;
  #link: Carrier | undefined;
  #random: Prng | undefined;
  /** On their way to the other end. */
  #sent: Packet[] = [];
  /** Arrived, and not taken by the process. */
  #arrived: Packet[] = [];
  /** Of what was sent, not taken by the other process yet. */
  #unreadBytes = 0;
  #wasFull = false;
  #corked: Buffer[] | undefined;
  #whenTaken: ((error?: Error | null) => void)[] = [];
  #isReadingPaused = false;
  #isDestroyed = false;
  #hasEnded = false;
  /** Its process or machine is gone: whatever comes for it is answered with a reset. */
  #isForgotten = false;
  #idleTimer: SimEvent | undefined;
  #lastHeardAt = 0;

  constructor(loop: EventLoop, all: Set<SimStream>, process: SimProcess, remoteAddress: string, remotePort: number) {
    this.#loop = loop;
    this.#all = all;
    this.process = process;
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
    all.add(this);
    process.onDeath.push(this.#onDeath);
  }

  // ---- for the network ----

  /** Both directions are there. */
  join(accepted: SimStream, there: Carrier, back: Carrier, random: Prng): void {
    this.#peer = accepted;
    this.#link = there;
    this.#random = random;
    accepted.#peer = this;
    accepted.#link = back;
    accepted.#random = random;
  }

  /** The other end has answered. */
  connected(): void {
    if (this.#isDestroyed || this.#isForgotten) this.#sendNow('reset');
    else this.#later(() => this.#emit('connect'));
  }

  /** The connection is gone, or never came to be. */
  fail(code: string): void {
    this.#later(() => {
      if (this.#isDestroyed) return;
      const text = `${code}: the simulated connection to ${this.remoteAddress}:${this.remotePort}`;
      this.#emit('error', Object.assign(new Error(text), { code }));
      this.#close();
    });
  }

  /** Its machine has lost power. */
  forget(): void {
    this.#isForgotten = true;
    this.#sent = [];
    this.#drop();
  }

  /** Somebody between the two ends it, for both. */
  reset(): void {
    this.#peer?.fail('ECONNRESET');
    this.fail('ECONNRESET');
  }

  // ---- ByteStream ----

  get writableLength(): number {
    return Math.max(0, this.#unreadBytes - WINDOW_BYTES);
  }

  on(event: StreamEvent, listener: Listener): this {
    const listeners = this.#listeners.get(event);
    if (listeners === undefined) this.#listeners.set(event, [listener]);
    else listeners.push(listener);
    return this;
  }

  once(event: StreamEvent, listener: Listener): this {
    const once: Listener = (argument) => {
      this.off(event, listener);
      listener(argument);
    };
    onceOf.set(listener, once);
    return this.on(event, once);
  }

  off(event: StreamEvent, listener: Listener): this {
    const listeners = this.#listeners.get(event) ?? [];
    const rest = listeners.filter((each) => each !== listener && each !== onceOf.get(listener));
    this.#listeners.set(event, rest);
    return this;
  }

  setNoDelay(): void {}

  setKeepAlive(): void {}

  setTimeout(ms: number): void {
    this.timeout = ms;
    this.#lastHeardAt = this.#loop.now;
    if (this.#idleTimer !== undefined) this.#idleTimer.isCancelled = true;
    this.#idleTimer = undefined;
    if (ms > 0) this.#watch(ms);
  }

  cork(): void {
    this.#corked ??= [];
  }

  uncork(): void {
    const buffers = this.#corked;
    this.#corked = undefined;
    if (buffers !== undefined && buffers.length > 0) this.#send(buffers);
  }

  write(bytes: Buffer, done?: (error?: Error | null) => void): boolean {
    if (done !== undefined) this.#whenTaken.push(done);
    if (this.#corked !== undefined) this.#corked.push(bytes);
    else this.#send([bytes]);
    return this.writableLength === 0;
  }

  pause(): void {
    this.#isReadingPaused = true;
  }

  resume(): void {
    if (!this.#isReadingPaused) return;
    this.#isReadingPaused = false;
    if (this.#arrived.length > 0) this.#later(() => this.#read());
  }

  end(): void {
    if (this.#hasEnded || this.#isDestroyed) return;
    this.#hasEnded = true;
    this.#sendNow('end');
  }

  destroy(): void {
    if (this.#isDestroyed) return;
    // Bytes that nobody read make the kernel reset the connection.
    this.#sendNow(this.#arrived.length > 0 ? 'reset' : 'end');
    this.#later(() => this.#emit('close'));
    this.#drop();
  }

  // ---- sending ----

  #send(buffers: readonly Buffer[]): void {
    if (this.#isDestroyed || this.#hasEnded) return;
    const bytes = Buffer.concat(buffers);
    this.#lastHeardAt = this.#loop.now;
    this.#unreadBytes += bytes.length;
    if (bytes.length > 1 && this.#random!.chance(SPLIT)) {
      const at = 1 + this.#random!.below(bytes.length - 1);
      this.#sendNow(bytes.subarray(0, at));
      this.#sendNow(Buffer.from(bytes.subarray(at)));
    } else {
      this.#sendNow(bytes);
    }
    if (this.writableLength > 0) this.#wasFull = true;
    else this.#tellTaken();
  }

  #tellTaken(): void {
    for (const done of this.#whenTaken.splice(0)) this.#later(() => done());
  }

  #sendNow(packet: Packet): void {
    const peer = this.#peer;
    if (peer === undefined) return;
    this.#sent.push(packet);
    this.#link!.carry(packet instanceof Buffer ? packet.length : 0, () => {
      const next = this.#sent.shift();
      if (next !== undefined) peer.#arrive(next);
    });
  }

  /** The other process has taken bytes. */
  #taken(bytes: number): void {
    this.#unreadBytes -= bytes;
    if (!this.#wasFull || this.writableLength > 0) return;
    this.#wasFull = false;
    this.#tellTaken();
    this.#later(() => this.#emit('drain'));
  }

  // ---- receiving: in the kernel ----

  #arrive(packet: Packet): void {
    this.#loop.trace.mix(packet instanceof Buffer ? crc32c(packet, 0, packet.length) : packet.length);
    if (this.#isForgotten || this.#isDestroyed) {
      // Whoever sends to a connection that is no longer there is told so.
      if (packet instanceof Buffer) this.#sendNow('reset');
      return;
    }
    this.#arrived.push(packet);
    if (this.#isReadingPaused && packet !== 'reset') return;
    if (this.process.isPaused) {
      this.#later(() => this.#read());
      return;
    }
    this.#loop.current = this.process;
    this.#read();
  }

  // ---- receiving: in the process ----

  #read(): void {
    while (this.#arrived.length > 0 && !this.#isDestroyed) {
      if (this.#arrived.at(-1) === 'reset') {
        this.#arrived = [];
        const text = `ECONNRESET: the simulated connection to ${this.remoteAddress}:${this.remotePort}`;
        this.#emit('error', Object.assign(new Error(text), { code: 'ECONNRESET' }));
        this.#close();
        return;
      }
      if (this.#isReadingPaused) return;
      const packet = this.#arrived.shift()!;
      this.#lastHeardAt = this.#loop.now;
      if (packet instanceof Buffer) {
        this.#peer!.#taken(packet.length);
        this.#emit('data', packet);
      } else {
        this.#emit('end');
      }
    }
  }

  // ---- the end ----

  readonly #onDeath = (): void => {
    if (this.#isForgotten || this.#isDestroyed) return;
    this.#sendNow(this.#arrived.length > 0 ? 'reset' : 'end');
    this.#isForgotten = true;
    this.#drop();
  };

  #close(): void {
    if (this.#isDestroyed) return;
    this.#drop();
    this.#emit('close');
  }

  #drop(): void {
    this.#isDestroyed = true;
    this.#arrived = [];
    this.#all.delete(this);
    if (this.#idleTimer !== undefined) this.#idleTimer.isCancelled = true;
    const { onDeath } = this.process;
    const at = onDeath.indexOf(this.#onDeath);
    if (at >= 0) onDeath.splice(at, 1);
  }

  #watch(ms: number): void {
    this.#idleTimer = this.#loop.schedule(ms, EventKind.Timer, this.process, () => {
      const quietMs = this.#loop.now - this.#lastHeardAt;
      if (quietMs >= this.timeout) this.#emit('timeout');
      if (!this.#isDestroyed) this.#watch(quietMs >= this.timeout ? this.timeout : this.timeout - quietMs);
    });
  }

  #later(task: () => void): void {
    this.#loop.schedule(0, EventKind.Network, this.process, task);
  }

  #emit(event: StreamEvent, argument: unknown = NO_BYTES): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(argument);
  }
}

const onceOf = new WeakMap<Listener, Listener>();
