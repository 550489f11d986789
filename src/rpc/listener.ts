/**
 * Accepts connections. Each must begin with a handshake of at most MAX_HANDSHAKE_BYTES within `handshakeTimeoutMs`; who
 * does not, or is refused by `admit`, gets an Error frame and is closed. Only then does the owner see the connection.
 */
import { systemEnvironment } from '../environment.js';
import { VarveError } from '../errors.js';
import { Connection, type ConnectionOptions } from './connection.js';
import type { Frame } from './frame.js';
import { type Handshake, type Identity, packHandshakeReply, unpackHandshake } from './handshake.js';
import { FrameType, MAX_HANDSHAKE_BYTES } from './protocol.js';
import { type ByteStream, type StreamServer, tcpTransport, type Transport } from './transport.js';

export interface ListenerOptions {
  readonly host: string;
  /** 0: any free port, see `Listener.port`. */
  readonly port: number;
  /** What the handshake reply says about this side. */
  readonly identity: Identity;
  /** Throws a VarveError to refuse. A foreign cluster id is refused before it is asked. */
  readonly admit?: (handshake: Handshake) => void;
  /** The owner sets `onFrame` and `onClose` here, before any frame is delivered. */
  readonly onConnection: (connection: Connection, handshake: Handshake) => void;
  readonly connection?: ConnectionOptions;
  /** Default 5,000 ms. */
  readonly handshakeTimeoutMs?: number;
  /** Connections beyond this are closed at once. Default 4096. */
  readonly maxConnections?: number;
  /** Default: TCP. */
  readonly transport?: Transport;
}

export class Listener {
  #server: StreamServer | undefined;
  readonly #options: ListenerOptions;
  readonly #connections = new Set<Connection>();

  private constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** @throws VarveError INVALID_CONFIG when the address can't be listened on. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const { host, port, maxConnections = 4096, transport = tcpTransport } = options;
    const listener = new Listener(options);
    try {
      const onStream = (stream: ByteStream): void => listener.#accept(stream);
      listener.#server = await transport.listen({ host, port, maxConnections, onStream });
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
      throw new VarveError('INVALID_CONFIG', `cannot listen on ${host}:${port} (${code}). ${adviceFor(code)}`, {
        cause,
      });
    }
    return listener;
  }

  get port(): number {
    return this.#server?.port ?? 0;
  }

  get connections(): ReadonlySet<Connection> {
    return this.#connections;
  }

  /** Stops accepting, and closes every connection that came in after what was sent on it; resolves when all have ended. */
  async close(): Promise<void> {
    const closed = this.#server?.close();
    for (const connection of [...this.#connections]) {
      connection.close(new VarveError('CLOSED', 'the other side is closing down'));
    }
    await closed;
  }

  #accept(stream: ByteStream): void {
    const options = this.#options;
    const connection = new Connection(stream, options.connection, MAX_HANDSHAKE_BYTES);
    this.#connections.add(connection);
    const timeoutMs = options.handshakeTimeoutMs ?? 5000;
    const environment = options.connection?.environment ?? systemEnvironment;
    const timer = environment.after(timeoutMs, () => {
      connection.close(new VarveError('TIMEOUT', `no handshake came within ${timeoutMs} ms`));
    });
    connection.onClose = () => {
      environment.cancel(timer);
      this.#connections.delete(connection);
    };
    connection.onFrame = (frame) => {
      const handshake = this.#admit(frame);
      environment.cancel(timer);
      connection.onFrame = undefined;
      connection.handshaken();
      // Before anything that the owner has to say.
      connection.reply(FrameType.HandshakeReply, frame.correlationId, packHandshakeReply(options.identity));
      options.onConnection(connection, handshake);
      const ownersOnClose = connection.onClose;
      connection.onClose = (error) => {
        this.#connections.delete(connection);
        ownersOnClose?.(error);
      };
    };
  }

  #admit(frame: Frame): Handshake {
    if (frame.type !== FrameType.Handshake) {
      throw new VarveError('PROTOCOL_ERROR', `a connection began with a frame of type ${frame.type}, not a handshake`);
    }
    const handshake = unpackHandshake(frame.header);
    const { clusterId } = this.#options.identity;
    // A client may leave the cluster id open; a node never.
    if (handshake.clusterId !== clusterId && (handshake.kind === 'node' || handshake.clusterId !== '')) {
      throw new VarveError(
        'WRONG_CLUSTER',
        `this node belongs to cluster "${clusterId}", not "${handshake.clusterId}". Check the address and the cluster id`,
      );
    }
    this.#options.admit?.(handshake);
    return handshake;
  }
}

function adviceFor(code: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'Another process is using the port: end it, or choose another port';
    case 'EADDRNOTAVAIL':
      return 'No network interface of this machine has this address: choose one that it has';
    case 'EACCES':
    case 'EPERM':
      return 'This user may not use the port: choose one from 1024 on';
    default:
      return 'Choose an address and a port of this machine';
  }
}
