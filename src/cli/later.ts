/** Commands that are part of the plan and not of this version: each says so and fails. */

import type { Command } from 'commander';
import { EXIT, Exit } from './exit.js';

interface Later {
  readonly name: string;
  readonly what: string;
  readonly example: string;
}

const LATER: readonly Later[] = [
  { name: 'store', what: 'key-value stores', example: 'memrack store list' },
];

export function addLater(program: Command): void {
  for (const { name, what, example } of LATER) {
    program
      .command(name)
      .description(`${what} (not available in this version yet)`)
      .allowUnknownOption()
      .allowExcessArguments()
      .addHelpText('after', `\nExample:\n  ${example}`)
      .action(() => {
        throw new Exit(EXIT.failed, `${name}: ${what}: not available in this version yet`);
      });
  }
}
