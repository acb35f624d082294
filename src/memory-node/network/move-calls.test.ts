import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import type { Moves } from '../moves/moves.js';
import { withinHeld } from './move-calls.js';

const done = { status: Status.Ok } as const;

/** Of one region: paused at first, and what becomes of it when that ends. */
function movesOf(end: 'goes on' | 'is gone' | 'stays paused'): Moves {
  let isOver = false;
  return {
    isPaused: () => !isOver || end === 'stays paused',
    whenGoingOn: () => {
      isOver = true;
      return Promise.resolve();
    },
    isGone: () => isOver && end === 'is gone',
  } as unknown as Moves;
}

test('a call about a region that moves waits, and works only where it is held', async () => {
  expect(await withinHeld(movesOf('goes on'))(1, 2, () => done)).toEqual(done);
  const never = () => {
    throw new Error('its pages may still be here, and are another node’s');
  };
  expect(await withinHeld(movesOf('is gone'))(1, 2, never)).toMatchObject({ status: Status.Moved });
  const inDoubt = await withinHeld(movesOf('stays paused'))(1, 2, never);
  expect(inDoubt).toMatchObject({ status: Status.Unavailable });
});
