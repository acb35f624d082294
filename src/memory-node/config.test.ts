import { expect, test } from 'vitest';
import { ConfigError } from '../base/config-error.js';
import { GiB, KiB, MiB } from '../base/units.js';
import { checkSupervisorConfig } from './config.js';

const GOOD = { id: 'n1', listen: 'tcp://127.0.0.1:0', memoryBytes: GiB };

test('what is not given is filled in', () => {
  expect(checkSupervisorConfig(GOOD)).toEqual({
    ...GOOD,
    join: [],
    windowEntries: 65536,
    recordRows: 2 ** 19,
    machine: 'localhost',
    replace: false,
    revokeMs: 100,
    donor: { controlGroup: '' },
    pageBytes: 2 * MiB,
    frames: 512,
    commitPages: 1024,
    tableEntries: 2048,
    zeroedFrames: 64,
  });
  const odd = checkSupervisorConfig({ ...GOOD, memoryBytes: 10 * MiB + 1, pageBytes: 64 * KiB });
  expect(odd).toMatchObject({ memoryBytes: 10 * MiB, frames: 160, zeroedFrames: 20 });
});

test.each([
  [{ id: '' }, 'id: "" is not'],
  [{ id: 'a b' }, 'id: "a b" is not'],
  [{ listen: 'localhost' }, 'listen: "localhost" is not tcp://'],
  [{ join: 'tcp://a:1' }, 'join: "tcp://a:1" is not a list'],
  [{ machine: '' }, 'machine: "" is not'],
  [{ replace: 1 }, 'replace: 1 is not true or false'],
  [{ pageBytes: 3 * MiB }, 'pageBytes: 3145728 is not a power of two'],
  [{ memoryBytes: 1 }, 'memoryBytes: 1 is not at least 2 pages of 2 MiB'],
  [{ memoryBytes: 'a' }, 'memoryBytes: "a" is not'],
  [{ memoryBytes: 2 ** 45, pageBytes: 64 * KiB }, 'larger pages'],
  [{ tableEntries: 17 }, 'tableEntries: 17 is not a power of two'],
  [{ commitPages: 4096 }, 'commitPages: 4096 is not an integer from 1 to 2048'],
  [{ zeroedFrames: 0 }, 'zeroedFrames: 0 is not'],
  [{ protectDonor: 1 }, 'protectDonor: 1 is not true or false'],
  [{ controlGroup: 'a' }, 'controlGroup: "a" is not the path'],
  [{ lendAboveBytes: 5 }, 'giveBackBelowBytes: undefined is not given without lendAboveBytes'],
  [{ lendAboveBytes: 5, giveBackBelowBytes: 5 }, 'lendAboveBytes: 5 is not more than'],
  [{ lendAboveBytes: -1, giveBackBelowBytes: -2 }, 'giveBackBelowBytes: -2 is not a number'],
  [{ revokeMs: 1001 }, 'revokeMs: 1001 is not an integer from 1 to 1000'],
  [{ memory: 5 }, 'memory: there is no such key'],
])('%o is refused', (change, problem) => {
  const check = (): unknown => checkSupervisorConfig({ ...GOOD, ...change });
  expect(check).toThrow(ConfigError);
  expect(check).toThrow(problem);
});

test.each(['tcp://[::1]:0', 'unix:///run/n1', 'ring:///run/n1'])('may listen at %s', (listen) => {
  expect(checkSupervisorConfig({ ...GOOD, listen })).toMatchObject({ listen });
});

test('all problems are told at once', () => {
  try {
    checkSupervisorConfig({ id: '', listen: 5, pageBytes: 1 });
    expect.unreachable();
  } catch (error) {
    expect((error as ConfigError).problems).toHaveLength(3);
  }
});

test('marks are given both, or the machine decides, or nobody looks', () => {
  const marks = { lendAboveBytes: 3 * MiB, giveBackBelowBytes: MiB, controlGroup: '/a/b' };
  expect(checkSupervisorConfig({ ...GOOD, ...marks }).donor).toEqual({
    controlGroup: '/a/b',
    marks: { low: MiB, high: 3 * MiB },
  });
  expect(checkSupervisorConfig({ ...GOOD, protectDonor: false }).donor).toBeUndefined();
});
