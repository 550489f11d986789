/**
 * Records as people use them. The bytes they become (Kafka's RecordBatch, magic 2) are drawn in record-batch.ts.
 */
export const COMPRESSIONS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;

/** Position in this list = the codec's number in the batch attributes. */
export type Compression = (typeof COMPRESSIONS)[number];

export interface Header {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** What a producer gives. Strings are stored as UTF-8; null and undefined are both the null of the format. */
export interface RecordInput {
  readonly key?: Uint8Array | string | null;
  readonly value?: Uint8Array | string | null;
  readonly headers?: readonly Header[];
  /** Milliseconds since the epoch. Default: now. */
  readonly timestamp?: number;
}

/** What a consumer gets. */
export interface Record {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly Header[];
}
