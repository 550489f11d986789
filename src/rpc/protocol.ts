/**
 * What travels between nodes, and between clients and nodes.
 *
 *   frame   0        4        5             8               12              12 + headerLength
 *           +--------+--------+-------------+---------------+---------------+------------------+
 *           | length | type   | header      | correlation   | header        | body             |
 *           | u32    | u8     | length u24  | id u32        | msgpack array | raw batches      |
 *           +--------+--------+-------------+---------------+---------------+------------------+
 *
 *   length counts the bytes after itself. Integers are big-endian. Headers are msgpack arrays in the order of the tuples
 *   below. A request has a correlation id > 0 and gets exactly one reply with the same id; a frame with id 0 has no reply.
 *
 * A connection begins with a handshake in each direction; anything else before it closes the connection. A client uses
 * one connection per node; two nodes use two, one for control (votes, heartbeats, acknowledgements) and one for data,
 * so that bulk never delays a heartbeat. The node with the lower id accepts, the one with the higher id dials.
 */
export const PROTOCOL_VERSION = 1;

/** Hard limit of one frame: max batch (4 MiB) + overhead. */
export const MAX_FRAME_BYTES = 8 * 1024 * 1024;
/** Hard limit of the header inside a frame. */
export const MAX_HEADER_BYTES = 1024 * 1024;
/** Nothing longer is read before the handshake. */
export const MAX_HANDSHAKE_BYTES = 4096;
/** Data frames between nodes are at most this long, unless one batch is longer. */
export const DATA_FRAME_BYTES = 1024 * 1024;
/** The largest record batch that is accepted anywhere. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

export const FrameType = {
  Handshake: 1,
  HandshakeReply: 2,
  /** Reply to any request: [code, message]. With correlation id 0: about the connection, which then closes. */
  Error: 3,
  Produce: 10,
  ProduceReply: 11,
  Fetch: 12,
  FetchReply: 13,
  Metadata: 14,
  MetadataReply: 15,
  ListOffsets: 16,
  ListOffsetsReply: 17,
  DeleteRecords: 18,
  DeleteRecordsReply: 19,
  Status: 20,
  StatusReply: 21,
  /** Messages of many groups in one frame; no reply, correlation id 0. */
  Raft: 30,
  /** Between nodes: who founded the cluster, as far as the sender knows. No reply. */
  Founding: 31,
} as const;

export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/**
 * [protocol version, kind, cluster id ('' = any, clients only), node id (0 for clients), directory id (hex), incarnation
 * id (hex), channel]
 */
export type HandshakeHeader = [
  number,
  'node' | 'client',
  string,
  number,
  string,
  string,
  'control' | 'data' | 'client',
];
/** [protocol version, cluster id, node id, directory id, incarnation id] */
export type HandshakeReplyHeader = [number, string, number, string, string];

/** Error code ('' = none) as in errors.ts; message. */
export type Outcome = [string, string];

/**
 * acks: 0, 1 or −1 (all). Each part is a run of whole batches of one partition: all of it is appended or nothing. The
 * body holds the parts' bytes in order.
 */
export type ProduceHeader = [
  acks: 0 | 1 | -1,
  timeoutMs: number,
  parts: [topic: string, partition: number, byteLength: number][],
];
/** Per part: error code, message, base offset of its first record (−1 on error), log start offset. Not sent for acks 0. */
export type ProduceReplyHeader = [parts: [code: string, message: string, baseOffset: number, logStart: number][]];

export type FetchHeader = [
  topic: string,
  partition: number,
  offset: number,
  maxBytes: number,
  minBytes: number,
  maxWaitMs: number,
];
/** The body holds whole batches; the first may begin below the offset asked for. `nextOffset` is where to go on. */
export type FetchReplyHeader = [highWatermark: number, logStart: number, nextOffset: number];

export type MetadataHeader = [topics: string[] | null];
export type MetadataReplyHeader = [
  clusterId: string,
  nodes: [id: number, host: string, port: number][],
  /** leader 0: unknown at present. */
  topics: [
    name: string,
    topicId: string,
    flush: string,
    partitions: [leader: number, epoch: number, replicas: number[]][],
  ][],
];

/** timestamp: −1 = high watermark (end for consumers), −2 = log start, else the first offset whose timestamp is ≥ it. */
export type ListOffsetsHeader = [topic: string, partition: number, timestamp: number];
/** offset −1: no record that young. */
export type ListOffsetsReplyHeader = [offset: number, timestamp: number];

/** Advances the log start of a partition to `beforeOffset` (≤ high watermark); answered once committed. */
export type DeleteRecordsHeader = [topic: string, partition: number, beforeOffset: number];
export type DeleteRecordsReplyHeader = [logStart: number];

/** Empty. */
export type StatusHeader = [];
/** One JSON-like object: see NodeStatus in cluster/status.ts. */
export type StatusReplyHeader = [status: unknown];

/** Empty: the sender knows of no founding. */
export type FoundingHeader = [id: number, directoryId: string][];

/** Messages of many groups. The body holds what travels with each, in order; cluster/raft-codec.ts packs the messages. */
export type RaftHeader = [topicId: string, partition: number, message: unknown[], byteLength: number][];
