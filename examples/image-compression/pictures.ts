/**
 * Real images of 256 x 256 pixels, as many as are asked for: tiles cut out of photographs, and JPEG
 * in and out of them. An image is its pixels: rows of red, green and blue, a byte each.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';

/** The size that Clio's evaluation uses (section 4.7.2). */
export const SIDE = 256;
const CHANNELS = 3;
export const IMAGE_BYTES = SIDE * SIDE * CHANNELS;

// A client has one thread for its pictures; more of them would only wait for the same processors.
sharp.concurrency(1);
sharp.cache(false);

interface Photo {
  readonly pixels: Buffer;
  readonly width: number;
  readonly height: number;
}

async function readPhoto(path: string): Promise<Photo> {
  const { data, info } = await sharp(path)
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  if (info.channels !== CHANNELS || info.width < SIDE || info.height < SIDE) {
    throw new Error(`${path}: wanted a picture of colour, at least ${SIDE} pixels wide and high`);
  }
  return { pixels: data, width: info.width, height: info.height };
}

export class Photographs {
  readonly #photos: readonly Photo[];

  private constructor(photos: readonly Photo[]) {
    this.#photos = photos;
  }

  /** All JPEG, PNG and WebP files of a folder. */
  static async of(folder: string): Promise<Photographs> {
    const names = readdirSync(folder).filter((name) => /\.(jpe?g|png|webp)$/i.test(name));
    if (names.length === 0) throw new Error(`${folder}: no picture (.jpg, .png, .webp) in it`);
    return new Photographs(
      await Promise.all(names.sort().map((name) => readPhoto(join(folder, name)))),
    );
  }

  /** The same for the same number: another photograph, and another place in it, for each. */
  tile(number: number): Uint8Array {
    const { pixels, width, height } = this.#photos[number % this.#photos.length] as Photo;
    // Steps that share no factor with a photograph's sides come to every place sooner or later.
    const left = (number * 61) % (width - SIDE + 1);
    const top = (number * 37) % (height - SIDE + 1);
    const tile = new Uint8Array(IMAGE_BYTES);
    for (let row = 0; row < SIDE; row += 1) {
      const from = ((top + row) * width + left) * CHANNELS;
      tile.set(pixels.subarray(from, from + SIDE * CHANNELS), row * SIDE * CHANNELS);
    }
    return tile;
  }
}

export async function toJpeg(pixels: Uint8Array, quality: number): Promise<Uint8Array> {
  const raw = { width: SIDE, height: SIDE, channels: CHANNELS } as const;
  return sharp(pixels, { raw }).jpeg({ quality }).toBuffer();
}

/** Throws where these bytes are no JPEG of an image of ours. */
export async function fromJpeg(jpeg: Uint8Array): Promise<Uint8Array> {
  const { data, info } = await sharp(jpeg).raw().toBuffer({ resolveWithObject: true });
  if (info.width !== SIDE || info.height !== SIDE || info.channels !== CHANNELS) {
    throw new Error(`a JPEG of ${info.width} x ${info.height} x ${info.channels} in a collection`);
  }
  return data;
}

/** Any picture, cut to the middle square and scaled to an image of ours. */
export async function fromAnyPicture(file: Uint8Array): Promise<Uint8Array> {
  const square = sharp(file).resize(SIDE, SIDE, { fit: 'cover' });
  return square.removeAlpha().toColourspace('srgb').raw().toBuffer();
}

/** Peak signal to noise ratio, in dB: how far JPEG has changed an image; infinite for the same. */
export function likeness(a: Uint8Array, b: Uint8Array): number {
  let squares = 0;
  for (let i = 0; i < a.length; i += 1) squares += ((a[i] as number) - (b[i] as number)) ** 2;
  return 10 * Math.log10((255 * 255 * a.length) / squares);
}
