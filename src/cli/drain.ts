/** `memrack node drain`: empties a memory node, shows how far that is, and waits for its end. */

import type { Command } from 'commander';
import { formatDuration, paint } from '../apps/terminal.js';
import { formatBytes } from '../base/units.js';
import { ConfigError } from '../base/config-error.js';
import { MemrackError } from '../client/error.js';
import type { DrainFacts, DrainWait } from '../controller/api.js';
import { countFlag, say, type SharedFlags, withOutput, withRack } from './context.js';
import { complain, Exit, EXIT } from './exit.js';
import { askController } from './operator.js';
import { untilAsked } from './signals.js';

interface DrainFlags extends SharedFlags {
  readonly force?: boolean;
  readonly cancel?: boolean;
  readonly wait?: string;
}

const LOOK_MS_MIN = 25;
const LOOK_MS_MAX = 500;
/** A controller that is started again goes on with the drain; so long it is waited for. */
const SILENCE_MS_MAX = 60_000;
const WAIT_S_MAX = 7 * 86_400;

export function addDrain(node: Command): void {
  withOutput(withRack(node.command('drain')))
    .description('move everything away from a memory node, while programs go on')
    .argument('<id>')
    .option(
      '--force',
      'also what programs hold up: their windows are closed, and stopped threads left',
    )
    .option('--cancel', 'use the node again; what has moved stays where it is')
    .option(
      '--wait <seconds>',
      'how long to wait for the end, which comes anyway (default: for it)',
    )
    .addHelpText('after', HELP)
    .action(drain);
}

const HELP = `
From the start on nothing new is placed on the node, until --cancel or \`memrack node remove\`. The
rack goes on with it when this command ends. Exit code 0: the node is drained; 1: it is not yet, or
its memory was gone before; 3: something there cannot be moved.

Example:
  memrack node drain node-2`;

async function drain(id: string, flags: DrainFlags): Promise<void> {
  const path = `/v1/drains/${encodeURIComponent(id)}`;
  if (flags.cancel === true) {
    if (flags.wait !== undefined || flags.force === true) {
      throw new ConfigError('command line', ['--cancel stands alone']);
    }
    await askController(flags, 'DELETE', path);
    say(flags.output === 'json' ? JSON.stringify({ node: id }) : `${id} is used again`);
    return;
  }
  const waitMs = 1000 * countFlag('wait', flags.wait ?? String(WAIT_S_MAX), 0, WAIT_S_MAX);
  const body = { node: id, force: flags.force === true };
  const first = (await askController(flags, 'POST', '/v1/drains', { body })) as DrainFacts;
  const beganMs = performance.now();
  const last = await untilEnded(flags, path, first, beganMs + waitMs);
  if (flags.output === 'json') say(JSON.stringify(last));
  else if (last.state === 'drained') {
    const moved = first.regionsLeft - last.regionsLeft;
    const took = formatDuration(performance.now() - beganMs);
    say(`drained ${id}: ${moved} regions moved away in ${took}`);
  }
  const code = exitCodeOf(last);
  if (code !== EXIT.done) {
    if (flags.output !== 'json') complainOf(last);
    throw new Exit(code);
  }
}

/** The last that was heard: the end, or what there was when the time was over. */
async function untilEnded(
  flags: DrainFlags,
  path: string,
  first: DrainFacts,
  untilMs: number,
): Promise<DrainFacts> {
  const asked = untilAsked();
  const line = new StateLine(flags.output === 'json');
  let facts = first;
  let lookMs = LOOK_MS_MIN;
  let heardMs = performance.now();
  while (facts.state === 'draining' && performance.now() < untilMs) {
    line.show(facts);
    await new Promise((resolve) => setTimeout(resolve, lookMs));
    lookMs = Math.min(2 * lookMs, LOOK_MS_MAX);
    if (asked.aborted) break;
    try {
      facts = (await askController(flags, 'GET', path)) as DrainFacts;
      heardMs = performance.now();
    } catch (error) {
      const isAway = error instanceof MemrackError && error.code === 'Unavailable';
      if (!isAway || performance.now() - heardMs > SILENCE_MS_MAX) throw error;
    }
  }
  line.end();
  return facts;
}

function exitCodeOf(facts: DrainFacts): number {
  return facts.state === 'drained' ? EXIT.done : EXIT.failed;
}

function complainOf(facts: DrainFacts): void {
  const { node, state, regionsLeft, waits } = facts;
  if (state === 'ended') {
    complain(`${node}: its memory was gone before everything had moved away: see memrack status`);
    return;
  }
  complain(`${node} is not drained yet: ${regionsLeft} regions are left; the rack goes on with it`);
  for (const wait of waits) process.stderr.write(`  ${textOf(wait)}\n    ${wait.remedy}\n`);
}

const textOf = ({ what, reason }: DrainWait): string => `${what}: ${reason}`;

/** One line in its place on a terminal; elsewhere a line whenever something has changed. */
class StateLine {
  readonly #screen = process.stderr;
  readonly #isSilent: boolean;
  #shown = '';

  constructor(isSilent: boolean) {
    this.#isSilent = isSilent;
  }

  show({ node, regionsLeft, bytesLeft, waits }: DrainFacts): void {
    const [first] = waits;
    const left = `${node}: ${regionsLeft} regions left`;
    const wait = first === undefined ? '' : `; ${textOf(first)}`;
    if (this.#isSilent || this.#shown === left + wait) return;
    this.#shown = left + wait;
    if (this.#screen.isTTY) {
      const text = `${left}, ${formatBytes(bytesLeft)} in use${wait}`;
      const clipped = text.slice(0, (this.#screen.columns || 80) - 1);
      this.#screen.write(`\r\u001b[K${paint(this.#screen, 'dim', clipped)}`);
    } else this.#screen.write(`${left}${wait}\n`);
  }

  end(): void {
    if (this.#screen.isTTY && this.#shown !== '') this.#screen.write('\r\u001b[K');
  }
}
