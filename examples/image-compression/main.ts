/**
 *   npm run images -- [--clients 1,2,4,8] [--images 100] [--photos FOLDER] [--quality 80]
 *   npm run images -- serve [--port 8090]
 *
 * and for both [--rack URL] [--link auto] [--collection 20]. See README.md beside this file.
 */
import { parseArgs } from 'node:util';
import type { ConnectOptions } from 'memrack';
import { measure } from './measure.ts';
import { PHOTOS } from './photos.ts';
import { serveImages } from './serve.ts';
import { Service } from './service.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    clients: { type: 'string', default: '1,2,4,8' },
    images: { type: 'string', default: '100' },
    collection: { type: 'string', default: '20' },
    link: { type: 'string', default: 'auto' },
    photos: { type: 'string', default: PHOTOS },
    port: { type: 'string', default: '8090' },
    quality: { type: 'string', default: '80' },
    rack: { type: 'string', default: process.env['MEMRACK_URL'] ?? 'memrack://127.0.0.1:7070' },
  },
});

function wholeNumber(option: string, word: string, least = 1): number {
  const number = Number(word);
  if (Number.isInteger(number) && number >= least) return number;
  throw new Error(`${option} takes whole numbers from ${least} on, not ${word}`);
}

async function serve(service: Service, collection: number): Promise<void> {
  const interrupted = new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
  const url = await serveImages(service, collection, wholeNumber('--port', values.port, 0));
  console.log(`listening on ${url}; Ctrl-C ends it`);
  await interrupted;
}

async function main(): Promise<void> {
  const [what = 'measure'] = positionals;
  if (what !== 'measure' && what !== 'serve') throw new Error(`"${what}": only serve, or nothing`);
  const collection = wholeNumber('--collection', values.collection);
  const wanted = {
    counts: values.clients.split(',').map((word) => wholeNumber('--clients', word)),
    images: wholeNumber('--images', values.images),
    collection,
    quality: wholeNumber('--quality', values.quality),
    photos: values.photos,
  };
  const link = values.link as NonNullable<ConnectOptions['link']>;
  const service = await Service.open({ url: values.rack, images: collection, link });
  try {
    await (what === 'serve' ? serve(service, collection) : measure(service, wanted));
  } finally {
    await service.close();
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  },
);
