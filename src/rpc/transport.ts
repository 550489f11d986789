/**
 * What carries the bytes of connections: TCP, or a simulator's network.
 *
 * A `ByteStream` is the part of node:net's Socket that is used, with the same names and the same events, so that a socket
 * is one as it is: 'connect', 'data' (a Buffer that becomes the receiver's), 'drain', 'end', 'error', 'close', 'timeout'.
 * A stream that was accepted is half open: its owner ends its side itself.
 */
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';

export interface ByteStream {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  /** Of `setTimeout`. */
  readonly timeout?: number | undefined;
  /** Bytes that the kernel has not taken yet. */
  readonly writableLength: number;
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'drain' | 'end' | 'close' | 'timeout', listener: () => void): unknown;
  once(event: 'connect', listener: () => void): unknown;
  once(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
  setNoDelay(noDelay: boolean): unknown;
  setKeepAlive(keepAlive: boolean, initialDelayMs: number): unknown;
  /** 'timeout' is emitted when nothing was sent or received for so long; 0: never. */
  setTimeout(ms: number): unknown;
  cork(): void;
  uncork(): void;
  write(bytes: Buffer, done?: (error?: Error | null) => void): boolean;
  pause(): unknown;
  resume(): unknown;
  end(): unknown;
  destroy(): unknown;
}

export interface StreamServer {
  /** The one in use, when port 0 was asked for. */
  readonly port: number;
  /** Accepts nothing any more; resolves when every stream that it accepted has closed. */
  close(): Promise<void>;
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** Streams beyond this are closed at once. */
  readonly maxConnections: number;
  readonly onStream: (stream: ByteStream) => void;
}

export interface Transport {
  /** Begins to connect: 'connect' or 'error' follows. */
  connect(host: string, port: number): ByteStream;
  /** @throws an error with the `code` of the system call */
  listen(options: ListenOptions): Promise<StreamServer>;
}

export const tcpTransport: Transport = {
  connect: (host, port) => connect({ host, port, noDelay: true }),

  async listen({ host, port, maxConnections, onStream }) {
    const server = createServer({ noDelay: true, allowHalfOpen: true });
    server.maxConnections = maxConnections;
    server.on('connection', onStream);
    server.listen({ host, port });
    await once(server, 'listening');
    return new TcpServer(server);
  },
};

class TcpServer implements StreamServer {
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }
}
