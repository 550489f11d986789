/** What polls went past, and what came back after it had gone for good. */
import type { Claims } from './claims.js';
import { type HistoryState, OK } from './history-state.js';

export function judgePolls(
  state: HistoryState,
  all: readonly Claims[],
  skips: readonly ReturnType<Claims['markMissed']>[],
): void {
  for (const [number, claims] of all.entries()) {
    judgeSkips(state, claims, skips[number]!);
    if (claims.partition.settings.dense) judgeGaps(state, claims);
    judgeRecovered(state, claims);
  }
}

function judgeSkips(
  { findings, records }: HistoryState,
  claims: Claims,
  skips: ReturnType<Claims['markMissed']>,
): void {
  for (const { missed, claim, count } of skips) {
    const record = claims.record.at(claim);
    const offset = claims.offset.at(claim);
    const sighting = records.sightingsOf(record).find((one) => one.offset === offset)!;
    findings.report('poll-skip', { partition: claims.partition.name, offset }, [sighting.lastLine, missed.line], () => {
      const more = count > 1 ? `, and ${count - 1} more of this poll` : '';
      return `consumer ${missed.consumer} went past record "${records.value[record]}" at offset ${offset}${more}; others were given it`;
    });
  }
}

/** In a dense partition every offset is a record, so one that nobody knows of is a hole. */
function judgeGaps({ findings }: HistoryState, claims: Claims): void {
  const { partition } = claims;
  for (const missed of partition.missed) {
    const from = Math.max(missed.from, partition.highestLogStart);
    if (from >= missed.to) continue;
    const { count, first } = claims.countUnclaimed(from, missed.to);
    if (count === 0) continue;
    findings.report('offset-gap', { partition: partition.name, offset: first }, [missed.line], () => {
      const more = count > 1 ? `, and ${count - 1} more` : '';
      return `consumer ${missed.consumer} went past offset ${first}${more}, where no record is known`;
    });
  }
}

/** An unclean recovery took records away for good: what was there before at or above its offset must not be there after. */
function judgeRecovered({ findings, permittedLoss, records, sends }: HistoryState, claims: Claims): void {
  const { partition } = claims;
  for (const fault of permittedLoss.faults) {
    if (fault.fault !== 'unclean-recovery' || String(fault.partition) !== partition.name) continue;
    const began = fault.begin ?? fault.time;
    for (let place = claims.lowerBound(fault.offset!); place < claims.length; place += 1) {
      const record = claims.record.at(claims.inOrder(place));
      const offset = claims.offset.at(claims.inOrder(place));
      const sighting = records.sightingsOf(record).find((one) => one.offset === offset);
      if (sighting === undefined || sighting.lastBegin <= fault.time) continue;
      const tries = [...records.sendsOf(record)].map(({ send }) => send);
      if (tries.length !== 1 || sends.attempts.at(tries[0]!) > 1) continue;
      const acknowledged = sends.outcome.at(tries[0]!) === OK ? sends.time.at(tries[0]!) : Number.POSITIVE_INFINITY;
      if (Math.min(acknowledged, sighting.time) >= began) continue;
      findings.report(
        'resurrected',
        { partition: partition.name, offset },
        [sends.line.at(tries[0]!), sighting.lastLine],
        () =>
          `record "${records.value[record]}" is back at offset ${offset}, and an unclean recovery had kept nothing from ${fault.offset} on`,
      );
    }
  }
}
