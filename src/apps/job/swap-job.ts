/**
 * A program that knows nothing of Memrack (`sort`) at 100, 50 and 25 % of the memory it takes, the
 * rest in the rack: how much slower it is, beside swap on this machine's disk and in compressed
 * memory, and whether its output is the same.
 */

import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { MiB } from '../../base/units.js';
import { table } from '../terminal.js';
import { codeOf, type Confined, runConfined, withSwapFile, withZram } from './local-swap.js';

const CLI = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
const LINES = 200_000;
const LINE_BYTES = 400;
/** How many lines a line is out of its place, at most: as in a log of many writers. */
const DISORDER = 1_000;
const SHARES = [1, 0.5, 0.25] as const;
/** Beside what it takes, so that all of it is local. */
const ROOM = 1.15;
const SWAP_BYTES = 256 * MiB;
/** In the rack, for one copy. */
export const SWAP_JOB_NODE_BYTES = 160 * MiB;

export interface SwapJobRow {
  readonly share: number;
  readonly localBytes: number;
  readonly rack: Outcome;
  readonly file: Outcome;
  readonly zram: Outcome;
}

/** Seconds; undefined: the kernel does not have it. */
type Outcome = number | 'ended early' | undefined;

export interface SwapJobResult {
  /** Without a limit. */
  readonly seconds: number;
  readonly peakBytes: number;
  readonly rows: readonly SwapJobRow[];
  /** What was not as without a limit; empty: nothing. */
  readonly wrong: readonly string[];
}

/** Why it cannot be done here; undefined: it can. */
export function whyNoSwapJob(): string | undefined {
  if (process.getuid?.() !== 0) return 'it takes root';
  const missing = ['/dev/fuse', '/dev/loop-control'].find((path) => !existsSync(path));
  return missing === undefined ? undefined : `there is no ${missing}`;
}

export async function runSwapJob(url: string): Promise<SwapJobResult> {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-swap-job-'));
  try {
    return await new SwapJob(folder, url).run();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

class SwapJob {
  readonly #folder: string;
  readonly #url: string;
  readonly #wrong: string[] = [];

  constructor(folder: string, url: string) {
    this.#folder = folder;
    this.#url = url;
  }

  async run(): Promise<SwapJobResult> {
    this.#writeInput();
    const all = await runConfined(2 ** 40, this.#words);
    const right = await sumOf(this.#output);
    const rows: SwapJobRow[] = [];
    for (const share of SHARES) {
      const localBytes = Math.ceil(all.peakBytes * (share === 1 ? ROOM : share));
      const rack = await this.#inRack(localBytes);
      if ((await sumOf(this.#output)) !== right) {
        this.#wrong.push(`at ${share * 100} % its output is another`);
      }
      const confined = async (): Promise<Outcome> => {
        return outcomeOf(await runConfined(localBytes, this.#words));
      };
      const file = await withSwapFile(this.#folder, SWAP_BYTES, confined);
      const zram = await withZram(SWAP_BYTES, confined);
      rows.push({ share, localBytes, rack, file, zram });
    }
    const { seconds, peakBytes } = all;
    return { seconds, peakBytes, rows, wrong: this.#wrong };
  }

  get #output(): string {
    return join(this.#folder, 'sorted');
  }

  /** All of it is in memory at a time. */
  get #words(): string[] {
    const input = join(this.#folder, 'input');
    return ['sort', '--parallel=1', '-S', '1G', '-o', this.#output, input];
  }

  #writeInput(): void {
    const random = randomBytes(LINES * 4);
    const file = openSync(join(this.#folder, 'input'), 'wx');
    for (let line = 0; line < LINES; line++) {
      const place = line + (random.readUInt32LE(4 * line) % DISORDER);
      const text = `${String(place).padStart(10, '0')} `.padEnd(LINE_BYTES, `${line} `);
      writeSync(file, `${text}\n`);
    }
    closeSync(file);
  }

  async #inRack(localBytes: number): Promise<Outcome> {
    const report = join(this.#folder, 'report.json');
    const flags = ['--local', `${localBytes}B`, '--size', `${SWAP_BYTES}B`, '--host-swap'];
    const words = ['run', '--rack', this.#url, ...flags, '--report', report, '--', ...this.#words];
    const child = spawn(process.execPath, [CLI, ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
    let told = '';
    child.stderr.on('data', (text: Buffer) => (told += text.toString()));
    const code = await codeOf(child);
    if (code !== 0) this.#wrong.push(`in the rack it ended with ${code}: ${told.trim()}`);
    if (code !== 0) return 'ended early';
    return (JSON.parse(readFileSync(report, 'utf8')) as { readonly seconds: number }).seconds;
  }
}

function outcomeOf({ code, seconds }: Confined): Outcome {
  return code === 0 ? seconds : 'ended early';
}

async function sumOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** How many times slower each is than without a limit. */
export function swapJobTable({ seconds, rows }: SwapJobResult): string {
  const times = (value: Outcome): string => {
    if (value === undefined) return 'not here';
    return value === 'ended early' ? value : `${(value / seconds).toFixed(2)} x`;
  };
  return table(rows, [
    { title: 'local', value: ({ share }) => `${share * 100} %` },
    { title: 'in the rack', value: ({ rack }) => times(rack) },
    { title: 'swap file', value: ({ file }) => times(file) },
    { title: 'zram', value: ({ zram }) => times(zram) },
  ]);
}
