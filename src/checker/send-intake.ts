/** Writes sends into the tables. */
import { acksNumber, type HistoryState, OK, OUTCOMES, type Partition } from './history-state.js';
import type { Name, Send } from './operation.js';

const SENDS_MAX = 1000;

/** Values are no identities in this history. */
export class SameValueError extends Error {
  constructor(value: string) {
    super(
      `value "${value.slice(0, 80)}" was sent more than ${SENDS_MAX} times: a value is the identity of one record, and the same only when that record is tried again`,
    );
  }
}

/** Returns the number of the send. @throws SameValueError */
export function takeSend(state: HistoryState, send: Send, partition: Partition, line: number): number {
  const { sends } = state;
  const values = send.values ?? [send.value as Name];
  const number = addSend(state, send, partition, line);
  sends.start.push(sends.members.length);
  sends.count.push(values.length);
  for (let index = 0; index < values.length; index += 1) {
    const record = addRecord(state, send, partition, number, index, String(values[index]));
    sends.members.push(record);
    if (send.offset !== undefined) acknowledge(state, partition, send.offset + index, number);
  }
  if (send.epoch !== undefined) state.permittedLoss.addEpoch(partition.name, send.epoch);
  return number;
}

function addSend(state: HistoryState, send: Send, partition: Partition, line: number): number {
  const { sends, producers, producerIds, transactions, nodes } = state;
  sends.partition.push(partition.number);
  sends.producer.push(producers.number(send.producer));
  sends.begin.push(send.begin ?? send.time);
  sends.time.push(send.time);
  sends.offset.push(send.offset ?? -1);
  sends.epoch.push(send.epoch ?? -1);
  sends.node.push(send.node === undefined ? -1 : nodes.number(send.node));
  sends.acks.push(acksNumber(send.acks));
  sends.outcome.push(send.outcome === undefined ? OK : OUTCOMES.indexOf(send.outcome));
  sends.attempts.push(send.attempts ?? 1);
  sends.producerId.push(send.producerId === undefined ? -1 : producerIds.number(send.producerId));
  sends.producerEpoch.push(send.producerEpoch ?? -1);
  sends.sequence.push(send.sequence ?? -1);
  sends.transaction.push(send.transaction === undefined ? -1 : transactions.number(send.transaction));
  sends.duplicate.push(send.duplicate === true ? 1 : 0);
  sends.tombstone.push(send.tombstone === true ? 1 : 0);
  return sends.line.push(line);
}

function addRecord(
  state: HistoryState,
  send: Send,
  partition: Partition,
  number: number,
  index: number,
  value: string,
): number {
  const { records, keys } = state;
  let record = partition.values.get(value);
  if (record === undefined) {
    record = records.add(partition.number, value);
    partition.values.set(value, record);
  }
  if (records.send.at(record) >= 0) {
    const more = records.moreSends.get(record);
    if (more === undefined) records.moreSends.set(record, [{ send: number, index }]);
    else if (more.length < SENDS_MAX) more.push({ send: number, index });
    else throw new SameValueError(value);
    return record;
  }
  records.send.set(record, number);
  records.index.set(record, index);
  const key = send.keys === undefined ? send.key : send.keys[index];
  if (key !== undefined) records.key.set(record, keys.number(key));
  const timestamp = send.timestamps === undefined ? send.timestamp : send.timestamps[index];
  if (timestamp !== undefined) records.timestamp.set(record, timestamp);
  return record;
}

/** Remembers who was acknowledged at an offset first, and everybody else. */
function acknowledge({ sends }: HistoryState, partition: Partition, offset: number, send: number): void {
  const earlier = partition.acknowledgedAt.get(offset);
  if (earlier < 0) {
    partition.acknowledgedAt.set(offset, send);
    return;
  }
  const recordOf = (one: number): number => sends.record(one, offset - sends.offset.at(one));
  if (recordOf(earlier) !== recordOf(send)) partition.acknowledgedConflicts.push({ offset, earlier, later: send });
}
