/**
 * Figure 4.16: the example of image compression with 1 to 200 clients, a process each with a
 * protected collection of its own. By turns one client is at work at a time, whatever their number:
 * what is seen is what a client costs by being there. All at once they share one processor.
 */

import { admitUntil } from '../../../examples/image-compression/measure.js';
import { PHOTOS } from '../../../examples/image-compression/photos.js';
import type { RunTimes } from '../../../examples/image-compression/client.js';
import { type ClientProcess, Service } from '../../../examples/image-compression/service.js';
import { pinned, spread } from '../../harness.js';
import { startRack } from '../../rack.js';
import type { Series } from '../series.js';
import { type LinkName, systemOver } from './clients.js';
import { Curves } from './curves.js';

export const IMAGE_CLIENTS = [1, 10, 50, 100, 200];
const LINKS: readonly LinkName[] = ['tcp', 'shm'];
/** That each client compresses and decompresses, and that its collection holds. */
export const IMAGES = 20;
const QUALITY = 80;
/** Of those that take turns, so many do, evenly chosen among all. */
const AT_TURNS = 10;
/** 6 MiB for each client: 20 images of 192 KiB, and 64 KiB for what becomes of each. */
const MEMORY = '1536MiB';

/** Both links at the same time would be 400 processes; so one comes after the other. */
export async function imageCompression(rounds: number): Promise<Series[]> {
  const curves = new Curves('4.16');
  for (const link of LINKS) await measureLink(curves, link, rounds);
  return curves.series(
    `${IMAGES} images of 256 x 256 pixels per client; all clients on one processor`,
  );
}

async function measureLink(curves: Curves, link: LinkName, rounds: number): Promise<void> {
  const bench = await startRack({ nodes: 1, memory: MEMORY });
  const launcher = pinned(1, [])
    .flat()
    .filter((word) => word !== '');
  try {
    const service = await Service.open({ url: bench.url, images: IMAGES, link, launcher });
    try {
      for (const count of IMAGE_CLIENTS) {
        await admitUntil(service, count, { collection: IMAGES, photos: PHOTOS });
        for (let round = -1; round < rounds; round += 1) {
          const turns = await byTurns(service.clients, count);
          const together = await runAll(service.clients.slice(0, count));
          if (round < 0) continue;
          const system = systemOver(link);
          curves.add(
            'run time, by turns',
            system,
            count,
            middle(turns, ({ ms }) => ms),
          );
          const wait = middle(turns, ({ remoteMs }) => remoteMs / IMAGES);
          curves.add('waiting for memory, by turns', system, count, wait);
          curves.add(
            'run time, all at once',
            system,
            count,
            middle(together, ({ ms }) => ms),
          );
        }
      }
    } finally {
      await service.close();
    }
  } finally {
    await bench.close();
  }
}

async function byTurns(clients: readonly ClientProcess[], count: number): Promise<RunTimes[]> {
  const times: RunTimes[] = [];
  const turns = Math.min(count, AT_TURNS);
  for (let turn = 0; turn < turns; turn += 1) {
    const client = clients[Math.floor((turn * count) / turns)] as ClientProcess;
    times.push(...(await runAll([client])));
  }
  return times;
}

function runAll(clients: readonly ClientProcess[]): Promise<RunTimes[]> {
  const order = { do: 'run', images: IMAGES, quality: QUALITY } as const;
  return Promise.all(clients.map((client) => client.ask<RunTimes>(order)));
}

function middle(times: readonly RunTimes[], of: (times: RunTimes) => number): number {
  return spread(times.map(of)).median;
}
