/**
 * The memory file of one stream over rings: a page of words, then the ring of bytes from who
 * connects to who accepts, then the one back. Who connects makes it and says its name; who accepts
 * opens it by that name. Once both have mapped it nobody holds a descriptor of it any more.
 *
 * Memory files are sealed against becoming shorter: else the other side could end this process,
 * which touches pages that are gone, by truncating it. One that is not sealed is not mapped.
 */

import { BYTE_RING_BYTES, BYTE_RING_WORDS, ByteRingReader, ByteRingWriter } from '../byte-ring.js';
import { MemoryError, type MemoryFile } from '../memory.js';
import { descriptorOf, nodeMemory } from './node-memory.js';
import { viewsOf } from './node-stream.js';
import { F_GET_SEALS, fcntl, mapShared, mapTwice, SEALS_OF_LENGTH, unmapLater } from './system.js';

const WORDS_BYTES = 4096;
const FILE_BYTES = WORDS_BYTES + 2 * BYTE_RING_BYTES;
/** The words of the first ring begin behind a stretch that is left free. */
const FIRST_RING_WORD = 64;

/** What one side sees of the two rings. */
export interface MappedRings {
  readonly writer: ByteRingWriter;
  readonly reader: ByteRingReader;
  /** Lets the memory go; nothing of the rings may be used any more. */
  release(): void;
}

/** A new file with both rings empty; throws `MemoryError`. To be released once both mapped it. */
export function createRingFile(): MemoryFile {
  return nodeMemory.create('memrack stream', FILE_BYTES);
}

/** The file that somebody else made; throws `MemoryError`. */
export function openRingFile(name: string): MemoryFile {
  const file = nodeMemory.open(name, 'write');
  const seals = fcntl(descriptorOf(file.handle), F_GET_SEALS, 0);
  const isSealed = seals >= 0 && (seals & SEALS_OF_LENGTH) === SEALS_OF_LENGTH;
  if (file.bytes === FILE_BYTES && isSealed) return file;
  file.release();
  throw new MemoryError(`the memory file ${name} is not one of a stream`);
}

export function mapRings(file: MemoryFile, side: 'connecting' | 'accepting'): MappedRings {
  const fd = descriptorOf(file.handle);
  const mapped: ArrayBuffer[] = [];
  const release = (): void => {
    for (const buffer of mapped.splice(0)) unmapLater(buffer);
  };
  const map = (buffer: ArrayBuffer): ArrayBuffer => {
    mapped.push(buffer);
    return buffer;
  };
  const [out, back] = side === 'connecting' ? [0, 1] : [1, 0];
  try {
    const words = new Int32Array(map(mapShared(fd, 0, WORDS_BYTES)));
    const written = map(mapTwice(fd, placeOf(out), BYTE_RING_BYTES));
    const read = map(mapShared(fd, placeOf(back), BYTE_RING_BYTES));
    return {
      writer: new ByteRingWriter(words, wordOf(out), viewsOf(written)),
      reader: new ByteRingReader(words, wordOf(back), viewsOf(read), nodeMemory.copy),
      release,
    };
  } catch (error) {
    release();
    throw new MemoryError(`cannot map a memory file: ${(error as Error).message}`);
  }
}

function placeOf(ring: number): number {
  return WORDS_BYTES + ring * BYTE_RING_BYTES;
}

function wordOf(ring: number): number {
  return FIRST_RING_WORD + ring * BYTE_RING_WORDS;
}
