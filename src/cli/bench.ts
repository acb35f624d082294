/**
 * `memrack bench`: what this rack gives from this machine: latency of lone reads and writes of
 * 64 bytes, rate of many in flight, throughput of large ones.
 */

import type { Command } from 'commander';
import type { RemoteSpace } from '../apps/library.js';
import { formatDuration } from '../apps/terminal.js';
import { KiB, MiB } from '../base/units.js';
import { printRows, type SharedFlags, withConnection, withOutput, withRack } from './context.js';
import { ConfigError } from '../base/config-error.js';
import { untilAsked } from './signals.js';

interface BenchRow {
  readonly name: string;
  readonly operations: number;
  readonly bytes: number;
  readonly inFlight: number;
  readonly perSecond: number;
  readonly bytesPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

interface Shape {
  readonly bytes: number;
  readonly inFlight: number;
  readonly isWrite: boolean;
}

/** What is measured on, until somebody asks to end. */
interface Range {
  readonly space: RemoteSpace;
  readonly at: number;
  readonly asked: AbortSignal;
}

const SHAPES: Readonly<Record<string, Shape>> = {
  'lone-read': { bytes: 64, inFlight: 1, isWrite: false },
  'lone-write': { bytes: 64, inFlight: 1, isWrite: true },
  'many-reads': { bytes: 64, inFlight: 256, isWrite: false },
  'many-writes': { bytes: 64, inFlight: 256, isWrite: true },
  'large-reads': { bytes: MiB, inFlight: 8, isWrite: false },
  'large-writes': { bytes: MiB, inFlight: 8, isWrite: true },
};

const RANGE_BYTES = 16 * MiB;
const WARM_MS = 300;
const MEASURE_MS = 1500;
/** Of this process, so that two can run at the same time. */
const SPACE = `memrack-bench-${process.pid}`;
const SAMPLES_MAX = 1_000_000;

export function addBench(program: Command): void {
  withOutput(withRack(program.command('bench')))
    .description(`measures this rack; names: ${Object.keys(SHAPES).join(', ')}`)
    .argument('[name]')
    .addHelpText('after', '\nExample:\n  memrack bench lone-read')
    .action(bench);
}

async function bench(name: string | undefined, flags: SharedFlags): Promise<void> {
  const names = name === undefined ? Object.keys(SHAPES) : [name];
  if (name !== undefined && SHAPES[name] === undefined) {
    const known = Object.keys(SHAPES).join(', ');
    throw new ConfigError('command line', [`there is no bench ${name}; there are ${known}`]);
  }
  await withConnection(flags, async (rack) => {
    const asked = untilAsked();
    const space = await rack.space(SPACE, { create: true });
    try {
      const at = await space.alloc(RANGE_BYTES);
      // Untouched pages would be read as zeros without any memory behind them.
      await space.write(at, new Uint8Array(RANGE_BYTES));
      const rows: BenchRow[] = [];
      for (const [i, each] of names.entries()) {
        process.stderr.write(`measuring ${each} (${i + 1} of ${names.length}) ...\n`);
        rows.push(await measure({ space, at, asked }, each, SHAPES[each] as Shape));
        asked.throwIfAborted();
      }
      print(flags, rows);
    } finally {
      await rack.removeSpace(SPACE);
    }
  });
}

async function measure(range: Range, name: string, shape: Shape): Promise<BenchRow> {
  await run(range, shape, WARM_MS);
  const { times, ms } = await run(range, shape, MEASURE_MS);
  times.sort((a, b) => a - b);
  const us = (share: number): number =>
    Math.round((times[Math.floor(times.length * share)] ?? 0) * 10_000) / 10;
  const perSecond = Math.round((times.length / ms) * 1000);
  const { bytes, inFlight } = shape;
  return {
    name,
    operations: times.length,
    bytes,
    inFlight,
    perSecond,
    bytesPerSecond: perSecond * bytes,
    p50Us: us(0.5),
    p99Us: us(0.99),
  };
}

async function run(
  { space, at, asked }: Range,
  { bytes, inFlight, isWrite }: Shape,
  ms: number,
): Promise<{ times: number[]; ms: number }> {
  const times: number[] = [];
  const began = performance.now();
  const end = began + ms;
  const stride = Math.max(bytes, 4 * KiB);
  const places = Math.floor(RANGE_BYTES / stride);
  let next = 0;
  const one = async (): Promise<void> => {
    const buffer = new Uint8Array(bytes);
    while (!asked.aborted && performance.now() < end && times.length < SAMPLES_MAX) {
      const place = at + (next % places) * stride;
      next += 1;
      const start = performance.now();
      if (isWrite) await space.write(place, buffer);
      else await space.read(place, buffer);
      times.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  return { times, ms: performance.now() - began };
}

function print(flags: SharedFlags, rows: readonly BenchRow[]): void {
  const rate = (row: BenchRow): string =>
    `${(row.bytesPerSecond / MiB).toFixed(row.bytesPerSecond < 100 * MiB ? 1 : 0)} MiB/s`;
  printRows(flags, rows, [
    { title: 'bench', value: ({ name }) => name },
    { title: 'bytes', value: ({ bytes }) => String(bytes), isNumber: true },
    { title: 'in flight', value: ({ inFlight }) => String(inFlight), isNumber: true },
    { title: 'per second', value: ({ perSecond }) => String(perSecond), isNumber: true },
    { title: 'rate', value: rate, isNumber: true },
    { title: 'p50', value: ({ p50Us }) => formatDuration(p50Us / 1000), isNumber: true },
    { title: 'p99', value: ({ p99Us }) => formatDuration(p99Us / 1000), isNumber: true },
  ]);
}
