// The processes of the stop loop's clients, and what their ledgers say.
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../cli.js';
import { until } from '../rack.js';

const SCRIPT = join(ROOT, 'test/support/stop/client.mjs');
const START_MS = 60_000;
const END_MS = 60_000;
/** Behind the nodes and the test, which would not get a word in otherwise. */
const NICE = 10;
/** Doubles per item of a ledger: see ledger.mjs. */
const FIELDS = 3;

/** Which item of a ledger is for what. */
export interface Items {
  readonly counters: readonly number[];
  readonly locks: readonly number[];
  readonly registers: readonly number[];
  readonly multi: number;
  readonly count: number;
}

export interface Plan {
  readonly url: string;
  readonly space: string;
  readonly pageBytes: number;
  readonly items: Items;
  readonly [more: string]: unknown;
}

export interface Entry {
  readonly attempted: number;
  readonly acknowledged: number;
  /** Of counters: refused. Of what has one writer: what its former life may have written late. */
  readonly third: number;
}

export class StopClient {
  readonly number: number;
  readonly link: string;
  readonly #plan: Plan;
  readonly #ledger: string;
  #child: ChildProcess | undefined;
  /** What was written by one that ended for a reason of its own. */
  #failure: string | undefined;
  #told: { touches: number; operations: number } | undefined;
  lives = 0;

  constructor(number: number, link: string, plan: Plan, folder: string) {
    this.number = number;
    this.link = link;
    this.#plan = plan;
    this.#ledger = join(folder, `client-${number}`);
    writeFileSync(this.#ledger, new Uint8Array(plan.items.count * FIELDS * 8));
  }

  /** Resolves when it is at work. */
  async start(): Promise<void> {
    const { link, number } = this;
    const isOwner = number === 0;
    const plan = { ...this.#plan, link, number, isOwner, ledger: this.#ledger };
    const child = fork(SCRIPT, [JSON.stringify(plan), String(number)], {
      cwd: ROOT,
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    });
    this.#child = child;
    this.lives += 1;
    let isReady = false;
    let said = '';
    child.stderr?.on('data', (text: Buffer) => (said += text.toString()));
    child.on('message', (message) => {
      if (message === 'ready') isReady = true;
      else this.#told = message as { touches: number; operations: number };
    });
    child.once('close', (code, signal) => {
      if (this.#child === child) this.#child = undefined;
      if (code === 0 || signal === 'SIGKILL') return;
      this.#failure = `client ${number} (${link}) ended with ${code ?? signal}: ${said}`;
    });
    setPriority(child.pid ?? 0, NICE);
    // It may be killed before it is ready, too.
    await until(START_MS, () => isReady || this.#child !== child || undefined);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    this.#child?.kill(name);
  }

  /** Throws where it has ended by itself, or has seen what must never be. */
  check(): void {
    if (this.#failure !== undefined) throw new Error(this.#failure);
  }

  /** Tells it to end, and what it has done; it ends by itself. */
  async end(): Promise<{ touches: number; operations: number }> {
    this.#child?.send('end');
    await until(END_MS, () => (this.#child === undefined ? true : undefined));
    this.check();
    return this.#told ?? { touches: 0, operations: 0 };
  }

  kill(): Promise<unknown> {
    this.signal('SIGKILL');
    return until(END_MS, () => (this.#child === undefined ? true : undefined));
  }

  read(): Entry[] {
    const values = new Float64Array(new Uint8Array(readFileSync(this.#ledger)).buffer);
    return Array.from({ length: this.#plan.items.count }, (_, item) => {
      const [attempted = 0, acknowledged = 0, third = 0] = values.subarray(item * FIELDS);
      return { attempted, acknowledged, third };
    });
  }
}
