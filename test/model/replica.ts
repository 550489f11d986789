/**
 * What the reference model knows of one replica: the log as accepted, the changes on their way to its disk, and the disk.
 *
 *   accepted    `log`, `term`, `vote`: everything issued
 *   on its way  `stream`: changes issued and not known to be on disk, in order; a power cut keeps a prefix of them
 *   on disk     `disk`: what the stream has become durable to
 */
/** A node with its disk: whoever comes back with another disk has another one. It begins with the number that votes name. */
export type NodeId = number | string;

export interface Configuration {
  readonly voters: readonly NodeId[];
  /** Not empty in the joint phase of a change: a majority of these is needed as well. */
  readonly outgoing: readonly NodeId[];
}

export interface Batch {
  readonly start: number;
  readonly end: number;
  readonly epoch: number;
  /** Stands for the records. */
  readonly value: unknown;
  readonly configuration?: Configuration;
}

/** What a process finds when it starts. */
export interface Found {
  readonly term: number;
  /** A node's number; 0: none. */
  readonly vote: number;
  readonly start: number;
  readonly end: number;
  readonly lastEpoch: number;
  readonly highWatermark: number;
  readonly forgetful?: boolean;
}

type State = { readonly term: number; readonly vote: number };
type Change = State | { readonly batch: Batch } | { readonly truncateTo: number } | { readonly resetTo: number };
type Image = State & { readonly log: readonly Batch[] };

export class Replica {
  up = false;
  incarnation = 0;
  #disk: Image = { log: [], term: 0, vote: 0 };
  #stream: Change[] = [];
  log: readonly Batch[] = [];
  /** The first record that is not deleted; it may lie inside a batch. */
  start = 0;
  /** What retention has deleted of the log, on disk as well: deletion is at once. */
  #deletedTo = 0;
  /** The last configuration, and the last epoch, that the log had before its start. */
  #deletedConfiguration: Configuration | undefined;
  #deletedEpoch = -1;
  term = 0;
  vote = 0;
  highWatermark = 0;
  leads = false;
  /** Highest term led since start. */
  led = 0;
  /** Incarnations of its peers, as far as it has met them. */
  readonly met = new Map<NodeId, number>();
  /** Where its own log ended when it met them. */
  readonly metEnd = new Map<NodeId, number>();
  /** Forgetful since this durable term. */
  forgot: number | undefined;
  /** The power failed while relaxed acknowledgements were out: it can't know what it lost. */
  mustForget = false;
  /** Forgetful: the log end that the leader of `term` reported to this incarnation. */
  told: { readonly term: number; readonly end: number } | undefined;

  get end(): number {
    return this.log.at(-1)?.end ?? this.start;
  }

  get lastEpoch(): number {
    return this.log.at(-1)?.epoch ?? this.#deletedEpoch;
  }

  get diskState(): State {
    return this.#disk;
  }

  /** How much of the log that is accepted now is on disk. */
  get durable(): number {
    let end = this.start;
    for (let i = 0; i < this.log.length && this.#disk.log[i] === this.log[i]; i++) end = this.log[i]!.end;
    return end;
  }

  configuration(founders: Configuration): Configuration {
    const last = this.log.findLast((batch) => batch.configuration);
    return last?.configuration ?? this.#deletedConfiguration ?? founders;
  }

  /** The batches that [from, to) touches. */
  slice(from: number, to: number): readonly Batch[] {
    return this.log.filter((batch) => batch.end > from && batch.start < to);
  }

  // ---- changes, in the order of the stream ----

  append(batch: Batch): void {
    this.log = [...this.log, batch];
    this.#stream.push({ batch });
  }

  truncate(to: number): void {
    this.log = this.log.filter((batch) => batch.end <= to);
    this.#stream.push({ truncateTo: to });
  }

  decide(state: State): void {
    this.term = state.term;
    this.vote = state.vote;
    this.#stream.push(state);
  }

  /** Retention. */
  deleteBefore(to: number): void {
    this.start = Math.max(this.start, to);
    this.#deletedTo = this.start;
    const deleted = this.log.filter((batch) => batch.end <= to);
    const configuration = deleted.findLast((batch) => batch.configuration)?.configuration;
    this.#deletedConfiguration = configuration ?? this.#deletedConfiguration;
    this.#deletedEpoch = deleted.at(-1)?.epoch ?? this.#deletedEpoch;
    this.log = this.log.filter((batch) => batch.end > to);
    this.#disk = { ...this.#disk, log: this.#disk.log.filter((batch) => batch.end > to) };
  }

  /** It is told to go on where the others begin. */
  reset(to: number, lastEpoch: number, configuration: Configuration | undefined): void {
    this.log = [];
    this.start = to;
    this.#deletedEpoch = lastEpoch;
    this.#deletedConfiguration = configuration;
    this.#stream.push({ resetTo: to });
  }

  // ---- the disk ----

  /** The log is durable up to `end`, and so is every change before the last batch of that. */
  durableTo(end: number): void {
    const last = this.log.findLast((batch) => batch.end <= end);
    this.#reach((change) => 'batch' in change && change.batch === last);
  }

  stateDurable({ term, vote }: State): void {
    this.#reach((change) => 'vote' in change && change.term === term && change.vote === vote);
  }

  #reach(is: (change: Change) => boolean): void {
    const count = this.#stream.findLastIndex(is) + 1;
    for (const change of this.#stream.splice(0, count)) this.#disk = this.#apply(this.#disk, change);
  }

  #apply(image: Image, change: Change): Image {
    if ('vote' in change) return { ...change, log: image.log };
    if ('truncateTo' in change) return { ...image, log: image.log.filter((batch) => batch.end <= change.truncateTo) };
    if ('resetTo' in change) return { ...image, log: [] };
    return change.batch.end <= this.#deletedTo ? image : { ...image, log: [...image.log, change.batch] };
  }

  /** After kill -9 the page cache has all of the log, and of the hard states any prefix came to the journal. */
  crash(power: boolean): void {
    this.up = false;
    this.leads = false;
    if (power) return;
    this.#disk = { ...this.#disk, log: this.log };
    this.#stream = this.#stream.filter((change) => 'vote' in change);
  }

  /** Begins a new incarnation with what was found; false if no prefix of the stream explains it. */
  restart(found: Found): boolean {
    const images = [this.#disk];
    for (const change of this.#stream) images.push(this.#apply(images.at(-1)!, change));
    const image = images.find(({ term, vote, log }) => {
      const last = log.at(-1) ?? { end: found.start, epoch: found.lastEpoch };
      return term === found.term && vote === found.vote && last.end === found.end && last.epoch === found.lastEpoch;
    });
    if (image === undefined) return false;
    this.up = true;
    this.incarnation++;
    this.#disk = image;
    this.#stream = [];
    this.log = image.log;
    this.term = found.term;
    this.vote = found.vote;
    this.highWatermark = found.highWatermark;
    this.led = 0;
    this.met.clear();
    this.metEnd.clear();
    this.mustForget = false;
    this.told = undefined;
    this.start = found.start;
    if (this.log.length === 0) this.#deletedEpoch = found.lastEpoch;
    this.deleteBefore(found.start);
    return true;
  }
}
