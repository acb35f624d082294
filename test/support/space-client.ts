/** Clients of one space in a process of their own, which ends with the one that started it. */
import { type ChildProcess, fork } from 'node:child_process';
import { compiledSupport } from './compile-support.js';
import type { CountReport } from './counting.js';
import type {
  SpaceAnswer,
  SpaceClientOptions,
  SpaceCommand,
  SpaceFailure,
  SpaceResult,
} from './space-client-control.js';

export type { SpaceClientOptions } from './space-client-control.js';

/** How an operation ended, and after how long by its client's clock. */
export interface Ended {
  readonly ms: number;
  /** Undefined: it was done. */
  readonly failure: SpaceFailure | undefined;
  readonly result: SpaceResult;
}

export class SpaceClient {
  readonly child: ChildProcess;
  readonly #answers = new Map<number, (answer: SpaceAnswer) => void>();
  #asked = 0;

  constructor(child: ChildProcess) {
    this.child = child;
    child.on('message', (answer: SpaceAnswer) => {
      this.#answers.get(answer.id)?.(answer);
      this.#answers.delete(answer.id);
    });
    child.once('exit', (code, signal) => {
      const result = { code: 'Gone', outcome: 'unknown', message: `ended: ${code ?? signal}` };
      for (const tell of this.#answers.values()) tell({ id: 0, isOk: false, ms: 0, result });
      this.#answers.clear();
    });
  }

  /** Never rejects. */
  ask(command: SpaceCommand): Promise<Ended> {
    const id = this.#asked++;
    return new Promise((resolve) => {
      this.#answers.set(id, ({ isOk, ms, result }) => {
        resolve({ ms, result, failure: isOk ? undefined : (result as SpaceFailure) });
      });
      this.child.send({ ...command, id }, () => undefined);
    });
  }

  async #must<T extends SpaceResult>(command: SpaceCommand): Promise<T> {
    const { failure, result } = await this.ask(command);
    if (failure !== undefined) throw new Error(`${failure.code}: ${failure.message}`);
    return result as T;
  }

  alloc(bytes: number): Promise<number> {
    return this.#must<number>({ do: 'alloc', bytes });
  }

  read(at: number, bytes: number): Promise<Uint8Array> {
    return this.#must<Uint8Array>({ do: 'read', at, bytes });
  }

  write(at: number, data: Uint8Array): Promise<number> {
    return this.#must<number>({ do: 'write', at, data });
  }

  count(command: Omit<Extract<SpaceCommand, { do: 'count' }>, 'do'>): Promise<CountReport> {
    return this.#must<CountReport>({ do: 'count', ...command });
  }

  /** The longest datagram that the path is known to take. */
  pathBytes(): Promise<number> {
    return this.#must<number>({ do: 'path' });
  }

  /** How many increments have ended so far. */
  counted(): Promise<number> {
    return this.#must<number>({ do: 'done' });
  }

  /** Has `count` end. */
  stopCounting(): Promise<number> {
    return this.#must<number>({ do: 'stop' });
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }
}

/** Resolves when all its clients are connected. */
export async function startSpaceClient(options: SpaceClientOptions): Promise<SpaceClient> {
  const child = fork(compiledSupport('space-client-main.js'), [JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [],
    serialization: 'advanced',
  });
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('exit', (code) => reject(new Error(`the client has ended with ${code}`)));
  });
  return new SpaceClient(child);
}
