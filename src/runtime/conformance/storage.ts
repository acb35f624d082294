/** Conformance: files and databases. What survives a crash only the simulator can show. */

import type { Database, Row, Schema } from '../database.js';
import type { File } from '../disk.js';
import { type Case, expectEqual, expectError, rejection } from './check.js';

const DISK_CASES: readonly Case[] = [
  {
    name: 'a file keeps what was written, and reads short at its end only',
    async run({ runtime, folder }) {
      const file = await runtime.disk.open(`${folder}/a`, 'create');
      expectEqual(await file.size(), 0, 'size at first');
      const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => i & 255);
      await file.write(5_000, bytes);
      expectEqual(await file.size(), 15_000, 'size after a write behind the end');
      const into = new Uint8Array(4_000).fill(9);
      expectEqual(await file.read(3_000, into), 4_000, 'bytes read');
      expectEqual([into[0], into[1_999], into[2_000], into[2_255]], [0, 0, 0, 255], 'the hole');
      expectEqual(await file.read(14_000, into), 1_000, 'bytes read at the end');
      expectEqual(await file.read(15_000, into), 0, 'bytes read behind the end');
      await file.truncate(6_000);
      await file.truncate(7_000);
      expectEqual(await file.read(5_999, into), 1_001, 'bytes read after truncation');
      expectEqual([into[0], into[1]], [999 & 255, 0], 'truncation forgets');
      await file.flush();
      await file.close();
      await runtime.disk.flushDirectory(folder);
      const again = await runtime.disk.open(`${folder}/a`, 'read');
      expectEqual(await again.size(), 7_000, 'size when opened again');
      const write = () => again.write(0, bytes);
      await expectError(write, 'DiskError', 'denied', 'writing a file opened to read');
      await again.close();
    },
  },
  {
    name: 'many operations at once on one file',
    async run({ runtime, folder }) {
      const file = await runtime.disk.open(`${folder}/b`, 'create');
      const block = (i: number): Uint8Array => new Uint8Array(512).fill(i);
      const indexes = Array.from({ length: 64 }, (_, i) => i);
      await Promise.all(indexes.map((i) => file.write(i * 512, block(i))));
      await Promise.all([file.flush(), file.flush()]);
      for (const i of indexes) {
        const into = new Uint8Array(512);
        await file.read(i * 512, into);
        expectEqual([into[0], into[511]], [i, i], `block ${i}`);
      }
      await file.close();
    },
  },
  {
    name: 'names: made once, renamed over others, listed, removed',
    async run({ runtime, folder }) {
      const { disk } = runtime;
      await disk.makeFolder(`${folder}/x/y`);
      await disk.makeFolder(`${folder}/x/y`);
      const path = (name: string): string => `${folder}/x/y/${name}`;
      await writeFile(await disk.open(path('one'), 'create'), 1);
      await writeFile(await disk.open(path('two'), 'create'), 2);
      await expectError(() => disk.open(path('one'), 'create'), 'DiskError', 'exists', 'create');
      await disk.rename(path('one'), path('two'));
      expectEqual((await disk.list(`${folder}/x/y`)).sort(), ['two'], 'names after the rename');
      const file = await disk.open(path('two'), 'write');
      const into = new Uint8Array(1);
      await file.read(0, into);
      expectEqual(into[0], 1, 'content after the rename');
      await file.close();
      await disk.flushDirectory(`${folder}/x/y`);
      await disk.remove(path('two'));
      expectEqual(await disk.list(`${folder}/x/y`), [], 'names after the removal');
      expectEqual(await disk.list(`${folder}/x`), ['y'], 'folders are listed');
    },
  },
  {
    name: 'what is missing is not found',
    async run({ runtime, folder }) {
      const { disk } = runtime;
      const acts = {
        read: () => disk.open(`${folder}/no`, 'read'),
        write: () => disk.open(`${folder}/no`, 'write'),
        create: () => disk.open(`${folder}/no/file`, 'create'),
        rename: () => disk.rename(`${folder}/no`, `${folder}/yes`),
        remove: () => disk.remove(`${folder}/no`),
        list: () => disk.list(`${folder}/no`),
        flush: () => disk.flushDirectory(`${folder}/no`),
      };
      for (const [name, act] of Object.entries(acts)) {
        await expectError(act, 'DiskError', 'not-found', name);
      }
    },
  },
];

async function writeFile(file: File, byte: number): Promise<void> {
  await file.write(0, Uint8Array.of(byte));
  await file.flush();
  await file.close();
}

const SCHEMA = {
  spaces: { columns: { id: 'integer', name: 'text', epoch: 'integer' }, key: ['id'] },
  members: { columns: { rack: 'text', node: 'text', order: 'integer' }, key: ['rack', 'node'] },
} as const satisfies Schema;

function space(id: number, name: string, epoch = 1): { put: string; row: Row } {
  return { put: 'spaces', row: { id, name, epoch } };
}

function member(rack: string, node: string): { put: string; row: Row } {
  return { put: 'members', row: { rack, node, order: 0 } };
}

function ids(database: Database, where?: Row): unknown[] {
  return database.select('spaces', where).map((row) => row['id']);
}

const DATABASE_CASES: readonly Case[] = [
  {
    name: 'rows are put, replaced, removed, and selected in the order of their keys',
    async run({ runtime, folder }) {
      for (const place of [folder, undefined]) {
        const database = await runtime.databases.open(place, 'rows', SCHEMA);
        await database.commit([space(30, 'c'), space(-5, 'b'), space(200, 'a'), space(4, 'a')]);
        expectEqual(ids(database), [-5, 4, 30, 200], 'order of numbers');
        expectEqual(ids(database, { name: 'a' }), [4, 200], 'rows of a name');
        expectEqual(ids(database, { name: 'a', epoch: 2 }), [], 'rows of no name');
        await database.commit([
          space(4, 'z', Number.MAX_SAFE_INTEGER),
          { remove: 'spaces', key: { id: 30 } },
          { remove: 'spaces', key: { id: 31 } },
        ]);
        const row = { id: 4, name: 'z', epoch: Number.MAX_SAFE_INTEGER };
        expectEqual(database.select('spaces', { id: 4 }), [row], 'a replaced row');
        expectEqual(ids(database), [-5, 4, 200], 'rows left');
        await database.commit([]);
        await database.close();
      }
    },
  },
  {
    name: 'text keys are ordered by code point, and a key may have several columns',
    async run({ runtime }) {
      const database = await runtime.databases.open(undefined, 'text', SCHEMA);
      const nodes = ['b', 'B', '', 'ä', '\u{1f600}', '\uffee', 'ab', '10', '9', "o'x", 'a"b'];
      await database.commit(nodes.map((node) => member('r2', node)));
      await database.commit([member('r10', 'n')]);
      const found = database.select('members').map((row) => `${row['rack']}/${row['node']}`);
      const sorted = ['', '10', '9', 'B', 'a"b', 'ab', 'b', "o'x", 'ä', '\uffee', '\u{1f600}'];
      expectEqual(found, ['r10/n', ...sorted.map((node) => `r2/${node}`)], 'order of text');
      await database.close();
    },
  },
  {
    name: 'a copy has what was durable when it was made, and replaces no database',
    async run({ runtime, folder }) {
      const { databases } = runtime;
      const database = await databases.open(folder, 'copied', SCHEMA);
      await database.commit([space(1, 'a'), space(2, 'b')]);
      const copy = await database.copy();
      await database.commit([{ remove: 'spaces', key: { id: 1 } }]);
      let refusal = '';
      await databases.restore(folder, 'copied', copy).catch((error: unknown) => {
        refusal = (error as { kind?: string }).kind ?? 'none';
      });
      expectEqual(refusal, 'denied', 'a database is there');
      await databases.restore(folder, 'restored', copy);
      const restored = await databases.open(folder, 'restored', SCHEMA);
      expectEqual(ids(restored), [1, 2], 'rows of the copy');
      expectEqual(ids(database), [2], 'rows of the original');
      await restored.commit([space(3, 'c')]);
      await restored.close();
      await database.close();
    },
  },
  {
    name: 'the caller keeps its rows: neither side sees later changes of the other',
    async run({ runtime }) {
      const database = await runtime.databases.open(undefined, 'own', SCHEMA);
      const row: Row = { id: 1, name: 'mine', epoch: 1 };
      const commit = database.commit([{ put: 'spaces', row }]);
      row['name'] = 'changed';
      await commit;
      const [found] = database.select('spaces');
      if (found !== undefined) found['epoch'] = 99;
      expectEqual(database.select('spaces'), [{ id: 1, name: 'mine', epoch: 1 }], 'the row');
      await database.close();
    },
  },
  {
    name: 'what was committed is there when it is opened again, by one at a time',
    async run({ runtime, folder }) {
      const { databases } = runtime;
      const first = await databases.open(folder, 'again', SCHEMA);
      await Promise.all([1, 2, 3].map((id) => first.commit([space(id, `n${id}`)])));
      const open = () => databases.open(folder, 'again', SCHEMA);
      await expectError(open, 'DiskError', 'denied', 'opening twice');
      await first.close();
      await first.close();
      const second = await open();
      expectEqual(ids(second), [1, 2, 3], 'rows');
      await second.close();
    },
  },
  {
    name: 'tables that are missing are made, others must be as declared',
    async run({ runtime, folder }) {
      const { databases } = runtime;
      const first = await databases.open(folder, 'grown', { spaces: SCHEMA.spaces });
      await first.commit([space(1, 'a')]);
      await first.close();
      const second = await databases.open(folder, 'grown', SCHEMA);
      expectEqual([ids(second), second.select('members')], [[1], []], 'rows of both tables');
      await second.close();
      const other = { spaces: { columns: { id: 'integer' }, key: ['id'] } } as const;
      const open = () => databases.open(folder, 'grown', other);
      await expectError(open, 'DiskError', 'denied', 'opening with other columns');
    },
  },
  {
    name: 'a commit that is wrong changes nothing',
    async run({ runtime }) {
      const database = await runtime.databases.open(undefined, 'wrong', SCHEMA);
      const half = { put: 'spaces', row: { id: 2, name: 'b' } };
      const commit = async (): Promise<void> => database.commit([space(1, 'a'), half]);
      await rejection(commit(), 'a row without a column');
      await database.close();
    },
  },
];

export const STORAGE_CASES: readonly Case[] = [...DISK_CASES, ...DATABASE_CASES];
