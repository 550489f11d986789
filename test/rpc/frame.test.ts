import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeFrame, type Frame, FrameDecoder, unpackHeader } from '../../src/rpc/frame.js';
import { FrameMemory } from '../../src/rpc/frame-memory.js';

const header = fc.array(
  fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), fc.maxSafeInteger(), fc.array(fc.integer())),
  { maxLength: 8 },
);
const frame = fc.record({
  type: fc.integer({ min: 1, max: 255 }),
  id: fc.integer({ min: 0, max: 0xffffffff }),
  header,
  body: fc.uint8Array({ maxLength: 300 }),
});

function wire(frames: readonly { type: number; id: number; header: readonly unknown[]; body: Uint8Array }[]): Buffer {
  return Buffer.concat(frames.flatMap((f) => [encodeFrame(f.type, f.id, f.header, f.body.length), f.body]));
}

/** Cuts the bytes at the given places, each piece in memory of its own, as sockets deliver them. */
function* pieces(bytes: Buffer, cuts: readonly number[]): Generator<Buffer> {
  let at = 0;
  for (const cut of [...cuts].map((c) => c % (bytes.length + 1)).sort((a, b) => a - b)) {
    if (cut > at) yield Buffer.from(bytes.subarray(at, cut));
    at = Math.max(at, cut);
  }
  if (at < bytes.length) yield Buffer.from(bytes.subarray(at));
}

describe('frames', () => {
  test('come out as they went in, however TCP cuts them', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 30 }), (frames, cuts) => {
        const seen: Frame[] = [];
        const decoder = new FrameDecoder(1 << 20, (f) => seen.push(f));
        for (const piece of pieces(wire(frames), cuts)) decoder.push(piece);
        expect(decoder.atBoundary).toBe(true);
        expect(
          seen.map((f) => ({ type: f.type, id: f.correlationId, header: unpackHeader(f.header), body: [...f.body] })),
        ).toEqual(frames.map((f) => ({ ...f, body: [...f.body] })));
      }),
    );
  });

  test('come out as they went in when their memory is used again, if they are read at once', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 30 }), (frames, cuts) => {
        const seen: unknown[] = [];
        const decoder = new FrameDecoder(
          1 << 20,
          (f) => seen.push([f.type, f.correlationId, unpackHeader(f.header), [...f.body]]),
          new FrameMemory(),
        );
        for (const piece of pieces(wire(frames), cuts)) decoder.push(piece);
        expect(seen).toEqual(frames.map((f) => [f.type, f.id, f.header, [...f.body]]));
      }),
    );
  });

  test('random bytes are frames or a typed error, never a crash or an allocation beyond the limit', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.array(fc.nat(), { maxLength: 5 }), (bytes, cuts) => {
        const decoder = new FrameDecoder(64, (f) => {
          expect(f.header.length + f.body.length).toBeLessThanOrEqual(64);
          try {
            unpackHeader(f.header);
          } catch (error) {
            expect(error).toMatchObject({ code: 'PROTOCOL_ERROR' });
          }
        });
        try {
          for (const piece of pieces(Buffer.from(bytes), cuts)) decoder.push(piece);
        } catch (error) {
          expect((error as { code: string }).code).toMatch(/^(FRAME_TOO_LARGE|PROTOCOL_ERROR)$/);
        }
      }),
    );
  });

  test('a flipped bit in a valid stream is noticed or changes one frame, and never breaks the decoder', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 4 }), fc.nat(), (frames, bit) => {
        const bytes = wire(frames);
        const at = bit % (bytes.length * 8);
        bytes[at >> 3]! ^= 1 << (at & 7);
        const decoder = new FrameDecoder(4096, (f) => {
          try {
            expect(Array.isArray(unpackHeader(f.header))).toBe(true);
          } catch (error) {
            expect(error).toMatchObject({ code: 'PROTOCOL_ERROR' });
          }
        });
        try {
          decoder.push(bytes);
        } catch (error) {
          expect((error as { code: string }).code).toMatch(/^(FRAME_TOO_LARGE|PROTOCOL_ERROR)$/);
        }
      }),
    );
  });

  test('a length over the limit is refused from its four bytes alone', () => {
    const decoder = new FrameDecoder(100, () => expect.unreachable());
    expect(() => decoder.push(Buffer.from([0, 0, 0, 101]))).toThrow(
      expect.objectContaining({ code: 'FRAME_TOO_LARGE' }),
    );
    decoder.push(encodeFrame(1, 1, [], 0));
  });

  test('a header longer than its frame is refused', () => {
    const bytes = encodeFrame(1, 1, [1, 2], 0);
    bytes.writeUInt32BE(0x01000004, 4);
    const decoder = new FrameDecoder(100, () => expect.unreachable());
    expect(() => decoder.push(bytes)).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
  });

  test('a frame that is too large is refused before it is sent', () => {
    expect(() => encodeFrame(1, 1, ['x'], 1 << 20, 1 << 16)).toThrow(
      expect.objectContaining({ code: 'FRAME_TOO_LARGE' }),
    );
  });

  test('bodies of frames in one chunk never share bytes', () => {
    const seen: Frame[] = [];
    const decoder = new FrameDecoder(1 << 20, (f) => seen.push(f));
    decoder.push(
      wire([
        { type: 1, id: 1, header: [], body: Buffer.from('aaaa') },
        { type: 1, id: 2, header: [], body: Buffer.from('bbbb') },
      ]),
    );
    seen[0]!.body.fill(0);
    expect(seen[1]!.body.toString()).toBe('bbbb');
  });

  test('memory is given out again, by size, and no more than a bounded amount is kept', () => {
    const memory = new FrameMemory();
    const small = memory.take(1);
    const large = memory.take(1_000_000);
    expect([small.length, large.length]).toEqual([65_536, 1_048_576]);
    memory.give(small);
    memory.give(large);
    expect(memory.take(900_000) === large).toBe(true);
    expect(memory.take(65_536) === small).toBe(true);
    expect(memory.take(900_000) === large).toBe(false);
    const many = Array.from({ length: 40 }, () => memory.take(1_000_000));
    for (const buffer of many) memory.give(buffer);
    const again = new Set(Array.from({ length: 40 }, () => memory.take(1_000_000)));
    expect(many.filter((buffer) => again.has(buffer)).length).toBe(32);
  });
});
