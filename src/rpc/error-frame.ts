/** The Error frame: code and message of a VarveError, as one side tells the other. */
import { ERROR_CODES, type ErrorCode, VarveError } from '../errors.js';
import { type Frame, unpackHeader } from './frame.js';

/** An Error frame says no more than this. */
const MAX_MESSAGE_CHARS = 2000;

/** Messages quote what the peer sent: an answer must fit its frame whatever that was. */
export function errorHeader({ code, message }: VarveError): readonly unknown[] {
  return [code, message.length <= MAX_MESSAGE_CHARS ? message : `${message.slice(0, MAX_MESSAGE_CHARS)} …`];
}

/** What `remote` said. @throws VarveError PROTOCOL_ERROR when it is no error at all */
export function unpackError(frame: Frame, remote: string): VarveError {
  const [code, message] = unpackHeader(frame.header);
  if (typeof code !== 'string' || typeof message !== 'string') {
    throw new VarveError('PROTOCOL_ERROR', 'an Error frame carries no code and message');
  }
  if (!(ERROR_CODES as readonly string[]).includes(code)) {
    return new VarveError('PROTOCOL_ERROR', `${remote} answered with the unknown error ${code}: ${message}`);
  }
  return new VarveError(code as ErrorCode, message);
}
