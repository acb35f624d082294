/** `memrack slow`: the last requests that waited at a memory node, and for what. */

import type { Command } from 'commander';
import { z } from 'zod';
import { formatDuration } from '../apps/terminal.js';
import { printRows, type SharedFlags, withConnection, withOutput, withRack } from './context.js';

/** What a node tells; of a node of another version, which tells none, nothing is shown. */
const SLOW = z.array(
  z.object({
    atMs: z.number(),
    cause: z.string(),
    type: z.string(),
    client: z.number(),
    waitedMs: z.number(),
  }),
);

const HELP = `
A request is slow when it waited for 10 ms or longer: for memory (a zeroed frame, or a page that is
about to get another one), for a call (the node's worker, or another process), or for its reader
(the client has not read earlier answers). Each node keeps the last 64.

Example:
  memrack slow -o json`;

export function addSlow(program: Command): void {
  withOutput(withRack(program.command('slow')))
    .description('the last slow requests of each memory node, and what they waited for')
    .addHelpText('after', HELP)
    .action((flags: SharedFlags) =>
      withConnection(flags, async (rack) => {
        const rows = (await rack.nodeNumbers())
          .flatMap(({ node, counters }) => {
            const told = SLOW.safeParse(counters?.['slow']);
            return (told.data ?? []).map((slow) => ({ node, ...slow }));
          })
          .sort((a, b) => a.atMs - b.atMs);
        printRows(flags, rows, [
          { title: 'at', value: ({ atMs }) => new Date(atMs).toISOString() },
          { title: 'node', value: ({ node }) => node },
          { title: 'request', value: ({ type }) => type },
          { title: 'waited for', value: ({ cause }) => cause },
          { title: 'waited', value: (row) => formatDuration(row.waitedMs), isNumber: true },
          { title: 'client', value: ({ client }) => client.toString(36) },
        ]);
      }),
    );
}
