/** Reads addresses: which machine, and which name on it. */

import type { Address } from '../network.js';

/** Streams between processes of one machine: through its kernel, or through shared rings. */
export type LocalProtocol = 'unix' | 'ring';

export interface ParsedAddress {
  readonly protocol: 'tcp' | 'udp' | LocalProtocol;
  /** Empty for a path. */
  readonly host: string;
  /** 0 for a path and for any free one. */
  readonly port: number;
  /** Of a socket of this machine; otherwise empty. */
  readonly path: string;
}

const PORT_MAX = 65_535;

/** Undefined where the text is no address. */
export function parseAddress(address: Address): ParsedAddress | undefined {
  const local = /^(unix|ring):\/\/(\/.+)$/.exec(address);
  if (local !== null) {
    return { protocol: local[1] as LocalProtocol, host: '', port: 0, path: local[2] ?? '' };
  }
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

/** Whether it is reached by a path, and so from its own machine only. */
export function isLocal(address: ParsedAddress): boolean {
  return address.path !== '';
}

/** What packets to and from the own machine name. */
export const OWN_HOST_NUMBER = 0x7f000001;

/** The 32 bits of a host that is written as a number; undefined for any other name. */
export function hostNumber(host: string): number | undefined {
  if (isOwnHost(host) || isAnyHost(host)) return OWN_HOST_NUMBER;
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(host)?.slice(1).map(Number);
  if (parts?.every((part) => part < 256) !== true) return undefined;
  return parts.reduce((number, part) => number * 256 + part, 0);
}
