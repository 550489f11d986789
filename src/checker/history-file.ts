/**
 * Reads a history line by line: memory for one line, whatever the file's size. Every mistake names file and line, and what
 * to do.
 */
import { createReadStream } from 'node:fs';
import { VarveError } from '../errors.js';
import { type CheckOptions, HistoryChecker, type Verdict } from './history-checker.js';
import type { Operation } from './operation.js';

const LINE_BYTES_MAX = 64 * 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024;
const NEWLINE = 10;

/**
 * Judges the history in a file.
 * @throws VarveError INVALID_HISTORY: it cannot be read, or a line is wrong
 */
export async function checkHistoryFile(path: string, options: Omit<CheckOptions, 'name'> = {}): Promise<Verdict> {
  return await checkHistoryStream(createReadStream(path, { highWaterMark: CHUNK_BYTES }), { ...options, name: path });
}

/** The same of any stream of its bytes. */
export async function checkHistoryStream(
  stream: AsyncIterable<Uint8Array>,
  options: CheckOptions = {},
): Promise<Verdict> {
  const { name = 'history' } = options;
  const checker = new HistoryChecker({ ...options, name });
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 0;
  const take = (bytes: Uint8Array, isCutOff: boolean): void => {
    line += 1;
    const operation = parse(bytes, decoder, `${name}:${line}`, isCutOff);
    if (operation !== undefined) checker.add(operation, line);
  };
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  try {
    for await (const bytes of stream) {
      const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        const rest = chunk.subarray(start, end);
        take(pending.length === 0 ? rest : Buffer.concat([...pending, rest]), false);
        pending = [];
        pendingBytes = 0;
        start = end + 1;
      }
      if (start === chunk.length) continue;
      pending.push(chunk.subarray(start));
      pendingBytes += chunk.length - start;
      if (pendingBytes > LINE_BYTES_MAX) {
        const limit = `${LINE_BYTES_MAX / 2 ** 20} MiB`;
        throw new VarveError(
          'INVALID_HISTORY',
          `${name}:${line + 1}: the line is longer than ${limit}; is this JSON Lines?`,
        );
      }
    }
  } catch (error) {
    if (error instanceof VarveError) throw error;
    throw new VarveError('INVALID_HISTORY', `cannot read ${name}: ${(error as Error).message}`, { cause: error });
  }
  if (pending.length > 0) take(Buffer.concat(pending), true);
  return checker.finish();
}

/** Undefined for an empty line. */
function parse(
  bytes: Uint8Array,
  decoder: InstanceType<typeof TextDecoder>,
  where: string,
  isCutOff: boolean,
): Operation | undefined {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch (cause) {
    throw new VarveError('INVALID_HISTORY', `${where}: not UTF-8: histories are texts, one JSON object per line`, {
      cause,
    });
  }
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text) as Operation;
  } catch (cause) {
    const what = isCutOff
      ? 'the file ends inside this line: whoever wrote it was cut off; remove the line, and what it would have said is missing'
      : `not JSON (${(cause as Error).message}): every line is one JSON object`;
    throw new VarveError('INVALID_HISTORY', `${where}: ${what}`, { cause });
  }
}
