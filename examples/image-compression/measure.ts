/** Clients that compress and decompress all at the same time: how long each of them takes. */
import type { RunTimes } from './client.ts';
import type { Service } from './service.ts';

export interface Measure {
  /** How many clients at a time, one number after the other. */
  readonly counts: readonly number[];
  /** Of each client. */
  readonly images: number;
  /** How many a collection holds; a client goes through it in turn. */
  readonly collection: number;
  readonly quality: number;
  readonly photos: string;
}

/** Less than that is no JPEG of the same picture. */
const LEAST_LIKE_DB = 25;

export async function measure(service: Service, wanted: Measure): Promise<void> {
  const { images, quality } = wanted;
  console.log(`${images} images of 256 x 256 pixels each, compressed and decompressed`);
  console.log('clients   run time   of it remote   compressed to   worst likeness');
  for (const count of [...wanted.counts].sort((a, b) => a - b)) {
    await admitUntil(service, count, wanted);
    const clients = service.clients.slice(0, count);
    const times = await Promise.all(
      clients.map((client) => client.ask<RunTimes>({ do: 'run', images, quality })),
    );
    const worst = await worstLikeness(service, count, wanted);
    if (!(worst > LEAST_LIKE_DB)) throw new Error(`an image came back with ${worst} dB`);
    console.log(row(count, times, worst));
  }
  const [first, second] = service.clients;
  if (first === undefined || second === undefined) return;
  const code = await first.ask<string>({ do: 'trespass', at: second.place.at });
  console.log(`a client that reads in the collection of another: ${code}`);
}

/** Each new one with a collection of its own tiles. */
export async function admitUntil(
  service: Service,
  count: number,
  { collection, photos }: Pick<Measure, 'collection' | 'photos'>,
): Promise<void> {
  while (service.clients.length < count) {
    const firstTile = service.clients.length * collection;
    const client = await service.admit();
    await client.ask({ do: 'fill', photos, firstTile });
  }
}

async function worstLikeness(
  service: Service,
  count: number,
  { collection, photos }: Measure,
): Promise<number> {
  let worst = Number.POSITIVE_INFINITY;
  for (const [i, client] of service.clients.slice(0, count).entries()) {
    const firstTile = i * collection;
    worst = Math.min(worst, await client.ask<number>({ do: 'verify', photos, firstTile }));
  }
  return worst;
}

function row(count: number, times: readonly RunTimes[], worst: number): string {
  const median = (of: (times: RunTimes) => number): number =>
    times.map(of).sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN;
  return [
    String(count).padStart(7),
    `${(median(({ ms }) => ms) / 1000).toFixed(2)} s`.padStart(10),
    `${(100 * median(({ ms, remoteMs }) => remoteMs / ms)).toFixed(0)} %`.padStart(14),
    `${(100 * median((t) => t.compressedBytes / t.originalBytes)).toFixed(1)} %`.padStart(15),
    `${worst.toFixed(1)} dB`.padStart(16),
  ].join(' ');
}
