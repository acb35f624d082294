/** Flags of doors that come later: asking for one is refused, never silently ignored. */

import { EXIT, Exit } from './exit.js';

export interface DoorFlags {
  readonly redisPort?: string;
}

export function refuseDoors(flags: DoorFlags): void {
  for (const [flag, value] of [['--redis-port', flags.redisPort]]) {
    if (value === undefined) continue;
    const message = `${flag}: this door is not available in this version yet; leave the flag out`;
    throw new Exit(EXIT.failed, message);
  }
}
