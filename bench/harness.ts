/**
 * What every bench shares: rounds in which ours and the peer take turns on the same cores, the
 * processor time of everybody who took part, and medians with their spread.
 *
 * A single time on a shared machine says little. So each side is measured in short turns, A B A B,
 * the ratio is taken pair by pair, and the median of at least five pairs is reported together with
 * the smallest and the largest.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

/** One turn of one side. */
export interface Turn {
  /** The figure: operations per second, microseconds, or bytes per second. */
  readonly value: number;
  /** Processor time of all processes of this side, in microseconds per operation. */
  readonly cpuPerOperation: number;
  /** Further figures worth printing (p99 and the like). */
  readonly extra?: Readonly<Record<string, number>>;
}

export interface Side {
  readonly name: string;
  turn(): Promise<Turn>;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Row {
  readonly side: string;
  readonly value: Spread;
  readonly cpuPerOperation: Spread;
  readonly extra: Readonly<Record<string, number>>;
}

export interface Comparison {
  readonly ours: string;
  readonly peer: string;
  readonly ratio: Spread;
  readonly goal: string;
  /** Undefined: there is no goal, the ratio is shown. */
  readonly met: boolean | undefined;
}

export interface Result {
  readonly bench: string;
  readonly what: string;
  readonly unit: string;
  readonly rows: readonly Row[];
  readonly comparisons: readonly Comparison[];
  readonly notes: readonly string[];
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (i: number): number => sorted[i] ?? Number.NaN;
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2;
  return { median, min: at(0), max: at(sorted.length - 1) };
}

/** Runs every side in turn, `rounds` times after one warm-up, and returns the turns by side. */
export async function alternate(sides: readonly Side[], rounds: number): Promise<Turn[][]> {
  const turns: Turn[][] = sides.map(() => []);
  for (let round = -1; round < rounds; round += 1) {
    for (const [index, side] of sides.entries()) {
      const turn = await side.turn();
      if (round >= 0) turns[index]?.push(turn);
    }
  }
  return turns;
}

export function rowOf(side: Side, turns: readonly Turn[]): Row {
  const extra: Record<string, number> = {};
  for (const key of Object.keys(turns[0]?.extra ?? {})) {
    extra[key] = spread(turns.map((turn) => turn.extra?.[key] ?? Number.NaN)).median;
  }
  return {
    side: side.name,
    value: spread(turns.map((turn) => turn.value)),
    cpuPerOperation: spread(turns.map((turn) => turn.cpuPerOperation)),
    extra,
  };
}

/** Neither: the ratio is shown, and nothing is asked of it. */
export interface Goal {
  readonly atMost?: number;
  readonly atLeast?: number;
}

export interface Measured {
  readonly side: Side;
  readonly turns: readonly Turn[];
}

export function compare(ours: Measured, peer: Measured, goal: Goal): Comparison {
  const ratios = ours.turns.map((turn, i) => turn.value / (peer.turns[i]?.value ?? Number.NaN));
  return { ours: ours.side.name, peer: peer.side.name, ...judged(ratios, goal) };
}

/** Against a figure that was asked for. */
export function compareTo(
  ours: Measured,
  asked: { readonly name: string; readonly value: number },
  goal: Goal,
): Comparison {
  const ratios = ours.turns.map((turn) => turn.value / asked.value);
  return { ours: ours.side.name, peer: asked.name, ...judged(ratios, goal) };
}

function judged(
  ratios: readonly number[],
  { atMost, atLeast }: Goal,
): Pick<Comparison, 'ratio' | 'goal' | 'met'> {
  const ratio = spread(ratios);
  if (atMost !== undefined) {
    return { ratio, goal: `at most ${atMost} x`, met: ratio.median <= atMost };
  }
  if (atLeast === undefined) return { ratio, goal: 'none', met: undefined };
  return { ratio, goal: `at least ${atLeast} x`, met: ratio.median >= atLeast };
}

/** The quantile of values that are sorted. */
export function quantileOf(sorted: Float64Array, part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** User and system time of a living process and all its threads, in microseconds. */
export function cpuMicroseconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** Resident memory of a living process, in bytes: {all, ofFilesAndShared}. */
export function residentBytes(pid: number): { total: number; shared: number } {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
  return { total: field('VmRSS'), shared: field('RssShmem') };
}

export function has(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Command line that keeps a program on one core where there are two or more. */
export function pinned(core: number, command: readonly string[]): [string, string[]] {
  // Not `availableParallelism`: it is 1 for a process that is itself kept on one core.
  if (cpus().length < 2 || !has('taskset')) {
    return [command[0] ?? '', command.slice(1)];
  }
  return ['taskset', ['-c', String(core), ...command]];
}

/**
 * What `work` starts may use all cores, as a machine that lends memory and works beside it does; a
 * bench is kept on one, and what it starts inherits that.
 */
export async function onAllCores<T>(work: () => Promise<T>): Promise<T> {
  const mine = has('taskset') && cpus().length > 1 ? affinity() : undefined;
  if (mine !== undefined) setAffinity(`0-${cpus().length - 1}`);
  try {
    return await work();
  } finally {
    if (mine !== undefined) setAffinity(mine);
  }
}

function affinity(): string {
  const text = execFileSync('taskset', ['-c', '-p', String(process.pid)]).toString();
  return text.slice(text.lastIndexOf(':') + 1).trim();
}

function setAffinity(cores: string): void {
  execFileSync('taskset', ['-a', '-c', '-p', cores, String(process.pid)], { stdio: 'ignore' });
}

export function machine(): Record<string, string | number> {
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    // Without the name of a build: results of another build of the same version stay.
    kernel: release().split('-', 1)[0] ?? '',
    node: process.version,
  };
}
