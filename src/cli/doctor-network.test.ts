import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Member } from '../apps/library.js';
import { findingsOf, leftOut, NETWORK_CODES } from './doctor-network.js';

const NODE: Member = {
  ...{ id: 'node-1', kind: 'memory-node', address: 'tcp://10.0.0.2:7100', state: 'serving' },
  ...{ bytesLent: 1, bytesUsed: 0, bytesCommitted: 0, pid: 1, machine: 'b', incarnation: 1 },
};
const GOOD = {
  ...{ sent: 400, answered: 400, minMs: 0.1, p50Ms: 0.2, p99Ms: 0.4 },
  ...{ bytesThere: 1_472, bytesBoth: 1_472, nodeReceiveBytes: 8_388_608 },
};

const look = (changed: Partial<typeof GOOD>, own = 8_388_608) =>
  findingsOf(NODE, { ...GOOD, ...changed }, own);
const stateOf = (changed: Partial<typeof GOOD>, code: string) =>
  look(changed).find((finding) => finding.code === code)?.state;

test('a good network has a finding of each kind, and none is in need of a remedy', () => {
  const findings = look({});
  expect(findings.map(({ state }) => state)).toEqual(findings.map(() => 'good'));
  expect(findings.map(({ found }) => found).join('\n')).toContain(
    '1,472 bytes there and back; links use 1,408 bytes',
  );
});

test('loss is good as noise, then a warning, then bad', () => {
  expect(stateOf({ answered: 396 }, 'UDP_LOSS')).toBe('good');
  expect(stateOf({ answered: 395 }, 'UDP_LOSS')).toBe('warning');
  expect(stateOf({ answered: 319 }, 'UDP_LOSS')).toBe('bad');
  expect(stateOf({ answered: 0 }, 'UDP_ROUND_TRIP')).toBe('warning');
});

test('a short path, a slow one and a small buffer are told with what to do', () => {
  const short = look({ bytesThere: 1_472, bytesBoth: 1_000 });
  const path = short.find(({ code }) => code === 'UDP_PATH_LENGTH');
  expect(path?.state).toBe('bad');
  expect(path?.found).toBe('1,000 bytes there and back, 1,472 bytes there');
  expect(stateOf({ bytesBoth: 1_232 }, 'UDP_PATH_LENGTH')).toBe('good');
  expect(stateOf({ p50Ms: 30 }, 'UDP_ROUND_TRIP')).toBe('warning');
  const small = look({ nodeReceiveBytes: 212_992 }, 1_000).filter(({ state }) => state !== 'good');
  expect(small.map(({ code }) => code)).toEqual(['UDP_RECEIVE_BUFFER', 'UDP_RECEIVE_BUFFER']);
  expect(small[0]?.remedy).toContain('at b: sysctl -w net.core.rmem_max=4194304');
  expect(small[1]?.remedy).toContain('at this machine');
});

test('where none is answered the port is named', () => {
  const [finding, ...more] = findingsOf(NODE, undefined, 0);
  expect(more).toEqual([]);
  expect(finding).toMatchObject({ code: 'UDP_NOT_ANSWERED', state: 'warning' });
  expect(finding?.remedy).toContain('open port 7100 for udp at b');
  expect(leftOut()).toMatchObject({ code: 'NETWORK_LEFT_OUT', state: 'skipped' });
});

test('every code has its row in the documentation, and nothing else has', () => {
  const page = readFileSync(new URL('../../docs/seeing.md', import.meta.url), 'utf8');
  const table = page.slice(page.indexOf('## What the network does'));
  const codes = [...table.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1]);
  expect(codes).toEqual([...NETWORK_CODES]);
});
