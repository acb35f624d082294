import { expect, test } from 'vitest';
import type { EventFacts } from '../../controller/event-pages.js';
import { judgeHistory } from './told.js';

function event(kind: string, node: string, epoch: number, from?: readonly [string, number]) {
  const details = from === undefined ? {} : { from: from[0], fromEpoch: from[1] };
  const at = '2026-01-01T00:00:00.000Z';
  const facts: EventFacts = { sequence: 0, at, kind, node, spaceId: 1, region: 1, epoch, details };
  return facts;
}

const inOrder = (...events: EventFacts[]) => events.map((one, i) => ({ ...one, sequence: i + 1 }));
const granted = () => event('region-granted', 'a', 5);
const moved = () => event('region-moved', 'b', 7, ['a', 5]);

test('owners one after the other are in order', () => {
  expect(judgeHistory(inOrder(granted(), moved(), event('region-lost', 'b', 7)))).toEqual([]);
  const older = event('metadata-older', '', 0);
  const restored = event('region-restored', 'c', 9, ['a', 5]);
  expect(judgeHistory(inOrder(granted(), moved(), older, restored))).toEqual([]);
});

test.each([
  ['two grants', inOrder(granted(), event('region-granted', 'b', 9))],
  ['an epoch that does not rise', inOrder(granted(), event('region-moved', 'b', 5, ['a', 5]))],
  ['a move from somebody else', inOrder(granted(), event('region-moved', 'c', 9, ['b', 5]))],
  ['a move that was left out', inOrder(granted(), event('region-moved', 'c', 9, ['b', 7]))],
  ['a sequence that does not rise', inOrder(granted(), moved()).reverse()],
])('%s is found', (_, events) => {
  const found = judgeHistory(events);
  expect(found.length).toBeGreaterThan(0);
  expect(found[0]?.kind).toBe('history-of-two-owners');
});
