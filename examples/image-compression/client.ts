/**
 * One client: a process that has the tokens of its collection and of nothing else. It answers one
 * order after the other:
 *
 *   node client.js URL LINK      orders come as messages from the process that started it
 */
import { fileURLToPath } from 'node:url';
import { connect, type ConnectOptions, MemrackError, type Rack } from 'memrack';
import { Collection, type Tokens } from './collection.ts';
import { fromAnyPicture, fromJpeg, likeness, Photographs, toJpeg } from './pictures.ts';

export type Order =
  /** Fills the collection with tiles of the photographs. */
  | { readonly do: 'fill'; readonly photos: string; readonly firstTile: number }
  /** Compresses and decompresses images, in turn through the collection. */
  | { readonly do: 'run'; readonly images: number; readonly quality: number }
  /** Compares all with what they were cut from. */
  | { readonly do: 'verify'; readonly photos: string; readonly firstTile: number }
  /** Tries to reach another client's collection: its addresses, by its own window. */
  | { readonly do: 'trespass'; readonly at: number }
  | { readonly do: 'put'; readonly number: number; readonly file: Uint8Array }
  | { readonly do: 'compress'; readonly quality: number }
  | { readonly do: 'get'; readonly number: number };

/** Times in milliseconds: all, and what of it was spent waiting for remote memory. */
export interface RunTimes {
  readonly ms: number;
  readonly remoteMs: number;
  readonly originalBytes: number;
  readonly compressedBytes: number;
}

class Client {
  readonly #collection: Collection;
  #remoteMs = 0;

  constructor(collection: Collection) {
    this.#collection = collection;
  }

  async obey(order: Order): Promise<unknown> {
    switch (order.do) {
      case 'fill':
        return this.#fill(await Photographs.of(order.photos), order.firstTile);
      case 'run':
        return this.#run(order.images, order.quality);
      case 'verify':
        return this.#verify(await Photographs.of(order.photos), order.firstTile);
      case 'trespass':
        return this.#trespass(order.at);
      case 'put':
        return this.#collection.keepOriginal(order.number, await fromAnyPicture(order.file));
      case 'compress':
        for (let i = 0; i < this.#collection.images; i += 1) await this.#compress(i, order.quality);
        return undefined;
      case 'get':
        return this.#collection.compressed(order.number);
    }
  }

  async #fill(photos: Photographs, firstTile: number): Promise<void> {
    for (let i = 0; i < this.#collection.images; i += 1) {
      await this.#collection.keepOriginal(i, photos.tile(firstTile + i));
    }
  }

  async #run(images: number, quality: number): Promise<RunTimes> {
    this.#remoteMs = 0;
    let originalBytes = 0;
    let compressedBytes = 0;
    const start = performance.now();
    for (let i = 0; i < images; i += 1) {
      const number = i % this.#collection.images;
      const [before, after] = await this.#compress(number, quality);
      originalBytes += before;
      compressedBytes += after;
      await this.#decompress(number);
    }
    const ms = performance.now() - start;
    return { ms, remoteMs: this.#remoteMs, originalBytes, compressedBytes };
  }

  async #compress(number: number, quality: number): Promise<[number, number]> {
    const pixels = await this.#remote(() => this.#collection.original(number));
    const jpeg = await toJpeg(pixels, quality);
    await this.#remote(() => this.#collection.keepCompressed(number, jpeg));
    return [pixels.length, jpeg.length];
  }

  async #decompress(number: number): Promise<void> {
    const jpeg = await this.#remote(() => this.#collection.compressed(number));
    if (jpeg === undefined) throw new Error(`image ${number} was never compressed`);
    const pixels = await fromJpeg(jpeg);
    await this.#remote(() => this.#collection.keepOriginal(number, pixels));
  }

  async #remote<T>(operation: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await operation();
    this.#remoteMs += performance.now() - start;
    return result;
  }

  /** The lowest likeness of all images to their tiles, in dB. */
  async #verify(photos: Photographs, firstTile: number): Promise<number> {
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.#collection.images; i += 1) {
      const found = likeness(photos.tile(firstTile + i), await this.#collection.original(i));
      lowest = Math.min(lowest, found);
    }
    return lowest;
  }

  /** The code of the refusal. */
  async #trespass(at: number): Promise<string> {
    return this.#collection.readAt(at).then(
      () => 'none',
      (error: unknown) => (error instanceof MemrackError ? error.code : String(error)),
    );
  }
}

export interface Start {
  readonly tokens: Tokens;
}

async function main(url: string, link: string): Promise<void> {
  let client: Client | undefined;
  let rack: Rack | undefined;
  process.once('disconnect', () => process.exit(0));
  const serve = async (message: Start | Order): Promise<unknown> => {
    if ('do' in message) return client?.obey(message);
    rack ??= await connect(url, { link: link as NonNullable<ConnectOptions['link']> });
    client = new Client(await Collection.open(rack, message.tokens));
    return undefined;
  };
  // One after the other, in the order of their coming.
  let last = Promise.resolve();
  process.on('message', (message: Start | Order) => {
    last = last.then(async () => {
      const answer = await serve(message).then(
        (value) => ({ value }),
        (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
      );
      process.send?.(answer);
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(process.argv[2] ?? '', process.argv[3] ?? 'auto');
}
