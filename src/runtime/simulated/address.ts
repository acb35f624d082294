/** Reads addresses: which machine, and which name on it. */

import type { Address } from '../network.js';

export interface ParsedAddress {
  readonly protocol: 'tcp' | 'udp' | 'unix';
  /** Empty for unix. */
  readonly host: string;
  /** 0 for unix and for any free one. */
  readonly port: number;
  /** Of a unix socket. */
  readonly path: string;
}

const PORT_MAX = 65_535;

/** Undefined where the text is no address. */
export function parseAddress(address: Address): ParsedAddress | undefined {
  const unix = /^unix:\/\/(\/.+)$/.exec(address);
  if (unix !== null) return { protocol: 'unix', host: '', port: 0, path: unix[1] ?? '' };
  const match = /^(tcp|udp):\/\/(\[[0-9a-fA-F:]+\]|[^:/[\]]+):(\d+)$/.exec(address);
  if (match === null) return undefined;
  const port = Number(match[3]);
  if (port > PORT_MAX) return undefined;
  const protocol = match[1] === 'udp' ? 'udp' : 'tcp';
  return { protocol, host: match[2] ?? '', port, path: '' };
}

const OWN_HOSTS = ['127.0.0.1', 'localhost', '[::1]'];
const ALL_HOSTS = ['0.0.0.0', '[::]'];

export function isOwnHost(host: string): boolean {
  return OWN_HOSTS.includes(host);
}

export function isAnyHost(host: string): boolean {
  return ALL_HOSTS.includes(host);
}
