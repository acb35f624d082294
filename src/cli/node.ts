/** `memrack node drain|remove`: empties a memory node, and lets one go. */

import type { Command } from 'commander';
import { say, type SharedFlags, withOutput, withRack } from './context.js';
import { addDrain } from './drain.js';
import { askController } from './operator.js';

interface RemoveFlags extends SharedFlags {
  readonly lost?: boolean;
}

interface Removed {
  readonly id: string;
  readonly regionsLost: number;
}

export function addNode(program: Command): void {
  const node = program.command('node').description('one memory node: drain or remove it');
  node.addHelpText('after', '\nExample:\n  memrack node drain node-2');
  addDrain(node);
  withOutput(withRack(node.command('remove')))
    .description(
      'let a memory node go that is not there and holds nothing, or whose memory is gone',
    )
    .argument('<id>')
    .option('--lost', 'its memory is gone for certain: what it held is lost, for good')
    .addHelpText('after', '\nExample:\n  memrack node remove node-2 --lost')
    .action(remove);
}

async function remove(id: string, flags: RemoveFlags): Promise<void> {
  const path = `/v1/nodes/${encodeURIComponent(id)}?lost=${flags.lost === true}`;
  const removed = (await askController(flags, 'DELETE', path)) as Removed;
  if (flags.output === 'json') say(JSON.stringify(removed));
  else say(`removed ${removed.id}; regions lost with its memory: ${removed.regionsLost}`);
}
