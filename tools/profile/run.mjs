/**
 * `npm run profile`: the leader of a three-node cluster under load, seen by clinic.
 *
 *   npm run profile                              clinic doctor, 10 s of acks=all, flush=sync, 1 KiB
 *   npm run profile -- flame --seconds 20 --size 100
 *   npm run profile -- bubbleprof --flush async --acks 1
 *
 * The first run installs clinic into this folder. The other two nodes wait ten times longer before they campaign, so
 * the profiled node becomes the leader. The page is written to .clinic/ of the package.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));
const TOOLS = ['doctor', 'flame', 'bubbleprof'];
const PRODUCERS = 8;
const WINDOW = 128;
const STOP_MS = 120_000;

function fail(message, code = 1) {
  console.error(`profile: ${message}`);
  process.exit(code);
}

function settings() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '10' },
      size: { type: 'string', default: '1k' },
      acks: { type: 'string', default: 'all' },
      flush: { type: 'string', default: 'sync' },
    },
  });
  const tool = positionals[0] ?? 'doctor';
  if (!TOOLS.includes(tool) || positionals.length > 1)
    fail(`there is no "${positionals.join(' ')}"; there are ${TOOLS.join(', ')}`, 2);
  const seconds = Number(values.seconds);
  if (!(seconds > 0 && seconds <= 600)) fail(`--seconds: "${values.seconds}" is no number from 0 to 600`, 2);
  return { tool, seconds, size: values.size, acks: values.acks, flush: values.flush };
}

function installClinic() {
  if (existsSync(join(here, 'node_modules', 'clinic'))) return;
  console.log('installing clinic into tools/profile (once)…');
  const { status } = spawnSync('npm', ['install', '--no-package-lock', '--no-audit', '--no-fund'], {
    cwd: here,
    stdio: 'inherit',
  });
  if (status !== 0) fail('clinic could not be installed; the lines above say why');
}

/** Starts a node; resolves with what it says when it is ready. */
function startNode(command, args, env) {
  const child = spawn(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, ...env },
  });
  const ready = new Promise((resolve, reject) => {
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      const line = text.split('\n').find((candidate) => candidate.includes('"event":"ready"'));
      if (line !== undefined) resolve(JSON.parse(line.slice(line.indexOf('{'))));
    });
    child.once('exit', (code, signal) => reject(new Error(`a node ended before it was ready (${signal ?? code})`)));
  });
  return { child, ready, ended: new Promise((resolve) => child.once('exit', resolve)) };
}

async function putUnderLoad(options, brokers) {
  const { planFrom } = await import('../../dist/bench/options.js');
  const { loadEvents, makeTemplates, RecordSource, runIdentity } = await import(
    '../../dist/bench/payload/record-source.js'
  );
  const { bufferBytesFor, CellProducer, producerOptions } = await import('../../dist/bench/cell-producer.js');
  const { Load } = await import('../../dist/bench/load.js');
  const plan = planFrom({
    acks: options.acks,
    flush: options.flush,
    size: options.size,
    batch: '256k',
    compression: 'none',
  });
  const recordBytes = plan.recordBytes[0];
  const cell = { acks: plan.acks[0], flush: plan.flush[0], batch: 256 * 1024, compression: 'none', recordBytes };
  const given = producerOptions(cell, brokers, bufferBytesFor(WINDOW, recordBytes));
  const producers = Array.from({ length: PRODUCERS }, () => new CellProducer(given, 'profile'));
  const load = new Load(
    producers,
    new RecordSource(makeTemplates(loadEvents(), recordBytes), runIdentity(1, 1)),
    WINDOW,
  );
  await load.acknowledged(1);
  const { records, seconds } = await load.measure(options.seconds * 1000);
  await load.drain(60_000);
  await Promise.all(producers.map((producer) => producer.close()));
  return Math.round(records / seconds);
}

async function main() {
  const options = settings();
  if (!existsSync(join(root, 'dist', 'src', 'cli', 'main.js'))) fail('compile the package first, with "npm run build"');
  installClinic();
  const { Admin } = await import('../../dist/src/client/admin.js');
  const { freePorts } = await import('../../dist/bench/free-ports.js');
  const folder = mkdtempSync(join(tmpdir(), 'varve-profile-'));
  const ports = await freePorts(3);
  const brokers = ports.map((port) => `127.0.0.1:${port}`);
  const peers = brokers.map((broker, i) => `${i + 1}@${broker}`).join(',');
  const nodeArgs = (id) => [
    ...['dist/src/cli/main.js', 'node', '--format-if-missing', '--data', join(folder, `${id}`), '--id', `${id}`],
    ...[
      '--cluster-id',
      'profile',
      '--listen',
      brokers[id - 1],
      '--peers',
      peers,
      '--topic',
      `profile:flush=${options.flush}`,
    ],
    ...(id === 1 ? [] : ['--election-ms', '10000']),
  ];
  const destination = join(root, '.clinic');
  const before = new Set(existsSync(destination) ? readdirSync(destination) : []);
  const clinic = join(here, 'node_modules', '.bin', 'clinic');
  const clinicArgs = [options.tool, '--open=false', `--dest=${destination}`, '--', process.execPath];
  const nodes = [
    // Without NO_INSIGHT and a terminal, clinic asks nobody, does nothing and ends well.
    startNode(clinic, [...clinicArgs, ...nodeArgs(1)], { NO_INSIGHT: '1' }),
    startNode(process.execPath, nodeArgs(2), {}),
    startNode(process.execPath, nodeArgs(3), {}),
  ];
  const pids = [];
  try {
    for (const node of nodes) pids.push((await node.ready).pid);
    const admin = new Admin({ brokers });
    const leader = await admin.waitForLeader('profile', 0);
    await admin.close();
    if (leader !== 1) throw new Error(`node ${leader} was elected instead of the profiled one; run it again`);
    const rate = await putUnderLoad(options, brokers);
    console.log(`${rate} records/s under ${options.tool}; stopping the leader, then clinic works on what it saw…`);
    process.kill(pids[0], 'SIGINT');
    await Promise.race([nodes[0].ended, delay(STOP_MS, undefined, { ref: false })]);
    const pages = (existsSync(destination) ? readdirSync(destination) : []).filter(
      (name) => name.endsWith('.html') && !before.has(name),
    );
    if (pages.length === 0) throw new Error('clinic wrote no page');
    for (const page of pages) console.log(join(destination, page));
  } finally {
    for (const [i, node] of nodes.entries()) {
      if (pids[i] !== undefined && node.child.exitCode === null) {
        try {
          process.kill(pids[i], 'SIGKILL');
        } catch {
          // It has ended by itself.
        }
      }
      node.child.kill('SIGKILL');
    }
    await delay(100);
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

main().then(
  () => process.exit(0),
  (error) => fail(error.message),
);
