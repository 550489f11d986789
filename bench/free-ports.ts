/**
 * Ports for nodes that will be killed and come back. None from the range that the kernel takes for outgoing connections:
 * while a node is down its port could go to one of these, and the node could not start again.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { VarveError } from '../src/errors.js';

const FIRST = 10_000;
/** Linux's own default for the first port of outgoing connections. */
const EPHEMERAL = 32_768;
const ATTEMPTS = 1000;

export async function freePorts(count: number): Promise<number[]> {
  const end = Math.max(FIRST + 100, firstEphemeralPort());
  const ports = new Set<number>();
  for (let attempt = 0; attempt < ATTEMPTS && ports.size < count; attempt += 1) {
    const port = FIRST + Math.floor(Math.random() * (end - FIRST));
    if (!ports.has(port) && (await canListen(port))) ports.add(port);
  }
  if (ports.size < count) {
    throw new VarveError(
      'OVERLOADED',
      `fewer than ${count} ports from ${FIRST} to ${end} are free on the loopback interface`,
    );
  }
  return [...ports];
}

function firstEphemeralPort(): number {
  try {
    const first = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/)[0]);
    return Number.isInteger(first) ? first : EPHEMERAL;
  } catch {
    return EPHEMERAL;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
