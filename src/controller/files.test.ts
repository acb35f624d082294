import type { SpaceId } from '../base/brands.js';
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Controller } from './controller.js';
import { FakeRack } from './testing/fake-rack.js';

const DIGEST = 'ab'.repeat(32);

async function start(): Promise<{ rack: FakeRack; controller: Controller; space: SpaceId }> {
  const rack = new FakeRack();
  const controller = await rack.start();
  const opened = await controller.spaces.open({ name: 's', create: true, kind: 0, pageBytes: 0 });
  if (opened.status !== Status.Ok) throw new Error(opened.message);
  return { rack, controller, space: opened.space.id };
}

test('a batch is one durable change, all or none', async () => {
  const { rack, controller, space } = await start();
  const before = rack.databases.commits;
  const files = Array.from({ length: 1000 }, (_, i) => ({
    key: `dir/${i}`,
    space,
    address: i * 4096,
    length: 10,
    sha256: DIGEST,
  }));
  expect(await controller.files.put(files)).toMatchObject({ status: Status.Ok });
  expect(rack.databases.commits).toBe(before + 1);
  const bad = files.map((file, i) =>
    i === 999 ? { ...file, space: 99 as SpaceId } : { ...file, length: 11 },
  );
  expect(await controller.files.put(bad)).toMatchObject({ status: Status.NotFound });
  expect(controller.files.get('dir/5')).toMatchObject({ file: { length: 10 } });
});

test('what is replaced is told once, to be freed, and never the new place', async () => {
  const { controller, space } = await start();
  const at = (address: number) => ({ key: 'k', space, address, length: 10, sha256: '' });
  expect(await controller.files.put([at(4096)])).toMatchObject({ replaced: [undefined] });
  expect(await controller.files.put([at(8192)])).toMatchObject({ replaced: [at(4096)] });
  expect(await controller.files.put([at(8192)])).toMatchObject({ replaced: [undefined] });
  const twice = await controller.files.put([at(1), at(2)]);
  expect(twice).toMatchObject({ replaced: [at(8192), at(1)] });
  const raced = await Promise.all([controller.files.put([at(3)]), controller.files.put([at(4)])]);
  expect(raced).toMatchObject([{ replaced: [at(2)] }, { replaced: [at(3)] }]);
  expect(await controller.files.remove('k')).toMatchObject({ file: at(4) });
  expect(await controller.files.remove('k')).toMatchObject({ status: Status.NotFound });
});

test('keys, ranges and digests are checked', async () => {
  const { controller, space } = await start();
  const good = { key: 'k', space, address: 1, length: 2, sha256: DIGEST };
  for (const wrong of [
    { key: '' },
    { key: 'a\nb' },
    { key: '\u001b[31m' },
    { address: 2 ** 53 - 1, length: 2 ** 20 },
    { sha256: 'AB'.repeat(32) },
    { sha256: 'ab' },
  ]) {
    const result = await controller.files.put([good, { ...good, ...wrong }]);
    expect(result, JSON.stringify(wrong)).toMatchObject({ status: Status.Invalid });
  }
  expect(await controller.files.put([])).toMatchObject({ status: Status.Invalid });
  expect(controller.files.count).toBe(0);
});

test('several hundred thousand entries load and list quickly after a restart', async () => {
  const { rack, controller, space } = await start();
  const table = rack.databases.tables.get('files');
  for (let i = 0; i < 300_000; i++) {
    const key = `tree/${i % 997}/${i}`;
    table?.set(key, { key, space, address: i * 4096, length: 1, sha256: DIGEST });
  }
  expect(controller.files.count).toBe(0);
  const begun = performance.now();
  const next = await rack.start();
  expect(next.files.count).toBe(300_000);
  let after = '';
  let listed = 0;
  for (let more = true; more; ) {
    const page = next.files.list('tree/5/', after, 100);
    listed += page.files.length;
    after = page.files.at(-1)?.key ?? '';
    more = page.more;
  }
  expect(listed).toBe(301);
  expect(performance.now() - begun).toBeLessThan(5_000);
});

const place = (space: SpaceId, address: number) => ({ space, address });

test('what no key names any more is garbage at once, until it is freed', async () => {
  const { rack, controller, space } = await start();
  const at = (key: string, address: number) => ({ key, space, address, length: 10, sha256: '' });
  await controller.files.put([at('a', 1), at('b', 2)]);
  let commits = rack.databases.commits;
  await controller.files.put([at('a', 3), at('b', 4), at('b', 5)]);
  await controller.files.put([at('a', 3)]);
  await controller.files.remove('a');
  expect(rack.databases.commits).toBe(commits + 3);
  // Whoever replaced them died here; so does the controller.
  const next = await rack.start();
  const taken = await next.garbage.take(7, 3);
  expect(taken).toMatchObject({ status: Status.Ok, more: true });
  expect(taken).toMatchObject({ places: [place(space, 1), place(space, 2), place(space, 4)] });
  // Asked again it is the same, also after a restart; nobody else gets these.
  const last = await rack.start();
  expect(await last.garbage.take(7, 3)).toEqual(taken);
  expect(await last.garbage.take(8, 9)).toMatchObject({ places: [place(space, 3)], more: false });
  expect(await last.garbage.take(9, 9)).toMatchObject({ places: [], more: false });
  await last.garbage.forget(8, [place(space, 1)], true);
  await last.garbage.forget(7, [place(space, 1), place(space, 2)], true);
  await last.garbage.forget(7, [place(space, 4)], false);
  await last.garbage.forget(7, [place(space, 4)], true);
  expect(await last.garbage.take(7, 9)).toMatchObject({ places: [place(space, 4)] });
  await last.garbage.forget(7, [place(space, 4)], true);
  await last.garbage.forget(8, [place(space, 3)], true);
  expect(rack.databases.tables.get('garbage')?.size).toBe(0);
  commits = rack.databases.commits;
  expect(await last.garbage.take(10, 9)).toMatchObject({ places: [] });
  expect(rack.databases.commits).toBe(commits);
  expect(await last.garbage.take(0, 9)).toMatchObject({ status: Status.Invalid });
});

test('a place entered again is no garbage; a space takes its garbage along', async () => {
  const { rack, controller, space } = await start();
  const at = (key: string, address: number) => ({ key, space, address, length: 10, sha256: '' });
  await controller.files.put([at('a', 1)]);
  await controller.files.put([at('a', 2)]);
  expect(controller.metadata.garbage.size).toBe(1);
  await controller.files.put([at('b', 1)]);
  expect(controller.metadata.garbage.size).toBe(0);
  // One batch that moves a place from key to key.
  await controller.files.put([at('b', 3), at('c', 1)]);
  expect(controller.metadata.garbage.size).toBe(0);
  await controller.files.remove('c');
  await controller.spaces.remove('s');
  expect(rack.databases.tables.get('garbage')?.size).toBe(0);
});

test('status speaks of garbage that stays', async () => {
  const { rack, controller, space } = await start();
  const at = (address: number) => ({ key: 'k', space, address, length: 4096, sha256: '' });
  await controller.files.put([at(1)]);
  await controller.files.put([at(2)]);
  const found = () =>
    rack
      .api(controller)
      .status()
      .findings.filter(({ code }) => code === 'GARBAGE_NOT_FREED');
  expect(found()).toEqual([]);
  rack.nowMs += 600_000;
  expect(found()).toMatchObject([{ severity: 'warning' }]);
  expect(found()[0]?.message).toContain('1 places of former files (4 KiB)');
  await controller.garbage.take(5, 1);
  expect(found()[0]?.message).toContain('1 of them were taken');
  await controller.garbage.forget(5, [place(space, 1)], true);
  expect(found()).toEqual([]);
});
