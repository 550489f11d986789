/** The inner modules of kafkajs that the interop test calls; it publishes no types for them. */
declare module 'kafkajs/src/protocol/decoder.js' {
  export default class Decoder {
    constructor(buffer: Buffer);
  }
}
declare module 'kafkajs/src/protocol/requests/fetch/v4/decodeMessages.js' {
  import type Decoder from 'kafkajs/src/protocol/decoder.js';
  interface KafkaJsRecord {
    readonly offset: string;
    readonly timestamp: string;
    readonly key: Buffer | null;
    readonly value: Buffer | null;
    readonly headers: { readonly [key: string]: Buffer | readonly Buffer[] };
    readonly isControlRecord: boolean;
  }
  export default function decodeMessages(decoder: Decoder): Promise<KafkaJsRecord[]>;
}
declare module 'kafkajs/src/protocol/recordBatch/v0/index.js' {
  export function RecordBatch(options: object): Promise<{ readonly buffer: Buffer }>;
}
declare module 'kafkajs/src/protocol/recordBatch/record/v0/index.js' {
  export default function Record(options: object): object;
}
declare module 'kafkajs/src/protocol/message/compression/index.js' {
  export const Codecs: { [type: number]: () => object };
}
