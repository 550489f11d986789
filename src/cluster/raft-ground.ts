/** What a replica's log and node are to the Raft core: its log, its configurations, its settings. */
import type { Log, Configuration as StoredConfiguration } from '../log/log.js';
import type { LoggedConfiguration, LogProgress, LogView, RaftOptions } from '../raft/types.js';
import { DATA_FRAME_BYTES } from '../rpc/protocol.js';
import { decodeConfiguration, encodeConfiguration } from './control-batches.js';
import type { ReplicaHost } from './replica-host.js';

/** @param name of the partition, for messages */
export function raftOptions(log: Log, host: ReplicaHost, name: string, progress: LogProgress): RaftOptions {
  return {
    self: host.self,
    configurations: configurationsOf(log, host, name),
    hardState: log.hardState,
    highWatermark: log.highWatermark,
    progress,
    log: viewOf(log),
    countBy: log.options.flush === 'sync' ? 'durable' : 'written',
    heartbeatTicks: host.heartbeatTicks,
    electionTicks: host.electionTicks,
    maxInflightMessages: host.maxInflightMessages,
    maxInflightBytes: host.maxInflightBytes,
    maxAppendBytes: DATA_FRAME_BYTES,
    uncleanRecovery: host.uncleanRecovery,
    random: host.random,
  };
}

/** As a log stores it. Undefined for the founding configuration, which stands in no log. */
export function storedConfiguration({ offset, configuration }: LoggedConfiguration): StoredConfiguration | undefined {
  return offset < 0 ? undefined : { offset, value: encodeConfiguration(configuration) };
}

/** The founding configuration precedes the log's: it was in effect, and is again if those are cut off uncommitted. */
function configurationsOf(log: Log, host: ReplicaHost, name: string): LoggedConfiguration[] {
  const logged = log.configurations.map(({ offset, value }) => ({
    offset,
    configuration: decodeConfiguration(value, `${name}, offset ${offset}`),
  }));
  return [{ offset: -1, configuration: host.founding }, ...logged];
}

/** What Raft calls the log's start is where what is kept begins; readers see less. */
function viewOf(log: Log): LogView {
  return {
    get start() {
      return log.physicalStart;
    },
    get logStart() {
      return log.start;
    },
    get end() {
      return log.end;
    },
    get lastEpoch() {
      return log.lastEpoch;
    },
    epochAt: (offset) => log.epochAt(offset),
    endForEpoch: (epoch) => log.endForEpoch(epoch),
    baseOf: (offset) => log.baseOf(offset),
    span: (start, maxBytes) => log.span(start, maxBytes),
  };
}
