import { expect, test } from 'vitest';
import { ConfigError } from '../base/config-error.js';
import { checkHostConfig } from '../client/host.js';
import { SPACE_ID_END } from '../disk/page-table.js';
import { checkConfig } from './config.js';
import { SPACE_ID_END as CONTROLLER_SPACE_ID_END } from './limits.js';

function problems(check: () => unknown): readonly string[] {
  try {
    check();
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems;
  }
}

const listen = 'tcp://127.0.0.1:0';

test('what is left out has a default', () => {
  expect(checkConfig({ listen })).toEqual({
    listen,
    data: undefined,
    placement: 'best-free-of-k',
    rebalancing: 'off',
    machine: 'localhost',
    heartbeatMs: 2_000,
    awayMs: 6_000,
    slabBytesMin: 64 * 1024 * 1024,
  });
});

test('every wrong key is listed, with its value and what is allowed', () => {
  const wrong = { listen: 7070, placement: 'best', heartbeatMs: 0, awayMs: 'x', data: '', prot: 1 };
  const found = problems(() => checkConfig(wrong));
  expect(found.map((line) => line.split(':')[0])).toEqual([
    'prot',
    'listen',
    'data',
    'placement',
    'heartbeatMs',
    'awayMs',
  ]);
  expect(found.join()).toContain('"best" is not best-free-of-two, ');
  for (const bad of [undefined, null, 5, 'tcp://x:1']) {
    expect(problems(() => checkConfig(bad))).toHaveLength(1);
  }
  expect(problems(() => checkConfig({ listen: 'tcp://h:70000' }))).toHaveLength(1);
  expect(problems(() => checkConfig({ listen, heartbeatMs: 100, awayMs: 150 }))).toHaveLength(1);
});

test("a host's configuration is checked the same way", () => {
  const good = { id: 'h', join: [listen], listen };
  expect(checkHostConfig(good)).toEqual({ ...good, machine: 'localhost' });
  const wrong = { id: 'a b', join: [], listen: 'x', nbdPort: 1, machine: '\n' };
  expect(problems(() => checkHostConfig(wrong))).toHaveLength(5);
});

test('of the files for TLS those are taken that go together', () => {
  const host = { id: 'h', join: [listen], listen, nbd: listen };
  const [nbdTlsCertificate, nbdTlsKey, nbdTlsClientCa, nbdTlsPsk] = ['c', 'k', 'a', 'p'];
  for (const [files, wrong] of [
    [{ nbdTlsPsk }, []],
    [{ nbdTlsCertificate, nbdTlsKey, nbdTlsClientCa }, []],
    [{ nbdTlsCertificate }, ['nbdTlsKey']],
    [{ nbdTlsKey }, ['nbdTlsCertificate']],
    [{ nbdTlsPsk, nbdTlsClientCa }, ['nbdTlsClientCa']],
    [{ nbdTlsCertificate, nbdTlsKey, nbdTlsPsk }, ['nbdTlsPsk']],
    [{ nbdTlsPsk: '' }, ['nbdTlsPsk']],
  ] as const) {
    const found = problems(() => checkHostConfig({ ...host, ...files }));
    expect([files, found.map((line) => line.split(':')[0])]).toEqual([files, wrong]);
  }
});

test('ids end where the page table has no more bits for them', () => {
  expect(CONTROLLER_SPACE_ID_END).toBeLessThanOrEqual(SPACE_ID_END);
});
