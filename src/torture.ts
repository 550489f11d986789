/** What a broker's author needs to torture a log of their own: everything exported here, as `varve/torture`, is public. */

export {
  ANOMALIES,
  type Anomaly,
  type AnomalyName,
  type Permitted,
  type PermitReason,
} from './checker/anomaly.js';
export { type CheckOptions, checkHistory, HistoryChecker, type Verdict } from './checker/history-checker.js';
export { checkHistoryFile, checkHistoryStream } from './checker/history-file.js';
export type * from './checker/operation.js';
export { VarveError } from './errors.js';
