/**
 * Many clients count over a network that mistreats their datagrams; then what the words hold is
 * compared with what the clients were told, and what the network kept is sent again.
 */
import { type CountReport, LINE_BYTES, type WordReport } from './counting.js';
import type { Faults, ProxyStats } from './fault-proxy.js';
import type { LossyRack } from './lossy-rack.js';

export interface CountingRunOptions {
  readonly processes: number;
  readonly clientsEach: number;
  /** Lines that all clients increment, and that each has for itself. */
  readonly shared: number;
  readonly own: number;
  readonly increments: number;
  readonly timeoutMs: number;
}

export interface CountingResult {
  /** What is wrong; empty when all is as it was told. */
  readonly problems: string[];
  readonly acknowledged: number;
  readonly unknown: number;
  readonly late: number;
  readonly starved: number;
  readonly refused: number;
  readonly slow: number;
  readonly msMost: number;
  readonly seconds: number;
  readonly replayed: number;
  readonly stats: ProxyStats;
  readonly reasons: Record<string, number>;
}

/** Every fault with this probability, on either way. */
export function allFaults(rate: number): Partial<Faults> {
  return {
    loss: rate,
    duplication: rate,
    reordering: rate,
    corruption: rate,
    delay: rate,
    keeping: 0.2,
  };
}

/** No datagram has a deadline further ahead; those of the last moment have passed then, too. */
const DEADLINES_MS = 2000;
const REPLAYED = 5000;
const WORD_BYTES = 8;

export async function countThrough(
  lossy: LossyRack,
  options: CountingRunOptions,
): Promise<CountingResult> {
  const { processes, clientsEach, shared, own, increments, timeoutMs } = options;
  const lines = shared + processes * clientsEach * own;
  const at = await lossy.direct.alloc(lines * LINE_BYTES);
  const clients = await Promise.all(
    Array.from({ length: processes }, () => {
      return lossy.client({ clients: clientsEach, timeoutMs });
    }),
  );
  const began = performance.now();
  const share = Math.ceil(increments / processes);
  const reports = await Promise.all(
    clients.map((client, i) => {
      const firstOwn = shared + i * clientsEach * own;
      return client.count({ at, shared, own, firstOwn, increments: share });
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  const problems = problemsOf(reports, await memory(lossy, at, lines));
  const replayed = await replay(lossy, at, lines, problems);
  for (const client of clients) await client.kill();
  return { problems, replayed, seconds, stats: await lossy.proxy.stats(), ...sumOf(reports) };
}

function memory(lossy: LossyRack, at: number, lines: number): Promise<Uint8Array> {
  return lossy.direct.read(at, lines * LINE_BYTES);
}

/** Old datagrams change nothing: not a byte of it. */
async function replay(
  lossy: LossyRack,
  at: number,
  lines: number,
  problems: string[],
): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, DEADLINES_MS));
  const before = Buffer.from(await memory(lossy, at, lines));
  let replayed = 0;
  for (const way of ['toNode', 'toClient'] as const) {
    replayed += await lossy.proxy.replay(way, REPLAYED);
  }
  // It is all under way already, and what is asked next goes another way.
  await new Promise((resolve) => setTimeout(resolve, DEADLINES_MS / 2));
  if (!before.equals(await memory(lossy, at, lines))) problems.push('old datagrams changed memory');
  return replayed;
}

function sumOf(reports: readonly CountReport[]) {
  const sum = (of: (report: CountReport) => number): number => {
    return reports.reduce((total, report) => total + of(report), 0);
  };
  const ofWords = (key: 'acknowledged' | 'unknown'): number => {
    return sum(({ words }) => words.reduce((total, word) => total + word[key], 0));
  };
  const reasons: Record<string, number> = {};
  for (const report of reports) {
    for (const [reason, count] of Object.entries(report.reasons)) {
      reasons[reason] = (reasons[reason] ?? 0) + count;
    }
  }
  return {
    acknowledged: ofWords('acknowledged'),
    unknown: ofWords('unknown'),
    late: sum(({ late }) => late),
    starved: sum(({ starved }) => starved),
    refused: sum(({ refused }) => refused),
    slow: sum(({ slow }) => slow),
    msMost: Math.max(...reports.map(({ msMost }) => msMost)),
    reasons,
  };
}

/** Of each word: its value is between what was acknowledged and that plus what is unknown. */
export function problemsOf(reports: readonly CountReport[], bytes: Uint8Array): string[] {
  const problems: string[] = [];
  const values = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const twice = reports.reduce((total, report) => total + report.twice, 0);
  if (twice > 0) problems.push(`${twice} values were told twice to one process`);
  const words = new Map<number, WordReport[]>();
  for (const word of reports.flatMap((report) => report.words)) {
    words.set(word.line, [...(words.get(word.line) ?? []), word]);
  }
  for (const [line, ofLine] of words) {
    const value = Number(values.getBigUint64(line * LINE_BYTES, true));
    const acknowledged = ofLine.reduce((total, word) => total + word.acknowledged, 0);
    const unknown = ofLine.reduce((total, word) => total + word.unknown, 0);
    if (value < acknowledged || value > acknowledged + unknown) {
      const told = `${acknowledged} acknowledged and ${unknown} unknown`;
      problems.push(`the word of line ${line} holds ${value}, of ${told}`);
    }
    const seen = union(ofLine.map((word) => word.seen));
    const distinct = bitsOf(seen, seen.length * 8);
    if (distinct < acknowledged) {
      problems.push(`line ${line}: ${acknowledged - distinct} values were told to two clients`);
    }
    if (bitsOf(seen, value) < distinct) problems.push(`line ${line}: values above ${value} told`);
  }
  // Nothing but the words may have been written to.
  for (let i = 0; i < bytes.length; i++) {
    if (i % LINE_BYTES < WORD_BYTES || bytes[i] === 0) continue;
    problems.push(`byte ${i} was changed, and nobody has written there`);
    break;
  }
  return problems;
}

function union(sets: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(Math.max(...sets.map(({ length }) => length)));
  for (const set of sets) {
    for (let i = 0; i < set.length; i++) all[i] = (all[i] as number) | (set[i] as number);
  }
  return all;
}

/** How many of the first `limit` bits are set. */
function bitsOf(set: Uint8Array, limit: number): number {
  let bits = 0;
  for (let i = 0; i < Math.min(limit, set.length * 8); i++) {
    if (((set[i >> 3] as number) & (1 << (i & 7))) !== 0) bits++;
  }
  return bits;
}

export function tellCounting(seed: number, result: CountingResult): void {
  const { stats, acknowledged, unknown, seconds, late, starved, refused, slow, msMost } = result;
  const rate = Math.round(acknowledged / seconds);
  process.stderr.write(
    `counting: seed ${seed}, ${acknowledged} acknowledged in ${seconds.toFixed(1)} s ` +
      `(${rate} a second), ${unknown} unknown, ${refused} refused, ${late} late ` +
      `(${starved} by want of a processor), ${slow} above a second, ` +
      `longest ${msMost.toFixed(0)} ms, ${result.replayed} old datagrams sent again\n` +
      `  to the node   ${JSON.stringify(stats.toNode)}\n` +
      `  to the client ${JSON.stringify(stats.toClient)}\n` +
      `  missed ${stats.missed}, ${stats.cpuMs.toFixed(0)} ms of processor\n` +
      `  ${JSON.stringify(result.reasons)}\n`,
  );
}
