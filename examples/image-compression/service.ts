/**
 * The service: it makes a collection for each client and starts a process for it, which is given
 * the tokens of its collection alone (Clio, section 4.6: one process per client, because clients'
 * photos must be protected from each other).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { connect, type ConnectOptions, type Rack, type Space } from 'memrack';
import type { Order, Start } from './client.ts';
import { createCollection, type Place } from './collection.ts';

export interface ServiceOptions {
  readonly url: string;
  /** How many images a collection holds. */
  readonly images: number;
  readonly link?: NonNullable<ConnectOptions['link']>;
  /** What stands before the program of each client: `taskset -c 1`, for measuring. */
  readonly launcher?: readonly string[];
}

export class Service {
  readonly #options: ServiceOptions;
  readonly #rack: Rack;
  readonly #space: Space;
  readonly #clients: ClientProcess[] = [];

  private constructor(options: ServiceOptions, rack: Rack, space: Space) {
    this.#options = options;
    this.#rack = rack;
    this.#space = space;
  }

  static async open(options: ServiceOptions): Promise<Service> {
    const rack = await connect(options.url);
    return new Service(options, rack, await rack.space('image-collections', { create: true }));
  }

  get clients(): readonly ClientProcess[] {
    return this.#clients;
  }

  /** A client more, with an empty collection. */
  async admit(): Promise<ClientProcess> {
    const place = await createCollection(this.#space, this.#options.images);
    const client = new ClientProcess(place, this.#options);
    this.#clients.push(client);
    return client;
  }

  /** Ends all clients and gives their memory back. */
  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.end()));
    for (const { place } of this.#clients) await this.#space.free(place.at);
    await this.#rack.close();
  }
}

type Answer = { readonly value?: unknown } | { readonly error: string };

interface Asked {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The process of a client, as the service sees it. */
export class ClientProcess {
  readonly place: Place;
  readonly #options: ServiceOptions;
  #child: ChildProcess | undefined;

  constructor(place: Place, options: ServiceOptions) {
    this.place = place;
    this.#options = options;
  }

  /** Undefined while there is none. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Rejects with what went wrong there, also when the process ends meanwhile. The next one gets a
   * new process: the collection is in remote memory and outlives it.
   */
  ask<T>(order: Order): Promise<T> {
    this.#child ??= this.#start();
    return this.#send(this.#child, order) as Promise<T>;
  }

  async end(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.disconnect();
    await ended;
  }

  #start(): ChildProcess {
    const { url, link = 'auto', launcher = [] } = this.#options;
    const [program = '', ...words] = [...launcher, process.execPath, clientFile(), url, link];
    const child = spawn(program, words, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
    });
    const asked: Asked[] = [];
    ASKED.set(child, asked);
    child.on('message', (answer: Answer) => {
      const first = asked.shift();
      if ('error' in answer) first?.reject(new Error(answer.error));
      else first?.resolve(answer.value);
    });
    const gone = (why: string): void => {
      if (this.#child === child) this.#child = undefined;
      for (const { reject } of asked.splice(0)) reject(new Error(why));
    };
    child.once('error', (error) => gone(`no process for a client: ${error.message}`));
    child.once('exit', (code, signal) => {
      gone(`the process of this client ended by ${signal ?? `code ${code}`}`);
    });
    this.#send(child, { tokens: this.place.tokens }).catch(() => child.kill('SIGKILL'));
    return child;
  }

  #send(child: ChildProcess, message: Order | Start): Promise<unknown> {
    return new Promise((resolve, reject) => {
      ASKED.get(child)?.push({ resolve, reject });
      child.send(message, (error) => {
        if (error !== null) reject(error);
      });
    });
  }
}

/** What each process was asked and has not answered, in order. */
const ASKED = new WeakMap<ChildProcess, Asked[]>();

/** Beside this file: as it was written where Node runs it so, else as it was built. */
function clientFile(): string {
  const written = fileURLToPath(new URL('client.ts', import.meta.url));
  return existsSync(written) ? written : written.replace(/\.ts$/, '.js');
}
