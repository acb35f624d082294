/** What swap of this machine does for a program with so much memory: the peers of the rack. */

import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { MiB } from '../../base/units.js';
import { nodePaging } from '../../runtime/node/node-paging.js';

const ZRAM_CONTROL = '/sys/class/zram-control/hot_add';
const PRIORITY = 100;

export interface Confined {
  /** -1: it was ended by a signal. */
  readonly code: number;
  readonly output: string;
  readonly seconds: number;
  readonly peakBytes: number;
}

/** In a group with so much memory, with what swap there is. */
export async function runConfined(localBytes: number, words: readonly string[]): Promise<Confined> {
  const group = nodePaging.makeGroup(`memrack-job-${process.pid}`);
  try {
    group.limit(localBytes);
    const began = performance.now();
    const [shell = '', ...before] = group.enter;
    const child = spawn(shell, [...before, ...words], { stdio: ['ignore', 'pipe', 'ignore'] });
    let output = '';
    child.stdout.on('data', (text: Buffer) => (output += text.toString()));
    const code = await codeOf(child);
    const seconds = (performance.now() - began) / 1000;
    return { code, output, seconds, peakBytes: group.use().peakLocalBytes };
  } finally {
    group.kill();
    group.remove();
  }
}

/** -1: it was ended by a signal. */
export function codeOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? -1));
  });
}

/** A new file of the folder is swap meanwhile. */
export async function withSwapFile<T>(
  folder: string,
  bytes: number,
  work: () => Promise<T>,
): Promise<T> {
  const path = join(folder, 'swap');
  const fd = openSync(path, 'wx', 0o600);
  try {
    // A swap file has no holes.
    for (let i = 0; i < bytes / MiB; i++) writeSync(fd, new Uint8Array(MiB));
    fsyncSync(fd);
    closeSync(fd);
    return await withSwap(path, work);
  } finally {
    rmSync(path);
  }
}

/** Compressed memory is swap meanwhile. Undefined: the kernel has none. */
export async function withZram<T>(bytes: number, work: () => Promise<T>): Promise<T | undefined> {
  if (!existsSync(ZRAM_CONTROL)) return undefined;
  const number = readFileSync(ZRAM_CONTROL, 'utf8').trim();
  const folder = `/sys/block/zram${number}`;
  try {
    writeFileSync(join(folder, 'disksize'), String(bytes));
    return await withSwap(`/dev/zram${number}`, work);
  } finally {
    writeFileSync(join(folder, 'reset'), '1');
    writeFileSync('/sys/class/zram-control/hot_remove', number);
  }
}

async function withSwap<T>(path: string, work: () => Promise<T>): Promise<T> {
  nodePaging.formatSwap(path, 'memrack-job');
  nodePaging.swapOn(path, PRIORITY);
  try {
    return await work();
  } finally {
    const error = await nodePaging.swapOff(path);
    if (error !== undefined) throw error;
  }
}
