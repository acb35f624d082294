/** Addresses as people write them, taken apart; and the errors of sockets in our words. */

import { type Address, NetworkError } from '../network.js';

export type Place =
  | { readonly kind: 'tcp' | 'udp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix' | 'ring'; readonly path: string };

const PORT_MAX = 65535;
/** What a `sockaddr_un` holds, less the final zero. */
const UNIX_PATH_BYTES_MAX = 107;

export function parseAddress(address: Address): Place {
  const local = /^(unix|ring):\/\/(\/.+)$/.exec(address);
  if (local?.[2] !== undefined) return localPlace(local[1] as 'unix' | 'ring', local[2]);
  const inet = /^(tcp|udp):\/\/(\[[0-9a-fA-F:.%\w]+\]|[^:/[\]]+):(\d{1,5})$/.exec(address);
  const port = Number(inet?.[3]);
  if (inet?.[1] === undefined || inet[2] === undefined || port > PORT_MAX) {
    const allowed = 'tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or ring:///PATH';
    throw new NetworkError('invalid', `"${address}" is no address; write ${allowed}`);
  }
  return { kind: inet[1] as 'tcp' | 'udp', host: inet[2].replace(/^\[|\]$/g, ''), port };
}

function localPlace(kind: 'unix' | 'ring', path: string): Place {
  if (Buffer.byteLength(path) > UNIX_PATH_BYTES_MAX) {
    throw new NetworkError(
      'invalid',
      `the socket path ${path} is longer than ${UNIX_PATH_BYTES_MAX} bytes; use a shorter folder`,
    );
  }
  return { kind, path };
}

export function formatAddress(kind: 'tcp' | 'udp', host: string, port: number): Address {
  return host.includes(':') ? `${kind}://[${host}]:${port}` : `${kind}://${host}:${port}`;
}

const REMEDIES: Record<string, readonly [NetworkError['kind'], string]> = {
  EADDRINUSE: ['in-use', 'another process listens there; choose another port or stop it'],
  EADDRNOTAVAIL: ['invalid', 'this machine has no such address; use one of its own'],
  EACCES: ['denied', 'a right is missing; use a port above 1023, or a folder that you may write'],
  EPERM: ['denied', 'a right is missing, or a firewall forbids it'],
  ECONNREFUSED: ['refused', 'nobody listens there; start it, or correct the address'],
  ENOENT: ['refused', 'the path does not exist; start the server, or correct the path'],
  ENOTFOUND: ['invalid', 'the host name is not known; correct it, or write the number'],
  EAI_AGAIN: ['failed', 'the name could not be looked up; check DNS, or write the number'],
  ETIMEDOUT: ['timeout', 'no answer came; check that the machine is up and the port is open'],
  EHOSTUNREACH: ['failed', 'there is no way to that machine; check the network'],
  ENETUNREACH: ['failed', 'there is no way to that network; check the network'],
  EMFILE: ['failed', 'too many open files; raise the limit with ulimit -n'],
};

export function networkError(what: string, error: unknown): NetworkError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const [kind, remedy] = REMEDIES[code] ?? ['failed', String((error as Error).message)];
  return new NetworkError(kind, `${what}: ${code === '' ? '' : `${code}: `}${remedy}`);
}
