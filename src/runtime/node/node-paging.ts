/** Control groups, loop devices and swap of this machine. */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { basename } from 'node:path';
import { assert } from '../../base/assert.js';
import { type LoopDevice, type Paging, PagingError, type SwapArea } from '../paging.js';
import { findControlGroup, makeControlGroup } from './control-group.js';
import { swapHeader } from './swap-header.js';
import { addressOf, ENXIO, EBUSY, errnoName, ioctl, lastErrno, swapon } from './system.js';

const LOOP_CTL_GET_FREE = 0x4c82;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CLR_FD = 0x4c01;
/** `struct loop_config`: descriptor, size of blocks, `struct loop_info64`, and nothing. */
const CONFIG_BYTES = 304;
const CONFIG_BLOCK_AT = 4;
const CONFIG_FLAGS_AT = 8 + 52;
const CONFIG_NAME_AT = 8 + 56;
const NAME_BYTES = 64;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;
const PAGE_BYTES = 4096;
/** Another process may take the device that was found free. */
const TRIES = 20;

const SWAP_FLAG_PREFER = 0x8000;
const PRIORITY_MAX = 0x7fff;

export const nodePaging: Paging = {
  makeGroup: makeControlGroup,
  findGroup: findControlGroup,
  attachLoop,
  loopsOf,
  formatSwap,

  swapOn(path, priority) {
    assert(priority >= 0 && priority <= PRIORITY_MAX);
    if (swapon(path, SWAP_FLAG_PREFER | priority) === 0) return;
    throw new PagingError(`${path} cannot be used as swap: ${errnoName(lastErrno())}`);
  },

  swapOff,

  swapAreas() {
    return readFileSync('/proc/swaps', 'utf8').split('\n').slice(1).filter(Boolean).map(areaOf);
  },

  swappedBytes(isMeant) {
    const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
    return pids.filter(isMeant).reduce((sum, pid) => sum + swappedBy(pid), 0);
  },
};

function swappedBy(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'latin1');
    return Number(/^VmSwap:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** A line of /proc/swaps: kibibytes; blanks in the path are `\040`. */
function areaOf(line: string): SwapArea {
  const [path = '', , size, used, priority] = line.trim().split(/\s+/);
  return {
    path: path.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))),
    bytes: Number(size) * 1024,
    usedBytes: Number(used) * 1024,
    priority: Number(priority),
  };
}

function attachLoop(file: string): LoopDevice {
  const fd = opened(file);
  try {
    for (let i = 0; i < TRIES; i++) {
      const loop = attachedTo(fd, file);
      if (loop !== undefined) return loop;
    }
  } finally {
    closeSync(fd);
  }
  throw new PagingError('no free loop device could be had; others take them all the time');
}

function opened(path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (error) {
    throw new PagingError((error as Error).message);
  }
}

/** Undefined: it was taken by somebody else. */
function attachedTo(fd: number, file: string): LoopDevice | undefined {
  const control = opened('/dev/loop-control');
  const number = ioctl(control, LOOP_CTL_GET_FREE, 0);
  closeSync(control);
  if (number < 0) throw new PagingError(`no loop device is free: ${errnoName(lastErrno())}`);
  const path = `/dev/loop${number}`;
  const device = opened(path);
  const config = Buffer.alloc(CONFIG_BYTES);
  config.writeUInt32LE(fd, 0);
  config.writeUInt32LE(PAGE_BYTES, CONFIG_BLOCK_AT);
  config.writeUInt32LE(LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, CONFIG_FLAGS_AT);
  config.write(file.slice(-(NAME_BYTES - 1)), CONFIG_NAME_AT, 'utf8');
  if (ioctl(device, LOOP_CONFIGURE, addressOf(config)) !== 0) {
    const errno = lastErrno();
    closeSync(device);
    if (errno === EBUSY || errno === ENXIO) return undefined;
    throw new PagingError(`${path} does not take ${file}: ${errnoName(errno)}`);
  }
  if (!isDirect(path)) {
    ioctl(device, LOOP_CLR_FD, 0);
    closeSync(device);
    throw new PagingError(`${path} would keep the pages of ${file}: it has no direct I/O there`);
  }
  return { path, leave: () => closeSync(device) };
}

/** A mount that is in no folder any more leaves the path within it. */
function loopsOf(fileName: string): string[] {
  const names = readdirSync('/sys/block').filter((name) => /^loop\d+$/.test(name));
  return names.filter((name) => backingOf(name) === fileName).map((name) => `/dev/${name}`);
}

function backingOf(loop: string): string | undefined {
  try {
    const path = readFileSync(`/sys/block/${loop}/loop/backing_file`, 'utf8').trim();
    return basename(path.replace(/ \(deleted\)$/, ''));
  } catch {
    return undefined;
  }
}

function isDirect(path: string): boolean {
  return readFileSync(`/sys/block/${basename(path)}/loop/dio`, 'utf8').trim() === '1';
}

function formatSwap(path: string, label: string): void {
  assert(label.includes('memrack'), 'a label contains memrack');
  const fd = opened(path);
  try {
    const header = swapHeader(bytesOf(fd, path), randomBytes(16), label);
    writeSync(fd, header, 0, header.length, 0);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function bytesOf(fd: number, path: string): number {
  const stat = fstatSync(fd);
  if (!stat.isBlockDevice()) return stat.size;
  return Number(readFileSync(`/sys/block/${basename(path)}/size`, 'utf8')) * 512;
}

/** By a process of its own: the kernel ends its caller first when there is no room. */
function swapOff(path: string): Promise<PagingError | undefined> {
  const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  const child = spawn('swapoff', [path], {
    env: { ...process.env, PATH },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  let told = '';
  child.stderr.on('data', (text: Buffer) => (told += text.toString()));
  return new Promise((resolve) => {
    child.on('error', (error) => resolve(new PagingError(`swapoff: ${error.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(undefined);
      else resolve(new PagingError(told.trim() || `swapoff ${path} ended by ${signal ?? code}`));
    });
  });
}
