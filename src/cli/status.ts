/** `memrack status`: health of the rack, each finding with a stable code and a remedy. */

import type { Command } from 'commander';
import { z } from 'zod';
import { paint, table } from '../apps/terminal.js';
import { formatBytes } from '../base/units.js';
import { say, type SharedFlags, withConnection, withOutput, withRack } from './context.js';
import { DEVICE_COLUMNS, SEEN_DEVICE } from './device-table.js';
import { Exit, EXIT } from './exit.js';

/** What the table shows of the controller's answer; `-o json` prints all of it. */
const STATUS = z.looseObject({
  state: z.string(),
  findings: z.array(
    z.looseObject({
      code: z.string(),
      severity: z.string(),
      subject: z.string(),
      message: z.string(),
      remedy: z.string(),
    }),
  ),
  nodes: z.looseObject({ serving: z.number(), away: z.number() }),
  spaces: z.number(),
  files: z.number(),
  leases: z.number(),
  bytesLent: z.number(),
  bytesUsed: z.number(),
  bytesCommitted: z.number(),
  // A controller of another version does not tell them.
  devices: z.array(SEEN_DEVICE).default([]),
  devicesOmitted: z.number().default(0),
});

const COLOURS: Readonly<Record<string, 'red' | 'yellow' | 'dim'>> = {
  error: 'red',
  warning: 'yellow',
};

export function addStatus(program: Command): void {
  withOutput(withRack(program.command('status')))
    .description('health of the rack, with a remedy for each finding; exit code 1 when it is down')
    .addHelpText('after', '\nExample:\n  memrack status -o json')
    .action((flags: SharedFlags) =>
      withConnection(flags, async (rack) => {
        const status = await rack.status();
        if (flags.output === 'json') say(JSON.stringify(status, null, 2));
        else show(STATUS.parse(status));
        if (STATUS.parse(status).state === 'down') throw new Exit(EXIT.failed);
      }),
    );
}

function show(status: z.infer<typeof STATUS>): void {
  const { state, nodes, spaces, files, leases, bytesLent, bytesUsed, bytesCommitted } = status;
  const colour = state === 'serving' ? 'green' : state === 'down' ? 'red' : 'yellow';
  const rows = [
    ['state', paint(process.stdout, colour, state)],
    ['memory nodes', `${nodes.serving} serving, ${nodes.away} away`],
    ['lent', formatBytes(bytesLent)],
    ['used', formatBytes(bytesUsed)],
    ['allocated', formatBytes(bytesCommitted)],
    ['spaces', String(spaces)],
    ['files', String(files)],
    ['leases', String(leases)],
  ];
  process.stdout.write(
    table(rows, [
      { title: 'rack', value: (row) => row[0] ?? '' },
      { title: '', value: (row) => row[1] ?? '' },
    ]),
  );
  showDevices(status);
  for (const { code, severity, subject, message, remedy } of status.findings) {
    const mark = paint(process.stdout, COLOURS[severity] ?? 'dim', `${severity} ${code}`);
    say(`\n${mark} ${subject}: ${message}`);
    say(`  ${remedy}`);
    say(paint(process.stdout, 'dim', `  docs/status-codes.md#${code.toLowerCase()}`));
  }
}

function showDevices({ devices, devicesOmitted }: z.infer<typeof STATUS>): void {
  if (devices.length === 0) return;
  say(`\n${table(devices, DEVICE_COLUMNS).trimEnd()}`);
  if (devicesOmitted > 0) say(`and ${devicesOmitted} more: memrack device list`);
}
