/**
 * One TCP connection that speaks frames: correlation of requests and replies, one-way sends, back-pressure, timeouts.
 *
 * Contract.
 *   - Frames leave in the order of the calls. All frames of one event-loop turn leave in one gathered write.
 *   - Bodies are written without a copy: the caller must not change them afterwards.
 *   - Memory is bounded: `outgoingMaxBytes` waiting for the kernel, `maxInFlight` requests waiting for a reply, one
 *     incomplete frame coming in. `writable` says when to hold back, `hold` stops reading.
 *   - A request fails exactly once or succeeds exactly once. When the connection ends: CONNECTION_LOST if the request
 *     never left, or only reads; OUTCOME_UNKNOWN if it left and may have changed something.
 *   - `onClose` runs once, after all requests have failed.
 *
 * What can go wrong: bytes that are not frames close the connection, after an Error frame (correlation id 0) that says why.
 */
import { type Environment, systemEnvironment, type Timer } from '../environment.js';
import { type ErrorCode, VarveError } from '../errors.js';
import { errorHeader, unpackError } from './error-frame.js';
import { encodeFrame, type Frame, FrameDecoder, unpackHeader } from './frame.js';
import type { FrameMemory } from './frame-memory.js';
import { NO_BYTES, NO_HEADER, PendingRequests, type ReplyCallback } from './pending-requests.js';
import { FrameType, MAX_FRAME_BYTES } from './protocol.js';
import type { ByteStream } from './transport.js';
import { inNextTurn, sharedWriteScheduler, WriteScheduler } from './write-scheduler.js';

export interface ConnectionOptions {
  /** Largest frame in either direction. Default 8 MiB. */
  readonly maxFrameBytes?: number;
  /** Bytes waiting for the kernel at which `writable` turns false. Default 4 MiB. */
  readonly outgoingHighBytes?: number;
  /** Bytes waiting for the kernel at which nothing more is taken (OVERLOADED). Default 64 MiB. */
  readonly outgoingMaxBytes?: number;
  /** Requests waiting for a reply. Default 1024. */
  readonly maxInFlight?: number;
  /** The connection is closed when nothing was sent or received for so long. 0 (default): never. */
  readonly idleMs?: number;
  readonly scheduler?: WriteScheduler;
  /** Default: the process. */
  readonly environment?: Environment;
  /** When given, header and body of a frame are only valid until `onFrame` returns. Not for a side that awaits replies. */
  readonly frameMemory?: FrameMemory;
}

/** Why reading is stopped; several reasons may hold at once. */
export const Hold = {
  /** Replies wait for the kernel. */
  Outgoing: 1,
  /** Too many bytes of requests without a reply. */
  InFlight: 2,
  /** The store accepts nothing at present. */
  Throttled: 4,
} as const;
export type Hold = (typeof Hold)[keyof typeof Hold];

export interface Reply {
  readonly header: unknown[];
  readonly body: Buffer;
}

/** A frame without a reply whose sender wants to know when the kernel has taken it. */
interface Unwritten {
  /** Its number, counted from 1: it left once `#framesWritten` has reached it. */
  readonly frame: number;
  readonly done: (error: VarveError | undefined) => void;
}

const NO_BODIES: readonly Buffer[] = [];

/**
 * Frames smaller than this are copied together before they are written: cheaper than one entry each in the gathered
 * write.
 */
const MERGE_BELOW_BYTES = 2048;

/** How long a closing connection waits for the peer to read the reason and close its side. */
const LINGER_MS = 1000;

export class Connection {
  /** Requests and one-way frames of the peer. Must not throw; a VarveError that it throws closes the connection. */
  onFrame: ((frame: Frame) => void) | undefined;
  /** Once, when the connection has ended. `error` says why; CLOSED when this side asked for it. */
  onClose: ((error: VarveError) => void) | undefined;
  /** `writable` became true again. */
  onWritable: (() => void) | undefined;
  /**
   * Set by a side that only answers: it stops reading while it is not `writable`, so that replies to somebody who doesn't
   * read them stay bounded. Two sides that both did so could wait for each other for ever.
   */
  holdWhenBlocked = false;
  /** "host:port" of the other side, for messages. */
  readonly remote: string;

  readonly #socket: ByteStream;
  readonly #environment: Environment;
  readonly #decoder: FrameDecoder;
  readonly #scheduler: WriteScheduler;
  readonly #maxFrameBytes: number;
  readonly #outgoingHighBytes: number;
  readonly #outgoingMaxBytes: number;
  readonly #maxInFlight: number;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #framesQueued = 0;
  #framesWritten = 0;
  #blocked = false;
  #holds = 0;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #reason: VarveError | undefined;
  readonly #pending: PendingRequests;
  #unwritten: Unwritten[] = [];
  #linger: Timer | undefined;
  #bytesIn = 0;
  #bytesOut = 0;

  /** Takes over a connected socket. `firstFrameBytes`: the limit until `handshaken` is called. */
  constructor(socket: ByteStream, options: ConnectionOptions = {}, firstFrameBytes?: number) {
    this.#socket = socket;
    this.#environment = options.environment ?? systemEnvironment;
    this.#scheduler =
      options.scheduler ??
      (options.environment === undefined ? sharedWriteScheduler : new WriteScheduler(inNextTurn(options.environment)));
    this.#maxFrameBytes = options.maxFrameBytes ?? MAX_FRAME_BYTES;
    this.#outgoingHighBytes = options.outgoingHighBytes ?? 4 * 1024 * 1024;
    this.#outgoingMaxBytes = options.outgoingMaxBytes ?? 64 * 1024 * 1024;
    this.#maxInFlight = options.maxInFlight ?? 1024;
    this.remote = `${socket.remoteAddress ?? '?'}:${socket.remotePort ?? '?'}`;
    this.#pending = new PendingRequests(this.#environment, this.remote);
    this.#decoder = new FrameDecoder(
      firstFrameBytes ?? this.#maxFrameBytes,
      (frame) => this.#receive(frame),
      options.frameMemory,
    );

    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('drain', () => this.#onDrain());
    socket.on('end', () => this.#onEnd());
    socket.on('error', (cause) => {
      this.#finish(new VarveError('CONNECTION_LOST', `connection to ${this.remote}: ${cause.message}`, { cause }));
    });
    socket.on('close', () => {
      this.#finish(new VarveError('CONNECTION_LOST', `the connection to ${this.remote} ended`));
    });
    socket.on('timeout', () => this.close(new VarveError('TIMEOUT', `nothing was said for ${socket.timeout} ms`)));
    if (options.idleMs !== undefined) socket.setTimeout(options.idleMs);
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** False while so much waits for the kernel that the caller should hold back; `onWritable` says when that is over. */
  get writable(): boolean {
    return this.#state === 'open' && !this.#blocked;
  }

  /** Bytes given to `send` and the like that the kernel has not taken yet. */
  get outgoingBytes(): number {
    return this.#queuedBytes + this.#socket.writableLength;
  }

  /** Requests waiting for a reply. */
  get inFlight(): number {
    return this.#pending.size;
  }

  get bytesIn(): number {
    return this.#bytesIn;
  }

  get bytesOut(): number {
    return this.#bytesOut;
  }

  /** Lifts the small limit that holds before the handshake. */
  handshaken(): void {
    this.#decoder.maxFrameBytes = this.#maxFrameBytes;
  }

  /** See `ConnectionOptions.idleMs`. */
  setIdleTimeout(idleMs: number): void {
    this.#socket.setTimeout(idleMs);
  }

  /**
   * Sends a request; `done` is called once, never before this returns. Errors: CONNECTION_LOST, OVERLOADED (nothing was
   * sent), OUTCOME_UNKNOWN, TIMEOUT, or what the peer answered.
   * @throws VarveError FRAME_TOO_LARGE: the caller's mistake
   */
  requestWith(
    type: number,
    header: readonly unknown[],
    bodies: readonly Buffer[] | undefined,
    timeoutMs: number,
    done: ReplyCallback,
  ): void {
    if (this.#pending.size >= this.#maxInFlight) {
      const error = new VarveError('OVERLOADED', `${this.#maxInFlight} requests to ${this.remote} await a reply`);
      queueMicrotask(() => done(error, NO_HEADER, NO_BYTES));
      return;
    }
    const id = this.#pending.nextId();
    const refused = this.#enqueue(type, id, header, bodies ?? NO_BODIES);
    if (refused !== undefined) {
      queueMicrotask(() => done(refused, NO_HEADER, NO_BYTES));
      return;
    }
    this.#pending.add(id, type, this.#framesQueued, timeoutMs, done);
  }

  /** As `requestWith`, as a promise. `timeoutMs` 0: no deadline. */
  request(
    type: number,
    header: readonly unknown[],
    bodies?: readonly Buffer[],
    options?: { readonly timeoutMs?: number },
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.requestWith(type, header, bodies, options?.timeoutMs ?? 0, (error, replyHeader, body) => {
        if (error !== undefined) reject(error);
        else resolve({ header: replyHeader, body });
      });
    });
  }

  /** Sends a frame that has no reply. Returns false when it was not taken: the connection ended or is overloaded. */
  send(type: number, header: readonly unknown[], bodies?: readonly Buffer[]): boolean {
    return this.#enqueue(type, 0, header, bodies ?? NO_BODIES) === undefined;
  }

  /**
   * As `send`; `done` is called once, never before this returns: when the kernel has taken the frame, or with
   * CONNECTION_LOST, OVERLOADED (it never left) or OUTCOME_UNKNOWN.
   */
  sendWith(
    type: number,
    header: readonly unknown[],
    bodies: readonly Buffer[] | undefined,
    done: (error: VarveError | undefined) => void,
  ): void {
    const refused = this.#enqueue(type, 0, header, bodies ?? NO_BODIES);
    if (refused !== undefined) queueMicrotask(() => done(refused));
    else this.#unwritten.push({ frame: this.#framesQueued, done });
  }

  /** Answers a request. A reply that can't be delivered closes the connection: the peer must not wait for it. */
  reply(type: number, correlationId: number, header: readonly unknown[], bodies?: readonly Buffer[]): void {
    if (this.#state !== 'open') return;
    const refused = this.#enqueue(type, correlationId, header, bodies ?? NO_BODIES);
    if (refused !== undefined) this.destroy(refused);
  }

  replyError(correlationId: number, error: VarveError): void {
    this.reply(FrameType.Error, correlationId, errorHeader(error));
  }

  /** Stops reading until each reason has been released. */
  hold(reason: Hold): void {
    if (this.#holds === 0 && this.#state === 'open') this.#socket.pause();
    this.#holds |= reason;
  }

  release(reason: Hold): void {
    if ((this.#holds & reason) === 0) return;
    this.#holds &= ~reason;
    if (this.#holds === 0 && this.#state === 'open') this.#socket.resume();
  }

  /** Writes what was queued in this turn. The scheduler calls it; an owner that can't wait may, too. */
  flush(): void {
    const queue = this.#queue;
    if (queue.length === 0) return;
    this.#queue = [];
    this.#bytesOut += this.#queuedBytes;
    this.#queuedBytes = 0;
    this.#framesWritten = this.#framesQueued;
    if (this.#state === 'closed') return;
    const socket = this.#socket;
    const buffers = queue.length === 1 ? queue : mergeSmall(queue);
    const last = buffers.length - 1;
    socket.cork();
    for (let i = 0; i < last; i++) socket.write(buffers[i]!);
    if (this.#unwritten.length === 0) socket.write(buffers[last]!);
    else this.#writeAndTell(buffers[last]!, this.#framesWritten);
    socket.uncork();
    if (this.#blocked && socket.writableLength < this.#outgoingHighBytes / 2) this.#unblock();
  }

  /** Ends the connection after what was queued and, if there is one, an Error frame that tells the peer why. */
  close(error?: VarveError): void {
    if (this.#state !== 'open') return;
    if (error !== undefined) this.#enqueue(FrameType.Error, 0, errorHeader(error), NO_BODIES);
    this.flush();
    this.#reason = error ?? new VarveError('CLOSED', `the connection to ${this.remote} was closed`);
    this.#state = 'closing';
    this.#decoder.stop();
    this.#failPending(this.#reason);
    // What the peer still sends is read and dropped: closing with unread bytes would reset the connection and could take
    // the Error frame with it.
    this.#socket.resume();
    this.#socket.end();
    this.#linger = this.#environment.after(LINGER_MS, () => this.#socket.destroy());
    this.#linger.unref();
  }

  /** Ends the connection at once. */
  destroy(error?: VarveError): void {
    this.#finish(error ?? new VarveError('CLOSED', `the connection to ${this.remote} was closed`));
  }

  #enqueue(
    type: number,
    correlationId: number,
    header: readonly unknown[],
    bodies: readonly Buffer[],
  ): VarveError | undefined {
    if (this.#state !== 'open') {
      return new VarveError('CONNECTION_LOST', `the connection to ${this.remote} has ended`);
    }
    let bodyBytes = 0;
    for (const body of bodies) bodyBytes += body.length;
    const outgoing = this.outgoingBytes;
    if (outgoing > 0 && outgoing + bodyBytes > this.#outgoingMaxBytes) {
      return new VarveError(
        'OVERLOADED',
        `${outgoing} bytes wait to be sent to ${this.remote}; the limit is ${this.#outgoingMaxBytes}`,
      );
    }
    const first = encodeFrame(type, correlationId, header, bodyBytes, this.#maxFrameBytes);
    if (this.#queue.length === 0) this.#scheduler.add(this);
    this.#queue.push(first);
    for (const body of bodies) if (body.length > 0) this.#queue.push(body);
    this.#queuedBytes += first.length + bodyBytes;
    this.#framesQueued++;
    if (!this.#blocked && this.outgoingBytes >= this.#outgoingHighBytes) {
      this.#blocked = true;
      if (this.holdWhenBlocked) this.hold(Hold.Outgoing);
    }
    return undefined;
  }

  /** Writes the last buffer of a turn; tells those who wait for the kernel to have taken it. */
  #writeAndTell(buffer: Buffer, framesWritten: number): void {
    this.#socket.write(buffer, (failed) => {
      // A write that fails ends the connection, and that tells them.
      if (failed) return;
      const unwritten = this.#unwritten;
      let taken = 0;
      while (taken < unwritten.length && unwritten[taken]!.frame <= framesWritten) taken++;
      for (const { done } of unwritten.splice(0, taken)) done(undefined);
    });
  }

  #onData(chunk: Buffer): void {
    if (this.#state !== 'open') return;
    this.#bytesIn += chunk.length;
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      // Ours are the peer's mistakes, and it is told. Anything else is a fault of this process and must not be hidden.
      if (!(error instanceof VarveError) || error.code === 'INVARIANT_BROKEN') throw error;
      this.close(error);
    }
  }

  #receive(frame: Frame): void {
    if (this.#state !== 'open') return;
    const pending = frame.correlationId === 0 ? undefined : this.#pending.get(frame.correlationId);
    if (frame.type === FrameType.Error) {
      const error = unpackError(frame, this.remote);
      if (frame.correlationId === 0) {
        this.#finish(error);
      } else if (pending !== undefined) {
        this.#pending.delete(frame.correlationId);
        pending.done(error, NO_HEADER, NO_BYTES);
      }
    } else if (pending !== undefined && frame.type === pending.type + 1) {
      const header = unpackHeader(frame.header);
      this.#pending.delete(frame.correlationId);
      pending.done(undefined, header, frame.body);
    } else if (isReply(frame.type)) {
      // The answer to a request that was given up: its deadline had passed.
    } else if (this.onFrame !== undefined) {
      this.onFrame(frame);
    } else {
      throw new VarveError('PROTOCOL_ERROR', `a frame of type ${frame.type} was not expected here`);
    }
  }

  #onDrain(): void {
    if (this.#blocked && this.#queuedBytes === 0) this.#unblock();
  }

  #unblock(): void {
    this.#blocked = false;
    this.release(Hold.Outgoing);
    this.onWritable?.();
  }

  /** The peer closed its side: nobody reads our replies any more. */
  #onEnd(): void {
    if (this.#state === 'open' && !this.#decoder.atBoundary) {
      this.#finish(new VarveError('CONNECTION_LOST', `${this.remote} ended the connection inside a frame`));
    } else {
      this.#finish(new VarveError('CONNECTION_LOST', `${this.remote} ended the connection`));
    }
  }

  #finish(error: VarveError): void {
    if (this.#state === 'closed') return;
    const reason = this.#reason ?? error;
    this.#state = 'closed';
    this.#decoder.stop();
    this.#environment.cancel(this.#linger);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#socket.destroy();
    this.#failPending(reason);
    this.onClose?.(reason);
    this.onFrame = undefined;
    this.onWritable = undefined;
  }

  #failPending(reason: VarveError): void {
    for (const { frame, done } of this.#unwritten.splice(0)) {
      const code: ErrorCode = frame <= this.#framesWritten ? 'OUTCOME_UNKNOWN' : 'CONNECTION_LOST';
      done(new VarveError(code, reason.message, { cause: reason }));
    }
    this.#pending.failAll(reason, this.#framesWritten);
  }
}

/** Replies have the odd numbers from 11 on. */
function isReply(type: number): boolean {
  return type > 10 && type < FrameType.Raft && type % 2 === 1;
}

/** Joins runs of small buffers; large ones pass through uncopied. */
function mergeSmall(buffers: readonly Buffer[]): readonly Buffer[] {
  const merged: Buffer[] = [];
  let at = 0;
  while (at < buffers.length) {
    let end = at;
    let bytes = 0;
    while (end < buffers.length && buffers[end]!.length < MERGE_BELOW_BYTES) bytes += buffers[end++]!.length;
    if (end - at < 2) {
      merged.push(buffers[at]!);
      at++;
      continue;
    }
    const joined = Buffer.allocUnsafe(bytes);
    let position = 0;
    for (; at < end; at++) position += buffers[at]!.copy(joined, position);
    merged.push(joined);
  }
  return merged;
}
