/**
 * A program with half of its memory local, the rest in the rack, beside a swap file on this
 * machine's disk and compressed memory: what a page costs, in order and at random.
 */

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOf, runConfined, withSwapFile, withZram } from '../../src/apps/job/local-swap.js';
import { MiB } from '../../src/base/units.js';
import { farRackMissing, startFarRack } from '../far-rack.js';
import {
  alternate,
  compare,
  compareTo,
  type Goal,
  has,
  onAllCores,
  type Result,
  rowOf,
  type Side,
  type Turn,
} from '../harness.js';
import { projectRoot, startRack } from '../rack.js';

const LOCAL_MIB = 128;
const MEMORY_MIB = 2 * LOCAL_MIB;
const SWAP_BYTES = 2 * MEMORY_MIB * MiB;
const ROUNDS = { 'in-order': 4, random: 2 } as const;
const NODES = 2;
const NODE_MEMORY = '640MiB';
const USER_HZ = 100;

type Order = keyof typeof ROUNDS;

const LINKS = {
  shm: { start: () => startRack({ nodes: NODES, memory: NODE_MEMORY }), missing: () => undefined },
  tcp: { start: () => startFarRack(NODES, NODE_MEMORY), missing: farRackMissing },
} as const;
type Link = keyof typeof LINKS;

/** Of a page, in microseconds. */
const ASKED: Readonly<Record<Link, number>> = { shm: 12, tcp: 30 };
const BESIDE_FILE: Readonly<Record<Order, Goal>> = {
  'in-order': { atMost: 0.6 },
  random: { atMost: 0.7 },
};

export const swapInOrder = (rounds: number): Promise<Result> => swap('in-order', 'shm', rounds);
export const swapRandom = (rounds: number): Promise<Result> => swap('random', 'shm', rounds);
export const swapInOrderTcp = (rounds: number): Promise<Result> => swap('in-order', 'tcp', rounds);
export const swapRandomTcp = (rounds: number): Promise<Result> => swap('random', 'tcp', rounds);

async function swap(order: Order, link: Link, rounds: number): Promise<Result> {
  const bench = `swap-${order}${link === 'shm' ? '' : `-${link}`}`;
  const what = `a program that goes over twice its local memory, ${order}, ${link} to the rack`;
  const result = { bench, what, unit: 'us a page' };
  const why = missing() ?? LINKS[link].missing();
  if (why !== undefined) return { ...result, rows: [], comparisons: [], notes: [why] };
  const folder = mkdtempSync(join(tmpdir(), 'memrack-bench-swap-'));
  const rack = await LINKS[link].start();
  try {
    const program = join(folder, 'sweep');
    const source = join(projectRoot(), 'bench/peers/sweep.c');
    execFileSync('gcc', ['-O2', '-o', program, source]);
    const words = [program, String(MEMORY_MIB), String(ROUNDS[order]), order];
    const sides = sidesOf(folder, rack.url, words, order);
    const turns = await onAllCores(() => alternate(sides, rounds));
    const at = (i: number) => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    const comparisons = [
      ...(order === 'random'
        ? []
        : [compareTo(at(0), { name: `${ASKED[link]} us`, value: ASKED[link] }, { atMost: 1 })]),
      compare(at(0), at(1), BESIDE_FILE[order]),
      ...sides.slice(2).map((_, i) => compare(at(0), at(i + 2), {})),
    ];
    const notes = [`${LOCAL_MIB} of ${MEMORY_MIB} MiB local; two copies in the rack`];
    return { ...result, rows: sides.map((it, i) => rowOf(it, turns[i] ?? [])), comparisons, notes };
  } finally {
    await rack.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, for swap';
  return has('gcc') ? undefined : 'needs gcc';
}

function sidesOf(folder: string, url: string, words: readonly string[], order: Order): Side[] {
  const pages = MEMORY_MIB * 256 * ROUNDS[order];
  const turn = async (work: () => Promise<string>): Promise<Turn> => {
    const before = busyMicroseconds();
    const value = Number((await work()).trim());
    if (Number.isNaN(value)) throw new Error('the program did not end well');
    return { value, cpuPerOperation: (busyMicroseconds() - before) / pages };
  };
  const confined = async (): Promise<string> => {
    const { code, output } = await runConfined(LOCAL_MIB * MiB, words);
    return code === 0 ? output : 'ended';
  };
  return [
    { name: 'memrack', turn: () => turn(() => inRack(url, words)) },
    { name: 'swap file', turn: () => turn(() => withSwapFile(folder, SWAP_BYTES, confined)) },
    { name: 'zram', turn: () => turn(async () => (await withZram(SWAP_BYTES, confined)) ?? '') },
  ];
}

async function inRack(url: string, words: readonly string[]): Promise<string> {
  const cli = join(projectRoot(), 'dist/cli/main.js');
  const flags = ['--local', `${LOCAL_MIB}MiB`, '--replicas', '2', '--host-swap', '--rack', url];
  const child = spawn(process.execPath, [cli, 'run', ...flags, '--', ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  return (await codeOf(child)) === 0 ? output : 'ended';
}

/** Of all processors, whoever used them: the kernel's threads do a part of it. */
function busyMicroseconds(): number {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return ((user + nice + system + irq + softirq) * 1e6) / USER_HZ;
}
