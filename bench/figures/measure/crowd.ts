/**
 * Figure 4.4: latency against the number of clients, each with its own socket and ids, many in a
 * process. The load of all together is the same however many there are: one operation at a time, at
 * fixed times, each through another client in turn. So what is seen is what a client costs by being
 * there, and not what it costs to serve more requests.
 *
 * `node crowd.js URL` is one such process: orders come as messages, and each is answered.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { pinned } from '../../harness.js';
import type { Series } from '../series.js';
import { type Client, connectClient, inWorld, type LinkName, systemOver } from './clients.js';
import { Curves } from './curves.js';
import { median, p99, pacedLatencies } from './latency.js';

const COUNTS = [1, 4, 16, 64, 256, 1000];
const LINKS: readonly LinkName[] = ['udp', 'tcp'];
const PROCESSES = 8;
const PER_SECOND = 3_000;
/** Of every turn, half of them reads. */
const OPERATIONS = 2_000;
const BYTES = 16;
const LINE = 64;
const CONNECTED_AT_ONCE = 4;

interface Order {
  readonly link: LinkName;
  /** So many of this process take turns. */
  readonly clients: number;
  /** 0: only connects. */
  readonly operations: number;
  readonly perSecond: number;
  readonly at: number;
  readonly idleStreamMs?: number;
}

/** Microseconds of each. */
export interface Answer {
  readonly reads: readonly number[];
  readonly writes: readonly number[];
}

export async function byClients(rounds: number): Promise<Series[]> {
  const curves = new Curves('4.4');
  await inWorld({ memory: '256MiB', links: ['tcp'] }, async ({ bench, space }) => {
    const at = await space.alloc(2 ** 21);
    await space.write(at, new Uint8Array(2 ** 16));
    const crowd = new Crowd(bench.url, PROCESSES);
    const load = { operations: OPERATIONS, perSecond: PER_SECOND, at };
    try {
      for (const count of COUNTS) {
        for (const link of LINKS) await crowd.grow({ link, count, at });
        for (let round = -1; round < rounds; round += 1) {
          for (const link of LINKS) {
            const found = await crowd.turn({ ...load, link, count });
            if (round >= 0) note(curves, systemOver(link), count, found);
          }
        }
      }
    } finally {
      crowd.close();
    }
  });
  return curves.series(
    `${PER_SECOND} operations a second of all clients together, each of another client in turn`,
  );
}

function note(curves: Curves, system: string, count: number, { reads, writes }: Answer): void {
  for (const [panel, latencies] of Object.entries({ read: reads, write: writes })) {
    const sorted = Float64Array.from(latencies).sort();
    curves.add(panel, `${system}, median`, count, median(sorted));
    curves.add(panel, `${system}, p99`, count, p99(sorted));
  }
}

/** How many of `count` clients are in the process `i` of so many. */
function shareOf(count: number, processes: number, i: number): number {
  return Math.floor((count + processes - 1 - i) / processes);
}

/** So many clients. */
interface Load {
  readonly link: LinkName;
  readonly count: number;
  /** Each has a line of 64 bytes from here on; at least as many as there are in a process. */
  readonly at: number;
  /** Of those that have to be connected; that of `connect` when missing. */
  readonly idleStreamMs?: number;
}

export class Crowd {
  readonly #members: readonly Member[];

  constructor(url: string, processes: number) {
    this.#members = Array.from({ length: processes }, () => new Member(url));
  }

  /** Until there are so many clients of this link, in all processes at once. */
  async grow({ count, ...wanted }: Load): Promise<void> {
    const growing = this.#members.map((member, i) => {
      const clients = shareOf(count, this.#members.length, i);
      return member.ask({ ...wanted, clients, operations: 0, perSecond: 0 });
    });
    await Promise.all(growing);
  }

  /** The processes do their shares one after the other, so that none disturbs another. */
  async turn(load: Load & { operations: number; perSecond: number }): Promise<Answer> {
    const { link, count, operations, perSecond, at } = load;
    const used = this.#members.slice(0, Math.min(count, this.#members.length));
    const reads: number[] = [];
    const writes: number[] = [];
    for (const [i, member] of used.entries()) {
      const clients = shareOf(count, used.length, i);
      const share = Math.round(operations / used.length);
      const answer = await member.ask({ link, clients, operations: share, perSecond, at });
      reads.push(...answer.reads);
      writes.push(...answer.writes);
    }
    return { reads, writes };
  }

  close(): void {
    for (const member of this.#members) member.close();
  }
}

/** One process of the crowd, as its starter sees it. */
class Member {
  readonly #child: ChildProcess;

  constructor(url: string) {
    const file = fileURLToPath(import.meta.url);
    const [program, args] = pinned(1, [process.execPath, file, url]);
    this.#child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  }

  ask(order: Order): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const ended = (code: number | null): void =>
        reject(new Error(`a process of clients ended with ${code}`));
      this.#child.once('exit', ended);
      this.#child.once('message', (answer) => {
        this.#child.off('exit', ended);
        resolve(answer as Answer);
      });
      this.#child.send(order);
    });
  }

  close(): void {
    this.#child.removeAllListeners('exit');
    this.#child.kill('SIGKILL');
  }
}

/** First every client reads, then every client writes, and so on. */
async function obey(clients: readonly Client[], order: Order): Promise<Answer> {
  const { operations, perSecond, at } = order;
  const source = new Uint8Array(BYTES).fill(3);
  const target = new Uint8Array(BYTES);
  const isRead = (i: number): boolean => Math.floor(i / clients.length) % 2 === 0;
  const latencies = await pacedLatencies(operations, perSecond, (i) => {
    const which = i % clients.length;
    const { space } = clients[which] as Client;
    const place = at + which * LINE;
    return isRead(i) ? space.read(place, target) : space.write(place, source);
  });
  const of = (wanted: boolean): number[] => [...latencies].filter((_, i) => isRead(i) === wanted);
  return { reads: of(true), writes: of(false) };
}

async function main(url: string): Promise<void> {
  const byLink = new Map<LinkName, Client[]>();
  const target = new Uint8Array(BYTES);
  const serve = async (order: Order): Promise<Answer> => {
    const clients = byLink.get(order.link) ?? [];
    byLink.set(order.link, clients);
    while (clients.length < order.clients) {
      const count = Math.min(CONNECTED_AT_ONCE, order.clients - clients.length);
      const connecting = Array.from({ length: count }, () =>
        connectClient(url, order.link, order.idleStreamMs),
      );
      for (const client of await Promise.all(connecting)) {
        await client.space.read(order.at, target);
        clients.push(client);
      }
    }
    if (order.operations === 0) return { reads: [], writes: [] };
    return obey(clients.slice(0, order.clients), order);
  };
  process.on('message', (order: Order) => {
    serve(order).then(
      (answer) => process.send?.(answer),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
  process.once('disconnect', () => process.exit(0));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv[2] ?? '');
