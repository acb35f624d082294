/**
 * `npm run bench [-- NAME...] [--rounds N] [--json FILE] [--docs]`: measures, prints a table per
 * bench, and on request writes JSON and `docs/benchmarks.md`, where what is not measured now stays
 * as it was. `npm run bench -- figures` has options of its own: see `figures/main.ts`.
 *
 * The process pins itself to the second core and the rack and the peers' servers to the first, so
 * that ours and the peer run on the same cores in turn.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { donor } from './cases/donor.js';
import { clientsFlat, firstTouch, pagesFlat } from './cases/flat-latency.js';
import { flush } from './cases/flush.js';
import { heapGrowth, idleRack } from './cases/idle.js';
import { largeRead } from './cases/large-read.js';
import { lockContended, lockLone } from './cases/locks.js';
import { loneRead } from './cases/lone-read.js';
import { move } from './cases/move.js';
import {
  nbdLatency,
  nbdLatencyTcp,
  nbdRate,
  nbdRateTcp,
  nbdSequential,
  nbdSequentialTcp,
} from './cases/nbd.js';
import { nbdLoss } from './cases/nbd-loss.js';
import { nbdNarrow } from './cases/nbd-narrow.js';
import { pipelinedRead } from './cases/pipelined-read.js';
import { placement } from './cases/placement.js';
import { shmBlocking } from './cases/shm-blocking.js';
import { shmLarge } from './cases/shm-large.js';
import { shmLone } from './cases/shm-lone.js';
import { shmPing } from './cases/shm-ping.js';
import { shmRate } from './cases/shm-rate.js';
import { slabEviction } from './cases/slab-eviction.js';
import { slabPlacement } from './cases/slab-placement.js';
import { slabSize } from './cases/slab-size.js';
import { streamChunks, streamPipelined, streamTrips } from './cases/streams.js';
import { swapInOrder, swapInOrderTcp, swapRandom, swapRandomTcp } from './cases/swap.js';
import { udpClients } from './cases/udp-clients.js';
import { udpFairness } from './cases/udp-fairness.js';
import { udpLarge } from './cases/udp-large.js';
import { udpLone } from './cases/udp-lone.js';
import { udpLoss } from './cases/udp-loss.js';
import { udpPipelined } from './cases/udp-pipelined.js';
import { parseFigures, runFigures } from './figures/main.js';
import { commitOf } from './figures/record.js';
import { has, machine, type Result } from './harness.js';
import { projectRoot } from './rack.js';
import { merged, type Recorded, resultsPage, resultTable } from './report.js';

const BENCHES: Record<string, (rounds: number) => Promise<Result>> = {
  'lone-read': loneRead,
  'pipelined-read': pipelinedRead,
  'large-read': largeRead,
  'shm-lone': shmLone,
  'shm-rate': shmRate,
  'shm-blocking': shmBlocking,
  'shm-large': shmLarge,
  'shm-ping': shmPing,
  'udp-lone': udpLone,
  'udp-pipelined': udpPipelined,
  'udp-large': udpLarge,
  'udp-loss': udpLoss,
  'udp-fairness': udpFairness,
  'udp-clients': udpClients,
  'lock-lone': lockLone,
  'lock-contended': lockContended,
  'pages-flat': pagesFlat,
  'clients-flat': clientsFlat,
  'first-touch': firstTouch,
  'stream-trips': streamTrips,
  'stream-pipelined': streamPipelined,
  'stream-chunks': streamChunks,
  move,
  flush,
  donor,
  placement,
  'slab-placement': slabPlacement,
  'slab-eviction': slabEviction,
  'slab-size': slabSize,
  'nbd-latency': nbdLatency,
  'nbd-rate': nbdRate,
  'nbd-sequential': nbdSequential,
  'nbd-latency-tcp': nbdLatencyTcp,
  'nbd-rate-tcp': nbdRateTcp,
  'nbd-sequential-tcp': nbdSequentialTcp,
  'nbd-loss': nbdLoss,
  'nbd-narrow': nbdNarrow,
  'swap-in-order': swapInOrder,
  'swap-random': swapRandom,
  'swap-in-order-tcp': swapInOrderTcp,
  'swap-random-tcp': swapRandomTcp,
  idle: (rounds) => idleRack(Math.min(rounds, 3)),
  heap: () => heapGrowth(),
};

interface Options {
  readonly names: string[];
  readonly rounds: number;
  readonly json: string | undefined;
  readonly docs: boolean;
}

function parse(argv: readonly string[]): Options {
  const names: string[] = [];
  let rounds = 5;
  let json: string | undefined;
  let docs = false;
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? '';
    if (word === '--rounds') rounds = Number(argv[(i += 1)]);
    else if (word === '--json') json = argv[(i += 1)];
    else if (word === '--docs') docs = true;
    else if (word in BENCHES) names.push(word);
    else throw new Error(`unknown: ${word}; benches: ${Object.keys(BENCHES).join(', ')}`);
  }
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a whole number');
  return { names: names.length === 0 ? Object.keys(BENCHES) : names, rounds, json, docs };
}

/** Starts this program again on the second core, where the machine has one. */
function pinSelf(argv: readonly string[]): void {
  if (process.env['MEMRACK_BENCH_PINNED'] === '1') return;
  if (cpus().length < 2 || !has('taskset')) return;
  const command = ['-c', '1', process.execPath, '--expose-gc', process.argv[1] ?? '', ...argv];
  const env = { ...process.env, MEMRACK_BENCH_PINNED: '1' };
  const { status } = spawnSync('taskset', command, { stdio: 'inherit', env });
  process.exit(status ?? 1);
}

/** The figures have a page and options of their own. */
async function figures(argv: readonly string[]): Promise<never> {
  let options: ReturnType<typeof parseFigures>;
  try {
    options = parseFigures(argv.slice(1));
  } catch (error) {
    console.error((error as Error).message);
    process.exit(2);
  }
  pinSelf(argv);
  process.exit((await runFigures(options)) ? 0 : 1);
}

async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  if (argv[0] === 'figures') return figures(argv);
  let options: Options;
  try {
    options = parse(argv);
  } catch (error) {
    console.error((error as Error).message);
    process.exit(2);
  }
  pinSelf(argv);
  const results: Result[] = [];
  for (const name of options.names) {
    const result = await BENCHES[name]?.(options.rounds);
    if (result === undefined) continue;
    results.push(result);
    console.log(resultTable(result));
  }
  const report = { machine: machine(), rounds: options.rounds, results };
  if (options.json !== undefined) {
    writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`);
  }
  if (options.docs) writeDocs(results, options.rounds);
  process.exit(0);
}

function writeDocs(results: readonly Result[], rounds: number): void {
  const folder = join(projectRoot(), 'docs');
  const page = join(folder, 'benchmarks.md');
  const data = join(folder, 'benchmarks.json');
  // JSON has no NaN, which stands for what cannot be measured.
  const known = (_key: string, value: unknown): unknown => value ?? Number.NaN;
  const before = JSON.parse(readFileSync(data, 'utf8'), known) as Recorded[];
  const of = { machine: machine(), rounds, commit: commitOf(projectRoot()) };
  const fresh = results.map((result) => ({ ...of, ...result }));
  const all = merged(before, fresh, Object.keys(BENCHES));
  writeFileSync(page, resultsPage(readFileSync(page, 'utf8'), all));
  writeFileSync(data, `${JSON.stringify(all, undefined, 2)}\n`);
}

await main();
