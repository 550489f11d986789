/** What the core refuses to start with, and messages it refuses to look at. Each answer is a sentence that says why. */
import { RaftInvariantError } from './invariant.js';
import { impossible } from './membership.js';
import type { AppendRequest, Message, RaftOptions } from './types.js';

/** @throws RangeError for settings that cannot work, RaftInvariantError for a state that contradicts itself. */
export function validate(options: RaftOptions): void {
  const refuse = (reason: string): never => {
    throw new RangeError(`raft options: ${reason}`);
  };
  const { self, configurations, heartbeatTicks, electionTicks, hardState, highWatermark, progress, log } = options;
  const integers = { heartbeatTicks, electionTicks, maxInflightMessages: options.maxInflightMessages };
  const bytes = { maxInflightBytes: options.maxInflightBytes, maxAppendBytes: options.maxAppendBytes };
  for (const [name, value] of Object.entries({ ...integers, ...bytes })) {
    if (!Number.isSafeInteger(value) || value < 1) refuse(`${name} is ${value}; it must be a whole number from 1 on`);
  }
  if (!Number.isSafeInteger(self.id) || self.id < 1) refuse(`node ids are whole numbers from 1 on, not ${self.id}`);
  if (self.directory === '') {
    refuse(`node ${self.id} has no directory id: without one, an emptied disk would vote again as if it were this one`);
  }
  if (self.incarnation === '') {
    refuse(`node ${self.id} has no incarnation id: acknowledgements of its last run would count for this one`);
  }
  if (options.countBy !== 'durable' && options.countBy !== 'written') {
    refuse(`countBy is ${String(options.countBy)}: what counts for a commit is what is durable, or what is written`);
  }
  if (options.uncleanRecovery !== 'never' && options.uncleanRecovery !== 'longest-log') {
    refuse(
      `uncleanRecovery is ${String(options.uncleanRecovery)}: only 'longest-log' lets replicas that forgot elect by their logs`,
    );
  }
  if (configurations.length === 0) refuse('no configuration; a replica that knows none is given an empty founding one');
  if (electionTicks <= 2 * heartbeatTicks) {
    refuse(
      `electionTicks ${electionTicks} must be more than twice heartbeatTicks ${heartbeatTicks}: ` +
        'one lost heartbeat must not start an election',
    );
  }
  if (options.maxAppendBytes > options.maxInflightBytes) {
    refuse(`maxAppendBytes ${options.maxAppendBytes} exceeds maxInflightBytes ${options.maxInflightBytes}`);
  }
  const contradict = (reason: string): never => {
    throw new RaftInvariantError(`state found at start: ${reason}`);
  };
  if (!(progress.durable <= progress.written && progress.written <= log.end)) {
    contradict(`durable ${progress.durable} ≤ written ${progress.written} ≤ log end ${log.end} does not hold`);
  }
  if (highWatermark > log.end) {
    contradict(`the log ends at ${log.end}, below its high watermark ${highWatermark}: committed records are missing`);
  }
  if (configurations[0]!.offset > Math.max(highWatermark, log.start)) {
    contradict('the first configuration may not be committed, and nothing says which one was in effect before it');
  }
  let before = -2;
  for (const { offset, configuration } of configurations) {
    const problem = impossible(configuration);
    if (problem !== undefined) contradict(`the configuration at offset ${offset}: ${problem}`);
    if (offset <= before || offset >= Math.max(log.end, log.start + 1)) {
      contradict(`a configuration at offset ${offset}, after one at ${before}, in a log that ends at ${log.end}`);
    }
    before = offset;
  }
  if (!Number.isSafeInteger(hardState.vote) || hardState.vote < 0) contradict(`vote ${hardState.vote}`);
  const { forgot = 0 } = hardState;
  if (!Number.isSafeInteger(forgot) || forgot < 0 || forgot > hardState.term) {
    contradict(`it forgot in term ${forgot}, but never was beyond term ${hardState.term}`);
  }
  if (!Number.isSafeInteger(hardState.term) || hardState.term < 0) contradict(`term ${hardState.term}`);
}

/**
 * Why this message cannot have been made by a correct peer, or undefined. The driver asks before `step`, so that a peer's
 * mistake closes a connection; `step` itself treats it as a broken invariant.
 */
export function malformed(message: Message): string | undefined {
  for (const [name, value] of Object.entries(message)) {
    if (typeof value === 'number' && !Number.isSafeInteger(value)) return `${message.type}: ${name} is ${value}`;
  }
  if (message.term < 1) return `${message.type}: term ${message.term} is below 1`;
  if (message.type === 'append') return malformedAppend(message);
  if (message.type === 'reset' && message.configuration.offset >= message.logStart) {
    return `reset: the configuration stands at ${message.configuration.offset}, not below log start ${message.logStart}`;
  }
  if (message.type === 'append-reply' && message.durable > message.written) {
    return `append-reply: durable ${message.durable} is above written ${message.written}`;
  }
  return undefined;
}

function malformedAppend({ term, start, end, prevEpoch, batches }: AppendRequest): string | undefined {
  if (start < 0 || end < start) return `append: [${start}, ${end}) is no range`;
  if (prevEpoch > term) return `append: previous epoch ${prevEpoch} is above term ${term}`;
  let offset = start;
  let epoch = prevEpoch;
  for (const batch of batches) {
    if (batch.start !== offset)
      return `append: a batch starts at ${batch.start}, not at ${offset} where the last one ended`;
    if (batch.end <= batch.start) return `append: the batch at ${batch.start} is empty`;
    if (batch.epoch < epoch)
      return `append: the batch at ${batch.start} goes back from epoch ${epoch} to ${batch.epoch}`;
    if (batch.epoch > term) return `append: the batch at ${batch.start} has epoch ${batch.epoch}, above term ${term}`;
    offset = batch.end;
    epoch = batch.epoch;
  }
  if (offset !== end) return `append: the batches end at ${offset}, not at ${end}`;
  return undefined;
}
