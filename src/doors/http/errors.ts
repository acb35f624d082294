/** Refusals as HTTP: a status code and a body of `{code, message, remedy}`. */
import { Status, STATUS_FACTS, type StatusName, statusName } from '../../base/status.js';
import type { Refusal } from '../../controller/refusal.js';

export interface ErrorBody {
  /** A status of the protocol, or `Internal` for a bug of ours. */
  readonly code: Exclude<StatusName, 'Ok'> | 'Internal';
  readonly message: string;
  readonly remedy: string;
}

const HTTP_STATUS = {
  NoSpace: 507,
  NotAllocated: 404,
  NotFound: 404,
  Exists: 409,
  Denied: 403,
  Busy: 503,
  Conflict: 409,
  Stale: 409,
  Unavailable: 503,
  DataLost: 410,
  Corrupt: 500,
  Timeout: 504,
  OutcomeUnknown: 500,
  Invalid: 400,
  Unsupported: 501,
  Closed: 503,
  Moved: 503,
} as const satisfies Record<Exclude<StatusName, 'Ok'>, number>;

/** What is thrown within a request and becomes its answer. */
export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal';
  readonly status: number;
  readonly body: ErrorBody;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, body: ErrorBody, headers: Readonly<Record<string, string>> = {}) {
    super(body.message);
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

export function httpRefusal({ status, message }: Refusal): HttpRefusal {
  const name = statusName(status);
  const code = name === undefined || name === 'Ok' ? 'Corrupt' : name;
  return new HttpRefusal(HTTP_STATUS[code], { code, message, remedy: STATUS_FACTS[code].remedy });
}

export function badRequest(message: string, remedy: string): HttpRefusal {
  return new HttpRefusal(400, { code: 'Invalid', message, remedy });
}

export const STARTING: Refusal = {
  status: Status.Unavailable,
  message: 'the controller has not finished starting',
};
