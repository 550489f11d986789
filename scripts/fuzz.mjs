// Fuzzes the native decoders (native/fuzz) with libFuzzer under AddressSanitizer + UndefinedBehaviorSanitizer, starting
// from bytes that a real store wrote.
//
//   npm run fuzz                        # 10 s per target
//   npm run fuzz -- --seconds 600 batch_scan
//
// Inputs that found something new are kept in build/fuzz/corpus and taken up by the next run. An input that fails is left in
// build/fuzz, and the line that replays it is printed. Installs nothing: without clang it says how to get it and exits
// with 3 (skipped), or with --require with 1.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'build', 'fuzz');
const { values, positionals } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, require: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const seconds = Number(values.seconds);

function run(command, args, options = {}) {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', ...options });
  return { ok: status === 0, text: `${error?.message ?? signal ?? ''}${stdout ?? ''}${stderr ?? ''}` };
}

function missing() {
  if (process.platform !== 'linux') return 'the native store runs on Linux only';
  if (!run('cmake', ['--version']).ok) return 'cmake is not on PATH (Debian: apt-get install cmake make)';
  if (!run('clang++', ['--version']).ok)
    return 'clang++ is not on PATH (Debian: apt-get install clang libclang-rt-14-dev)';
  const probe = mkdtempSync(join(tmpdir(), 'varve-fuzz-'));
  writeFileSync(
    join(probe, 'probe.cc'),
    'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }',
  );
  const linked = run('clang++', ['-fsanitize=fuzzer,address', join(probe, 'probe.cc'), '-o', join(probe, 'probe')]).ok;
  rmSync(probe, { recursive: true });
  return linked ? undefined : 'clang has no libFuzzer (Debian: apt-get install libclang-rt-14-dev)';
}

function build() {
  const configure = [
    '-S',
    root,
    '-B',
    folder,
    '-DCMAKE_BUILD_TYPE=Release',
    '-DVARVE_FUZZ=ON',
    '-DCMAKE_CXX_COMPILER=clang++',
  ];
  for (const args of [configure, ['--build', folder, '--parallel', '2']]) {
    const { ok, text } = run('cmake', args);
    if (!ok) throw new Error(`cmake ${args.join(' ')} failed:\n${text}`);
  }
}

/** Segments as a store writes them: batches in every codec, several records, keys, headers, control batches. */
async function seeds() {
  const { openStore } = await import('../dist/src/main.js');
  const directory = mkdtempSync(join(tmpdir(), 'varve-fuzz-'));
  const store = await openStore(directory, { create: true, journalFileBytes: 65536, reserveBytes: 0 });
  for (const [partition, compression] of ['none', 'gzip', 'snappy', 'lz4', 'zstd'].entries()) {
    const log = await store.openLog('fuzz', partition, { replicated: false });
    await log.append([{ key: 'k', value: 'v'.repeat(200), timestamp: 1 }], { compression });
    await log.append([{ value: null }, { key: 'k', value: 'w', headers: [{ key: 'h', value: Buffer.of(0) }] }], {
      compression,
    });
  }
  const replicated = await store.openLog('control', 0, { replicated: true });
  replicated.appendControl(1000, Buffer.alloc(0), 3);
  await store.close();
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.log'));
  const bytes = files.map((name) => readFileSync(join(directory, name)));
  rmSync(directory, { recursive: true });
  return bytes;
}

/** How each target wants its input (see the head of its file), and how long an input may be. */
const TARGETS = {
  batch_scan: { heads: [[0], [3], [5]], maxBytes: 65536 },
  crc32c: {
    heads: [
      [0, 0],
      [128, 5],
    ],
    maxBytes: 2048,
  },
};

function fuzz(target, segments) {
  const name = target.replace(/_fuzz\.cc$/, '');
  const corpus = join(folder, 'corpus', name);
  mkdirSync(corpus, { recursive: true });
  for (const [i, segment] of segments.entries()) {
    for (const [j, head] of TARGETS[name].heads.entries())
      writeFileSync(join(corpus, `seed-${i}-${j}`), Buffer.concat([Buffer.from(head), segment]));
  }
  const program = join(folder, `${name}_fuzz`);
  const limits = [
    `-max_total_time=${seconds}`,
    '-timeout=10',
    '-rss_limit_mb=1024',
    `-max_len=${TARGETS[name].maxBytes}`,
    '-print_final_stats=1',
  ];
  const { ok, text } = run(program, [...limits, `-artifact_prefix=${folder}/${name}-`, corpus]);
  const runs = /stat::number_of_executed_units: (\d+)/.exec(text)?.[1] ?? '?';
  const coverage = /cov: (\d+)(?!.*cov: )/s.exec(text)?.[1] ?? '?';
  console.log(`fuzz ${name}: ${ok ? 'nothing found' : 'FAILED'}, ${runs} inputs, ${coverage} edges, ${seconds} s`);
  if (ok) return true;
  const artifact = /Test unit written to (\S+)/.exec(text)?.[1];
  console.error(text.split('\n').slice(-60).join('\n'));
  if (artifact !== undefined) console.error(`replay: ${program} ${artifact}`);
  return false;
}

if (!Number.isInteger(seconds) || seconds < 1) {
  console.error(`--seconds ${values.seconds}: give a whole number from 1`);
  process.exit(2);
}
const reason = missing();
if (reason) {
  console.error(`fuzzing skipped: ${reason}`);
  process.exit(values.require ? 1 : 3);
}
const all = readdirSync(join(root, 'native', 'fuzz')).filter((file) => file.endsWith('_fuzz.cc'));
const unknown = positionals.find((name) => !all.includes(`${name}_fuzz.cc`));
if (unknown !== undefined) {
  console.error(`there is no target ${unknown}; there are ${all.map((file) => basename(file, '_fuzz.cc')).join(', ')}`);
  process.exit(2);
}
build();
const segments = await seeds();
const chosen = all.filter((file) => positionals.length === 0 || positionals.includes(basename(file, '_fuzz.cc')));
process.exit(chosen.map((target) => fuzz(target, segments)).every(Boolean) ? 0 : 1);
