/**
 * A proxy for datagrams that loses, doubles, reorders, damages, delays and repeats them, and cuts
 * ways off; streams to the same port go through as they are. A process of its own, which ends with
 * the one that started it. What it does to datagrams is drawn from a seed: what comes when is the
 * machine's, so a seed repeats a run roughly.
 *
 *     const proxy = await startFaultProxy({
 *       targets: [{ listen: '127.0.0.3:7000', to: '127.0.0.1:7000' }],
 *       seed: 1,
 *       toNode: { loss: 0.05 },
 *       pipeToClient: { bytesPerSecond: 1e6, queueBytesMax: 64_000 },
 *     });
 */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type {
  Command,
  Faults,
  ProxyOptions,
  ProxyStats,
  Told,
  Way,
} from './fault-proxy-control.js';

export type { Faults, ProxyOptions, ProxyStats } from './fault-proxy-control.js';

const MAIN = 'fault-proxy-main.js';

export class FaultProxy {
  readonly #child: ChildProcess;
  readonly #answers = new Map<number, (result: ProxyStats | number) => void>();
  #asked = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (told: Told) => {
      if (told.is !== 'answer') return;
      this.#answers.get(told.id)?.(told.result);
      this.#answers.delete(told.id);
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  #ask(command: Command): Promise<ProxyStats | number> {
    const id = this.#asked++;
    return new Promise((resolve, reject) => {
      this.#answers.set(id, resolve);
      this.#child.send({ ...command, id }, (error) => {
        if (error !== null) reject(error);
      });
    });
  }

  /** From here on; what is not named stays. */
  async set(way: Way | 'both', faults: Partial<Faults>): Promise<void> {
    const ways: Way[] = way === 'both' ? ['toNode', 'toClient'] : [way];
    for (const one of ways) await this.#ask({ do: 'set', way: one, faults });
  }

  async stats(): Promise<ProxyStats> {
    return (await this.#ask({ do: 'stats' })) as ProxyStats;
  }

  /** Counts of clients, and of pipes, begin anew. */
  async reset(): Promise<void> {
    await this.#ask({ do: 'reset' });
  }

  /** Sends up to `count` of the kept datagrams again, at once; returns how many there were. */
  async replay(way: Way, count: number): Promise<number> {
    return (await this.#ask({ do: 'replay', way, count })) as number;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}

/** Resolves when it takes datagrams and streams; rejects with the reason where it cannot. */
export async function startFaultProxy(options: ProxyOptions): Promise<FaultProxy> {
  const child = fork(await mainFile(), [JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('message', (told: Told) => {
      if (told.is === 'ready') resolve();
      else reject(new Error(told.is === 'failed' ? told.reason : 'a strange beginning'));
    });
    child.once('exit', () => reject(new Error('the fault proxy has ended')));
  });
  return new FaultProxy(child);
}

/** Where this file itself was compiled its neighbours were, too. */
async function mainFile(): Promise<string> {
  if (import.meta.filename.endsWith('.js')) return join(import.meta.dirname, MAIN);
  const { compiledSupport } = await import('./compile-support.js');
  return compiledSupport(MAIN);
}
