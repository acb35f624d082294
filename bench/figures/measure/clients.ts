/** A rack of its own for a figure, and clients of it in this process, one for each link. */

import {
  connect,
  type ConnectOptions,
  MemrackError,
  type Rack,
  type Space,
} from '../../../src/apps/library.js';
import { type BenchRack, startRack } from '../../rack.js';

export const LINKS = ['udp', 'tcp', 'shm'] as const;

export type LinkName = (typeof LINKS)[number];

/** By which name the figures know our code over this link. */
export function systemOver(link: LinkName): string {
  return `Memrack over ${link}`;
}

export interface Client {
  readonly link: LinkName;
  readonly system: string;
  readonly rack: Rack;
  readonly space: Space;
}

export const SPACE = 'figures';
/** On a machine with other work a turn may stand still for long, and shall not fail for that. */
const TIMEOUT_MS = 60_000;

/** Where `idleStreamMs` is given, as that of `connect`. */
export async function connectClient(
  url: string,
  link: LinkName,
  idleStreamMs?: number,
): Promise<Client> {
  const options = idleStreamMs === undefined ? { link } : { link, idleStreamMs };
  const rack = await connectInTime(url, options, performance.now() + TIMEOUT_MS);
  const space = await rack.space(SPACE, { create: true });
  return { link, system: systemOver(link), rack, space };
}

/** `connect` gives up after some seconds; where many connect at once that can be too soon. */
async function connectInTime(url: string, options: ConnectOptions, endMs: number): Promise<Rack> {
  for (;;) {
    try {
      return await connect(url, { ...options, timeoutMs: TIMEOUT_MS });
    } catch (error) {
      const isUnanswered = error instanceof MemrackError && error.code === 'Unavailable';
      if (!isUnanswered || performance.now() > endMs) throw error;
    }
  }
}

export interface World {
  readonly bench: BenchRack;
  readonly clients: readonly Client[];
  /** For what has to be prepared: that over tcp if there is one. */
  readonly space: Space;
}

export interface WorldOptions {
  /** What the one memory node lends. */
  readonly memory: string;
  readonly pageBytes?: string;
  readonly links?: readonly LinkName[];
}

/** Ends clients and rack whatever comes of the work. */
export async function inWorld<T>(
  { memory, pageBytes, links = LINKS }: WorldOptions,
  work: (world: World) => Promise<T>,
): Promise<T> {
  const extra = pageBytes === undefined ? [] : ['--page-bytes', pageBytes];
  const bench = await startRack({ nodes: 1, memory, extra });
  const clients: Client[] = [];
  try {
    for (const link of links) clients.push(await connectClient(bench.url, link));
    const preparing = clients.find(({ link }) => link === 'tcp') ?? (clients[0] as Client);
    return await work({ bench, clients, space: preparing.space });
  } finally {
    for (const { rack } of clients) await rack.close();
    await bench.close();
  }
}

/** `count` pages side by side, each with its frame; the address of the first. */
export async function touchedPages(
  space: Space,
  count: number,
  pageBytes: number,
): Promise<number> {
  const at = await space.alloc(count * pageBytes);
  const word = new Uint8Array(8).fill(1);
  for (let page = 0; page < count; page += 512) {
    const items = Array.from({ length: Math.min(512, count - page) }, (_, i) => ({
      at: at + (page + i) * pageBytes,
      from: word,
    }));
    await space.writeMany(items);
  }
  return at;
}
