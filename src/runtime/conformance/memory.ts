/** Conformance: memory files. */

import type { Steps } from '../memory.js';
import { isPlausible } from '../room.js';
import { type Case, expectEqual, expectError, expectThat } from './check.js';

const PAGE = 4096;

export const MEMORY_CASES: readonly Case[] = [
  {
    name: 'a memory file starts as zeros, and its mappings show one memory',
    async run({ runtime }) {
      const file = runtime.memory.create('memrack-test', 16 * PAGE);
      expectEqual([file.name, file.bytes], ['memrack-test', 16 * PAGE], 'name and size');
      const whole = file.map(0, 16 * PAGE);
      const part = file.map(4 * PAGE, 2 * PAGE);
      expectThat(
        whole.bytes.every((byte) => byte === 0),
        'zeros at first',
      );
      expectEqual([part.bytes.length, part.words.length], [2 * PAGE, PAGE / 2], 'lengths');
      part.view.setUint32(8, 0x12345678, true);
      expectEqual(whole.words[PAGE + 2], 0x12345678, 'a word through the other mapping');
      whole.wide[(4 * PAGE) / 8 + 2] = 7n;
      expectEqual(part.bytes[16], 7, 'a byte through the other mapping');
    },
  },
  {
    name: 'the maker adopts its own file by the handle',
    async run({ runtime }) {
      const file = runtime.memory.create('memrack-test', PAGE);
      file.map(0, PAGE).bytes[100] = 9;
      const same = runtime.memory.adopt(file.handle);
      expectEqual(same.bytes, PAGE, 'size');
      expectEqual(same.map(0, PAGE).bytes[100], 9, 'a byte of the adopted file');
    },
  },
  {
    name: 'what is discarded reads as zeros, and nothing else',
    async run({ runtime }) {
      const file = runtime.memory.create('memrack-test', 8 * PAGE);
      const { bytes } = file.map(0, 8 * PAGE);
      bytes.fill(0xaa);
      file.discard(2 * PAGE, 3 * PAGE);
      const edges = [2 * PAGE - 1, 2 * PAGE, 5 * PAGE - 1, 5 * PAGE].map((at) => bytes[at]);
      expectEqual(edges, [0xaa, 0, 0, 0xaa], 'bytes at the edges');
      bytes[2 * PAGE] = 1;
      expectEqual(bytes[2 * PAGE], 1, 'a byte written after');
    },
  },
  {
    name: 'a file takes up what was populated or written, until that is discarded',
    async run({ runtime }) {
      const file = runtime.memory.create('memrack-test', 64 * PAGE);
      const { bytes } = file.map(0, 64 * PAGE);
      expectEqual(file.heldBytes(), 0, 'at first');
      file.populate(8 * PAGE, 16 * PAGE);
      expectEqual(file.heldBytes(), 16 * PAGE, 'after populating');
      bytes.fill(7, 8 * PAGE, 24 * PAGE);
      file.populate(8 * PAGE, 17 * PAGE);
      expectEqual(file.heldBytes(), 17 * PAGE, 'after populating the same and a page more');
      expectThat(
        bytes.subarray(8 * PAGE, 24 * PAGE).every((byte) => byte === 7),
        'contents stay',
      );
      const same = runtime.memory.adopt(file.handle);
      expectEqual(same.heldBytes(), 17 * PAGE, 'of the adopted file');
      file.discard(0, 20 * PAGE);
      expectEqual(file.heldBytes(), 5 * PAGE, 'after discarding');
      file.discard(0, 64 * PAGE);
      expectEqual(file.heldBytes(), 0, 'after discarding all');
    },
  },
  {
    name: 'the room is what is available, of so much, and says it where a group is not found',
    async run({ runtime }) {
      const { memory } = runtime;
      const room = memory.room('');
      expectThat(isPlausible(room), `plausible: ${JSON.stringify(room)}`);
      expectEqual(room.problem, '', 'problem');
      const { stalledShare = 0 } = room;
      expectThat(stalledShare >= 0 && stalledShare <= 1, 'a share of the time');
      const other = memory.room('/memrack/no/such/group');
      expectThat(other.problem.includes('/memrack/no/such/group'), 'the group is named');
      expectThat(isPlausible(other), 'the machine is looked at all the same');
    },
  },
  {
    name: 'a file is opened by the name that its holder gives, and shows the same memory',
    async run({ runtime }) {
      const { memory } = runtime;
      const file = memory.create('memrack-test', 2 * PAGE);
      const ours = file.map(0, 2 * PAGE);
      const name = memory.nameOf(file.handle);
      const reader = memory.open(name, 'read');
      const writer = memory.open(name, 'write');
      expectEqual([reader.bytes, writer.bytes], [2 * PAGE, 2 * PAGE], 'sizes');
      const read = reader.map(0, 2 * PAGE);
      const written = writer.map(PAGE, PAGE);
      written.bytes[8] = 77;
      expectEqual([ours.bytes[PAGE + 8], read.bytes[PAGE + 8]], [77, 77], 'a byte of the writer');
      for (const wrong of ['', `${name}0`, name.replace(/\d+$/, '999999'), '/1/2/3']) {
        await expectError(() => memory.open(wrong, 'read'), 'MemoryError', undefined, wrong);
      }
    },
  },
  {
    name: 'steps are made in their order, to the last, and then told as ended',
    async run({ runtime }) {
      const { memory } = runtime;
      const { words, bytes } = memory.create('memrack-test', PAGE).map(0, PAGE);
      const from = Uint8Array.of(1, 2, 3, 4);
      const seen: number[] = [];
      let isDone = false;
      const steps = (ended: () => void): Steps => {
        let at = 0;
        return {
          fencesNext: false,
          next(): boolean {
            if (at === 0) memory.copy(bytes, 64, from, 0, 4);
            if (at === 1) seen.push(Atomics.add(words, 0, 1));
            at += 1;
            return at < 3;
          },
          ended,
        };
      };
      memory.runNow(steps(() => void (isDone = true)));
      expectThat(isDone, 'it ended before the call returned');
      await new Promise<void>((resolve) => memory.run(steps(resolve)));
      expectEqual([seen[0], seen[1], words[0]], [0, 1, 2], 'values');
      expectEqual([...bytes.subarray(64, 68)], [1, 2, 3, 4], 'the copy, after its end');
    },
  },
  {
    name: 'ranges that are not of the file are refused',
    async run({ runtime }) {
      const { memory } = runtime;
      const file = memory.create('memrack-test', 4 * PAGE);
      const ranges = [
        [0, 5 * PAGE],
        [-PAGE, PAGE],
        [8, PAGE],
        [0, 100],
        [4 * PAGE, PAGE],
        [0, 0],
      ];
      for (const [offset = 0, bytes = 0] of ranges) {
        const what = `${bytes} bytes at ${offset}`;
        await expectError(() => file.map(offset, bytes), 'MemoryError', undefined, `map ${what}`);
        const discard = () => file.discard(offset, bytes);
        await expectError(discard, 'MemoryError', undefined, `discard ${what}`);
      }
      const create = () => memory.create('memrack-test', 100);
      await expectError(create, 'MemoryError', undefined, 'a file of 100 bytes');
      const adopt = () => memory.adopt(123_456_789);
      await expectError(adopt, 'MemoryError', undefined, 'a handle of nobody');
      const unnamed = () => memory.create('test', PAGE);
      await expectError(unnamed, 'AssertionError', undefined, 'a name without memrack');
    },
  },
  {
    name: 'copies, also of overlapping ranges and between mappings of one file',
    async run({ runtime }) {
      const { memory } = runtime;
      // The data path calls it without the object.
      const { copy } = memory;
      const file = memory.create('memrack-test', 2 * PAGE);
      const [one, other] = [file.map(0, 2 * PAGE).bytes, file.map(0, 2 * PAGE).bytes];
      const plain = new Uint8Array(2 * PAGE);
      const model = new Uint8Array(2 * PAGE);
      const moves = [
        [0, 100, 50],
        [130, 100, 1_000],
        [100, 130, 1_000],
        [4_000, 3_000, 2_000],
        [5, 5, 10],
        [7, 9, 0],
      ];
      for (const [target = 0, source = 0, bytes = 0] of moves) {
        for (let i = 0; i < one.length; i++) one[i] = plain[i] = model[i] = (i * 31 + i / 97) & 255;
        model.copyWithin(target, source, source + bytes);
        copy(plain, target, plain, source, bytes);
        expectThat(same(plain, model), `within one array: ${bytes} from ${source} to ${target}`);
        memory.copy(other, target, one, source, bytes);
        // Two mappings of one file may be two buffers, which no copy can see to overlap.
        const apart = Math.abs(target - source) >= bytes;
        if (apart) expectThat(same(one, model), `between mappings: ${bytes} from ${source}`);
      }
    },
  },
  {
    name: 'copies whole words',
    async run({ runtime }) {
      const { memory } = runtime;
      // The data path calls it without the object.
      const { copyWords } = memory;
      const { wide } = memory.create('memrack-test', PAGE).map(0, PAGE);
      copyWords(wide, 2, BigUint64Array.of(1n, 2n, 3n, 4n), 1, 2);
      expectEqual(wide.subarray(1, 5).join(), '0,2,3,0', 'words in the mapping');
      const plain = new BigUint64Array(3);
      copyWords(plain, 1, wide, 3, 1);
      expectEqual(plain.join(), '0,3,0', 'words in an array');
    },
  },
  {
    name: 'words of 8 bytes work with Atomics',
    async run({ runtime }) {
      const { wide, bytes } = runtime.memory.create('memrack-test', PAGE).map(0, PAGE);
      const largest = 2n ** 64n - 1n;
      Atomics.store(wide, 3, largest);
      expectThat(Atomics.load(wide, 3) === largest, 'a stored word');
      expectThat(Atomics.add(wide, 3, 1n) === largest, 'the old word of an addition');
      expectThat(Atomics.load(wide, 3) === 0n, 'addition wraps');
      expectThat(Atomics.compareExchange(wide, 3, 1n, 5n) === 0n, 'a swap that fails');
      expectThat(Atomics.compareExchange(wide, 3, 0n, 0x0102n) === 0n, 'a swap that succeeds');
      expectEqual([bytes[24], bytes[25]], [2, 1], 'little-endian bytes of the word');
      expectThat(runtime.memory.available() > 0, 'memory is available');
    },
  },
];

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}
