// The model of a disk: what a sync makes durable, what may be lost, and that images are what they are called.
import { expect, test } from 'vitest';
import type { TraceEvent, TraceKind } from '../../src/disk/trace.js';
import { DiskModel } from './disk-model.js';
import { type Image, type ImageKind, makeImage } from './image-kinds.js';
import { seeded } from './random.js';

function event(kind: TraceKind, path: string, more: Partial<TraceEvent> = {}): TraceEvent {
  const bytes = more.bytes;
  const length = bytes?.length ?? 0;
  return {
    kind,
    path,
    file: 1,
    directory: false,
    sync: 0,
    error: undefined,
    position: 0,
    text: '',
    ...more,
    length: more.length ?? length,
    bytes,
  };
}

function play(events: readonly TraceEvent[], base: Image = new Map()): DiskModel {
  const model = new DiskModel(base);
  for (const each of events) model.apply(each);
  return model;
}

const write = (position: number, text: string) => event('write', 'f', { position, bytes: Buffer.from(text) });
const begin = (sync: number) => event('sync-begin', 'f', { sync });
const end = (sync: number, error?: string) => event('sync-end', 'f', { sync, error });
const text = (image: Image | undefined) => image?.get('f')?.toString();

const BASE: Image = new Map([['f', Buffer.from('....')]]);

test('a sync makes durable what was written before it began, once it has ended', () => {
  const events = [write(0, 'a'), begin(1), write(1, 'b')];
  expect(text(makeImage(play(events, BASE), 'none', seeded(1)))).toBe('....');
  expect(text(makeImage(play([...events, end(1)], BASE), 'none', seeded(1)))).toBe('a...');
  expect(text(makeImage(play([...events, end(1)], BASE), 'all', seeded(1)))).toBe('ab..');
});

test('of two syncs under way the slower one covers no more than it did at its begin', () => {
  const events = [write(0, 'a'), begin(1), write(1, 'b'), begin(2), end(2), write(2, 'c'), end(1)];
  expect(text(makeImage(play(events, BASE), 'none', seeded(1)))).toBe('ab..');
});

test('what a failed sync should have covered is gone, and no later sync brings it back', () => {
  const events = [write(0, 'a'), begin(1), end(1, 'EIO'), write(1, 'b'), begin(2), end(2)];
  expect(text(makeImage(play(events, BASE), 'none', seeded(1)))).toBe('.b..');
});

/** All different contents of the file that a kind of image makes. */
function contents(model: DiskModel, kind: ImageKind): Set<string | undefined> {
  return new Set(Array.from({ length: 300 }, (_, seed) => text(makeImage(model, kind, seeded(seed)))));
}

test('one write dropped, one kept', () => {
  const model = play([write(0, 'a'), write(1, 'b'), write(2, 'c')], BASE);
  expect(contents(model, 'drop-one')).toEqual(new Set(['.bc.', 'a.c.', 'ab..']));
  expect(contents(model, 'keep-one')).toEqual(new Set(['a...', '.b..', '..c.']));
});

test('the last write is torn at the boundaries of sectors, in front or behind', () => {
  const model = play([write(0, 'first..........'), write(4, 'x'.repeat(16))], BASE);
  const torn = contents(model, 'torn-8');
  expect(torn).toContain('firsxxxx.......');
  expect(torn).toContain(`firsxxxxxxxxxxxx`);
  expect(torn).toContain('first...xxxxxxxxxxxx');
  expect(torn.has('firstxxxxxxxxxxxxxxx')).toBe(false);
});

test('each page at any of its versions, by itself', () => {
  const page = (byte: string) => byte.repeat(4096);
  const model = play(
    [write(0, page('a') + page('b')), write(0, page('c'))],
    new Map([['f', Buffer.from(page('.') + page('.'))]]),
  );
  const found = new Set([...contents(model, 'pages')].map((all) => `${all![0]}${all![4096] ?? ''}`));
  expect(found).toEqual(new Set(['..', '.b', 'a.', 'ab', 'c.', 'cb']));
});

test('bytes that a truncation cut off do not come back when the file grows', () => {
  const base: Image = new Map([['f', Buffer.from('old old old ')]]);
  const model = play([event('truncate', 'f', { position: 4 }), event('allocate', 'f', { length: 8 })], base);
  const found = contents(model, 'pages');
  expect(found).toEqual(new Set(['old old old ', 'old ', 'old \0\0\0\0']));
});

test('names are lost in order, and a directory sync keeps them', () => {
  const create = (path: string, file: number) => event('create', path, { file });
  const events = [create('a', 1), event('rename', 'a', { text: 'b' }), create('c', 2)];
  const names = (model: DiskModel) => {
    const images = Array.from({ length: 100 }, (_, seed) => makeImage(model, 'names', seeded(seed)));
    return new Set(images.map((image) => [...(image?.keys() ?? ['settled'])].sort().join()));
  };
  expect(names(play(events))).toEqual(new Set(['', 'a', 'b', 'b,c']));
  const sync = [
    event('sync-begin', '', { directory: true, sync: 1 }),
    event('sync-end', '', { directory: true, sync: 1 }),
  ];
  expect(names(play([...events.slice(0, 2), ...sync, events[2]!]))).toEqual(new Set(['b', 'b,c']));
  expect(names(play([...events, ...sync]))).toEqual(new Set(['settled']));
});
