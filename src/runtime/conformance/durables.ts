/** Conformance: memory files on a disk. What survives a crash only the simulator can show. */

import type { DurableFile } from '../durable.js';
import { type Case, type ConformanceWorld, expectEqual, expectError, expectThat } from './check.js';

const BYTES = 16 * 4096;

async function made({ runtime, folder }: ConformanceWorld, name: string): Promise<DurableFile> {
  return runtime.durables.create(`${folder}/${name}`, BYTES);
}

export const DURABLE_CASES: readonly Case[] = [
  {
    name: 'a file keeps what was stored, and files read it',
    async run(world) {
      const { runtime, folder } = world;
      const file = await made(world, 'a');
      expectEqual(file.bytes, BYTES, 'length');
      const mapping = file.map(0, BYTES);
      expectThat(
        mapping.bytes.every((byte) => byte === 0),
        'a new file is all zeros',
      );
      mapping.bytes[5000] = 7;
      await file.flush([{ offset: 4096, bytes: 4096 }]);
      mapping.words[0] = 9;
      await Promise.all([
        file.flush([{ offset: 0, bytes: 4096 }]),
        file.flush([
          { offset: 8192, bytes: 8192 },
          { offset: 0, bytes: 4096 },
        ]),
      ]);
      await runtime.disk.flushDirectory(folder);
      file.release();
      const again = await runtime.durables.open(`${folder}/a`);
      const { bytes, words } = again.map(0, BYTES);
      expectEqual([bytes[5000], words[0]], [7, 9], 'after it was opened again');
      again.release();
      const plain = await runtime.disk.open(`${folder}/a`, 'read');
      const into = new Uint8Array(2);
      await plain.read(4999, into);
      expectEqual([...into, await plain.size()], [0, 7, BYTES], 'read as a file');
      await plain.close();
    },
  },
  {
    name: 'what cannot be made or opened',
    async run(world) {
      const { runtime, folder } = world;
      const { durables, disk } = runtime;
      const file = await made(world, 'a');
      await expectError(() => made(world, 'a'), 'DiskError', 'exists', 'made twice');
      const none = () => durables.open(`${folder}/none`);
      await expectError(none, 'DiskError', 'not-found', 'opened, and not there');
      const odd = () => durables.create(`${folder}/odd`, 5000);
      await expectError(odd, 'MemoryError', undefined, 'no whole pages');
      const short = await disk.open(`${folder}/short`, 'create');
      await short.write(0, new Uint8Array(100));
      await short.close();
      const opened = () => durables.open(`${folder}/short`);
      await expectError(opened, 'MemoryError', undefined, 'a file of another kind');
      const nameless = runtime.memory.create('memrack-conformance', 4096);
      await expectError(() => durables.adopt(nameless.handle), 'MemoryError', undefined, 'adopted');
      await expectError(() => file.discard(0, 4096), 'MemoryError', undefined, 'discarded');
      // Nor is a file on a disk one without a name, whoever says so.
      const { memory } = runtime;
      const adopted = () => memory.adopt(file.handle);
      await expectError(adopted, 'MemoryError', undefined, 'adopted as memory');
      const named = () => memory.open(memory.nameOf(file.handle), 'write');
      await expectError(named, 'MemoryError', undefined, 'opened as memory');
      nameless.release();
      file.release();
    },
  },
  {
    name: 'all who have it see the same bytes',
    async run(world) {
      const { runtime, neighbour, folder } = world;
      const file = await made(world, 'a');
      const mine = file.map(0, BYTES);
      const handed = runtime.durables.adopt(file.handle).map(4096, 4096);
      const named = neighbour.durables.openNamed(runtime.memory.nameOf(file.handle));
      const theirs = named.map(4096, 8192);
      const opened = await neighbour.durables.open(`${folder}/a`);
      const others = opened.map(0, BYTES);
      mine.bytes[4097] = 1;
      theirs.bytes[2] = 2;
      handed.bytes[3] = 3;
      for (const { bytes } of [mine, others]) {
        expectEqual([...bytes.subarray(4097, 4100)], [1, 2, 3], 'what all have stored');
      }
      await named.flush([{ offset: 4096, bytes: 4096 }]);
      for (const one of [file, named, opened]) one.release();
    },
  },
  {
    name: 'locks belong to an opening',
    async run(world) {
      const { runtime, neighbour, folder } = world;
      const file = await made(world, 'a');
      const other = await neighbour.durables.open(`${folder}/a`);
      const third = neighbour.durables.openNamed(runtime.memory.nameOf(file.handle));
      expectThat(file.lock(0, 'exclusive'), 'nobody has it');
      expectThat(file.lock(0, 'exclusive'), 'it has it already');
      expectThat(!other.lock(0, 'shared') && !third.lock(0, 'exclusive'), 'one has it alone');
      expectThat(other.lock(1, 'exclusive'), 'another part is another lock');
      expectThat(file.lock(0, 'shared'), 'it is changed');
      expectThat(other.lock(0, 'shared') && third.lock(0, 'shared'), 'all may share it');
      expectThat(!other.lock(0, 'exclusive'), 'others have it too');
      file.unlock(0);
      third.release();
      expectThat(other.lock(0, 'exclusive'), 'no other has it now');
      other.release();
      expectThat(file.lock(0, 'exclusive') && file.lock(1, 'exclusive'), 'they ended with it');
      file.release();
    },
  },
  {
    name: 'one opening flushes what all have stored',
    async run(world) {
      const { runtime, folder } = world;
      const file = await made(world, 'a');
      const other = await runtime.durables.open(`${folder}/a`);
      const copy = await made(world, 'b');
      expectEqual(
        [other.device, other.inode, other.fileSystem],
        [file.device, file.inode, file.fileSystem],
        'the same file',
      );
      expectThat(copy.inode !== file.inode, 'another file');
      expectThat(file.fileSystem.length > 0, 'what it lies on has a name');
      file.map(0, BYTES).bytes[7] = 7;
      await Promise.all([other.flushAll(), other.flushAll(), file.flushAll()]);
      expectEqual(other.map(0, 4096).bytes[7], 7, 'what was stored');
      for (const one of [file, other, copy]) one.release();
    },
  },
  {
    name: 'it can be settled when nobody has it mapped',
    async run(world) {
      const { neighbour, folder } = world;
      const file = await made(world, 'a');
      const mapping = file.map(0, BYTES);
      mapping.bytes[9] = 9;
      const other = await neighbour.durables.open(`${folder}/a`);
      expectEqual(await other.settle(), 'in use', 'mapped by somebody');
      await file.flush([{ offset: 0, bytes: 4096 }]);
      file.release();
      expectEqual(await other.settle(), 'settled', 'mapped by nobody');
      expectEqual(other.map(0, 4096).bytes[9], 9, 'what was stored');
      other.release();
    },
  },
];
