/** Where one call of a link ends: settles its promise, whatever happened. */

import { Status } from '../base/status.js';
import { type CallType, messageName, type Refused, type Reply } from '../wire/messages.js';
import type { Place } from '../wire/struct.js';
import { decodeReply } from './call-codec.js';
import type { CompletionSink } from './link.js';

/** The link, as far as an error message speaks of it. */
export interface Remote {
  readonly address: string;
  /** Why the last connection ended, or could not be made; empty while one is there. */
  readonly lastLoss: string;
}

export class CallSink implements CompletionSink {
  readonly #type: CallType;
  readonly #remote: Remote;
  readonly #resolve: (reply: Reply<CallType>) => void;

  constructor(type: CallType, remote: Remote, resolve: (reply: Reply<CallType>) => void) {
    this.#type = type;
    this.#remote = remote;
    this.#resolve = resolve;
  }

  /** The reply arrived. False when it is malformed; the call has ended either way. */
  answered(status: number, source: Place, at: number, end: number): boolean {
    const reply = decodeReply(this.#type, status, source, at, end);
    if (typeof reply !== 'string') {
      this.#resolve(reply);
      return true;
    }
    this.refused(Status.Corrupt, `the answer makes no sense: ${reply}`);
    return false;
  }

  /** The reply was lost, and the other side has kept it. */
  recovered(status: number, body: Uint8Array): void {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    this.answered(status, { bytes: body, view }, 0, body.length);
  }

  completed(_token: number, status: Status): void {
    assertNotOk(status);
    const { lastLoss } = this.#remote;
    const why = lastLoss === '' ? '' : ` (last: ${lastLoss})`;
    this.refused(status, `${REASONS[status] ?? ''}${why}`);
  }

  refused(status: Refused['status'], reason: string): void {
    const place = `${messageName(this.#type)} to ${this.#remote.address}`;
    this.#resolve({ status, reason: reason === '' ? place : `${place}: ${reason}` });
  }
}

const REASONS: Partial<Record<Status, string>> = {
  [Status.Unavailable]: 'the connection could not be made in time',
  [Status.Timeout]: 'no answer came in time',
  [Status.OutcomeUnknown]: 'no answer came, and it may have been done',
  [Status.Busy]: 'too much is waiting for this process already',
  [Status.Closed]: 'the connection was closed on this side',
  [Status.Unsupported]: 'no version of the protocol in common',
};

function assertNotOk(status: Status): asserts status is Refused['status'] {
  if (status === Status.Ok) throw new TypeError('a call ends with its reply, not with Ok alone');
}
