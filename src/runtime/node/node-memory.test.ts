import { truncateSync } from 'node:fs';
import { expect, test } from 'vitest';
import { descriptorOf, nodeMemory as memory } from './node-memory.js';
import { F_ADD_SEALS, fcntl } from './system.js';

test('mappings of one file show the same bytes, in every width', () => {
  const file = memory.create('memrack views', 65536);
  const whole = file.map(0, 65536);
  const part = file.map(4096, 4096);
  expect(whole.bytes.every((byte) => byte === 0)).toBe(true);
  whole.wide[512] = 0x0102030405060708n;
  expect(part.bytes[0]).toBe(8);
  expect(part.words[1]).toBe(0x01020304);
  expect(part.view.getUint16(0, true)).toBe(0x0708);
  expect(memory.adopt(file.handle).map(4096, 4096).bytes[7]).toBe(1);
});

test('what is discarded reads as zeros', () => {
  const file = memory.create('memrack discard', 3 * 4096);
  const { bytes } = file.map(0, 3 * 4096);
  bytes.fill(7);
  file.discard(4096, 4096);
  expect([bytes[4095], bytes[4096], bytes[8191], bytes[8192]]).toEqual([7, 0, 0, 7]);
});

test('ranges outside of the file and foreign handles are refused', () => {
  const file = memory.create('memrack ranges', 8192);
  expect(() => file.map(0, 12288)).toThrow('no range');
  expect(() => file.map(100, 4096)).toThrow('no range');
  expect(() => file.discard(8192, 4096)).toThrow('no range');
  expect(() => memory.create('memrack odd', 100)).toThrow('whole pages');
  expect(() => memory.adopt(12345)).toThrow('no memory file');
});

test('nobody who opens a file can make it shorter, or keep others from mapping it', () => {
  const file = memory.create('memrack sealed', 8192);
  const { bytes } = file.map(0, 8192);
  bytes[8000] = 1;
  const path = `/proc/self/fd/${descriptorOf(file.handle)}`;
  expect(() => truncateSync(path, 4096)).toThrow('EPERM');
  expect(() => truncateSync(path, 12288)).toThrow('EPERM');
  expect(fcntl(descriptorOf(file.handle), F_ADD_SEALS, 0)).toBe(-1);
  expect(bytes[8000]).toBe(1);
  file.discard(4096, 4096);
  expect(bytes[8000]).toBe(0);
});

test('copy moves bytes between buffers and within one', () => {
  const source = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff);
  const target = memory.create('memrack copy', 4096).map(0, 4096).bytes;
  memory.copy(target, 10, source, 100, 200);
  expect([...target.subarray(9, 12)]).toEqual([0, 100, 101]);
  memory.copy(source, 4, source, 0, 200);
  expect([source[4], source[203], source[204]]).toEqual([0, 199, 204]);
  expect(() => memory.copy(target, 0, source, 200, 200)).toThrow('bounds');
  expect(() => memory.copy(target, 4000, source, 0, 200)).toThrow('bounds');
});

test('the machine has some memory left', () => {
  expect(memory.available()).toBeGreaterThan(1024 * 1024);
});

test('what was mapped of a file that is given up is memory of its own, not of the file', () => {
  const file = memory.create('memrack given up', 8192);
  const ours = file.map(0, 8192);
  const other = memory.open(memory.nameOf(file.handle), 'write');
  const theirs = other.map(0, 8192);
  theirs.bytes[5] = 1;
  expect(ours.bytes[5]).toBe(1);
  other.release();
  expect(theirs.bytes[5]).toBe(0);
  theirs.bytes[6] = 2;
  expect([ours.bytes[5], ours.bytes[6]]).toEqual([1, 0]);
});
