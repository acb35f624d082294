/**
 * The second part of the main job: a block device with two copies of everything. A file system
 * image goes onto it, then a memory node is lost with its memory while the device is written to,
 * and every byte is read back.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '../../base/units.js';
import { createDevice, deviceUri } from '../../block/manage.js';
import type { Rack } from '../../client/rack.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { LocalRack } from '../rack-processes.js';
import { DeviceLoad, openDevice } from './device-load.js';
import { type DiskImage, firstDifference, makeImage } from './disk-image.js';
import { findProgram, runProgram } from './foreign-programs.js';
import type { Tree } from './tree.js';

const NAME = 'disk';
const DEVICE_BYTES = 128 * MiB;
const IMAGE_BYTES = 48 * MiB;
/** In another slab than the image. */
const LOAD_AT = 96 * MiB;
const LOAD_BYTES = 16 * MiB;
/** What a memory node takes for it, at most. */
export const DEVICE_NODE_BYTES = IMAGE_BYTES + LOAD_BYTES + 16 * MiB;
const LOAD_MS_BEFORE = 500;
const LOAD_MS_AFTER = 2_500;
const LOOK_MS = 50;
const NODE_BACK_MS = 20_000;

export interface DeviceJobOptions {
  readonly runtime: Runtime;
  readonly rack: LocalRack;
  readonly client: Rack;
  /** Where the files are. */
  readonly folder: string;
  readonly tree: Tree;
  readonly say: (line: string) => void;
}

export interface DeviceJobResult {
  readonly uri: string;
  readonly image: DiskImage;
  /** The program that moved the image. */
  readonly by: string;
  readonly putMs: number;
  readonly getMs: number;
  readonly lostNode: string;
  readonly writes: number;
  readonly loadBytes: number;
  /** Of a write of the load. */
  readonly longestMs: number;
  /** What is not as it was written; none: every byte was verified. */
  readonly wrong: readonly string[];
}

export async function runDeviceJob(options: DeviceJobOptions): Promise<DeviceJobResult> {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-start-'));
  const clean = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', clean);
  try {
    return await inFolder(options, folder);
  } finally {
    process.off('exit', clean);
    clean();
  }
}

async function inFolder(options: DeviceJobOptions, folder: string): Promise<DeviceJobResult> {
  const { runtime, client, tree } = options;
  await createDevice(client.core, { name: NAME, bytes: DEVICE_BYTES, copies: 2 });
  const uri = await deviceUri(client.core, NAME);
  const address = `tcp://${new URL(uri).host}`;
  const image = await makeImage(folder, options.folder, tree, IMAGE_BYTES);
  const mover = moverFor({ runtime, uri, address });
  const putMs = await timed(() => mover.put(image));
  const place = { address, device: NAME, firstByte: LOAD_AT, bytes: LOAD_BYTES };
  const load = await DeviceLoad.open(runtime.network, place);
  const running = load.run();
  const lostNode = await Promise.race([loseNode(options), running.then(() => '')]);
  await pause(runtime, LOAD_MS_AFTER);
  load.stop();
  await running;
  const copy = join(folder, 'copy.img');
  const getMs = await timed(() => mover.get(copy));
  const wrong = await problemsOf(image, copy, load);
  load.close();
  await untilAllServe(options);
  const { writes, longestMs, bytes: loadBytes } = load;
  return {
    uri,
    image,
    by: mover.name,
    putMs,
    getMs,
    lostNode,
    writes,
    loadBytes,
    longestMs,
    wrong,
  };
}

/** The fullest node, while the device is written to. */
async function loseNode({ runtime, rack, client, say }: DeviceJobOptions): Promise<string> {
  await pause(runtime, LOAD_MS_BEFORE);
  const nodes = (await client.nodes()).filter(({ kind }) => kind === 'memory-node');
  const [fullest] = nodes.sort((one, other) => other.bytesUsed - one.bytesUsed);
  const id = fullest?.id ?? '';
  say(`device: killing ${id} and its memory now, while the device is written to`);
  rack.loseNode(id);
  return id;
}

/** An empty one has taken the lost one's place, so that what follows has room. */
async function untilAllServe({ runtime, client }: DeviceJobOptions): Promise<void> {
  const end = runtime.clock.now() + NODE_BACK_MS;
  const isServing = async (): Promise<boolean> => {
    const nodes = (await client.nodes()).filter(({ kind }) => kind === 'memory-node');
    return nodes.every(({ state }) => state === 'serving');
  };
  while (!(await isServing()) && runtime.clock.now() < end) await pause(runtime, LOOK_MS);
}

async function problemsOf(image: DiskImage, copy: string, load: DeviceLoad): Promise<string[]> {
  const wrong: string[] = [];
  const at = await firstDifference(image, copy);
  if (at >= 0) wrong.push(`the image differs from byte ${at} on`);
  const pieces = await load.verify();
  if (pieces > 0) wrong.push(`${pieces} pieces that the load wrote are not as it wrote them last`);
  const e2fsck = image.isFileSystem ? findProgram('e2fsck') : undefined;
  if (e2fsck !== undefined) {
    await runProgram(e2fsck, ['-f', '-n', copy]).catch((error: Error) => {
      wrong.push(`the file system is damaged: ${error.message}`);
    });
  }
  return wrong;
}

// -------------------------------------------------------------------------------- moving images

interface Mover {
  /** For people. */
  readonly name: string;
  put(image: DiskImage): Promise<void>;
  /** All of the device into a file. */
  get(path: string): Promise<void>;
}

interface MoverParts {
  readonly runtime: Runtime;
  readonly uri: string;
  readonly address: string;
}

/** A foreign program where one is installed, else our own client. */
function moverFor({ runtime, uri, address }: MoverParts): Mover {
  const nbdcopy = findProgram('nbdcopy');
  if (nbdcopy !== undefined) {
    return {
      name: 'nbdcopy',
      put: ({ path }) => runProgram(nbdcopy, [path, uri]),
      get: (path) => runProgram(nbdcopy, [uri, path]),
    };
  }
  const qemuImg = findProgram('qemu-img');
  if (qemuImg !== undefined) {
    const raw = ['convert', '-f', 'raw', '-O', 'raw'];
    return {
      name: 'qemu-img',
      put: ({ path }) => runProgram(qemuImg, [...raw, '-n', path, uri]),
      get: (path) => runProgram(qemuImg, [...raw, uri, path]),
    };
  }
  return ownMover(runtime, address);
}

function ownMover({ network }: Runtime, address: string): Mover {
  return {
    name: 'the client of our own tests (neither nbdcopy nor qemu-img is installed)',
    put: async ({ path }) => {
      const client = await openDevice(network, address, NAME);
      const bytes = await readFile(path);
      for (let at = 0; at < bytes.length; at += MiB) {
        const { error } = await client.write(at, bytes.subarray(at, at + MiB));
        if (error !== 0) throw new Error(`a write to the device failed: error ${error}`);
      }
      client.disconnect();
    },
    get: async (path) => {
      const client = await openDevice(network, address, NAME);
      const pieces: Uint8Array[] = [];
      for (let at = 0; at < DEVICE_BYTES; at += MiB) {
        const { error, data } = await client.read(at, MiB);
        if (error !== 0) throw new Error(`a read from the device failed: error ${error}`);
        pieces.push(data);
      }
      client.disconnect();
      await writeFile(path, Buffer.concat(pieces));
    },
  };
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function pause({ timers }: Runtime, ms: number): Promise<void> {
  return new Promise((resolve) => void timers.after(ms, resolve));
}
