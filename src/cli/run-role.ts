/** Runs one role in this process, in the foreground, until it is asked to end. */

import { describeFailure } from '../apps/role-failure.js';
import type { RunningRole } from '../runtime/runtime.js';
import { EXIT, Exit } from './exit.js';
import { untilAsked } from './signals.js';

/** Resolves when the role was stopped by SIGINT or SIGTERM; a second signal ends at once. */
export async function runInForeground(
  role: string,
  config: unknown,
  serves: (address: string, running: RunningRole) => void,
): Promise<void> {
  // Not before they are used: `doctor` is to run where a native package cannot be loaded.
  const { appRuntime } = await import('../apps/app-runtime.js');
  const { ROLES } = await import('../apps/roles.js');
  const main = ROLES[role];
  if (main === undefined) throw new Error(`no role ${role}`);
  const { stayResident } = await import('../apps/resident-roles.js');
  stayResident(role);
  const runtime = appRuntime(role);
  let running: Awaited<ReturnType<typeof main>>;
  try {
    running = await main(runtime, config as never);
  } catch (error) {
    const { message, exitCode } = describeFailure(role, error);
    throw new Exit(exitCode === EXIT.wrongUse ? EXIT.wrongUse : EXIT.failed, message);
  }
  serves(running.address, running);
  await untilSignal();
  await running.stop();
}

/** Resolves at the first signal that asks to end; the second one ends the process. */
export function untilSignal(): Promise<void> {
  const asked = untilAsked();
  return new Promise((resolve) => {
    asked.addEventListener('abort', () => resolve());
    // A role serves sockets; while none is open something else must keep the process.
    setInterval(() => {}, 2 ** 30);
  });
}
