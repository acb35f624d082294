#!/usr/bin/env node
/** The command line: `memrack COMMAND`. One file per command; this one puts them together. */

import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { endWith } from '../apps/end-with.js';
import { outliveReaders } from '../apps/output.js';
import { addBackup } from './backup.js';
import { addBench } from './bench.js';
import { addController } from './controller.js';
import { addDevice } from './device.js';
import { addDoctor } from './doctor.js';
import { addEvents } from './events.js';
import { EXIT, failWith } from './exit.js';
import { addHost } from './host.js';
import { addLater } from './later.js';
import { addMemoryNode } from './memory-node.js';
import { addNode } from './node.js';
import { addNodes } from './nodes.js';
import { addPing } from './ping.js';
import { addPutAndGet } from './put-get.js';
import { addRun } from './run.js';
import { addSlow } from './slow.js';
import { addSpace } from './space.js';
import { addStatus } from './status.js';
import { addTop } from './top.js';
import { addUp } from './up.js';

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

const EXIT_CODES = `
Exit codes: 0 done, 1 failed, 2 wrong use or bad configuration, 3 refused or not found,
4 rack unreachable. Start with: memrack up`;

export function buildProgram(): Command {
  const program = new Command('memrack')
    .description('the memory of many machines as one')
    .version(version())
    .exitOverride()
    // What follows the program of `run` is the program's.
    .enablePositionalOptions()
    .showHelpAfterError('(memrack COMMAND --help shows how it is used)')
    .addHelpText('after', EXIT_CODES);
  const parts = [
    addUp,
    addController,
    addMemoryNode,
    addHost,
    addStatus,
    addNodes,
    addNode,
    addSpace,
    addDevice,
    addRun,
  ];
  for (const add of [
    ...parts,
    addPutAndGet,
    addBackup,
    addBench,
    addPing,
    addTop,
    addSlow,
    addEvents,
    addDoctor,
    addLater,
  ])
    add(program);
  for (const command of everyCommand(program)) command.exitOverride();
  return program;
}

function everyCommand(command: Command): Command[] {
  return command.commands.flatMap((each) => [each, ...everyCommand(each)]);
}

async function main(): Promise<void> {
  outliveReaders();
  let code: number;
  try {
    await buildProgram().parseAsync(process.argv);
    code = EXIT.done;
  } catch (error) {
    code = failWith(error);
  }
  // What a finished command left open (a poller, a channel) must not keep it alive.
  await new Promise((resolve) => process.stdout.write('', resolve));
  await endWith(code);
}

await main();
