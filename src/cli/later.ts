/** Commands that are part of the plan and not of this version: each says so and fails. */

import type { Command } from 'commander';
import { EXIT, Exit } from './exit.js';

interface Later {
  readonly name: string;
  readonly what: string;
  readonly example: string;
  readonly exitCode?: number;
}

const LATER: readonly Later[] = [
  {
    name: 'run',
    what: 'an unmodified program with more memory than its host has',
    example: 'memrack run --local 1GiB -- sort large.txt',
    // Its other codes are those of the program.
    exitCode: EXIT.notRun,
  },
  { name: 'store', what: 'key-value stores', example: 'memrack store list' },
];

export function addLater(program: Command): void {
  for (const { name, what, example, exitCode = EXIT.failed } of LATER) {
    program
      .command(name)
      .description(`${what} (not available in this version yet)`)
      .allowUnknownOption()
      .allowExcessArguments()
      .addHelpText('after', `\nExample:\n  ${example}`)
      .action(() => {
        throw new Exit(exitCode, `${name}: ${what}: not available in this version yet`);
      });
  }
}
