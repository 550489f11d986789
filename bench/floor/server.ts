/**
 * Floor (b): the least that three processes can do and still say "a majority has it". Run once as leader and twice as
 * follower, by `startFloor` in floor-cluster.ts.
 *
 *   client ──frames──▶ leader ──the same bytes──▶ 2 followers        a frame:   0        4
 *      ◀── count of ───┘  ◀── count of bytes ─────┘                            +--------+-----------+
 *          frames             (u64, cumulative)                                | length | records … |
 *          (u32, cumulative)                                                   | u32    | ≤ 64 KiB  |
 *                                                                              +--------+-----------+
 *
 * Whatever arrived in one turn of the event loop is forwarded in one write and stored by one gathered write and one
 * `fdatasync` into written blocks (or copied into a ring in memory); while one is under way the next gathers. A frame is
 * acknowledged once the leader and one follower, or both followers, have it. Nobody looks into a frame: no checksum, no
 * index, no offsets, no term, no recovery. It is built to be hard to beat, not to be used.
 *
 * Lives as long as the process that forked it: when the channel closes, it ends.
 */
import { createServer, connect, type Socket } from 'node:net';
import { RingFile } from '../ring-file.js';

/** What the parent tells a server to be, as the only argument, in JSON. */
export interface FloorServerOptions {
  /** File to create and write into; undefined keeps bytes in memory. */
  readonly file?: string;
  /** Ports of the followers, when this one leads. */
  readonly followers?: readonly number[];
}

/** What the server tells its parent, once, when it takes connections. */
export interface FloorServerReady {
  readonly port: number;
}

const RING_BYTES = 64 * 1024 * 1024;

/** Stores what it is given, all pending bytes at a time, and reports the cumulative count that is stored. */
class FloorStore {
  readonly #ring: RingFile | undefined;
  readonly #memory: Buffer | undefined;
  readonly #onStored: (count: number) => void;
  #memoryPosition = 0;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #stored = 0;
  #busy = false;

  constructor(file: string | undefined, onStored: (count: number) => void) {
    if (file === undefined) this.#memory = Buffer.alloc(RING_BYTES);
    else this.#ring = new RingFile(file, RING_BYTES);
    this.#onStored = onStored;
  }

  add(chunk: Buffer): void {
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
  }

  /** Call once per turn. */
  commit(): void {
    if (this.#busy || this.#pendingBytes === 0) return;
    const chunks = this.#pending;
    const length = this.#pendingBytes;
    this.#pending = [];
    this.#pendingBytes = 0;
    if (this.#ring === undefined) {
      for (const chunk of chunks) this.#copy(chunk);
      this.#stored += length;
      this.#onStored(this.#stored);
      return;
    }
    this.#busy = true;
    this.#ring.commit(chunks, length, (error) => {
      if (error) throw error;
      this.#busy = false;
      this.#stored += length;
      this.#onStored(this.#stored);
      this.commit();
    });
  }

  #copy(chunk: Buffer): void {
    const memory = this.#memory as Buffer;
    if (this.#memoryPosition + chunk.length > memory.length) this.#memoryPosition = 0;
    chunk.copy(memory, this.#memoryPosition);
    this.#memoryPosition += chunk.length;
  }
}

/** Runs `work` once at the end of the turn of the event loop in which it was first asked for. */
function oncePerTurn(work: () => void): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    setImmediate(() => {
      asked = false;
      work();
    });
  };
}

function follow(socket: Socket, file: string | undefined): void {
  const reply = Buffer.alloc(8);
  const store = new FloorStore(file, (count) => {
    reply.writeBigUInt64LE(BigInt(count));
    socket.write(Buffer.from(reply));
  });
  const commit = oncePerTurn(() => store.commit());
  socket.on('data', (chunk) => {
    store.add(chunk);
    commit();
  });
}

/** Frames of one client that are stored or on their way: where each turn's frames end in the replicated stream. */
class FloorClient {
  readonly #socket: Socket;
  readonly #ends: { readonly streamEnd: number; readonly frames: number }[] = [];
  /** Frames that arrived whole. */
  frames = 0;
  /** Pieces of the frame that is arriving. */
  pieces: Buffer[] = [];
  #header = Buffer.alloc(4);
  #headerFilled = 0;
  #bodyLeft = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Takes what the socket gave; returns the pieces of all frames that are whole now. */
  take(chunk: Buffer): Buffer[] {
    let at = 0;
    let wholeEnd = 0;
    while (at < chunk.length) {
      if (this.#headerFilled < 4) {
        this.#header[this.#headerFilled] = chunk[at] as number;
        this.#headerFilled += 1;
        at += 1;
        if (this.#headerFilled === 4) this.#bodyLeft = this.#header.readUInt32LE();
      } else {
        const step = Math.min(this.#bodyLeft, chunk.length - at);
        at += step;
        this.#bodyLeft -= step;
      }
      if (this.#headerFilled === 4 && this.#bodyLeft === 0) {
        this.frames += 1;
        this.#headerFilled = 0;
        wholeEnd = at;
      }
    }
    if (wholeEnd === 0) {
      this.pieces.push(chunk);
      return [];
    }
    const whole = this.pieces;
    whole.push(wholeEnd === chunk.length ? chunk : chunk.subarray(0, wholeEnd));
    this.pieces = wholeEnd === chunk.length ? [] : [chunk.subarray(wholeEnd)];
    return whole;
  }

  markEnd(streamEnd: number): void {
    const last = this.#ends.at(-1);
    if (last === undefined || last.frames < this.frames) this.#ends.push({ streamEnd, frames: this.frames });
  }

  acknowledge(committed: number): void {
    let frames = -1;
    while (this.#ends.length > 0 && (this.#ends[0] as { streamEnd: number }).streamEnd <= committed) {
      frames = (this.#ends.shift() as { frames: number }).frames;
    }
    if (frames < 0 || this.#socket.destroyed) return;
    const reply = Buffer.alloc(4);
    reply.writeUInt32LE(frames >>> 0);
    this.#socket.write(reply);
  }
}

/** Majority of three: the second largest. */
function majority(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}

class FloorLeader {
  readonly #followers: Socket[];
  readonly #store: FloorStore;
  readonly #clients = new Set<FloorClient>();
  readonly #stored = [0, 0, 0];
  readonly #endOfTurn: () => void;
  #streamEnd = 0;
  #outgoing: Buffer[] = [];
  #committed = 0;

  constructor(followers: Socket[], file: string | undefined) {
    this.#followers = followers;
    this.#store = new FloorStore(file, (count) => this.#advance(0, count));
    for (const [i, socket] of followers.entries()) {
      readCounts(socket, (count) => this.#advance(i + 1, count));
    }
    this.#endOfTurn = oncePerTurn(() => this.#forward());
  }

  serve(socket: Socket): void {
    const client = new FloorClient(socket);
    this.#clients.add(client);
    socket.on('data', (chunk) => {
      for (const piece of client.take(chunk)) {
        this.#outgoing.push(piece);
        this.#streamEnd += piece.length;
      }
      this.#endOfTurn();
    });
    socket.on('close', () => this.#clients.delete(client));
  }

  #forward(): void {
    const pieces = this.#outgoing;
    if (pieces.length === 0) return;
    this.#outgoing = [];
    for (const client of this.#clients) client.markEnd(this.#streamEnd);
    for (const socket of this.#followers) {
      socket.cork();
      for (const piece of pieces) socket.write(piece);
      socket.uncork();
    }
    for (const piece of pieces) this.#store.add(piece);
    this.#store.commit();
  }

  #advance(replica: number, count: number): void {
    this.#stored[replica] = count;
    const committed = majority(this.#stored[0] as number, this.#stored[1] as number, this.#stored[2] as number);
    if (committed === this.#committed) return;
    this.#committed = committed;
    for (const client of this.#clients) client.acknowledge(committed);
  }
}

/** Reads cumulative u64 counts; only the last one of a chunk matters. */
function readCounts(socket: Socket, onCount: (count: number) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const whole = bytes.length - (bytes.length % 8);
    if (whole > 0) onCount(Number(bytes.readBigUInt64LE(whole - 8)));
    rest = bytes.subarray(whole);
  });
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket));
    socket.once('error', reject);
  });
}

async function main(options: FloorServerOptions): Promise<void> {
  process.once('disconnect', () => process.exit(0));
  const leader =
    options.followers === undefined
      ? undefined
      : new FloorLeader(await Promise.all(options.followers.map(dial)), options.file);
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    if (leader === undefined) follow(socket, options.file);
    else leader.serve(socket);
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    process.send?.({ port } satisfies FloorServerReady);
  });
}

await main(JSON.parse(process.argv[2] ?? '{}') as FloorServerOptions);
