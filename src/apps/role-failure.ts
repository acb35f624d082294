/** Why a role could not start, for people: what, why, what to do, and the exit code. */

import { ConfigError } from '../base/config-error.js';
import { DiskError } from '../runtime/disk.js';
import { NetworkError } from '../runtime/network.js';

export const EXIT_FAILED = 1;
export const EXIT_BAD_CONFIGURATION = 2;

const REMEDIES: Readonly<Partial<Record<NetworkError['kind'], string>>> = {
  'in-use': '`ss -ltnp` shows it; another port is chosen with --port',
  denied: 'choose a port from 1024 on, or run it with the right to use lower ones',
  invalid: 'choose an address that this machine has with --listen',
};

export interface RoleFailure {
  readonly message: string;
  readonly exitCode: number;
}

export function describeFailure(role: string, error: unknown): RoleFailure {
  const name = `the ${role} cannot start`;
  if (error instanceof ConfigError) {
    return { message: error.message, exitCode: EXIT_BAD_CONFIGURATION };
  }
  if (error instanceof NetworkError) {
    const remedy = REMEDIES[error.kind];
    const whole = remedy === undefined ? error.message : `${error.message}: ${remedy}`;
    return { message: `${name}: ${whole}`, exitCode: EXIT_FAILED };
  }
  if (error instanceof DiskError && error.kind === 'full') {
    const remedy = 'make room on that disk, then start it again: what was stored is there';
    return { message: `${name}: ${error.message}; ${remedy}`, exitCode: EXIT_FAILED };
  }
  const known = error as Error;
  // Errors that are made for people have a name of their own; the rest is a bug: show where.
  const isForPeople = ['CannotStart', 'MemoryError', 'DiskError'].includes(known.name);
  const whole = isForPeople ? known.message : (known.stack ?? known.message);
  return { message: `${name}: ${whole}`, exitCode: EXIT_FAILED };
}
