/**
 * Serves the swap of a program with remote memory: a host with no door but the mount that it was
 * given. It starts another watchdog when there is none any more.
 */

import type { ChildProcess } from 'node:child_process';
import { hostname } from 'node:os';
import type { RunningHost } from '../../doors/host.js';
import { appRuntime } from '../app-runtime.js';
import { hostMain } from '../host-role.js';
import { keepInMemory } from '../../runtime/node/resident-memory.js';
import { ignoreSignals, MOUNT_FD, ownRecord, startHelper } from './helpers.js';
import { isGone, ownIdentity, type RunFolder, type RunRecord } from './run-folder.js';

const TELL_MS = 250;
const LOOK_MS = 5;

/** Resolves when the swap is no more. */
export async function serveSwap(folder: RunFolder): Promise<void> {
  ignoreSignals();
  keepInMemory();
  const record = ownRecord();
  const agreed = folder.server?.agreed;
  const runtime = appRuntime('swap-server');
  const running = (await hostMain(runtime, configOf(record, agreed))) as RunningHost;
  const { swap } = running;
  if (swap === undefined) throw new Error('the host serves no swap');
  folder.keepServer(process.pid);
  const identity = ownIdentity();
  const tell = (isOver?: true): void => {
    if (!folder.isThere) return;
    const now = swap.agreed();
    const more = { ...(now && { agreed: now }), ...(isOver && { isOver }) };
    try {
      folder.server = { identity, traffic: swap.traffic(), ...more };
    } catch {
      // A full /run: whoever watches sees a server that says nothing.
    }
  };
  tell();
  let hasEnded = false;
  void swap.hasEnded.then(() => (hasEnded = true));
  // Without it nobody could go on after this one.
  while (swap.agreed() === undefined && !hasEnded) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  tell();
  const watch = new WatchdogWatch(folder, record);
  const timer = setInterval(() => {
    tell();
    watch.look();
  }, TELL_MS);
  await swap.hasEnded;
  clearInterval(timer);
  tell(true);
  await running.stop();
}

function configOf(record: RunRecord, agreed: { mayResend: boolean } | undefined) {
  const join = record.rack.replace(/^memrack:/, 'tcp:');
  return {
    id: `${record.device}-${process.pid}`,
    join: [join],
    listen: 'tcp://127.0.0.1:0',
    machine: hostname(),
    swap: {
      ...{ device: record.device, file: record.file, connection: MOUNT_FD },
      ...(agreed && { agreed }),
    },
  };
}

class WatchdogWatch {
  readonly #folder: RunFolder;
  readonly #record: RunRecord;
  #started: ChildProcess | undefined;

  constructor(folder: RunFolder, record: RunRecord) {
    this.#folder = folder;
    this.#record = record;
  }

  look(): void {
    const folder = this.#folder;
    if (folder.isClosing || !isGone(folder.watchdog)) return;
    // It may need a while until it says who it is.
    const isStarting = this.#started?.exitCode === null && this.#started.signalCode === null;
    if (!isStarting) this.#started = startHelper('swap-watchdog', this.#record, MOUNT_FD);
  }
}
