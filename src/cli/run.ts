/** `memrack run`: an unmodified program with a part of its memory local, the rest in the rack. */

import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { ConfigError } from '../base/config-error.js';
import { formatBytes, MiB } from '../base/units.js';
import { countFlag, rackUrl, type SharedFlags, sizeFlag, withRack } from './context.js';
import { complain, EXIT, Exit } from './exit.js';

interface RunFlags extends SharedFlags {
  readonly local: string;
  readonly device?: string;
  readonly size?: string;
  readonly replicas?: string;
  readonly backup?: string;
  readonly hostSwap?: boolean;
  readonly report?: string;
}

const COPIES_MAX = 3;
const LOCAL_LEAST = 8 * MiB;
const ABOUT = `
Swap is of the whole machine: while the program runs, pages of other programs may go there, too,
and they need the rack then as much as it does. --host-swap says that you know.

Exits with the program's code (128 and more: a signal); 125: it was not run, or its pages were lost,
126: it is not executable, 127: not found.

Example:
  memrack run --local 256MiB --replicas 2 --host-swap -- sort large.txt`;

export function addRun(program: Command): void {
  withRack(program.command('run'))
    .description('run a program with so much local memory, and the rest of it in the rack')
    .argument('<command...>', 'the program and its arguments, after --')
    .requiredOption('--local <size>', 'memory of this machine for it, and for all that it starts')
    .option('--device <name>', 'a block device to swap to (default: one is made for this run)')
    .option('--size <size>', 'of the device that is made (default: as the machine, or the pool)')
    .option('--replicas <count>', 'copies of every page, at different memory nodes: 1 to 3')
    .option('--backup <file>', 'pages are kept there, too, a little behind')
    .option('--host-swap', 'yes, to swap of the whole machine')
    .option('--report <file>', 'what it took, as JSON')
    .addHelpText('after', ABOUT)
    .passThroughOptions()
    .action(async (words: string[], flags: RunFlags) => {
      try {
        await run(words, flags);
      } catch (error) {
        throw error instanceof Exit ? error : notRun(error);
      }
    });
  helper(program, 'swap-server', async (id) => {
    const { serveSwap } = await import('../apps/run/server.js');
    const { RunFolder } = await import('../apps/run/run-folder.js');
    await serveSwap(new RunFolder(id));
  });
  helper(program, 'swap-watchdog', async (id) => {
    const { watchRun } = await import('../apps/run/watchdog.js');
    const { RunFolder } = await import('../apps/run/run-folder.js');
    await watchRun(new RunFolder(id));
  });
}

/** A process of `run`, which nobody else starts. */
function helper(program: Command, name: string, work: (id: string) => Promise<void>): void {
  program.command(name, { hidden: true }).argument('<run>').action(work);
}

/** Whatever it is: the program's own codes are not ours. */
function notRun(error: unknown): Exit {
  return new Exit(EXIT.notRun, `run: ${(error as Error).message}`);
}

async function run(words: string[], flags: RunFlags): Promise<void> {
  const localBytes = sizeFlag('local', flags.local);
  const wish = {
    rack: rackUrl(flags),
    ...{ localBytes, words, device: flags.device },
    swapBytes: flags.size === undefined ? undefined : sizeFlag('size', flags.size),
    copies: countFlag('replicas', flags.replicas ?? '1', 1, COPIES_MAX),
    backup: flags.backup === undefined ? undefined : resolve(flags.backup),
  };
  const problems = problemsOf(flags, localBytes);
  if (problems.length > 0) throw new ConfigError('command line', problems);
  const { whyNotRun } = await import('../apps/run/program.js');
  const code = whyNotRun(words[0] ?? '');
  if (code !== 0) {
    const what = code === 127 ? 'there is no such program' : 'it may not be executed';
    throw new Exit(code, `run: ${words[0]}: ${what}`);
  }
  const asked = new AbortController();
  const ask = (): void =>
    asked.abort(new Error('ended before the program began, as it was asked to'));
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, ask);
  const { runWithRemoteMemory } = await import('../apps/run/run.js');
  const { reportText } = await import('../apps/run/report.js');
  const { report, problems: met } = await runWithRemoteMemory(wish, asked.signal);
  if (report !== undefined) {
    process.stderr.write(`memrack run: ${reportText(report)}\n`);
    if (flags.report !== undefined) writeFileSync(flags.report, `${JSON.stringify(report)}\n`);
  }
  for (const problem of met) complain(`run: ${problem}`);
  const isLost = report === undefined || met.length > 0;
  throw new Exit(isLost ? EXIT.notRun : report.exitCode);
}

function problemsOf(flags: RunFlags, localBytes: number): string[] {
  const problems: string[] = [];
  if (localBytes < LOCAL_LEAST) {
    problems.push(`--local: ${flags.local} is less than ${formatBytes(LOCAL_LEAST)}`);
  }
  if (flags.hostSwap !== true) {
    problems.push(
      'swap is of the whole machine: pages of other programs may go to the rack, too; ' +
        'say --host-swap if they may',
    );
  }
  if (process.getuid?.() !== 0) {
    problems.push('swap, loop devices and control groups take root: run it with sudo');
  }
  for (const flag of ['size', 'replicas', 'backup'] as const) {
    if (flags.device === undefined || flags[flag] === undefined) continue;
    problems.push(`--${flag} is of a device that is made; --device names one that is there`);
  }
  return problems;
}
