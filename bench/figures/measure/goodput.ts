/**
 * Figure 4.8: goodput of requests of 1 KiB against the number of clients. Each client has a socket
 * and ids of its own; all are in this process, on one core, and the node is on the other: more
 * processes than cores would measure who gets a turn.
 */

import type { Space } from '../../../src/apps/library.js';
import type { Series } from '../series.js';
import { type Client, connectClient, inWorld, type LinkName, type World } from './clients.js';
import { Curves } from './curves.js';

const LINKS: readonly LinkName[] = ['udp', 'tcp', 'shm'];
const CLIENTS = [1, 2, 4, 8, 16];
const BYTES = 1024;
const IN_FLIGHT = 64;
const TURN_MS = 200;
/** Of the space, to every client. */
const SHARE_BYTES = IN_FLIGHT * BYTES;

type Access = (space: Space, at: number, bytes: Uint8Array) => Promise<unknown>;

const ACCESSES: Readonly<Record<string, Access>> = {
  read: (space, at, bytes) => space.read(at, bytes),
  write: (space, at, bytes) => space.write(at, bytes),
};

export async function goodput(rounds: number): Promise<Series[]> {
  const curves = new Curves('4.8');
  await inWorld({ memory: '256MiB', links: LINKS }, async (world) => {
    const most = Math.max(...CLIENTS);
    const at = await world.space.alloc(most * SHARE_BYTES);
    await world.space.write(at, new Uint8Array(most * SHARE_BYTES).fill(7));
    const byLink = await crowdOf(world, most);
    try {
      for (let round = -1; round < rounds; round += 1) {
        for (const count of CLIENTS) {
          for (const [access, run] of Object.entries(ACCESSES)) {
            for (const clients of byLink.values()) {
              const some = clients.slice(0, count);
              const system = (some[0] as Client).system;
              const lone = await turn(some, at, 1, run);
              const many = await turn(some, at, IN_FLIGHT, run);
              if (round < 0) continue;
              curves.add(`${access}, one at a time`, system, count, lone);
              curves.add(`${access}, async`, system, count, many);
            }
          }
        }
      }
    } finally {
      for (const [first, ...others] of byLink.values()) {
        if (first !== undefined) for (const { rack } of others) await rack.close();
      }
    }
  });
  return curves.series(`each client has 1 or, asynchronously, ${IN_FLIGHT} requests under way`);
}

async function crowdOf({ bench, clients }: World, most: number): Promise<Map<LinkName, Client[]>> {
  const byLink = new Map<LinkName, Client[]>();
  for (const first of clients) {
    const all = [first];
    while (all.length < most) all.push(await connectClient(bench.url, first.link));
    byLink.set(first.link, all);
  }
  return byLink;
}

/** Gigabits a second of data, without any header. */
async function turn(
  clients: readonly Client[],
  at: number,
  inFlight: number,
  access: Access,
): Promise<number> {
  const start = performance.now();
  const end = start + TURN_MS;
  let done = 0;
  const lane = async (space: Space, from: number): Promise<void> => {
    const bytes = new Uint8Array(BYTES);
    while (performance.now() < end) {
      await access(space, from, bytes);
      done += 1;
    }
  };
  const lanes = clients.flatMap(({ space }, client) =>
    Array.from({ length: inFlight }, (_, i) => lane(space, at + client * SHARE_BYTES + i * BYTES)),
  );
  await Promise.all(lanes);
  return (done * BYTES * 8) / 1e6 / (performance.now() - start);
}
