/**
 * Records of an exact size, made of real events, different in every record, cheap to make, and makeable again: what a
 * record must contain follows from (run, producer, sequence) alone, so that whoever reads it back can compare every byte
 * without having kept it.
 *
 *   {"id":"1f9c03aa-03-0000000042","n":"k3v0q8x1m5tz","mag":1.6,"place":"2km E of San Marino, CA",…,"x":"4km W of C"}
 *          run id   |  sequence         nonce          fields of one event, as many as fit         filler: the text of
 *                   producer                                                                       another event, cut
 *
 * Every record is one valid JSON object. Run id, sequence and nonce are fresh in each record and the event changes from
 * record to record, so a batch holds no event twice (until it holds more records than there are templates): a codec
 * finds what it would find in a real stream of such events, and no more.
 *
 * Making a record is one copy of a template and 24 bytes patched over it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VarveError } from '../../src/errors.js';
import { packageRoot } from '../package-root.js';

/** `{"id":"` run `-` producer `-` sequence `","n":"` nonce `"` … */
const RUN_AT = 7;
const RUN_LENGTH = 8;
const PRODUCER_AT = RUN_AT + RUN_LENGTH + 1;
const PRODUCER_LENGTH = 2;
const SEQUENCE_AT = PRODUCER_AT + PRODUCER_LENGTH + 1;
const SEQUENCE_LENGTH = 10;
const NONCE_AT = SEQUENCE_AT + SEQUENCE_LENGTH + 7;
const NONCE_LENGTH = 12;
const HEAD_LENGTH = NONCE_AT + NONCE_LENGTH + 1;

/** `,"x":""}`: the least that can close a record. */
const FILLER_LENGTH = 8;

export const MIN_RECORD_BYTES = HEAD_LENGTH + FILLER_LENGTH;
export const MAX_RECORD_BYTES = 1024 * 1024;
export const MAX_PRODUCERS = 100;

/** Enough that a batch of the usual size holds no template twice, few enough to stay in the processor's cache. */
const TEMPLATES_MIN = 4096;
const TEMPLATE_BYTES_MAX = 4 * 1024 * 1024;

const NONCE_ALPHABET = Buffer.from('0123456789abcdefghjkmnpqrstvwxyz', 'latin1');
const ZERO = 48;

export interface RecordIdentity {
  readonly producer: number;
  readonly sequence: number;
}

/** The events that ship with the package, or the lines of a file. Empty lines are left out. */
export function loadEvents(file?: string): string[] {
  const path = file ?? join(packageRoot(), 'bench', 'payload', 'earthquakes.ndjson');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new VarveError(
      'INVALID_CONFIG',
      `cannot read the payload file ${path}; --payload wants a file of one event a line`,
      {
        cause,
      },
    );
  }
  const events = text.split('\n').filter((line) => line.trim() !== '');
  if (events.length === 0) throw new VarveError('INVALID_CONFIG', `the payload file ${path} has no events`);
  return events;
}

/** Eight characters that no other run has, from a seed and a number. */
export function runIdentity(seed: number, run: number): string {
  const high = mix(seed ^ mix(run + 1));
  return (high >>> 0).toString(16).padStart(RUN_LENGTH, '0');
}

export class RecordSource {
  readonly recordBytes: number;
  readonly runId: string;
  readonly #templates: Buffer;
  readonly #templateCount: number;
  readonly #runSeed: number;
  readonly #expected: Buffer;

  constructor(templates: RecordTemplates, runId: string) {
    if (!/^[0-9a-f]{8}$/.test(runId))
      throw new VarveError('INVALID_ARGUMENT', `a run id is 8 hex digits, not "${runId}"`);
    this.recordBytes = templates.recordBytes;
    this.runId = runId;
    this.#templates = Buffer.from(templates.bytes);
    this.#templateCount = templates.count;
    this.#runSeed = Number.parseInt(runId, 16) | 0;
    for (let i = 0; i < templates.count; i += 1) this.#templates.write(runId, i * this.recordBytes + RUN_AT, 'latin1');
    this.#expected = Buffer.alloc(this.recordBytes);
  }

  /** Makes the record of (producer, sequence) in target[0, recordBytes). */
  fill(target: Buffer, producer: number, sequence: number): void {
    const start = this.#template(producer, sequence) * this.recordBytes;
    this.#templates.copy(target, 0, start, start + this.recordBytes);
    target[PRODUCER_AT] = ZERO + ((producer / 10) | 0);
    target[PRODUCER_AT + 1] = ZERO + (producer % 10);
    let rest = sequence;
    for (let at = SEQUENCE_AT + SEQUENCE_LENGTH - 1; rest > 0; at -= 1) {
      const next = Math.floor(rest / 10);
      target[at] = ZERO + (rest - next * 10);
      rest = next;
    }
    const salt = mix(this.#runSeed ^ Math.imul(producer + 1, 0x9e3779b1));
    writeNonce(target, NONCE_AT, mix(salt ^ sequence));
    writeNonce(target, NONCE_AT + NONCE_LENGTH / 2, mix(~salt + Math.imul(sequence, 0x5bd1e995)));
  }

  /** Who wrote this record, undefined when it is none of this run's. Says nothing about the rest of its bytes. */
  identify(bytes: Buffer, start: number, length: number): RecordIdentity | undefined {
    if (length !== this.recordBytes) return undefined;
    for (let i = 0; i < RUN_LENGTH; i += 1) {
      if (bytes[start + RUN_AT + i] !== this.runId.charCodeAt(i)) return undefined;
    }
    const producer = readDecimal(bytes, start + PRODUCER_AT, PRODUCER_LENGTH);
    const sequence = readDecimal(bytes, start + SEQUENCE_AT, SEQUENCE_LENGTH);
    return producer < 0 || sequence < 0 ? undefined : { producer, sequence };
  }

  /** True when bytes[start, start + recordBytes) are, byte for byte, what `fill` makes of (producer, sequence). */
  matches(bytes: Buffer, start: number, producer: number, sequence: number): boolean {
    this.fill(this.#expected, producer, sequence);
    return this.#expected.compare(bytes, start, start + this.recordBytes) === 0;
  }

  /** Neighbours in sequence are neighbours in the file of events; producers start at different places. */
  #template(producer: number, sequence: number): number {
    return (sequence + producer * 509) % this.#templateCount;
  }
}

/** The events cut to one record size, once per run of the benchmark. */
export interface RecordTemplates {
  readonly recordBytes: number;
  readonly bytes: Buffer;
  readonly count: number;
}

export function makeTemplates(events: readonly string[], recordBytes: number): RecordTemplates {
  if (!Number.isInteger(recordBytes) || recordBytes < MIN_RECORD_BYTES || recordBytes > MAX_RECORD_BYTES) {
    throw new VarveError(
      'INVALID_CONFIG',
      `a record of ${recordBytes} B cannot be made: sizes are whole numbers from ${MIN_RECORD_BYTES} B to ${MAX_RECORD_BYTES} B`,
    );
  }
  if (events.length === 0) throw new VarveError('INVALID_ARGUMENT', 'no events to make records of');
  const wanted = Math.max(TEMPLATES_MIN, events.length);
  const count = Math.max(1, Math.min(wanted, Math.floor(TEMPLATE_BYTES_MAX / recordBytes)));
  const fields = events.slice(0, count).map(eventFields);
  const bytes = Buffer.alloc(count * recordBytes);
  for (let i = 0; i < count; i += 1) {
    // Later rounds through the events pair each with another one's text, and begin at another field.
    const round = Math.floor(i / fields.length);
    const own = fields[i % fields.length] as string[];
    // From far away, so that the filler does not repeat a neighbour in the same batch.
    const other = events[(i + (events.length >> 1) + round * 7) % events.length] as string;
    writeTemplate(bytes.subarray(i * recordBytes, (i + 1) * recordBytes), rotate(own, round * 2), other);
  }
  return { recordBytes, bytes, count };
}

/** `,"mag":1.6` and so on: one text per field of the event; a line that is no JSON object is one field. */
function eventFields(line: string): string[] {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    event = undefined;
  }
  if (typeof event !== 'object' || event === null || Array.isArray(event))
    return [`,"event":${ascii(JSON.stringify(line))}`];
  const ranked = Object.entries(event).filter(([name]) => name !== 'id' && name !== 'n' && name !== 'x');
  // What tells one event from another first, so that small records keep it.
  const first = ['mag', 'place', 'time', 'longitude', 'latitude'];
  const rank = (name: string) => (first.includes(name) ? first.indexOf(name) : first.length);
  ranked.sort(([a], [b]) => rank(a) - rank(b));
  return ranked.map(([name, value]) => `,${ascii(JSON.stringify(name))}:${ascii(JSON.stringify(value))}`);
}

function rotate<T>(list: readonly T[], by: number): T[] {
  const cut = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(cut), ...list.slice(0, cut)];
}

function writeTemplate(target: Buffer, fields: readonly string[], other: string): void {
  const zeros = (length: number) => '0'.repeat(length);
  let text = `{"id":"${zeros(RUN_LENGTH)}-${zeros(PRODUCER_LENGTH)}-${zeros(SEQUENCE_LENGTH)}","n":"${zeros(NONCE_LENGTH)}"`;
  for (const field of fields) {
    if (text.length + field.length + FILLER_LENGTH <= target.length) text += field;
  }
  const room = target.length - text.length - FILLER_LENGTH;
  text += `,"x":"${fillerText(other, room)}"}`;
  target.write(text, 'latin1');
}

/** Exactly `length` characters of an event's text that need no escaping in JSON, from its end, where events differ most. */
function fillerText(event: string, length: number): string {
  const plain = event.replace(/[^\x20-\x7e]|["\\]/g, ' ');
  const repeats = Math.ceil(length / Math.max(1, plain.length));
  return length === 0 ? '' : plain.repeat(Math.max(1, repeats)).slice(-length);
}

/** Escapes whatever is not ASCII, so that characters and bytes are the same number. */
function ascii(json: string | undefined): string {
  return (json ?? 'null').replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Six characters of five bits each. */
function writeNonce(target: Buffer, start: number, hash: number): void {
  let word = hash;
  for (let at = start; at < start + NONCE_LENGTH / 2; at += 1) {
    target[at] = NONCE_ALPHABET[word & 31] as number;
    word >>>= 5;
  }
}

function readDecimal(bytes: Buffer, start: number, length: number): number {
  let value = 0;
  for (let at = start; at < start + length; at += 1) {
    const digit = (bytes[at] as number) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/** A 32-bit integer hash (the finalizer of MurmurHash3): every bit of the input reaches every bit of the output. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
