// Whole files on a rack of real processes: what is replaced or removed gives its memory back.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { getFile, putFile, removeFile } from '../../src/apps/file-transfer.js';
import { connect, type FileFacts, type Rack } from '../../src/apps/library.js';
import { ROOT, runCli } from '../support/cli.js';
import { readTree } from '../../src/apps/job/tree.js';
import { startRack, type TestRack, until } from '../support/rack.js';

const MiB = 1024 * 1024;
const PAGE = 64 * 1024;
let rack: TestRack;
let client: Rack;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-files-'));
  rack = await startRack({ nodes: 1 });
  client = await connect(rack.url);
});

afterAll(async () => {
  await client?.close();
  await rack?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function source(name: string, bytes: number): string {
  const path = join(folder, name);
  writeFileSync(path, Buffer.alloc(bytes, name));
  return path;
}

/** Resolves when the node says that this much is allocated. */
async function committed(bytes: number): Promise<void> {
  let last = -1;
  const ask = async (): Promise<true | undefined> => {
    const nodes = await client.nodes();
    last = nodes.reduce((sum, node) => sum + node.bytesCommitted, 0);
    return last === bytes ? true : undefined;
  };
  await until(15_000, ask).catch(() => expect(last).toBe(bytes));
}

test('a file that is put again, and one that is removed, give their memory back', async () => {
  await committed(0);
  await putFile(client, 'a', source('first', 5 * MiB));
  await committed(5 * MiB);
  const put = await runCli(['put', 'a', source('second', 3 * MiB), '--rack', rack.url]);
  expect(put.code).toBe(0);
  await committed(3 * MiB);
  await removeFile(client, 'a');
  await committed(0);
});

test('a put that is asked to end gives its memory back', async () => {
  const asked = new AbortController();
  const reason = new Error('asked to end');
  const options = { signal: asked.signal, moved: () => asked.abort(reason) };
  await expect(putFile(client, 'half', source('half', 30 * MiB), options)).rejects.toBe(reason);
  await expect(client.files.get('half')).rejects.toMatchObject({ code: 'NotFound' });
  await putFile(client, 'whole', source('whole', 5 * MiB));
  await committed(5 * MiB);
  await removeFile(client, 'whole');
  await committed(0);
});

test('what others have replaced and not freed is freed by the next one', async () => {
  const space = await client.space('files', { create: true });
  const entry = (key: string, address: number, length: number): FileFacts => {
    return { key, space: space.id, address, length, sha256: '' };
  };
  // As a process that is killed before it frees what it has replaced.
  await client.files.put([entry('killed', await space.alloc(40 * MiB), 40 * MiB)]);
  await client.files.put([entry('killed', 0, 0)]);
  await committed(40 * MiB);
  // More than there is: 64 MiB are lent, and twice as much is promised at most.
  await client.files.put([entry('large', await space.alloc(60 * MiB), 60 * MiB)]);
  await client.files.remove('large');
  await putFile(client, 'needs room', source('room', 50 * MiB));
  await committed(50 * MiB);
  await removeFile(client, 'needs room');
  await client.files.remove('killed');
  await committed(0);
});

test('a part of an allocation that loses its key frees nothing of the others', async () => {
  const space = await client.space('files', { create: true });
  const at = await space.alloc(4 * MiB);
  const entry = (key: string, offset: number, length: number): FileFacts => {
    return { key, space: space.id, address: at + offset, length, sha256: '' };
  };
  await client.files.put([entry('part', 0, 100), entry('other', 100, 100)]);
  await removeFile(client, 'part');
  await removeFile(client, 'other');
  await space.write(at, Buffer.from('still there'));
  await committed(4 * MiB);
  await space.free(at);
  await committed(0);
});

test('a file that is replaced while it is read is read again', async () => {
  const to = join(folder, 'copy');
  await putFile(client, 'swapped', source('old', 2 * MiB));
  const before = await client.files.get('swapped');
  const fresh = source('fresh', MiB);
  let asked = 0;
  const get = async (key: string): Promise<FileFacts> => {
    asked += 1;
    if (asked > 1) return client.files.get(key);
    await putFile(client, 'swapped', fresh);
    return before;
  };
  const slow = { files: { get }, spaceOf: (id: number) => client.spaceOf(id) } as unknown as Rack;
  const found: number[] = [];
  await getFile(slow, 'swapped', to, { found: ({ length }) => found.push(length) });
  expect(found).toEqual([2 * MiB, MiB]);
  expect(readFileSync(to).equals(readFileSync(fresh))).toBe(true);
  await removeFile(client, 'swapped');
});

test('a file whose bytes are not what was put stays Corrupt', async () => {
  await putFile(client, 'spoiled', source('good', 1000));
  const { space, address } = await client.files.get('spoiled');
  await (await client.spaceOf(space)).write(address, Buffer.from('bad'));
  const to = join(folder, 'spoiled');
  await expect(getFile(client, 'spoiled', to)).rejects.toMatchObject({ code: 'Corrupt' });
  await removeFile(client, 'spoiled');
});

test('the main job leaves nothing behind, and a file of it can be put anew', async () => {
  // As it was built, because it starts processes of its own.
  const job = join(ROOT, 'dist/apps/job/main-job.js');
  const { cleanUp, runJob } = (await import(
    job
  )) as typeof import('../../src/apps/job/main-job.js');
  const inside = join(folder, 'tree');
  mkdirSync(inside);
  for (const name of ['a', 'b', 'c']) writeFileSync(join(inside, name), name.repeat(10_000));
  const tree = await readTree(inside, { bytesMax: MiB, skipHidden: true });
  const screen = { isTTY: false, write: () => true };
  const options = { rack: client, folder: inside, tree, workers: 1, screen };
  expect((await runJob(options)).isVerified).toBe(true);
  await putFile(client, 'tree/a', source('anew', 70_000));
  await getFile(client, 'tree/b', join(folder, 'b'));
  expect(readFileSync(join(folder, 'b'), 'utf8')).toBe('b'.repeat(10_000));
  await committed(PAGE + 2 * PAGE);
  await cleanUp(client);
  await committed(0);
});
