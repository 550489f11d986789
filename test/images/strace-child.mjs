// A store that is used while strace makes its Nth sync fail: appends, checkpoints and whatever else would sync, until long
// after the first error. One log, one thing after the other: besides, only the journal's next file may be on its way when
// a sync fails. Says how it went in one line of JSON. Arguments: data directory.
import { openStore } from '../../dist/src/main.js';

const codes = new Set();
const attempt = async (call) => {
  try {
    return await call();
  } catch (error) {
    codes.add(error.code ?? error.message);
    return undefined;
  }
};

let acknowledged = 0;
const store = await attempt(() =>
  openStore(process.argv[2], { create: true, journalFileBytes: 65_536, checkpointIntervalMs: 3_600_000 }),
);
if (store !== undefined) {
  const log = await attempt(() => store.openLog('t', 0));
  for (let round = 0; round < 24; round++) {
    if ((await attempt(() => log?.append([{ value: Buffer.alloc(6000, 'x') }]))) !== undefined) acknowledged++;
    if (round % 8 === 7) await attempt(() => store.checkpoint());
  }
  await attempt(() => store.close());
}
console.log(JSON.stringify({ acknowledged, codes: [...codes] }));
