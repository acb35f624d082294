/** `memrack nodes`: the members of the rack. */

import { hostname } from 'node:os';
import type { Command } from 'commander';
import { z } from 'zod';
import { formatBytes } from '../base/units.js';
import type { Member } from '../apps/library.js';
import { printRows, type SharedFlags, withConnection, withOutput, withRack } from './context.js';

/** One member as `-o json` prints it: these names are relied upon. */
interface NodeRow {
  readonly id: string;
  readonly kind: string;
  readonly address: string;
  readonly state: string;
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
  readonly machine: string;
  readonly incarnation: number;
  /** Of the process that serves; for members on this machine. */
  readonly pid?: number;
  /** Of one that is to be emptied, or has been. */
  readonly drain?: string;
}

/** Of the status of the rack: the protocol's list of members does not have it. */
const DRAINS = z.looseObject({
  drains: z.array(z.looseObject({ node: z.string(), state: z.string() })).default([]),
});

export function addNodes(program: Command): void {
  withOutput(withRack(program.command('nodes')))
    .description('memory nodes and hosts, with their state and memory')
    .addHelpText('after', '\nExample:\n  memrack nodes -o json')
    .action((flags: SharedFlags) =>
      withConnection(flags, async (rack) => {
        const [members, status] = await Promise.all([rack.nodes(), rack.status()]);
        const { drains } = DRAINS.parse(status);
        const rows = members.map((member) => {
          const drain = drains.find(({ node }) => node === member.id)?.state;
          return { ...rowOf(member), ...(drain === undefined ? {} : { drain }) };
        });
        printRows(flags, rows, [
          { title: 'id', value: ({ id }) => id },
          { title: 'kind', value: ({ kind }) => kind },
          {
            title: 'state',
            value: ({ state, drain }) => (drain === undefined ? state : `${state}, ${drain}`),
          },
          { title: 'lent', value: (row) => formatBytes(row.bytesLent), isNumber: true },
          { title: 'used', value: (row) => formatBytes(row.bytesUsed), isNumber: true },
          { title: 'allocated', value: (row) => formatBytes(row.bytesCommitted), isNumber: true },
          { title: 'address', value: ({ address }) => address },
          { title: 'pid', value: ({ pid }) => String(pid ?? ''), isNumber: true },
        ]);
      }),
    );
}

function rowOf(member: Member): NodeRow {
  const { id, kind, address, state, bytesLent, bytesUsed, bytesCommitted, machine } = member;
  const { incarnation, pid } = member;
  const row = { id, kind, address, state, bytesLent, bytesUsed, bytesCommitted, machine };
  // 0: the member did not say.
  const isKnown = pid !== 0 && machine === hostname();
  return isKnown ? { ...row, incarnation, pid } : { ...row, incarnation };
}
