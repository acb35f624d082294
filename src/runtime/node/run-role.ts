/** The beginning of every child process: ties it to its parent, then runs its role's main. */

import type { RoleMain, RunningRole } from '../runtime.js';
import { createRuntime, type NodeRuntimeOptions } from './create-runtime.js';
import { endProcess } from './end-process.js';
import { type ConfigMessage, PARENT_VARIABLE } from './node-processes.js';
import { PR_SET_PDEATHSIG, prctl, SIGKILL } from './system.js';

/** A role's main with whatever configuration it takes: the parent, who is one of us, fits it. */
export type RoleTable = Readonly<Record<string, RoleMain<never>>>;

const EXIT_PARENT_GONE = 1;
const EXIT_NO_ROLE = 2;

/**
 * To be called by the file that `rolesEntry` names, with the role's name as its first argument.
 * SIGTERM stops the role in order; a second one ends the process at once. Ctrl-C on a terminal
 * reaches the whole group of processes: it is for the parent, who ends its children in order.
 */
export async function runRole(table: RoleTable, options: NodeRuntimeOptions): Promise<void> {
  dieWithParent();
  leaveToParent();
  const role = process.argv[2] ?? '';
  const main = table[role];
  if (main === undefined) {
    process.stderr.write(`memrack: no role "${role}"; roles: ${Object.keys(table).join(', ')}\n`);
    endProcess(EXIT_NO_ROLE);
  }
  const config = await receiveConfig();
  const runtime = createRuntime({ ...options, source: role });
  let running: RunningRole | undefined;
  let stopping = false;
  const stop = (): void => {
    if (stopping || running === undefined) endProcess(0);
    stopping = true;
    void running.stop().then(() => endProcess(0));
  };
  process.on('SIGTERM', stop);
  running = await main(runtime, config as never);
}

/** The kernel ends this process when its parent ends, however that ends. */
function dieWithParent(): void {
  const parent = Number(process.env[PARENT_VARIABLE]);
  if (Number.isNaN(parent)) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  // It may have ended before we asked.
  if (process.ppid !== parent) endProcess(EXIT_PARENT_GONE);
  process.on('disconnect', () => endProcess(EXIT_PARENT_GONE));
}

/** What a terminal sends to all processes of a group alike. */
function leaveToParent(): void {
  process.on('SIGINT', () => {});
  process.on('SIGHUP', () => {});
}

function receiveConfig(): Promise<unknown> {
  return new Promise((resolve) => {
    process.once('message', (message) => {
      // The channel stays open, and alone it keeps no process alive.
      process.channel?.unref();
      resolve((message as ConfigMessage).config);
    });
  });
}
