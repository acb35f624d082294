/**
 * How two sides come to a stream over rings. Who connects sends a hello, who accepts answers it;
 * both have 256 bytes, and in every version begin with the magic and the version:
 *
 *   word 0   "MRR1"              word 0   "MRR1"
 *   word 1   version             word 1   version
 *   word 2   bytes of a ring     word 2   0: taken; otherwise why not
 *   word 3   length of the name  word 3   length of the text
 *   word 4   the name of the     word 4   the text, for people
 *            memory file
 *
 * What follows on the socket are single bytes, each of which wakes.
 */

import type { Socket } from 'node:net';
import { BYTE_RING_BYTES } from '../byte-ring.js';
import type { MemoryFile } from '../memory.js';
import { type Address, NetworkError } from '../network.js';
import { nodeMemory } from './node-memory.js';
import { createRingFile, type MappedRings, mapRings, openRingFile } from './ring-file.js';
import { RingStream, type RingWorld } from './ring-stream.js';

const MAGIC = 0x3152_524d;
const VERSION = 1;
const FRAME_BYTES = 256;
const TEXT_AT = 16;
const TEXT_BYTES_MAX = FRAME_BYTES - TEXT_AT;

const Answer = { TAKEN: 0, VERSION: 1, DENIED: 2, FAILED: 3 } as const;
type Answer = (typeof Answer)[keyof typeof Answer];

/**
 * Completes a connected socket to a stream, or fails with a `NetworkError`. One of the two is
 * called, once; the stream has to be opened within the call, because what follows wakes it.
 */
export function connectRings(
  socket: Socket,
  address: Address,
  world: RingWorld,
  open: (stream: RingStream) => void,
  fail: (error: NetworkError) => void,
): void {
  const what = `cannot connect to ${address}`;
  let file: MemoryFile | undefined;
  let rings: MappedRings;
  try {
    file = createRingFile();
    rings = mapRings(file, 'connecting');
  } catch (error) {
    file?.release();
    fail(new NetworkError('failed', `${what}: ${(error as Error).message}`));
    return;
  }
  const held = file;
  collectFrame(socket, (bytes) => {
    // The other side holds it by now, or never will.
    held.release();
    const refusal = refusalOf(bytes);
    if (refusal === undefined) {
      open(new RingStream(socket, address, rings, world));
      return;
    }
    rings.release();
    fail(new NetworkError(refusal.kind, `${what}: ${refusal.text}`));
  });
  socket.write(frame(BYTE_RING_BYTES, nodeMemory.nameOf(held.handle)));
}

interface Refusal {
  readonly kind: NetworkError['kind'];
  readonly text: string;
}

function refusalOf(bytes: Buffer | undefined): Refusal | undefined {
  if (bytes === undefined) {
    const text = 'it closed without an answer; check that it listens with ring://';
    return { kind: 'failed', text };
  }
  if (bytes.readUInt32LE(0) !== MAGIC) {
    return { kind: 'failed', text: 'what answers does not listen with ring://; use unix://' };
  }
  const answer = bytes.readUInt32LE(8);
  if (answer === Answer.TAKEN) return undefined;
  return { kind: answer === Answer.DENIED ? 'denied' : 'failed', text: textOf(bytes) };
}

/**
 * Answers the hello of an accepted socket; `done` is given the stream once the answer is on its
 * way, or why there is none (nothing if the other side left): the socket is closed then.
 */
export function acceptRings(
  socket: Socket,
  address: Address,
  world: RingWorld,
  done: (stream: RingStream | undefined, reason: string) => void,
): void {
  collectFrame(socket, (bytes) => {
    if (bytes === undefined) {
      done(undefined, '');
      return;
    }
    const taken = takeHello(bytes);
    if (!('rings' in taken)) {
      socket.end(frame(taken.answer, taken.text), () => socket.destroy());
      done(undefined, taken.text);
      return;
    }
    const { rings } = taken;
    // Not before the answer is sent, because what the stream sends wakes the other side.
    socket.write(frame(Answer.TAKEN, ''), (error) => {
      if (error === null || error === undefined) {
        done(new RingStream(socket, address, rings, world), '');
        return;
      }
      rings.release();
      done(undefined, error.message);
    });
  });
}

interface Refused {
  readonly answer: Answer;
  readonly text: string;
}

function takeHello(bytes: Buffer): { rings: MappedRings } | Refused {
  if (bytes.readUInt32LE(0) !== MAGIC) {
    return { answer: Answer.FAILED, text: 'this is a listener of ring://; what came is no hello' };
  }
  const version = bytes.readUInt32LE(4);
  const ringBytes = bytes.readUInt32LE(8);
  if (version !== VERSION || ringBytes !== BYTE_RING_BYTES) {
    const text = `it speaks version ${VERSION} of rings, not ${version}; update the older side`;
    return { answer: Answer.VERSION, text };
  }
  let file: MemoryFile | undefined;
  try {
    file = openRingFile(textOf(bytes));
    return { rings: mapRings(file, 'accepting') };
  } catch (error) {
    const { message } = error as Error;
    const isDenied = /EACCES|EPERM/.test(message);
    const remedy = 'processes of one user and machine only; use unix:// or tcp://';
    return {
      answer: isDenied ? Answer.DENIED : Answer.FAILED,
      text: `${remedy} (${message})`.slice(0, TEXT_BYTES_MAX),
    };
  } finally {
    file?.release();
  }
}

function frame(third: number, text: string): Buffer {
  const bytes = Buffer.alloc(FRAME_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  bytes.writeUInt32LE(third, 8);
  bytes.writeUInt32LE(bytes.write(text, TEXT_AT, TEXT_BYTES_MAX, 'latin1'), 12);
  return bytes;
}

function textOf(bytes: Buffer): string {
  const length = Math.min(bytes.readUInt32LE(12), TEXT_BYTES_MAX);
  return bytes.toString('latin1', TEXT_AT, TEXT_AT + length);
}

/** Undefined when the socket ends before. What comes behind it only says "look", and is dropped. */
function collectFrame(socket: Socket, done: (bytes: Buffer | undefined) => void): void {
  let bytes: Buffer = Buffer.alloc(0);
  const end = (): void => finish(undefined);
  const look = (chunk: Buffer): void => {
    bytes = Buffer.concat([bytes, chunk]);
    // Whoever speaks something else may wait for an answer after fewer bytes.
    const isOther = bytes.length >= 4 && bytes.readUInt32LE(0) !== MAGIC;
    if (isOther) finish(Buffer.concat([bytes, Buffer.alloc(FRAME_BYTES)], FRAME_BYTES));
    else if (bytes.length >= FRAME_BYTES) finish(bytes);
  };
  const finish = (result: Buffer | undefined): void => {
    socket.off('data', look);
    socket.off('end', end);
    socket.off('close', end);
    // Read on, so that its end is noticed.
    if (result !== undefined) socket.resume();
    done(result);
  };
  socket.on('data', look);
  socket.on('end', end);
  socket.on('close', end);
}
