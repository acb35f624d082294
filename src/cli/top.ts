/** `memrack top`: a live view of the rack: nodes, links, devices, spaces, what goes by a second. */

import type { Command } from 'commander';
import { z } from 'zod';
import type { Rack } from '../apps/library.js';
import { rackUrl, say, type SharedFlags, withConnection, withOutput, withRack } from './context.js';
import { countFlag } from './context.js';
import { SEEN_DEVICE } from './device-table.js';
import { Live } from './live-screen.js';
import { pause, untilAskedOrUnread } from './signals.js';
import { type Look, topFacts } from './top-facts.js';
import { topLines } from './top-view.js';

interface TopFlags extends SharedFlags {
  readonly interval: string;
  readonly once?: boolean;
}

const STATUS = z.looseObject({
  state: z.string(),
  bytesLent: z.number(),
  bytesUsed: z.number(),
  bytesCommitted: z.number(),
  // A controller of another version does not tell them.
  moves: z
    .array(
      z.looseObject({
        ...{ space: z.string(), region: z.number(), ms: z.number() },
        ...{ from: z.string(), to: z.string() },
      }),
    )
    .default([]),
  findings: z.array(z.looseObject({ code: z.string(), severity: z.string(), subject: z.string() })),
});

const HELP = `
p50 and p99 are of what requests take at the node, queues left out: one look in 64 is timed. With
-o json there is one line per look.

Example:
  memrack top
  memrack top --once -o json`;

export function addTop(program: Command): void {
  withOutput(withRack(program.command('top')))
    .description('a live view: nodes, devices, spaces, what goes by a second; Ctrl-C ends it')
    .option('--interval <ms>', 'from one look to the next', '1000')
    .option('--once', 'one look at what goes by in an interval, and no more')
    .addHelpText('after', HELP)
    .action(top);
}

async function top(flags: TopFlags): Promise<void> {
  const intervalMs = countFlag('interval', flags.interval, 100, 3_600_000);
  const asked = untilAskedOrUnread();
  const live = new Live(process.stdout);
  try {
    await withConnection(flags, async (rack) => {
      let before = await look(rack);
      do {
        if (!(await pause(intervalMs, asked))) return;
        const after = await look(rack);
        const facts = topFacts(before, after, Date.now());
        if (asked.aborted) return;
        if (flags.output === 'json') say(JSON.stringify(facts));
        else if (flags.once === true)
          say(topLines(facts, rackUrl(flags), process.stdout).join('\n'));
        else live.show(topLines(facts, rackUrl(flags), process.stdout));
        before = after;
      } while (flags.once !== true);
    });
  } finally {
    live.end();
  }
}

async function look(rack: Rack): Promise<Look> {
  const { seeDevices } = await import('../block/manage.js');
  const [status, members, spaces, numbers, devices] = await Promise.all([
    rack.status(),
    rack.nodes(),
    rack.spaces(),
    rack.nodeNumbers(),
    seeDevices(rack.core),
  ]);
  return {
    ...{ atMs: performance.now(), status: STATUS.parse(status), members, spaces, numbers },
    devices: SEEN_DEVICE.array().parse(devices),
  };
}
