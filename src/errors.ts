/**
 * The one error type of Varve. Every error a caller can meet has a code from this closed list, a message that says what
 * happened, where, and what to do about it, and (where there is one) the underlying error as `cause`.
 */
export const ERROR_CODES = [
  /** This platform has no native store (supported: Linux x64 and arm64). */
  'UNSUPPORTED_PLATFORM',
  /** A caller passed an argument or option that cannot be right. */
  'INVALID_ARGUMENT',
  /** A configuration file or flag cannot be right; the message names the key and the line. */
  'INVALID_CONFIG',
  /** A topic name that is empty, too long or has characters outside [a-zA-Z0-9._-]. */
  'INVALID_TOPIC',
  /** The bytes are not a well-formed record batch (magic 2). */
  'CORRUPT_BATCH',
  /**
   * A well-formed batch that the producer path refuses: control bit set, record count ≠ last offset delta + 1, or
   * producer fields that cannot be.
   */
  'INVALID_BATCH',
  /** A gap in the sequence numbers of an idempotent producer: a batch before this one is missing. Nothing was appended. */
  'OUT_OF_ORDER_SEQUENCE',
  /** A newer epoch of this producer id has written: somebody else took its place. Nothing was appended. */
  'PRODUCER_FENCED',
  /** A transaction marker of an older transaction coordinator. Nothing was appended. */
  'COORDINATOR_FENCED',
  /** A batch larger than the limit. */
  'BATCH_TOO_LARGE',
  /** The batch names a compression codec this build does not know, or its data does not decompress. */
  'UNSUPPORTED_CODEC',
  /** The offset lies before the log start or after the log end (or the high watermark, for consumers). */
  'OFFSET_OUT_OF_RANGE',
  /** The log was cut below an offset this consumer had already been given. */
  'LOG_TRUNCATED',
  /** A write or sync failed; the store accepts nothing until it is reopened. */
  'DISK_FAILED',
  /** No space left; the append was refused and nothing was lost. Recovers by itself when space returns. */
  'DISK_FULL',
  /** Another process (or another handle in this one) has the data directory open. */
  'DIRECTORY_LOCKED',
  /** The data directory does not exist or was never formatted. */
  'DIRECTORY_MISSING',
  /** The data directory belongs to another cluster or node, or has another format version. */
  'DIRECTORY_MISMATCH',
  /** Bytes that were durable once no longer read back right. Never truncated, never deleted. */
  'CORRUPT_LOG',
  /** A journal group that was durable once no longer reads back right. */
  'CORRUPT_JOURNAL',
  /** The checkpoint (and its predecessor) cannot be read. */
  'CORRUPT_CHECKPOINT',
  /** The handle was closed. */
  'CLOSED',
  /** This node does not lead the partition; ask again for metadata. */
  'NOT_LEADER',
  /** No such topic. */
  'UNKNOWN_TOPIC',
  /** No such partition of a topic that exists. */
  'UNKNOWN_PARTITION',
  /** A frame longer than the limit; the connection is closed. */
  'FRAME_TOO_LARGE',
  /** Bytes on a connection that do not follow the protocol; the connection is closed. */
  'PROTOCOL_ERROR',
  /** The peer belongs to another cluster. */
  'WRONG_CLUSTER',
  /** The peer is not the node that was expected at this address. */
  'WRONG_NODE',
  /** The peer speaks no protocol version that we speak. */
  'UNSUPPORTED_VERSION',
  /** The connection ended; requests that were not sent did not happen. */
  'CONNECTION_LOST',
  /** The request was sent and its outcome is unknown: it may or may not have been appended. */
  'OUTCOME_UNKNOWN',
  /** The deadline of a request passed. */
  'TIMEOUT',
  /** A limit on memory or requests in flight was reached. */
  'OVERLOADED',
  /** A history that `varve check` cannot read: no such file, or a line of another form; the message names file and line. */
  'INVALID_HISTORY',
  /** A message of an older leader epoch. */
  'FENCED_LEADER_EPOCH',
  /** A broken invariant; the node stops. Better down than wrong. */
  'INVARIANT_BROKEN',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** Codes after which the same request can succeed later without any change by the caller, and had no effect so far. */
const RETRIABLE: ReadonlySet<ErrorCode> = new Set(['DISK_FULL', 'NOT_LEADER', 'CONNECTION_LOST', 'OVERLOADED']);

export class VarveError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'VarveError';
    this.code = code;
  }

  /** True when the request had no effect and the same request may succeed later. */
  get retriable(): boolean {
    return RETRIABLE.has(this.code);
  }
}

/** Throws `INVARIANT_BROKEN` unless the condition holds. Stays on in production. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new VarveError('INVARIANT_BROKEN', `invariant broken: ${message}`);
}
