/**
 * Figure 4.5: latency against the number of pages that are used in turn, and against the number of
 * windows. Figure 4.6: what an access costs that finds its way cold, or takes a page's first touch.
 */

import type { RangeWindow, Space } from '../../../src/apps/library.js';
import type { Series } from '../series.js';
import { type Client, connectClient, inWorld, touchedPages, type World } from './clients.js';
import { Curves } from './curves.js';
import { loneLatencies, median, scattered } from './latency.js';

const PAGE_BYTES = 2 ** 16;
const PAGE_EXPONENTS = [0, 2, 4, 6, 8, 10, 12, 14];
const PAGES_MOST = 2 ** 14;
const WINDOW_EXPONENTS = [0, 2, 4, 6, 8, 10, 12];
const WINDOWS_MOST = 2 ** 12;
const WINDOW_BYTES = 64;
const OPENED_AT_ONCE = 64;
const OPERATIONS = 3_000;
const BYTES = 16;

export async function byPagesAndWindows(rounds: number): Promise<Series[]> {
  const curves = new Curves('4.5');
  const world = { memory: '1152MiB', pageBytes: '64KiB' };
  await inWorld(world, async ({ clients, space }) => {
    const at = await touchedPages(space, PAGES_MOST, PAGE_BYTES);
    const tokens = await openWindows(clients, at);
    const windows = new Map<Client, RangeWindow[]>();
    for (const client of clients) windows.set(client, await windowsOf(client, tokens));
    const target = new Uint8Array(BYTES);
    for (let round = -1; round < rounds; round += 1) {
      for (const exponent of PAGE_EXPONENTS) {
        for (const { system, space } of clients) {
          const next = scattered();
          const read = (): Promise<unknown> =>
            space.read(at + next(2 ** exponent) * PAGE_BYTES, target);
          const value = median(await loneLatencies(OPERATIONS, read));
          if (round >= 0) curves.add('pages', `${system}, read`, 2 ** exponent, value);
        }
      }
      for (const exponent of WINDOW_EXPONENTS) {
        for (const client of clients) {
          const next = scattered();
          const mine = windows.get(client) ?? [];
          const read = (): Promise<unknown> => {
            const window = mine[next(2 ** exponent)] as RangeWindow;
            return window.read(window.at, target);
          };
          const value = median(await loneLatencies(OPERATIONS, read));
          if (round >= 0) curves.add('regions', `${client.system}, read`, 2 ** exponent, value);
        }
      }
    }
  });
  return curves.series('median of lone 16 B reads at places drawn at random');
}

/**
 * Each over a line of its own, side by side: so their pages are few. The clients open them in turn,
 * as a node gives each a limited number.
 */
async function openWindows(clients: readonly Client[], at: number): Promise<string[]> {
  const tokens: string[] = [];
  for (let first = 0; first < WINDOWS_MOST; first += OPENED_AT_ONCE) {
    const opening = Array.from({ length: OPENED_AT_ONCE }, (_, i) => {
      const { space } = clients[i % clients.length] as Client;
      return space.window(at + (first + i) * WINDOW_BYTES, WINDOW_BYTES, 'rw');
    });
    for (const window of await Promise.all(opening)) tokens.push(window.token);
  }
  return tokens;
}

async function windowsOf({ rack }: Client, tokens: readonly string[]): Promise<RangeWindow[]> {
  const windows: RangeWindow[] = [];
  for (const token of tokens) windows.push(await rack.window(token));
  return windows;
}

/** In the order of the figure's labels. */
const HIT = 0;
const MISS = 1;
const FIRST_TOUCH = 2;
const REGION_MISS = 3;

const FRESH_PAGES = 512;
const NEW_CLIENTS = 8;

/** What is done to `BYTES` at an address. */
type Access = (space: Space, at: number) => Promise<unknown>;

export async function hitAndMiss(rounds: number): Promise<Series[]> {
  const curves = new Curves('4.6');
  const source = new Uint8Array(BYTES).fill(3);
  const target = new Uint8Array(BYTES);
  const accesses: Record<string, Access> = {
    read: (space, at) => space.read(at, target),
    write: (space, at) => space.write(at, source),
  };
  await inWorld({ memory: '1280MiB', pageBytes: '64KiB' }, async (world) => {
    const at = await touchedPages(world.space, PAGES_MOST, PAGE_BYTES);
    for (let round = -1; round < rounds; round += 1) {
      for (const [panel, access] of Object.entries(accesses)) {
        for (const client of world.clients) {
          const found = await oneRound(world, client, access, at);
          if (round < 0) continue;
          for (const [label, value] of found) curves.add(panel, client.system, label, value);
        }
      }
    }
  });
  return curves.series('median of lone operations on 16 B, one after the other');
}

async function oneRound(
  { bench, space: prepared }: World,
  { space, link }: Client,
  access: Access,
  at: number,
): Promise<[number, number][]> {
  const next = scattered();
  const anywhere = (): number => at + next(PAGES_MOST) * PAGE_BYTES;
  const hit = await loneLatencies(OPERATIONS, () => access(space, at));
  const miss = await loneLatencies(OPERATIONS, () => access(space, anywhere()));
  const fresh = await prepared.alloc(FRESH_PAGES * PAGE_BYTES);
  const touch = (i: number): Promise<unknown> => access(space, fresh + i * PAGE_BYTES);
  const first = await loneLatencies(FRESH_PAGES, touch);
  await prepared.free(fresh);
  const regions = new Float64Array(NEW_CLIENTS);
  for (let i = 0; i < NEW_CLIENTS; i += 1) {
    const newcomer = await connectClient(bench.url, link);
    const [latency = Number.NaN] = await loneLatencies(1, () => access(newcomer.space, at));
    regions[i] = latency;
    await newcomer.rack.close();
  }
  return [
    [HIT, median(hit)],
    [MISS, median(miss)],
    [FIRST_TOUCH, median(first)],
    [REGION_MISS, median(regions.sort())],
  ];
}
