/** What `connect` can be told, and the address of a rack as people write it. */

import { show } from './arguments.js';
import { invalid, MemrackError } from './error.js';

export interface ConnectOptions {
  /**
   * How the memory nodes are reached. `auto` (default): those on this machine by their memory, the
   * others by messages, and by datagrams while a node answers nothing else. `shm`: by their memory
   * alone; where that cannot be opened (another machine, another user, another container)
   * operations are `Unsupported`. `tcp`: by messages alone. `udp`: reads, writes and atomics in
   * datagrams, without a connection; where none can be sent operations are `Unsupported`, where
   * none is answered `Unavailable`.
   */
  readonly link?: 'auto' | 'shm' | 'tcp' | 'udp';
  /**
   * With `udp`: after so many milliseconds without a call the stream to a node or the controller,
   * over which calls go, is closed, and made again for the next. Default 5,000.
   */
  readonly idleStreamMs?: number;
  /** How long one operation may go without progress, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
  /** For racks with authentication; not in this version. */
  readonly token?: string;
  /** false: never spin while answers are due; slower, and no processor time while idle. */
  readonly poll?: boolean;
}

const LINKS = ['auto', 'shm', 'tcp', 'udp'];
export const TIMEOUT_MS_DEFAULT = 10_000;
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
/** Registered for it with IANA. */
export const NBD_PORT_DEFAULT = 10_809;

/** How clients of NBD write the address of a door. */
export function nbdUrl(address: string, isSecured: boolean): string {
  return address.replace(/^tcp:/, isSecured ? 'nbds:' : 'nbd:');
}
export const RACK_URL_DEFAULT = 'memrack://127.0.0.1:7070';
export const RACK_PORT_DEFAULT = 7070;

/** `memrack://HOST:PORT` as an address of the network. */
export function parseRackUrl(url: unknown): string | MemrackError {
  const match =
    typeof url === 'string' ? /^memrack:\/\/(\[[^\]]+\]|[^/:]+)(:\d+)?\/?$/.exec(url) : null;
  const port = match?.[2] === undefined ? RACK_PORT_DEFAULT : Number(match[2].slice(1));
  if (match === null || port < 1 || port > 65_535) {
    const remedy = `write it as memrack://HOST:PORT, for example ${RACK_URL_DEFAULT}`;
    return invalid(`${JSON.stringify(url)} is not the address of a rack`, remedy);
  }
  return `tcp://${match[1]}:${port}`;
}

/** What is wrong with the options, or undefined. */
export function badOptions(options: ConnectOptions): MemrackError | undefined {
  const { link, timeoutMs, idleStreamMs, token } = options;
  if (link !== undefined && !LINKS.includes(link)) {
    return invalid(`${show(link)} is no link`, "choose 'auto', 'shm', 'tcp' or 'udp'");
  }
  if (token !== undefined) {
    const remedy = 'leave the token out: this version has no authentication';
    return new MemrackError('Unsupported', 'tokens are not in this version', { remedy });
  }
  for (const [name, ms] of Object.entries({ timeoutMs, idleStreamMs })) {
    if (ms === undefined || isTimeout(ms)) continue;
    return invalid(`${name} is ${show(ms)}`, 'pass a number of milliseconds of at least 1');
  }
  return undefined;
}

function isTimeout(ms: unknown): boolean {
  return typeof ms === 'number' && ms >= 1 && ms <= TIMEOUT_MS_MAX;
}
