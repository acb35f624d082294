/** `memrack events`: what happened to the rack, and who owned what when. */

import type { Command } from 'commander';
import { z } from 'zod';
import { ConfigError } from '../base/config-error.js';
import { formatBytes } from '../base/units.js';
import { say, type SharedFlags, withOutput, withRack } from './context.js';
import { askController } from './operator.js';
import { pause, untilAskedOrUnread } from './signals.js';

interface EventsFlags extends SharedFlags {
  readonly space?: string;
  readonly node?: string;
  readonly since?: string;
  readonly follow?: boolean;
}

const EVENT = z.looseObject({
  sequence: z.number(),
  at: z.string(),
  kind: z.string(),
  node: z.string().optional(),
  space: z.string().optional(),
  spaceId: z.number().optional(),
  region: z.number().optional(),
  epoch: z.number().optional(),
  details: z.record(z.string(), z.union([z.string(), z.number()])),
});
const PAGE = z.looseObject({ events: z.array(EVENT), more: z.boolean(), newest: z.number() });

export type ShownEvent = z.infer<typeof EVENT>;

const FOLLOW_MS = 1_000;
const PAGE_EVENTS = 1_000;
const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const HELP = `
The order is that of what happened; times are by the clock of the controller. Its newest 16,384
events of the last 90 days are kept. With -o json and --follow there is one line per event.

Example:
  memrack events --since 1h
  memrack events --space photos --follow`;

export function addEvents(program: Command): void {
  withOutput(withRack(program.command('events')))
    .description('what happened to the rack: nodes that came and went, who owned what when')
    .option('--space <name>', 'of this space alone')
    .option('--node <id>', 'of this node alone; also what moved away from it, and to it')
    .option('--since <time>', 'of the last so long: 30s, 5min, 1h, 7d')
    .option('--follow', 'wait for more; Ctrl-C ends it')
    .addHelpText('after', HELP)
    .action(events);
}

async function events(flags: EventsFlags): Promise<void> {
  const { space = '', node = '', since, follow = false } = flags;
  const filter = { space, node };
  const first = await readAll(flags, { ...filter, lastMs: spanFlag(since) }, 0);
  if (!follow && flags.output === 'json') {
    say(JSON.stringify(first.events, null, 2));
    return;
  }
  const show = (found: readonly ShownEvent[]): void => {
    for (const event of found)
      say(follow && flags.output === 'json' ? JSON.stringify(event) : eventLine(event));
  };
  show(first.events);
  if (!follow) return;
  const asked = untilAskedOrUnread();
  let after = first.newest;
  while (await pause(FOLLOW_MS, asked)) {
    const next = await readAll(flags, { ...filter, lastMs: 0 }, after);
    // An older copy of the database begins below; then it goes on far above.
    after = next.newest;
    show(next.events);
  }
}

/** All pages above `after`. */
async function readAll(
  flags: EventsFlags,
  filter: Readonly<Record<string, string | number>>,
  after: number,
): Promise<{ events: ShownEvent[]; newest: number }> {
  const events: ShownEvent[] = [];
  for (;;) {
    const last = events.at(-1)?.sequence ?? after;
    const query = new URLSearchParams({ after: String(last), limit: String(PAGE_EVENTS) });
    for (const [key, value] of Object.entries(filter)) query.set(key, String(value));
    const page = PAGE.parse(await askController(flags, 'GET', `/v1/events?${query}`));
    events.push(...page.events);
    if (!page.more) return { events, newest: page.newest };
  }
}

/** In milliseconds; 0 where nothing is said. */
export function spanFlag(text: string | undefined): number {
  if (text === undefined) return 0;
  const [, count = '', unit = ''] = /^(\d{1,6})(s|min|h|d)$/.exec(text) ?? [];
  const ms = Number(count) * (UNIT_MS[unit] ?? 0);
  if (ms > 0) return ms;
  const problem = `--since: ${JSON.stringify(text)} is not a time such as 30s, 5min, 1h or 7d`;
  throw new ConfigError('command line', [problem]);
}

/** For people; what comes from elsewhere does not steer a terminal. */
export function eventLine(event: ShownEvent): string {
  const { at, kind, node = '', space, spaceId, region, epoch, details } = event;
  const name = space === '' ? String(spaceId) : space;
  const place = region === undefined ? name : `${name}/${region}`;
  const about = [place, node].filter((part) => part !== undefined && part !== '').join(' ');
  const { fromEpoch: _, ...others } = details;
  const facts = Object.entries({ ...(epoch === undefined ? {} : { epoch }), ...others });
  const rest = facts.map(([key, value]) => `${key} ${shown(key, value)}`);
  const line = `${at}  ${kind.padEnd(18)}  ${about.padEnd(18)}  ${rest.join(', ')}`;
  return line.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?').trimEnd();
}

function shown(key: string, value: string | number): string {
  return key.startsWith('bytes') && typeof value === 'number' ? formatBytes(value) : String(value);
}
