/**
 * A client's collection in remote memory: an array of original images and one of compressed ones.
 * Whoever holds its two tokens can reach it, and nothing else; the memory node sees to that. (Over
 * shared memory, which is for programs of one user, the library does.)
 */
import type { RangeWindow, Rack, Space } from 'memrack';
import { IMAGE_BYTES } from './pictures.ts';

/** Of each compressed image: its length in bytes, a little-endian number, and then its JPEG. */
const LENGTH_BYTES = 4;
export const COMPRESSED_SLOT_BYTES = 2 ** 16;

/** What a client is given: texts that can be sent to another process. */
export interface Tokens {
  readonly originals: string;
  readonly compressed: string;
}

/** Where a collection lies; only who made it knows. */
export interface Place {
  readonly at: number;
  readonly tokens: Tokens;
}

export async function createCollection(space: Space, images: number): Promise<Place> {
  const originalsBytes = images * IMAGE_BYTES;
  const at = await space.alloc(originalsBytes + images * COMPRESSED_SLOT_BYTES);
  const originals = await space.window(at, originalsBytes, 'rw');
  const compressed = await space.window(at + originalsBytes, images * COMPRESSED_SLOT_BYTES, 'rw');
  return { at, tokens: { originals: originals.token, compressed: compressed.token } };
}

export class Collection {
  readonly #originals: RangeWindow;
  readonly #compressed: RangeWindow;

  private constructor(originals: RangeWindow, compressed: RangeWindow) {
    this.#originals = originals;
    this.#compressed = compressed;
  }

  static async open(rack: Rack, tokens: Tokens): Promise<Collection> {
    return new Collection(
      await rack.window(tokens.originals),
      await rack.window(tokens.compressed),
    );
  }

  get images(): number {
    return this.#originals.bytes / IMAGE_BYTES;
  }

  async original(number: number): Promise<Uint8Array> {
    return this.#originals.read(this.#originals.at + number * IMAGE_BYTES, IMAGE_BYTES);
  }

  async keepOriginal(number: number, pixels: Uint8Array): Promise<void> {
    await this.#originals.write(this.#originals.at + number * IMAGE_BYTES, pixels);
  }

  /** The JPEG; undefined where none was kept. */
  async compressed(number: number): Promise<Uint8Array | undefined> {
    const slot = await this.#compressed.read(this.#slot(number), COMPRESSED_SLOT_BYTES);
    const length = new DataView(slot.buffer, slot.byteOffset).getUint32(0, true);
    if (length === 0) return undefined;
    return slot.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
  }

  async keepCompressed(number: number, jpeg: Uint8Array): Promise<void> {
    if (jpeg.length > COMPRESSED_SLOT_BYTES - LENGTH_BYTES) {
      throw new Error(`image ${number} has ${jpeg.length} bytes compressed: ask for less quality`);
    }
    // One write for both. Nobody reads meanwhile: a collection has one client, which awaits it.
    const slot = new Uint8Array(LENGTH_BYTES + jpeg.length);
    new DataView(slot.buffer).setUint32(0, jpeg.length, true);
    slot.set(jpeg, LENGTH_BYTES);
    await this.#compressed.write(this.#slot(number), slot);
  }

  /** Whatever the address: outside of the two windows it is refused. */
  async readAt(at: number): Promise<Uint8Array> {
    return this.#originals.read(at, 8);
  }

  #slot(number: number): number {
    return this.#compressed.at + number * COMPRESSED_SLOT_BYTES;
  }
}
