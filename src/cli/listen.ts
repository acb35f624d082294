/** Addresses that roles listen on and join, as people write them. */

import { ConfigError } from '../base/config-error.js';
import { complain } from './exit.js';

/** A warning where others than this machine's users could reach an address without a password. */
export function warnIfPublic(listen: string): void {
  if (/^(127\.|localhost$|\[?::1\]?$)/.test(listen)) return;
  complain(
    `warning: listening on ${listen}: this version has no authentication: whoever reaches it ` +
      'can read and change all memory of the rack; keep it within a trusted network',
  );
}

/** Refuses "all addresses" where others are told to connect to the one that is listened on. */
export function requireOneAddress(listen: string): void {
  if (!/^\[?[0:.]+\]?$/.test(listen)) return;
  const remedy = 'name one address of this machine';
  throw new ConfigError('command line', [`--listen: others cannot reach ${listen}: ${remedy}`]);
}

/** `HOST:PORT`, `memrack://HOST:PORT` or `tcp://HOST:PORT` as an address of the network. */
export function joinAddress(text: string): string {
  const match = /^(?:memrack:\/\/|tcp:\/\/)?(\[[^\]]+\]|[^/:]+):(\d+)\/?$/.exec(text);
  if (match !== null) return `tcp://${match[1]}:${match[2]}`;
  const problem = `--join: ${JSON.stringify(text)} is not HOST:PORT of the controller`;
  throw new ConfigError('command line', [problem]);
}
