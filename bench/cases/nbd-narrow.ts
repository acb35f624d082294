/**
 * A device whose memory nodes are behind a narrow pipe, in a network namespace of their own: how
 * much longer who reads waits while a node is drained, and its copies are made at another one
 * through the same pipe. Needs root, `ip` and `tc`.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { connect } from '../../src/apps/library.js';
import { createDevice, deviceUri, seeDevices } from '../../src/block/manage.js';
import type { Rack } from '../../src/client/rack.js';
import { NbdClient } from '../../src/doors/nbd/testing/client.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { compareTo, pinned, quantileOf, type Result, rowOf, type Turn } from '../harness.js';
import { freePort } from '../peers/redis.js';
import { projectRoot, untilServing } from '../rack.js';

const MIB = 2 ** 20;
const SPACE = `memrack-narrow-${process.pid}`;
const OURS = `mrn${process.pid}`;
const HERE = '10.213.77.1';
const THERE = '10.213.77.2';
const RATE = '200mbit';
/** Between the two ends, and back: as a rack's network has it. */
const QUEUE = ['tbf', 'rate', RATE, 'burst', '16kb', 'latency', '200ms'];
/** One slab. */
const DEVICE_BYTES = 48 * MIB;
const READ_BYTES = 4096;
const BASE_MS = 3_000;
const LOOK_MS = 50;
const DRAINED_MS = 60_000;

const run = (command: string, ...args: string[]): string => {
  return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
};
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function openPipe(): void {
  run('ip', 'netns', 'add', SPACE);
  run('ip', 'link', 'add', OURS, 'type', 'veth', 'peer', 'name', 'there', 'netns', SPACE);
  run('ip', 'addr', 'add', `${HERE}/24`, 'dev', OURS);
  run('ip', 'link', 'set', OURS, 'up');
  run('ip', '-n', SPACE, 'addr', 'add', `${THERE}/24`, 'dev', 'there');
  for (const link of ['lo', 'there']) run('ip', '-n', SPACE, 'link', 'set', link, 'up');
  run('tc', 'qdisc', 'add', 'dev', OURS, 'root', ...QUEUE);
  run('tc', '-n', SPACE, 'qdisc', 'add', 'dev', 'there', 'root', ...QUEUE);
}

function closePipe(): void {
  for (const args of [
    ['link', 'del', OURS],
    ['netns', 'del', SPACE],
  ]) {
    try {
      run('ip', ...args);
    } catch {
      // It was never made.
    }
  }
}

class NarrowRack {
  readonly url: string;
  readonly #port: number;
  #nodes = 0;
  readonly #children: ChildProcess[] = [];

  private constructor(port: number) {
    this.#port = port;
    this.url = `memrack://${HERE}:${port}`;
  }

  static async start(): Promise<NarrowRack> {
    openPipe();
    const rack = new NarrowRack(await freePort());
    const join = `${HERE}:${rack.#port}`;
    rack.#role([], 'controller', '--listen', HERE, '--port', String(rack.#port));
    await sleep(1_500);
    rack.#role([], 'host', '--join', join, '--nbd-port', '0');
    await rack.addNode();
    await rack.addNode();
    return rack;
  }

  /** Resolves when it serves. */
  async addNode(): Promise<void> {
    const id = `n${++this.#nodes}`;
    const facts = ['--join', `${HERE}:${this.#port}`, '--id', id, '--memory', '256MiB'];
    // With processes of its own, too: else the host reaches its memory beside the pipe.
    const apart = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const inside = ['ip', 'netns', 'exec', SPACE, ...apart];
    this.#role(inside, 'memory-node', '--listen', THERE, ...facts);
    await untilServing(`http://${HERE}:${this.#port}`, this.#nodes, 30_000);
  }

  #role(prefix: readonly string[], ...args: string[]): void {
    const main = join(projectRoot(), 'dist/cli/main.js');
    const [program, words] = pinned(0, [...prefix, process.execPath, main, ...args]);
    this.#children.push(spawn(program, words, { stdio: 'ignore' }));
  }

  drain(node: string): void {
    const main = join(projectRoot(), 'dist/cli/main.js');
    const words = [main, 'node', 'drain', node, '--rack', this.url];
    this.#children.push(spawn(process.execPath, words, { stdio: 'ignore' }));
  }

  async close(): Promise<void> {
    const running = this.#children.filter(({ exitCode }) => exitCode === null);
    const ends = running.map((child) => new Promise((resolve) => child.once('exit', resolve)));
    for (const child of running.reverse()) child.kill('SIGTERM');
    await Promise.race([Promise.all(ends), sleep(15_000)]);
    for (const child of this.#children) child.kill('SIGKILL');
    closePipe();
  }
}

/** Sorted, in milliseconds: one read after another, until `isOver`. */
async function readUntil(nbd: NbdClient, isOver: () => boolean): Promise<Float64Array> {
  const times: number[] = [];
  for (let state = 4711; !isOver(); ) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const at = (state % (DEVICE_BYTES / READ_BYTES)) * READ_BYTES;
    const before = performance.now();
    const { error, message } = await nbd.read(at, READ_BYTES);
    if (error !== 0) throw new Error(`a read failed: ${message}, error ${error}`);
    times.push(performance.now() - before);
  }
  return Float64Array.from(times).sort();
}

async function copiesMade(rack: Rack): Promise<number> {
  const [seen] = (await seeDevices(rack.core)) as { activity?: { copiesMade: number } }[];
  return seen?.activity?.copiesMade ?? 0;
}

async function measure(narrow: NarrowRack, rack: Rack, nbd: NbdClient): Promise<Turn> {
  const baseEnd = performance.now() + BASE_MS;
  const base = await readUntil(nbd, () => performance.now() >= baseEnd);
  const began = performance.now();
  narrow.drain('n1');
  let isOver = false;
  const looking = (async () => {
    const made = await copiesMade(rack);
    while (performance.now() < began + DRAINED_MS && (await copiesMade(rack)) === made) {
      await sleep(LOOK_MS);
    }
    isOver = true;
  })();
  const beside = await readUntil(nbd, () => isOver);
  await looking;
  const [before, during] = [quantileOf(base, 0.99), quantileOf(beside, 0.99)];
  const extra = {
    'p99 us before': before * 1000,
    'p99 us': during * 1000,
    'median us before': quantileOf(base, 0.5) * 1000,
    'median us': quantileOf(beside, 0.5) * 1000,
    's until copied': (performance.now() - began) / 1000,
  };
  return { value: during / before, cpuPerOperation: 0, extra };
}

export async function nbdNarrow(rounds: number): Promise<Result> {
  const turns: Turn[] = [];
  for (let round = 0; round < Math.min(rounds, 3); round++) turns.push(await once());
  const side = { name: 'p99 of reads', turn: once };
  const before = { name: 'before copies are made', value: 1 };
  return {
    bench: 'nbd-narrow',
    what: `reads through a pipe of ${RATE} while a copy is made through it`,
    unit: 'times as long',
    rows: [rowOf(side, turns)],
    comparisons: [compareTo({ side, turns }, before, { atMost: 2 })],
    notes: ['one reader of 4 KiB; device of 48 MiB in two copies; `tc tbf` between namespaces'],
  };
}

async function once(): Promise<Turn> {
  const runtime = createRuntime({ logLevel: 'error' });
  let rack: Rack | undefined;
  let narrow: NarrowRack | undefined;
  try {
    narrow = await NarrowRack.start();
    rack = await connect(narrow.url);
    await createDevice(rack.core, { name: 'disk', bytes: DEVICE_BYTES, copies: 2 });
    const { host } = new URL(await deviceUri(rack.core, 'disk'));
    const nbd = await NbdClient.connect(runtime.network, `tcp://${host}`);
    await nbd.structured();
    await nbd.go('disk');
    const piece = new Uint8Array(MIB).fill(7);
    for (let at = 0; at < DEVICE_BYTES; at += MIB) await nbd.write(at, piece);
    // Until now all copies are at the other two.
    await narrow.addNode();
    await sleep(2_000);
    const turn = await measure(narrow, rack, nbd);
    nbd.close();
    return turn;
  } finally {
    await rack?.close();
    await narrow?.close();
    if (narrow === undefined) closePipe();
  }
}
