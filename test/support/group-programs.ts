// Programs in a control group, and one that takes memory there.
import { type ChildProcess, spawn } from 'node:child_process';
import { ROOT } from './cli.js';
import type { MemoryGroup } from './memory-group.js';

const MIB = 1024 * 1024;

/** Those that were started and may still run. */
export class GroupPrograms {
  readonly #children: ChildProcess[] = [];

  /** What it says first is awaited; in the group from its first instruction on, if there is one. */
  async start(says: string, args: readonly string[], group?: MemoryGroup): Promise<ChildProcess> {
    const enter = 'if [ -n "$0" ]; then echo $$ > "$0"; fi && exec "$@"';
    const words = ['-c', enter, group?.processes ?? '', process.execPath, ...args];
    const child = spawn('sh', words, { cwd: ROOT, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#children.push(child);
    await said(child, says);
    return child;
  }

  /** All of them, the last one first. */
  async end(): Promise<void> {
    for (const child of this.#children.splice(0).reverse()) await endProgram(child);
  }
}

export function endProgram(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.stdin?.end();
    child.kill('SIGTERM');
  });
}

/** All that it has said from now on, when that contains `what`. */
export function said(child: ChildProcess, what: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (piece: Buffer) => {
      text += piece.toString();
      if (text.includes(what)) resolve(text);
    });
    child.once('exit', (code, signal) => reject(new Error(`ended: ${code ?? signal}: ${text}`)));
  });
}

export interface Taking {
  readonly takenMib: number;
  /** How often each MiB is hashed. */
  readonly rounds: number;
}

export interface Taken {
  readonly ms: number;
  /** Keeps what it has taken until it is ended. */
  readonly by: ChildProcess;
}

/** A program that takes memory, works on each MiB of it, and says how long all of that took. */
export async function takeMemory(
  programs: GroupPrograms,
  taking: Taking,
  group: MemoryGroup,
): Promise<Taken> {
  const by = await programs.start('ready', ['-e', takerProgram(taking)], group);
  const taken = said(by, ' ms');
  by.stdin?.write('go');
  return { ms: Number(/in (\d+) ms/.exec(await taken)?.[1]), by };
}

const takerProgram = ({ takenMib, rounds }: Taking): string => `
  const { createHash } = require('node:crypto');
  const kept = [];
  const started = { ms: 0 };
  const take = () => {
    const piece = Buffer.alloc(${MIB}, kept.length + 1);
    for (let round = 0; round < ${rounds}; round++) {
      piece.set(createHash('sha512').update(piece).digest(), 64 * round);
    }
    kept.push(piece);
    if (kept.length < ${takenMib}) return void setImmediate(take);
    process.stdout.write('taken in ' + Math.round(performance.now() - started.ms) + ' ms\\n');
  };
  process.stdin.once('data', () => { started.ms = performance.now(); take(); });
  process.stdin.once('end', () => process.exit(0));
  process.stdout.write('ready');
`;
