/** `memrack ping`: where the time goes between this machine and a memory node, by station. */

import type { Command } from 'commander';
import type { Member, Rack } from '../apps/library.js';
import { paint, Progress } from '../apps/terminal.js';
import { MemrackError } from '../client/error.js';
import type { PingLink } from '../client/ping/ping.js';
import type { PingRow } from '../client/ping/levels.js';
import {
  configurationOf,
  countFlag,
  oneOf,
  printRows,
  rackUrl,
  say,
  type SharedFlags,
  withOutput,
  withRack,
} from './context.js';
import { untilAsked } from './signals.js';

interface PingFlags extends SharedFlags {
  readonly count: string;
  readonly link: PingLink;
}

type NodeRow = PingRow & { readonly node: string; readonly link: PingLink };

const COUNT = 200;
const COUNT_MAX = 100_000;

export function addPing(program: Command): void {
  withOutput(withRack(program.command('ping')))
    .description('where the time to a memory node goes: network, fast path, slow path, by station')
    .argument('[node]', 'id of a memory node; all that serve when missing')
    .option('--count <n>', 'how often at each level', String(COUNT))
    .option('--link <link>', 'udp, tcp or shm', oneOf('udp', 'tcp', 'shm'), 'udp')
    .addHelpText('after', HELP)
    .action(ping);
}

const HELP = `
Levels: network (the node's network layer answers), fast (a read of 64 bytes), slow (the node's
worker answers). Rows marked ~ are differences of two medians, and so estimates; rows marked = are
means by the node's own stopwatch, of all that it served meanwhile.

Example:
  memrack ping node-1 --link udp`;

async function ping(id: string | undefined, flags: PingFlags): Promise<void> {
  const count = countFlag('count', flags.count, 1, COUNT_MAX);
  const { timeoutMs, poll } = configurationOf(flags);
  const asked = untilAsked();
  // Not before they are used: other commands run where a native package cannot be loaded.
  const { connect } = await import('../apps/library.js');
  const rack = await connect(rackUrl(flags), { timeoutMs, poll, link: flags.link });
  try {
    const nodes = chosen(await rack.nodes(), id);
    const progress = new Progress(process.stderr, 'ping', nodes.length * count, String);
    const rows: NodeRow[] = [];
    for (const node of nodes) {
      rows.push(...(await pingOne(rack, node, flags.link, { count, asked, progress })));
    }
    progress.end();
    if (flags.output === 'json') printRows(flags, rows, []);
    else show(rows);
  } finally {
    await rack.close();
  }
}

/** The memory nodes to be measured. */
function chosen(members: readonly Member[], id: string | undefined): Member[] {
  const nodes = members.filter(({ kind }) => kind === 'memory-node');
  const named = nodes.filter((node) => id === undefined || node.id === id);
  if (id !== undefined && named.length === 0) {
    const known = nodes.map((node) => node.id).join(', ');
    const remedy = `choose one of: ${known === '' ? '(none)' : known}`;
    throw new MemrackError('NotFound', `there is no memory node ${id}`, { remedy });
  }
  const serving = named.filter(({ state }) => state === 'serving');
  if (serving.length > 0) return serving;
  const what = id === undefined ? 'no memory node serves' : `${id} does not serve`;
  throw new MemrackError('Unavailable', what, { remedy: 'see memrack status' });
}

async function pingOne(
  rack: Rack,
  node: Member,
  link: PingLink,
  how: { readonly count: number; readonly asked: AbortSignal; readonly progress: Progress },
): Promise<NodeRow[]> {
  const { count, asked } = how;
  const { appRuntime } = await import('../apps/app-runtime.js');
  const { pingNode } = await import('../client/ping/ping.js');
  const progress = (): void => {
    asked.throwIfAborted();
    how.progress.add(1);
  };
  const space = `memrack-ping-${process.pid}-${node.id}`;
  const rows = await pingNode({
    ...{ runtime: appRuntime('ping'), rack, node, link, count, space, progress },
  });
  return rows.map((row) => ({ node: node.id, link, ...row }));
}

const MARKS = { measured: ' ', difference: '~', mean: '=' } as const;
const LEVELS = { network: 'network', fast: 'fast path', slow: 'slow path' } as const;

function show(rows: readonly NodeRow[]): void {
  for (const node of new Set(rows.map((row) => row.node))) {
    const own = rows.filter((row) => row.node === node);
    say(paint(process.stdout, 'bold', `${node} over ${own[0]?.link ?? ''}`));
    printRows({}, own, [
      { title: 'level', value: ({ level, station }) => (station === 'total' ? LEVELS[level] : '') },
      { title: 'station', value: ({ station }) => station },
      { title: '', value: ({ how }) => MARKS[how] },
      { title: 'min', value: ({ minUs }) => micros(minUs), isNumber: true },
      { title: 'p50', value: ({ p50Us }) => micros(p50Us), isNumber: true },
      { title: 'p99', value: ({ p99Us }) => micros(p99Us), isNumber: true },
      { title: 'lost', value: ({ lost }) => (lost === 0 ? '' : String(lost)), isNumber: true },
    ]);
  }
  say('~ estimate: a difference of two medians    = mean by the stopwatch of the node');
}

function micros(us: number | undefined): string {
  return us === undefined ? '' : `${us.toFixed(us < 10 ? 2 : 1)} us`;
}
