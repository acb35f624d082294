import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Controller } from './controller.js';
import { FakeRack } from './testing/fake-rack.js';

const DIGEST = 'ab'.repeat(32);

async function start(): Promise<{ rack: FakeRack; controller: Controller; space: number }> {
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
    i === 999 ? { ...file, space: 99 } : { ...file, length: 11 },
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
