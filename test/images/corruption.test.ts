// Corruption: one file of a data directory is damaged, and the store opened. What it serves is right, what it does not serve it
// says, and nothing that was durable is cut off. `npm run images:corruption` takes at least 50 cases of each kind of file and
// damage; a run of all tests a few of each.
import { afterAll, expect, test } from 'vitest';
import { CorruptionCampaign, corruptionFailureText, corruptionTable } from './corruption-campaign.js';
import { DAMAGES, type DamageKind } from './damage.js';
import { FILE_KINDS, type FileKind } from './file-regions.js';
import { Scratch } from './scratch.js';

/** Of each kind of file and damage. */
const cases = Number(process.env['CORRUPTION_CASES'] ?? 0.35);
const seed = Number(process.env['CORRUPTION_SEED'] ?? 1);
const number = process.env['CORRUPTION_CASE'] === undefined ? undefined : Number(process.env['CORRUPTION_CASE']);
const onlyFiles = process.env['CORRUPTION_FILE']?.split(',') as FileKind[] | undefined;
const onlyDamages = process.env['CORRUPTION_DAMAGE']?.split(',') as DamageKind[] | undefined;
const onlyWorkload = process.env['CORRUPTION_STORE'];
const isRoot = process.getuid?.() === 0;
const MINUTES = 30;
const MEMORY_BYTES = 1024 * 1024 * 1024;

const scratch = new Scratch();
afterAll(() => scratch.close());

test(
  'what is damaged is served right, or said to be damaged; it is never cut off',
  async () => {
    const began = performance.now();
    const campaign = new CorruptionCampaign({
      scratch,
      seed,
      cases,
      number,
      files: onlyFiles ?? FILE_KINDS,
      damages: (onlyDamages ?? DAMAGES).filter((kind) => kind !== 'unreadable' || !isRoot),
      workload: onlyWorkload,
    });
    if (isRoot) console.log("skipped: damage 'unreadable': root reads every file, whatever its mode");
    await campaign.run();
    const { tally } = campaign;
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    if (process.env['CORRUPTION_CASES'] !== undefined) console.log(`${corruptionTable(tally)}\n${seconds} s`);
    for (const failure of tally.failures.slice(0, 40)) console.error(corruptionFailureText(failure));
    expect(tally.failures.length).toBe(0);
    expect(tally.total).toBeGreaterThan(0);
    expect(process.memoryUsage().rss).toBeLessThan(MEMORY_BYTES);
  },
  MINUTES * 60_000,
);
