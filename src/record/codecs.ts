/**
 * The compression codecs of record batches, by name. What each writes is what Kafka writes: gzip (RFC 1952), snappy in
 * xerial framing, LZ4 frames with independent blocks, Zstandard frames.
 *
 * Compressed bytes may come from anybody. Decompression refuses an output over the limits before it allocates where the
 * format tells the size (snappy, lz4, zstd), and while the output streams where it doesn't (gzip).
 *
 * Errors of decompression: UNSUPPORTED_CODEC (the bytes do not decompress), BATCH_TOO_LARGE (over the limits).
 * The synchronous forms are there where the library has them: zstd has one from Node.js 22.15 on.
 */
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import * as zstdAddon from '@mongodb-js/zstd';
import { VarveError } from '../errors.js';
import { compressLz4Frame, compressLz4FrameSync, decompressLz4Frame, decompressLz4FrameSync } from './lz4-frame.js';
import { type DecompressionLimits, outputBoundBytes, outputTooLarge, undecodable } from './limits.js';
import {
  compressSnappyStream,
  compressSnappyStreamSync,
  decompressSnappyStream,
  decompressSnappyStreamSync,
} from './snappy-stream.js';
import type { Compression } from './types.js';
import { checkZstdFrame } from './zstd-frame.js';

export interface Codec {
  compress(plain: Buffer): Promise<Buffer>;
  decompress(packed: Buffer, limits: DecompressionLimits): Promise<Buffer>;
  compressSync?(plain: Buffer): Buffer;
  decompressSync?(packed: Buffer, limits: DecompressionLimits): Buffer;
}

/** Zstandard's own default: beyond it time grows much faster than the gain. */
const ZSTD_LEVEL = 3;
const GUNZIP_CHUNK_BYTES = 64 * 1024;

const none: Codec = {
  compress: async (plain) => plain,
  decompress: async (packed) => packed,
  compressSync: (plain) => plain,
  decompressSync: (packed) => packed,
};

const gzipAsync = promisify<Buffer, Buffer>(zlib.gzip);
const gunzipAsync = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip);

const gzip: Codec = {
  compress: (plain) => gzipAsync(plain),
  compressSync: (plain) => zlib.gzipSync(plain),
  decompress: (packed, limits) =>
    gunzipAsync(packed, gunzipOptions(packed, limits)).catch((cause) => zlibFailed('gzip', packed, limits, cause)),
  decompressSync: (packed, limits) => {
    try {
      return zlib.gunzipSync(packed, gunzipOptions(packed, limits));
    } catch (cause) {
      return zlibFailed('gzip', packed, limits, cause);
    }
  },
};

function gunzipOptions(packed: Buffer, limits: DecompressionLimits): zlib.ZlibOptions {
  return { maxOutputLength: outputBoundBytes(limits, packed.length), chunkSize: GUNZIP_CHUNK_BYTES };
}

function zlibFailed(compression: Compression, packed: Buffer, limits: DecompressionLimits, cause: unknown): never {
  if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
    throw outputTooLarge(compression, packed.length, outputBoundBytes(limits, packed.length));
  }
  throw undecodable(compression, (cause as Error).message, cause);
}

const snappy: Codec = {
  compress: compressSnappyStream,
  decompress: decompressSnappyStream,
  compressSync: compressSnappyStreamSync,
  decompressSync: decompressSnappyStreamSync,
};

const lz4: Codec = {
  compress: compressLz4Frame,
  decompress: decompressLz4Frame,
  compressSync: compressLz4FrameSync,
  decompressSync: decompressLz4FrameSync,
};

/** The part of node:zlib that is there from Node.js 22.15 on. */
interface NodeZstd {
  zstdCompress(plain: Buffer, options: object, done: (error: Error | null, packed: Buffer) => void): void;
  zstdCompressSync(plain: Buffer, options: object): Buffer;
  zstdDecompress(packed: Buffer, options: object, done: (error: Error | null, plain: Buffer) => void): void;
  zstdDecompressSync(packed: Buffer, options: object): Buffer;
  constants: { ZSTD_c_compressionLevel: number };
}

function nodeZstd(library: NodeZstd): Codec {
  const compress = promisify<Buffer, object, Buffer>(library.zstdCompress);
  const decompress = promisify<Buffer, object, Buffer>(library.zstdDecompress);
  const compressOptions = (plain: Buffer) => ({
    params: { [library.constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
    pledgedSrcSize: plain.length,
  });
  const decompressOptions = (packed: Buffer, limits: DecompressionLimits) => {
    checkZstdFrame(packed, limits);
    return { maxOutputLength: outputBoundBytes(limits, packed.length) };
  };
  return {
    compress: (plain) => compress(plain, compressOptions(plain)),
    compressSync: (plain) => library.zstdCompressSync(plain, compressOptions(plain)),
    decompress: async (packed, limits) => {
      const options = decompressOptions(packed, limits);
      return await decompress(packed, options).catch((cause) => zlibFailed('zstd', packed, limits, cause));
    },
    decompressSync: (packed, limits) => {
      const options = decompressOptions(packed, limits);
      try {
        return library.zstdDecompressSync(packed, options);
      } catch (cause) {
        return zlibFailed('zstd', packed, limits, cause);
      }
    },
  };
}

const addonZstd: Codec = {
  compress: (plain) => zstdAddon.compress(plain, ZSTD_LEVEL),
  decompress: async (packed, limits) => {
    checkZstdFrame(packed, limits);
    const plain = await zstdAddon.decompress(packed).catch((cause) => zlibFailed('zstd', packed, limits, cause));
    const boundBytes = outputBoundBytes(limits, packed.length);
    if (plain.length > boundBytes) throw outputTooLarge('zstd', packed.length, boundBytes);
    return plain;
  },
};

const zstd = 'zstdCompress' in zlib ? nodeZstd(zlib as unknown as NodeZstd) : addonZstd;

const CODECS: { readonly [name in Compression]: Codec } = Object.freeze({ none, gzip, snappy, lz4, zstd });

/** @throws VarveError INVALID_ARGUMENT for any other name: callers without types can pass one */
export function codecFor(compression: Compression): Codec {
  if (!Object.hasOwn(CODECS, compression)) {
    const names = Object.keys(CODECS).join(', ');
    throw new VarveError('INVALID_ARGUMENT', `compression ${JSON.stringify(compression)}: give one of ${names}`);
  }
  return CODECS[compression];
}
