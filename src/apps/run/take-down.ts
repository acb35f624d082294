/**
 * Takes down what a program with remote memory has left on this machine and in the rack; whoever
 * does it, and however far somebody else has come with it.
 *
 *     processes of the group -> swap (and with it loop device, mount, connection) -> who served and
 *     watched -> group -> device -> folder
 */

import { readFileSync } from 'node:fs';
import { removeDevice } from '../../block/manage.js';
import { detachFuse } from '../../runtime/node/node-fuse.js';
import { nodePaging } from '../../runtime/node/node-paging.js';
import { connect, type Rack } from '../library.js';
import { isGone, type RunFolder, type RunRecord } from './run-folder.js';

const END_MS = 10_000;
const HELPERS_MS = 5_000;
const LOOK_MS = 20;
const RACK_MS = 15_000;
/** Longer than a lease of devices. */
const LEASE_END_MS = 8_000;
const LEASE_LOOK_MS = 200;

/** What could not be taken down, and what to do about it; empty: nothing is left. */
export async function takeDown(folder: RunFolder, record: RunRecord): Promise<string[]> {
  const problem = (await endGroup(record)) ?? (await leaveSwap(record)) ?? unmount(folder);
  if (problem !== undefined) return [problem];
  folder.close();
  for (const one of [folder.startedServer, folder.server?.identity, folder.watchdog]) {
    await endOf(one);
  }
  const left =
    removeGroup(record.group) ?? removeGroup(record.helpers) ?? (await removeOwnDevice(record));
  if (left !== undefined) return [left];
  folder.remove();
  return [];
}

function removeGroup(name: string): string | undefined {
  const group = nodePaging.findGroup(name);
  // If one of them is the one who does this, it goes on outside.
  group?.release();
  if (group === undefined || group.remove()) return undefined;
  return `the control group ${name} cannot be removed; run memrack doctor --clean`;
}

async function endGroup({ group: name }: RunRecord): Promise<string | undefined> {
  const group = nodePaging.findGroup(name);
  if (group === undefined) return undefined;
  const isEmpty = await until(END_MS, () => {
    group.kill();
    return group.processes().length === 0;
  });
  if (isEmpty) return undefined;
  return `processes ${group.processes().join(', ')} of the program do not end`;
}

async function leaveSwap({ file }: RunRecord): Promise<string | undefined> {
  for (const path of nodePaging.loopsOf(file)) {
    if (!nodePaging.swapAreas().some((area) => area.path === path)) continue;
    const error = await nodePaging.swapOff(path);
    const isGone_ = !nodePaging.swapAreas().some((area) => area.path === path);
    if (error === undefined || isGone_) continue;
    return (
      `${error.message}: pages of other programs are in this swap, and there is not room enough ` +
      'for them: end some, then run memrack doctor --clean'
    );
  }
  return undefined;
}

function unmount(folder: RunFolder): string | undefined {
  const isMounted = readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${folder.mount} `);
  if (!isMounted) return undefined;
  try {
    detachFuse(folder.mount);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** They end by themselves when there is nothing to serve, or to watch. */
async function endOf(identity: string | undefined): Promise<void> {
  if (identity === undefined || pidOf(identity) === process.pid) return;
  if (await until(HELPERS_MS, () => isGone(identity))) return;
  try {
    process.kill(pidOf(identity), 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
  await until(HELPERS_MS, () => isGone(identity));
}

function pidOf(identity: string): number {
  return Number(identity.split('/').at(-2));
}

async function removeOwnDevice(record: RunRecord): Promise<string | undefined> {
  if (!record.isOwnDevice) return undefined;
  const { device, rack: url } = record;
  try {
    const rack = await connect(url, { timeoutMs: RACK_MS });
    try {
      await removeWhenFree(rack, device);
    } finally {
      await rack.close();
    }
    return undefined;
  } catch (error) {
    const { message } = error as Error;
    return (
      `the device ${device} is still in the rack: ${message}: ` +
      'run memrack doctor --clean when the rack is there'
    );
  }
}

/** One who was killed has its lease until that runs out. */
async function removeWhenFree(rack: Rack, device: string): Promise<void> {
  for (const end = performance.now() + LEASE_END_MS; ; ) {
    try {
      await removeDevice(rack.core, device);
      return;
    } catch (error) {
      const { code } = error as { readonly code?: string };
      if (code === 'NotFound') return;
      if (code !== 'Conflict' || performance.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, LEASE_LOOK_MS));
  }
}

async function until(ms: number, isSo: () => boolean): Promise<boolean> {
  for (const end = performance.now() + ms; ; ) {
    if (isSo()) return true;
    if (performance.now() >= end) return false;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
