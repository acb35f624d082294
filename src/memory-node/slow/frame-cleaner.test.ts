import { expect, test } from 'vitest';
import type { FrameIndex } from '../../base/brands.js';
import { mappingOf } from '../../disk/testing/mapping.js';
import type { MemoryFile } from '../../runtime/memory.js';
import type { RingProducer } from '../../runtime/threads.js';
import { Frames } from '../store/frames.js';
import { FrameCleaner } from './frame-cleaner.js';

const frameOf = (index: number) => index as FrameIndex;

const PAGE = 2 ** 20;
const FRAMES = 8;

/** A ring of eight records that only notes what it was given. */
class NotedRing implements RingProducer {
  readonly frames: number[] = [];
  submit(record: Int32Array): boolean {
    this.frames.push(record[0] ?? -1);
    return true;
  }
  ring(): void {}
  room(): number {
    return 8 - this.frames.length;
  }
}

function make(areFresh: boolean, target: number) {
  const buffer = new ArrayBuffer(FRAMES * PAGE);
  const mapping = mappingOf(buffer);
  mapping.bytes.fill(areFresh ? 0 : 0xff);
  const discarded: [number, number][] = [];
  const file: MemoryFile = {
    name: 'memrack-test',
    bytes: buffer.byteLength,
    handle: 1,
    map: () => mapping,
    release: () => undefined,
    populate: () => undefined,
    heldBytes: () => 0,
    discard: (offset, bytes) => {
      discarded.push([offset, bytes]);
      mapping.bytes.fill(0, offset, offset + bytes);
    },
  };
  const zeroed = new NotedRing();
  const frames = new Frames(file, PAGE, FRAMES);
  const cleaner = new FrameCleaner({ frames, zeroed, ringRecords: 8, target, areFresh });
  let steps = 0;
  const work = (): void => {
    for (; cleaner.hasWork; steps++) cleaner.step();
  };
  const isZero = (frame: number): boolean =>
    mapping.bytes.subarray(frame * PAGE, (frame + 1) * PAGE).every((byte) => byte === 0);
  return { mapping, zeroed, cleaner, discarded, work, isZero, steps: () => steps };
}

test('fresh frames fill the ring up to its target, in bounded steps', () => {
  const { zeroed, work, steps } = make(true, 3);
  work();
  expect(zeroed.frames).toEqual([0, 1, 2]);
  expect(steps()).toBe(3 * 4);
});

test('retired frames come before fresh ones and are zeroed whole', () => {
  const { zeroed, cleaner, mapping, work, isZero } = make(true, 2);
  work();
  mapping.bytes.fill(0xee, 0, PAGE);
  zeroed.frames.length = 0;
  cleaner.retire(frameOf(0));
  work();
  expect(zeroed.frames).toEqual([0, 2]);
  expect(isZero(0)).toBe(true);
});

test('used memory goes out zeroed, and what is too much is given back', () => {
  const { zeroed, cleaner, discarded, work, isZero } = make(false, 2);
  for (let frame = 0; frame < FRAMES; frame++) cleaner.retire(frameOf(frame));
  work();
  expect(zeroed.frames).toEqual([0, 1]);
  expect(discarded).toEqual([]);
  cleaner.mayGiveBack = true;
  work();
  expect(zeroed.frames.every(isZero)).toBe(true);
  expect(discarded).toEqual([2, 3, 4, 5].map((frame) => [frame * PAGE, PAGE]));
  expect(isZero(7)).toBe(false);
  zeroed.frames.length = 0;
  work();
  expect(zeroed.frames).toEqual([6, 7]);
  zeroed.frames.length = 0;
  work();
  expect(zeroed.frames).toEqual([5, 4]);
  zeroed.frames.length = 0;
  work();
  zeroed.frames.length = 0;
  work();
  expect(zeroed.frames).toEqual([]);
});
