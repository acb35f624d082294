import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import type { Member } from '../apps/library.js';
import { Histogram } from '../base/histogram.js';
import { clip, Live, type LiveScreen } from './live-screen.js';
import { type Look, topFacts } from './top-facts.js';
import { topLines } from './top-view.js';

const STATUS = {
  ...{ state: 'degraded', bytesLent: 2 ** 30, bytesUsed: 2 ** 20, bytesCommitted: 2 ** 21 },
  moves: [{ space: 'photos', region: 2, from: 'n1', to: 'n2', ms: 4_200 }],
  findings: [
    { code: 'NODE_AWAY', severity: 'error', subject: 'n2' },
    { code: 'METADATA_NOT_KEPT', severity: 'info', subject: 'controller' },
  ],
};

const DEVICE = {
  ...{ name: 'disk', state: 'served', host: 'h1', bytes: 2 ** 30, bytesMapped: 2 ** 26 },
  ...{ replicas: 2, slabBytes: 2 ** 26, slabsAbsent: 15, slabsKept: 2 },
  slabs: { whole: 1, degraded: 1, away: 0, lost: 0, inDoubt: 0 },
  activity: {
    read: {
      ...{ done: 90, bytes: 9000, errors: 0, perSecond: { done: 1200, bytes: 2 ** 20 } },
      ...{ meanUs: 21, p99Us: 128 },
    },
    write: { done: 7, bytes: 7, errors: 3 },
    ...{ waiting: 4, copiesMade: 5, copiesLost: 6, blocksRepaired: 8, blocksDamaged: 9 },
  },
};

function member(id: string, more: Partial<Member> = {}): Member {
  const sizes = { bytesLent: 2 ** 29, bytesUsed: 2 ** 28, bytesCommitted: 2 ** 28 };
  const plain = { id, kind: 'memory-node', state: 'serving', address: 'tcp://h:1', ...sizes };
  return { ...plain, machine: 'm', incarnation: 1, pid: 1, ...more } as Member;
}

function counters(incarnation: number, reads: number, more: object = {}) {
  const read = new Histogram(1e-6, 4);
  read.add(3e-6, reads);
  const none = new Histogram(1e-6, 4).counts();
  const service = { read: read.counts(), write: none, atomic: none };
  return { incarnation, operations: { Read: reads }, refusals: {}, service, ...more };
}

function look(atMs: number, ofN1: object | undefined): Look {
  const members = [member('n1'), member('n2', { state: 'away' } as Partial<Member>)];
  const host = { ...member('h1'), kind: 'host' } as Member;
  const numbers = [{ node: 'n1', counters: ofN1 as Record<string, unknown>, tookMs: 1.5 }];
  const spaces = [{ name: 'photos', kind: 'dram', regions: 3, state: 'serving' }];
  const all = [...members, host];
  return { atMs, status: STATUS, members: all, spaces, numbers, devices: [DEVICE] };
}

test('rates are what went by, of a process that is the same', () => {
  const before = look(1000, counters(4, 100));
  const same = topFacts(before, look(3000, counters(4, 500)), 0);
  expect(same.nodes[0]).toMatchObject({ id: 'n1', reads: 200, serviceP50Us: 4, answerMs: 1.5 });
  // Started anew, it has counted from 0.
  const other = topFacts(before, look(3000, counters(5, 50)), 0);
  expect(other.nodes[0]?.reads).toBe(25);
  expect(same.nodes[1]).toEqual({ ...same.nodes[1], id: 'n2', state: 'away' });
  expect(same.nodes[1]?.reads).toBeUndefined();
  expect(same.hosts).toEqual([{ id: 'h1', state: 'serving' }]);
});

test('a node that did not answer, or answers nonsense, has no rates', () => {
  const silent = topFacts(look(0, counters(1, 1)), look(1000, undefined), 0);
  expect(silent.nodes[0]?.reads).toBeUndefined();
  const odd = { incarnation: 1, operations: 'many', service: { read: { bounds: 1 } } };
  const strange = topFacts(look(0, odd), look(1000, odd), 0);
  expect(strange.nodes[0]).toMatchObject({ reads: 0, refusals: 0 });
  expect(strange.nodes[0]?.serviceP99Us).toBeUndefined();
});

test('the view names nodes, links, spaces and what is wrong', () => {
  const now = counters(1, 12_345, { bytesToGive: 3 * 2 ** 20 });
  const facts = topFacts(look(0, counters(1, 0)), look(1000, now), 0);
  const text = topLines(facts, 'memrack://r:1', { write: () => true }).join('\n');
  expect(text).not.toContain('\u001b');
  expect(text).toMatch(/^memrack top {2}memrack:\/\/r:1/);
  expect(text).toMatch(/n1 +serving +512 MiB +50 % +3 MiB +12\.3k/);
  expect(text).toMatch(/n2 +away .* - /);
  expect(text).toContain('NODE_AWAY n2');
  expect(text).not.toContain('METADATA_NOT_KEPT');
  expect(text).toMatch(/^photos\/2 +n1 +n2 +4\.2 s$/m);
  const still = { ...facts, moves: [] };
  expect(topLines(still, '', { write: () => true }).join('\n')).not.toContain('photos/2');
  expect(text).toMatch(/photos +dram +3 +serving/);
  expect(text).toMatch(/disk +1 GiB +2 +64 MiB +1 whole, 1 degraded, 15 absent +served by h1/);
  expect(text).toMatch(/h1 +1\.2k\/s, 1 MiB\/s, mean 21 us, p99 128 us +- +3 +4 +6\/5 +9\/8$/m);
});

test('a line is cut by what is seen of it, and its colours are ended', () => {
  expect(clip('abcdef', 3)).toBe('abc');
  expect(clip('\u001b[31mabc\u001b[0mdef', 2)).toBe('\u001b[31mab\u001b[0m');
  expect(clip('\u001b[31mabc\u001b[0mdef', 5)).toBe('\u001b[31mabc\u001b[0mde');
  expect(clip('abc', 80)).toBe('abc');
});

class FakeTerminal extends EventEmitter implements LiveScreen {
  isTTY = true;
  columns = 5;
  rows = 3;
  text = '';
  write(text: string): boolean {
    this.text += text;
    return true;
  }
}

test('a terminal gets its screen back, whatever its size became', () => {
  const terminal = new FakeTerminal();
  const live = new Live(terminal);
  live.show(['first line', 'second', 'third']);
  expect(terminal.text).toMatch(/^\u001b\[\?1049h/);
  expect(terminal.text).toContain('first');
  expect(terminal.text).not.toContain('first ');
  expect(terminal.text).not.toContain('third');
  terminal.text = '';
  Object.assign(terminal, { columns: 20, rows: 10 });
  terminal.emit('resize');
  expect(terminal.text).toContain('first line');
  expect(terminal.text).toContain('third');
  terminal.text = '';
  live.end();
  live.end();
  terminal.emit('resize');
  expect(terminal.text).toBe('\u001b[?25h\u001b[?1049l');
});

test('without a terminal each look follows the one before', () => {
  const terminal = new FakeTerminal();
  terminal.isTTY = false;
  const live = new Live(terminal);
  live.show(['a', 'b']);
  live.show(['c']);
  live.end();
  expect(terminal.text).toBe('a\nb\n\nc\n');
});
