/** The processes beside a program with remote memory: each in a session of its own. */

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { ControlGroup } from '../../runtime/paging.js';
import { RunFolder, type RunRecord } from './run-folder.js';

/** Under which each of them has the mount. */
export const MOUNT_FD = 3;
export type Helper = 'swap-server' | 'swap-watchdog';

/** Of a helper: what the run is. Its file may be in the very swap that is to be served. */
const RECORD_VARIABLE = 'MEMRACK_RUN';

/**
 * Nothing ends it but itself: neither the terminal nor the end of who started it. What it says goes
 * to the log of the run. Without a group it is in that of who starts it. Undefined: it could not be
 * started now.
 */
export function startHelper(
  helper: Helper,
  record: RunRecord,
  mountFd: number,
  group?: ControlGroup,
): ChildProcess | undefined {
  const folder = new RunFolder(record.id);
  let log: number | undefined;
  try {
    log = openSync(folder.log, 'a');
    const own = [process.execPath, process.argv[1] as string, helper, folder.id];
    const [program = '', ...words] = [...(group?.enter ?? []), ...own];
    const child = spawn(program, words, {
      detached: true,
      cwd: '/',
      stdio: ['ignore', log, log, mountFd],
      env: {
        ...process.env,
        MEMRACK_LOG_FORMAT: 'text',
        [RECORD_VARIABLE]: JSON.stringify(record),
      },
    });
    // Whoever started it sees that it is not there.
    child.on('error', () => undefined);
    child.unref();
    return child.pid === undefined ? undefined : child;
  } catch {
    return undefined;
  } finally {
    if (log !== undefined) closeSync(log);
  }
}

/** Of this process. */
export function ownRecord(): RunRecord {
  const text = process.env[RECORD_VARIABLE];
  if (text === undefined) throw new Error('this is a part of memrack run, and not run by itself');
  return JSON.parse(text) as RunRecord;
}

/** Of who is not to be ended so: it ends when what it is for is over. */
export function ignoreSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    process.on(signal, () => undefined);
  }
}
