// Scenes for processes of their own (native-process.test.ts): they end badly, hold memory, or kill themselves. They use
// the addon directly, since a child runs plain JavaScript; VARVE_TEST_ADDON names another build of it.
// Usage: native-child.mjs <scene> <data directory>
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const native = createRequire(import.meta.url)(process.env['VARVE_TEST_ADDON'] ?? '../../build/Release/varve.node');
native.configure((code, message) => Object.assign(new Error(message), { code }));

const MIB = 1024 * 1024;

const openStore = (root) => native.openStore(root, 1024, undefined);

function openJournal(store, root, progress) {
  mkdirSync(join(root, 'journal'), { recursive: true });
  const id = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
  native.openJournal(store, join(root, 'journal'), id, 1, 0, 0, MIB, MIB, 60_000, MIB, 0, 50, [], progress);
  return native.registerLog(store, Buffer.alloc(16, 1), 0);
}

const report = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const nativeThreads = () =>
  readdirSync('/proc/self/task').filter((id) => readFileSync(`/proc/self/task/${id}/comm`, 'utf8').startsWith('varve-'))
    .length;
const isMapped = (name) => readFileSync('/proc/self/maps', 'utf8').includes(name);

async function collectUntil(condition) {
  const deadline = Date.now() + 60_000;
  while (!condition() && Date.now() < deadline) {
    global.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return condition();
}

function storeWithView(root, name) {
  const store = openStore(root);
  const segment = native.createSegment(store, join(root, name), 8 * MIB, 0);
  native.appendSegment(segment, Buffer.alloc(MIB, 7), 0, MIB);
  return { store, segment, view: Buffer.from(native.segmentBuffer(segment), 0, MIB) };
}

const scenes = {
  /** A view is held over close, deletion and collections; the mapping goes when the view has gone. */
  async 'view-outlives-close'(root) {
    let { store, segment, view } = storeWithView(root, 'pinned.log');
    native.closeSegment(segment);
    segment = undefined;
    await native.closeStore(store);
    store = undefined;
    rmSync(join(root, 'pinned.log'));
    for (let i = 0; i < 5; i++) await collectUntil(() => true);
    const intact = view.equals(Buffer.alloc(MIB, 7));
    const mappedWhileHeld = isMapped('pinned.log');
    view = undefined;
    report({ intact, mappedWhileHeld, unmapped: await collectUntil(() => !isMapped('pinned.log')) });
  },

  /** Nobody closes anything: handles and views are simply dropped. */
  async 'forgotten-segment'(root) {
    (() => storeWithView(root, 'forgotten.log'))();
    report({ unmapped: await collectUntil(() => !isMapped('forgotten.log')) });
  },

  /** Reading, copying and cloning a view of a file that was shortened by somebody. */
  async sigbus(root) {
    const { store, segment, view } = storeWithView(root, 'short.log');
    truncateSync(join(root, 'short.log'), 4096);
    const sum = view.reduce((total, byte) => total + byte, 0);
    report({ sum, poisoned: native.segmentPoisoned(segment) });
    await native.closeStore(store);
  },

  /** Writes to a view of a segment that is appended to: ends here. */
  'write-to-view'(root) {
    const { segment, view } = storeWithView(root, 'written.log');
    native.appendSegment(segment, Buffer.alloc(MIB, 8), 0, MIB);
    report({ first: view[0] });
    view[0] = 9;
    report({ written: view[0] });
  },

  /** The same, of a sealed one that was opened for reading. */
  'write-to-read-only-view'(root) {
    const { store } = storeWithView(root, 'written.log');
    const segment = native.openSegmentReadOnly(store, join(root, 'written.log'));
    const view = Buffer.from(native.segmentBuffer(segment), 0, MIB);
    report({ first: view[0] });
    view.fill(9);
    report({ written: view[0] });
  },

  /** Reserves address space until there is none left, and goes on once some is given back. */
  async 'address-space'(root) {
    const store = openStore(root);
    const segments = [];
    const create = (name) => native.createSegment(store, join(root, name), 2 ** 40, 0);
    let error;
    while (error === undefined && segments.length < 1000) {
      try {
        segments.push(create(`${segments.length}.log`));
      } catch (caught) {
        error = caught;
      }
    }
    const leftBehind = readdirSync(root).includes(`${segments.length}.log`);
    for (const segment of segments) native.closeSegment(segment);
    native.appendSegment(create('again.log'), Buffer.alloc(10), 0, 10);
    const advises = error.message.includes('vm.max_map_count');
    report({ code: error.code, advises, leftBehind, several: segments.length > 10 });
    await native.closeStore(store);
  },

  /** Pages beyond the end of the file are readable: Node copies the whole buffer here. */
  async 'structured-clone'(root) {
    const { store, view } = storeWithView(root, 'cloned.log');
    const clone = structuredClone(view);
    report({ same: Buffer.from(clone).equals(view), bytes: clone.buffer.byteLength });
    await native.closeStore(store);
  },

  /** Ends by itself although nothing was closed; what waits for a callback gets it first. */
  'no-close'(root) {
    const store = openStore(root);
    const log = openJournal(store, root, (durable) => {
      if (durable > 0) report({ durable });
    });
    native.journalAppend(store, log, 2, 0, 0, Buffer.from('x'), 0);
  },

  /** Only records that nobody waits for. */
  'no-close-idle'(root) {
    const store = openStore(root);
    const log = openJournal(store, root, () => {});
    native.journalAppend(store, log, 2, 0, 0, Buffer.from('x'), 2);
    report({ idle: true });
  },

  /** Leaves in the middle of everything. */
  'exit-under-load'(root) {
    const { store, segment } = storeWithView(root, 'load.log');
    const log = openJournal(store, root, () => {});
    native.prepareSegment(segment, 4 * MIB);
    native.syncSegment(segment).catch(() => {});
    for (let i = 0; i < 1000; i++) native.journalAppend(store, log, 2, 0, i, Buffer.alloc(1000), 0);
    report({ leaving: true });
    process.exit(0);
  },

  /** Appends for ever and reports what is durable, until it is killed. */
  'append-until-killed'(root) {
    const store = openStore(root);
    let epoch = 0;
    const log = openJournal(store, root, (durable) => {
      report({ durable });
      setImmediate(more);
    });
    const more = () => {
      for (let i = 0; i < 20; i++) {
        epoch++;
        native.journalAppend(store, log, 2, 0, epoch, Buffer.alloc(epoch % 500, epoch), 0);
      }
    };
    more();
  },

  /** Two worker threads with stores of their own: one closes, one is terminated in the middle. */
  async workers(root) {
    const start = (folder, scene) => {
      mkdirSync(join(root, folder));
      return new Worker(new URL(import.meta.url), { workerData: { scene, root: join(root, folder) } });
    };
    const message = (worker) => new Promise((resolve) => worker.once('message', resolve));
    const closing = start('a', 'worker-closes');
    const endless = start('b', 'worker-endless');
    const [durable] = await Promise.all([message(closing), message(endless)]);
    await endless.terminate();
    // The terminated worker's lock is free again.
    const store = openStore(join(root, 'b'));
    await native.closeStore(store);
    report({ durable, threadsLeft: nativeThreads() });
  },

  'worker-closes'(root) {
    const store = openStore(root);
    const log = openJournal(store, root, (durable, _error, stopped) => {
      if (stopped) native.closeStore(store).then(() => parentPort.postMessage(durable));
      else if (durable === 100) native.journalStop(store);
    });
    for (let i = 0; i < 100; i++) native.journalAppend(store, log, 2, 0, i, Buffer.alloc(100), 0);
  },

  'worker-endless'(root) {
    const { store, segment, view } = storeWithView(root, 'endless.log');
    const log = openJournal(store, root, () => {
      parentPort.postMessage(view[0]);
      for (let i = 0; i < 100; i++) native.journalAppend(store, log, 2, 0, i, Buffer.alloc(100), 0);
      native.prepareSegment(segment, 8 * MIB);
    });
    native.journalAppend(store, log, 2, 0, 0, Buffer.alloc(100), 0);
  },
};

if (isMainThread) await scenes[process.argv[2]](process.argv[3]);
else await scenes[workerData.scene](workerData.root);
