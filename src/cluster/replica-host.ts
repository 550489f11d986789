/** What a replica needs of the node that it is on. */
import type { VarveError } from '../errors.js';
import type { Configuration, Message, Sender } from '../raft/types.js';
import type { Replica } from './replica.js';

export interface ReplicaHost {
  readonly self: Sender;
  /** The configuration of a log that holds none. Nobody, while it is not known who founded the cluster. */
  readonly founding: Configuration;
  readonly heartbeatTicks: number;
  readonly electionTicks: number;
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  /** @see NodeOptions.uncleanRecovery */
  readonly uncleanRecovery: 'never' | 'longest-log';
  /** Uniform in [0, 1). */
  readonly random: () => number;
  send(replica: Replica, message: Message, bodies: readonly Buffer[], bytes: number): void;
  /** Asks for `pass` at the end of this turn. */
  schedule(replica: Replica): void;
  onLeadership(replica: Replica): void;
  onMembership(replica: Replica): void;
  onForgetful(replica: Replica, forgetful: boolean): void;
  /** The store accepts nothing any more. */
  onDiskFailed(error: VarveError): void;
  /** A contradiction: the node must stop. */
  onFatal(error: unknown): void;
  warn(replica: Replica, event: string, error: unknown): void;
}
