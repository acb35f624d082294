import { expect, test } from 'vitest';
import { roomOf } from './available-memory.js';

const MIB = 1024 * 1024;
const MEMINFO = 'MemTotal: 8388608 kB\nMemFree: 1024 kB\nMemAvailable:    4194304 kB\n';
const MEMORY = '/sys/fs/cgroup/memory';

const reader = (files: Record<string, string>) => (path: string) => files[path];

test('the machine alone: what is available, not what is free', () => {
  const text = reader({
    '/proc/meminfo': MEMINFO,
    '/proc/pressure/memory': 'some avg10=12.50 avg60=1.00 avg300=0.00 total=9\nfull avg10=0.00 ',
  });
  expect(roomOf('', text)).toEqual({
    availableBytes: 4096 * MIB,
    totalBytes: 8192 * MIB,
    stalledShare: 0.125,
    problem: '',
  });
});

test('nothing can be read: nothing is known, and nothing is made up', () => {
  const unknown = { availableBytes: undefined, totalBytes: undefined, stalledShare: undefined };
  expect(roomOf('', reader({}))).toMatchObject(unknown);
  const nonsense = { '/proc/meminfo': 'MemAvailable: lots kB\n', '/proc/pressure/memory': 'some' };
  expect(roomOf('', reader(nonsense))).toMatchObject(unknown);
});

test('the tightest group of version 1 counts, with cached files as room', () => {
  const files: Record<string, string> = {
    '/proc/meminfo': MEMINFO,
    '/proc/self/cgroup': '5:cpu,memory:/a/b\n0::/\n',
    [`${MEMORY}/a/b/memory.limit_in_bytes`]: '9223372036854771712',
    [`${MEMORY}/a/b/memory.usage_in_bytes`]: String(300 * MIB),
    [`${MEMORY}/a/memory.limit_in_bytes`]: String(1024 * MIB),
    [`${MEMORY}/a/memory.usage_in_bytes`]: String(900 * MIB),
    [`${MEMORY}/a/memory.stat`]: `inactive_file 1\ntotal_inactive_file ${100 * MIB}\n`,
  };
  const room = { availableBytes: 224 * MIB, totalBytes: 1024 * MIB, stalledShare: undefined };
  expect(roomOf('', reader(files))).toEqual({ ...room, problem: '' });
  expect(roomOf('/a', reader(files))).toEqual({ ...room, problem: '' });
  expect(roomOf('/c', reader(files)).problem).toContain('no control group /c');
  // A group that uses more than its limit, as one that was just lowered, has no room, not less.
  files[`${MEMORY}/a/memory.usage_in_bytes`] = String(2000 * MIB);
  expect(roomOf('', reader(files)).availableBytes).toBe(0);
});

test.each(['/sys/fs/cgroup', '/sys/fs/cgroup/unified'])('version 2 at %s', (mount) => {
  const files: Record<string, string> = {
    '/proc/meminfo': MEMINFO,
    '/proc/self/cgroup': '0::/a/b\n',
    [`${mount}/a/b/memory.max`]: 'max\n',
    [`${mount}/a/b/memory.high`]: 'max\n',
    [`${mount}/a/b/memory.current`]: String(10 * MIB),
    [`${mount}/a/b/memory.pressure`]: 'some avg10=50.00 avg60=0.00 avg300=0.00 total=1\n',
    [`${mount}/a/memory.max`]: String(2048 * MIB),
    [`${mount}/a/memory.high`]: String(1024 * MIB),
    [`${mount}/a/memory.current`]: String(1000 * MIB),
    [`${mount}/a/memory.stat`]: `anon 5\ninactive_file ${4 * MIB}\n`,
  };
  expect(roomOf('/a/b', reader(files))).toEqual({
    availableBytes: 28 * MIB,
    totalBytes: 1024 * MIB,
    stalledShare: 0.5,
    problem: '',
  });
});

test('on this machine there is room, and no more than there is memory', () => {
  const { availableBytes = 0, totalBytes = 0 } = roomOf('');
  expect(availableBytes).toBeGreaterThan(0);
  expect(availableBytes).toBeLessThanOrEqual(totalBytes);
});
