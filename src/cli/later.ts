/** Commands that are part of the plan and not of this version: each says so and fails. */

import type { Command } from 'commander';
import { Exit, EXIT } from './exit.js';

const LATER: readonly [name: string, what: string][] = [
  ['top', 'live view of the rack'],
  ['node', 'drain or remove a member'],
  ['device', 'block devices, served over NBD'],
  ['run', 'an unmodified program with more memory than its host has'],
  ['store', 'key-value stores'],
];

export function addLater(program: Command): void {
  for (const [name, what] of LATER) {
    program
      .command(name)
      .description(`${what} (not available in this version yet)`)
      .allowUnknownOption()
      .allowExcessArguments()
      .action(() => {
        throw new Exit(EXIT.failed, `${name}: ${what}: not available in this version yet`);
      });
  }
}
