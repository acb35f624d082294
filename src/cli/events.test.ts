import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { EVENT_KINDS } from '../controller/metadata/history.js';
import { eventLine, type ShownEvent, spanFlag } from './events.js';

const page = readFileSync(new URL('../../docs/seeing.md', import.meta.url), 'utf8');

test('times are whole numbers with a unit', () => {
  expect(['30s', '5min', '1h', '7d', undefined].map(spanFlag)).toEqual([
    30_000, 300_000, 3_600_000, 604_800_000, 0,
  ]);
  for (const wrong of ['', '1', 'h', '-1h', '0s', '1.5h', '1 h', '1w', '9999999d']) {
    expect(() => spanFlag(wrong), wrong).toThrow('is not a time such as');
  }
});

test('the page tells every kind of event, and no other', () => {
  const [, section = ''] = page.split('## What happened');
  const rows = section.split('\n## ')[0]?.match(/^\| `.*? \|/gm) ?? [];
  const told = rows.flatMap((row) => [...row.matchAll(/`([a-z-]+)`/g)].map(([, kind]) => kind));
  expect(told.sort()).toEqual([...EVENT_KINDS].sort());
});

const PARTS = ['kind', 'node', 'space', 'spaceId', 'region', 'epoch', 'details'] as const;
const nodeLent = { incarnation: 1, bytesLent: 2 ** 30 };
const photos = { space: 'photos', spaceId: 7, region: 1 };
const SHOWN: readonly Pick<ShownEvent, (typeof PARTS)[number]>[] = [
  { kind: 'controller-started', details: { database: 'empty' } },
  { kind: 'node-joined', node: 'node-1', details: nodeLent },
  { kind: 'node-joined', node: 'node-2', details: nodeLent },
  { kind: 'space-created', space: 'photos', spaceId: 7, details: { kind: 'dram' } },
  { kind: 'region-granted', ...photos, node: 'node-1', epoch: 4711, details: {} },
  { kind: 'move-begun', ...photos, node: 'node-1', epoch: 4712, details: { to: 'node-2' } },
  {
    ...{ kind: 'region-moved', ...photos, node: 'node-2', epoch: 4712 },
    details: { from: 'node-1', fromEpoch: 4711 },
  },
  {
    ...{ kind: 'move-done', ...photos, node: 'node-1', epoch: 4712 },
    details: { to: 'node-2', ms: 842 },
  },
  { kind: 'node-away', node: 'node-2', details: {} },
  { kind: 'node-back', node: 'node-2', details: { memory: 'kept', incarnation: 2 } },
];

test('events are shown as the page shows them', () => {
  const [, example = ''] = /## What happened[\s\S]*?```text\n([\s\S]*?)```/.exec(page) ?? [];
  const lines = example.trimEnd().split('\n');
  const shown = SHOWN.map((event, i) => {
    return eventLine({ ...event, sequence: i + 1, at: lines[i]?.slice(0, 24) ?? '' });
  });
  expect(shown).toEqual(lines);
});

test('nothing that comes from elsewhere steers a terminal', () => {
  const details = { reason: '\u001b[2Jgone\r\n' };
  const line = eventLine({ sequence: 1, at: 'now', kind: 'move-cancelled', details });
  expect(line).toMatch(/reason \?\[2Jgone\?\?$/);
});
