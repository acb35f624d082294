import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { FakeWorld } from '../fabric/testing/fake-world.js';
import type { Device } from './device.js';
import { ServedDevice, type Tenure } from './served-device.js';

function rigOf(answers: readonly ('held' | Status)[]) {
  const world = new FakeWorld(1);
  const { clock, timers } = world.runtime();
  let opened = 0;
  let end: () => void = () => undefined;
  const open = (): Promise<Tenure | Status> => {
    const answer = answers[opened++] ?? Status.Conflict;
    if (answer !== 'held') return Promise.resolve(answer);
    const ended = new Promise<void>((resolve) => (end = resolve));
    const device = { stop: () => undefined } as unknown as Device;
    return Promise.resolve({ device, ended, release: () => Promise.resolve() });
  };
  const served = new ServedDevice({ clock, timers, bytes: 4096, open, patienceMs: 1_000 });
  const pass = (ms: number): Promise<boolean> => world.run(() => false, ms);
  return { served, pass, end: () => end(), opened: () => opened };
}

test('a lease that is lost is taken anew, though nobody reads or writes', async () => {
  const { served, pass, end, opened } = rigOf(['held', Status.Unavailable, 'held']);
  void served.begin(1_000);
  await pass(100);
  expect([opened(), served.device]).toEqual([1, expect.anything()]);
  end();
  await pass(10_000);
  expect([opened(), served.device]).toEqual([3, expect.anything()]);
});

test('a lease that somebody else has is left to him', async () => {
  const { served, pass, end, opened } = rigOf(['held', Status.Conflict]);
  void served.begin(1_000);
  await pass(100);
  end();
  await pass(10_000);
  expect([opened(), served.device]).toEqual([2, undefined]);
});
