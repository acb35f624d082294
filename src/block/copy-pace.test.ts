import { expect, test } from 'vitest';
import { World } from '../replication/testing/slab-world.js';
import { CopyPace } from './copy-pace.js';

const PIECE = 256 * 1024;

function rigOf() {
  const world = new World(1, () => new Promise((resolve) => setImmediate(resolve)));
  const rig = { world, uses: 0, done: 0 };
  const timers = { after: world.after, soon: world.soon };
  const pace = new CopyPace({ clock: world, timers, uses: () => rig.uses });
  /** So many lanes copy pieces that take `ms` each. */
  const copy = (lanes: number, ms: number): void => {
    const lane = async (): Promise<void> => {
      for (;;) {
        await pace.run(PIECE, async () => {
          await world.sleep(ms);
          rig.done += 1;
        });
      }
    };
    for (let i = 0; i < lanes; i++) void lane();
  };
  const pass = (ms: number): Promise<boolean> => world.run(() => false, world.nowMs + ms);
  return { rig, pace, copy, pass };
}

test('while nobody uses the devices it goes as fast as the pieces do', async () => {
  const { rig, copy, pass } = rigOf();
  copy(1, 2);
  await pass(1_000);
  expect(rig.done).toBeGreaterThan(480);
});

test('it never goes faster than the most', async () => {
  const { rig, copy, pass } = rigOf();
  copy(4, 0.1);
  await pass(1_000);
  expect((rig.done * PIECE) / 2 ** 30).toBeLessThan(1.01);
});

test('while somebody uses them it rests as long as it works', async () => {
  const { rig, copy, pass } = rigOf();
  copy(1, 2);
  const use = async (): Promise<void> => {
    for (;;) {
      rig.uses += 1;
      await rig.world.sleep(1);
    }
  };
  void use();
  await pass(1_000);
  expect(rig.done).toBeGreaterThan(200);
  expect(rig.done).toBeLessThan(260);
});

test('a piece whose node does not answer holds up no others', async () => {
  const { rig, pace, copy, pass } = rigOf();
  void pace.run(PIECE, () => new Promise(() => undefined));
  copy(1, 2);
  await pass(1_000);
  expect(rig.done).toBeGreaterThan(450);
});

test('pieces whose nodes never answer hold up no others, however many they are', async () => {
  const { rig, pace, copy, pass } = rigOf();
  for (let i = 0; i < 9; i++) void pace.run(PIECE, () => new Promise(() => undefined));
  copy(1, 2);
  await pass(12_000);
  expect(rig.done).toBeGreaterThan(450);
});

test('what fails lets the next one go on', async () => {
  const { pace, rig, pass } = rigOf();
  const ends: string[] = [];
  for (let i = 0; i < 9; i++) {
    const failed = pace.run(PIECE, () => Promise.reject(new Error('no')));
    void failed.catch((error: Error) => ends.push(error.message));
  }
  await pass(100);
  expect([ends.length, rig.done]).toEqual([9, 0]);
});
