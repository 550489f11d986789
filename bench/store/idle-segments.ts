/**
 * What a segment with one small record costs, as the kernel counts it: resident memory, page tables, areas of address
 * space, descriptors, disk. Alone in its process, since everything else would be counted too.
 *
 *   npm run bench:segments [-- <segments>]      ends with 1 when a segment costs more than it may
 */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Disk, SegmentFile } from '../../src/disk/disk.js';
import { openDisk } from '../../src/disk/native-disk.js';

const KIB = 1024;
const RESERVE_BYTES = 260 * KIB * KIB;
const RECORD_BYTES = 100;
/** Resident bytes a segment may cost while it is only written. */
const RESIDENT_MAX_BYTES = 24 * KIB;
const IDLE_AREAS_MAX = 3;
const READ_AREAS_MAX = 5;

interface Cost {
  readonly residentBytes: number;
  readonly pageTableBytes: number;
  readonly areas: number;
  readonly descriptors: number;
}

function cost(): Cost {
  global.gc?.();
  const status = readFileSync('/proc/self/status', 'utf8');
  const bytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * KIB;
  return {
    residentBytes: bytes('VmRSS'),
    pageTableBytes: bytes('VmPTE'),
    areas: readFileSync('/proc/self/maps', 'utf8').split('\n').length - 1,
    descriptors: readdirSync('/proc/self/fd').length,
  };
}

function perSegment(before: Cost, after: Cost, count: number): Cost {
  return {
    residentBytes: (after.residentBytes - before.residentBytes) / count,
    pageTableBytes: (after.pageTableBytes - before.pageTableBytes) / count,
    areas: (after.areas - before.areas) / count,
    descriptors: after.descriptors - before.descriptors,
  };
}

function print(what: string, { residentBytes, pageTableBytes, areas, descriptors }: Cost): void {
  const kib = (bytes: number): string => (bytes / KIB).toFixed(1);
  console.log(
    `${what}: ${kib(residentBytes)} KiB resident, ${kib(pageTableBytes)} KiB of page tables, ${areas.toFixed(2)} areas each; ${descriptors} descriptors in all`,
  );
}

async function measure(disk: Disk, root: string, count: number): Promise<boolean> {
  const record = Buffer.alloc(RECORD_BYTES, 1);
  const segments: SegmentFile[] = [];
  const before = cost();
  for (let i = 0; i < count; i++) {
    const segment = disk.createSegment(`${i}.log`, { reserveBytes: RESERVE_BYTES });
    segment.append(record, 0, record.length);
    segments.push(segment);
  }
  const written = perSegment(before, cost(), count);
  print('written', written);
  const views = segments.map((segment) => segment.view(0, RECORD_BYTES));
  for (const view of views) if (view[0] !== 1) throw new Error('a record did not read back');
  const read = perSegment(before, cost(), count);
  print('read', read);
  const { blocks } = await stat(join(root, '0.log'));
  console.log(`disk: ${(blocks * 512) / KIB} KiB each`);
  return written.residentBytes <= RESIDENT_MAX_BYTES && written.areas <= IDLE_AREAS_MAX && read.areas <= READ_AREAS_MAX;
}

const count = Number(process.argv[2] ?? 5000);
const root = await mkdtemp(join(tmpdir(), 'varve-segments-'));
try {
  const disk = await openDisk(root);
  try {
    console.log(`${count} segments of one ${RECORD_BYTES}-byte record`);
    if (!(await measure(disk, root, count))) process.exitCode = 1;
  } finally {
    await disk.close();
  }
} finally {
  await rm(root, { recursive: true, force: true });
}
