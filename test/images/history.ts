/**
 * What was asked of the logs of one store, and what they promised: notes that a workload puts into its trace, and from them
 * what must and what may be found after a cut.
 *
 * All actions of a store are numbered in the order in which they were submitted. The journal is one stream, so an
 * acknowledgement of one of them acknowledges all before it, in every log of the store.
 */

/**
 * A record batch as submitted: its CRC (which its base offset and epoch are not part of) stands for its bytes. −1 as CRC:
 * the log itself made the batch, and put the time into it.
 */
export interface BatchMark {
  readonly base: number;
  readonly end: number;
  readonly epoch: number;
  readonly bytes: number;
  readonly crc: number;
}

export type Action =
  | { readonly do: 'append'; readonly batches: readonly BatchMark[] }
  /** `to`: where the log ends afterwards. */
  | { readonly do: 'truncate'; readonly to: number; readonly generation: number }
  | { readonly do: 'vote'; readonly term: number; readonly vote: number }
  | { readonly do: 'delete'; readonly before: number };

/** JSON in the trace. */
export type Note =
  /** Before the call. */
  | { readonly note: 'submit'; readonly seq: number; readonly log: string; readonly action: Action }
  /** The call said that nothing happened. */
  | { readonly note: 'refused'; readonly seq: number }
  /** Everything up to this one was acknowledged as durable. */
  | { readonly note: 'ack'; readonly seq: number }
  /** Before the call. */
  | { readonly note: 'watermark'; readonly log: string; readonly offset: number }
  /** A checkpoint that began when the watermark was this has been completed. */
  | { readonly note: 'floor'; readonly log: string; readonly offset: number }
  /** A store that was opened after a crash has shown this to its callers. */
  | { readonly note: 'shown'; readonly log: string; readonly shown: Shown };

/** What a log shows of itself. */
export interface Shown {
  readonly start: number;
  readonly end: number;
  readonly highWatermark: number;
  readonly term: number;
  readonly vote: number;
  readonly generation: number;
  readonly batches: readonly BatchMark[];
}

interface Submitted {
  readonly seq: number;
  readonly action: Action;
}

/** One log's part of the history. */
export class LogHistory {
  readonly actions: Submitted[] = [];
  watermark = 0;
  floor = 0;
  /** What the last opening showed; its promises hold like acknowledgements. */
  shown: Shown | undefined;
}

export class History {
  readonly logs = new Map<string, LogHistory>();
  acked = 0;
  /** Changes with every note that changes what must be found. */
  version = 0;

  add(note: Note): void {
    this.version++;
    switch (note.note) {
      case 'submit':
        this.log(note.log).actions.push({ seq: note.seq, action: note.action });
        return;
      case 'refused':
        for (const log of this.logs.values()) {
          const at = log.actions.findIndex(({ seq }) => seq === note.seq);
          if (at >= 0) log.actions.splice(at, 1);
        }
        return;
      case 'ack':
        this.acked = Math.max(this.acked, note.seq);
        return;
      case 'watermark':
        this.log(note.log).watermark = note.offset;
        return;
      case 'floor':
        this.log(note.log).floor = note.offset;
        return;
      case 'shown':
        this.log(note.log).shown = note.shown;
        return;
    }
  }

  log(name: string): LogHistory {
    const known = this.logs.get(name);
    if (known !== undefined) return known;
    const log = new LogHistory();
    this.logs.set(name, log);
    return log;
  }

  copy(): History {
    const copy = new History();
    copy.acked = this.acked;
    copy.version = this.version;
    for (const [name, log] of this.logs) {
      const twin = copy.log(name);
      twin.actions.push(...log.actions);
      twin.watermark = log.watermark;
      twin.floor = log.floor;
      twin.shown = log.shown;
    }
    return copy;
  }
}

/** Everything that is wrong with what was found, in words; empty when nothing is. */
export function judge(name: string, found: Shown, history: History): string[] {
  const log = history.log(name);
  const problems: string[] = [];
  if (log.shown !== undefined) {
    const difference = firstDifference(log.shown, found);
    if (difference !== undefined) problems.push(`after a second crash it is not what it showed: ${difference}`);
    return problems;
  }
  const acked = log.actions.filter(({ seq }) => seq <= history.acked);
  const open = log.actions.filter(({ seq }) => seq > history.acked);
  problems.push(...judgeJoins(found), ...judgeContent(found, acked, open));
  problems.push(...judgeHardState(found, acked, open), ...judgeStart(found, acked, open));
  if (found.highWatermark > Math.max(log.watermark, found.start)) {
    problems.push(`high watermark ${found.highWatermark}, though it never was above ${log.watermark}`);
  }
  if (found.highWatermark < log.floor) {
    problems.push(`high watermark ${found.highWatermark}, though a checkpoint knew of ${log.floor}`);
  }
  if (found.highWatermark > found.end) problems.push(`high watermark ${found.highWatermark} above end ${found.end}`);
  const generation = Math.max(0, ...acked.map(({ action }) => (action.do === 'truncate' ? action.generation : 0)));
  if (found.generation < generation) problems.push(`generation ${found.generation} after ${generation}`);
  return problems;
}

function judgeJoins(found: Shown): string[] {
  const { start, end, batches } = found;
  const first = batches[0];
  if (first === undefined) return start === end ? [] : [`no batch between start ${start} and end ${end}`];
  const problems: string[] = [];
  if (first.base > start || first.end <= start)
    problems.push(`start ${start} lies outside the first batch ${first.base}`);
  if (batches.at(-1)!.end !== end) problems.push(`the last batch ends at ${batches.at(-1)!.end}, the log at ${end}`);
  batches.forEach((batch, i) => {
    const before = batches[i - 1];
    if (before === undefined) return;
    if (batch.base !== before.end) problems.push(`hole: ${batch.base} after ${before.end}`);
    if (batch.epoch < before.epoch) problems.push(`epoch ${batch.epoch} after ${before.epoch} at ${batch.base}`);
  });
  return problems;
}

/**
 * The content must be what the log held after some action k from the last acknowledged one on, or that less batches at its
 * end, but no fewer than what has been there since the last acknowledged one without a truncation.
 */
function judgeContent(found: Shown, acked: readonly Submitted[], open: readonly Submitted[]): string[] {
  let content: BatchMark[] = [];
  for (const { action } of acked) content = after(content, action);
  let least = content.at(-1)?.end ?? 0;
  const reasons: string[] = [];
  for (const [k, action] of [undefined, ...open.map((each) => each.action)].entries()) {
    if (action !== undefined) content = after(content, action);
    least = Math.min(least, content.at(-1)?.end ?? 0);
    const reason = mismatch(found, content, least);
    if (reason === undefined) return [];
    if (k === 0 || !reasons.includes(reason)) reasons.push(reason);
  }
  return [
    `content is none that it may be (acknowledged up to ${acked.at(-1)?.seq ?? 0}, ${open.length} actions more): ${reasons.slice(0, 4).join('; ')}`,
  ];
}

function after(content: readonly BatchMark[], action: Action): BatchMark[] {
  if (action.do === 'append') return [...content, ...action.batches];
  return action.do === 'truncate' ? content.filter((batch) => batch.end <= action.to) : [...content];
}

function mismatch(found: Shown, content: readonly BatchMark[], least: number): string | undefined {
  if (found.end < least) return `ends at ${found.end}, should hold everything up to ${least}`;
  if (found.batches.length === 0) return undefined;
  const first = content.findIndex((batch) => batch.base === found.batches[0]!.base);
  if (first < 0) return `begins at ${found.batches[0]!.base}, where no batch began`;
  for (const [i, batch] of found.batches.entries()) {
    const expected = content[first + i];
    if (expected === undefined) return `has a batch at ${batch.base} beyond the end`;
    const difference = batchDifference(expected, batch);
    if (difference !== undefined) return difference;
  }
  return undefined;
}

function batchDifference(expected: BatchMark, found: BatchMark): string | undefined {
  for (const field of ['base', 'end', 'epoch', 'bytes', 'crc'] as const) {
    if (expected.crc === -1 && (field === 'crc' || field === 'bytes')) continue;
    if (expected[field] !== found[field]) {
      return `batch at ${expected.base}: ${field} ${found[field]} instead of ${expected[field]}`;
    }
  }
  return undefined;
}

/** Term and vote are those of the last acknowledged vote or of a later one; a term may also come from batches of it. */
function judgeHardState(found: Shown, acked: readonly Submitted[], open: readonly Submitted[]): string[] {
  const votes = (from: readonly Submitted[]) =>
    from.flatMap(({ action }) => (action.do === 'vote' ? [{ term: action.term, vote: action.vote }] : []));
  const allowed = [votes(acked).at(-1) ?? { term: 0, vote: 0 }, ...votes(open)];
  const lastEpoch = found.batches.at(-1)?.epoch ?? -1;
  const same = allowed.some(({ term, vote }) => term === found.term && vote === found.vote);
  const fromBatches = found.vote === 0 && found.term === lastEpoch && lastEpoch > allowed[0]!.term;
  if (same || fromBatches) return [];
  const text = allowed.map(({ term, vote }) => `${term}/${vote}`).join(' or ');
  return [`term/vote is ${found.term}/${found.vote}, should be ${text}`];
}

function judgeStart(found: Shown, acked: readonly Submitted[], open: readonly Submitted[]): string[] {
  const starts = (from: readonly Submitted[]) =>
    from.flatMap(({ action }) => (action.do === 'delete' ? [action.before] : []));
  const least = Math.max(0, ...starts(acked));
  const allowed = [least, ...starts(open).filter((before) => before > least)];
  return allowed.includes(found.start) ? [] : [`starts at ${found.start}, should at ${allowed.join(' or ')}`];
}

/** Of two states that should be the same one. The generation may go up. */
export function firstDifference(before: Shown, after: Shown): string | undefined {
  for (const field of ['start', 'end', 'highWatermark', 'term', 'vote'] as const) {
    if (before[field] !== after[field]) return `${field} was ${before[field]}, is ${after[field]}`;
  }
  if (after.generation < before.generation) return `generation was ${before.generation}, is ${after.generation}`;
  if (before.batches.length !== after.batches.length) {
    return `${before.batches.length} batches were there, ${after.batches.length} are`;
  }
  for (const [i, batch] of before.batches.entries()) {
    const difference = batchDifference(batch, after.batches[i]!);
    if (difference !== undefined) return difference;
  }
  return undefined;
}
