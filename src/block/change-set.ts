/**
 * A generation that is asked for until it is known which one stands.
 *
 * What was right when it was asked first may be wrong when it is asked again: the copy that was to
 * stay may have gone since, and the one that was to go be back. Then the same generation is asked
 * for with other copies; the compare-and-swap at the controller decides between the two.
 */

import { Status } from '../base/status.js';
import { outcomeOf } from '../fabric/verbs.js';
import { sleep, type Timers } from '../runtime/clock.js';
import { blockFaults } from './planted.js';
import type { DeviceRack, SetRow } from './ports.js';

const AGAIN_MS_MIN = 50;
const AGAIN_MS_MAX = 1_000;

export interface SetChange {
  readonly rack: DeviceRack;
  readonly timers: Timers;
  readonly wish: SetRow;
  /** Of the same generation. */
  readonly otherwise?: SetRow | undefined;
  /** Whether the wish is right, looked at before it is asked again. */
  readonly mayStill?: (() => Promise<boolean>) | undefined;
  /** Asked when it is certain that nothing was put there: whether to leave it at that. */
  readonly giveUp?: (() => boolean) | undefined;
  /** Nobody waits for it any more. */
  isOver(): boolean;
}

/**
 * The row that stands: the wish, or `otherwise`. Undefined: neither was put there, and never will
 * be; or it is over, and nobody knows.
 */
export async function changeSet(change: SetChange): Promise<SetRow | undefined> {
  const { rack, timers, wish, otherwise, mayStill, giveUp, isOver } = change;
  let asked = wish;
  let isInDoubt = false;
  for (let pauseMs = AGAIN_MS_MIN; !isOver(); pauseMs = Math.min(2 * pauseMs, AGAIN_MS_MAX)) {
    const { status, row } = await rack.putSet(asked);
    if (status === Status.Ok) return asked;
    if (status === Status.Stale || status === Status.NotFound) {
      rack.lose(`generation ${asked.generation} of slab ${asked.slab} is refused`);
      return undefined;
    }
    // What stands there already is never wrong: so none of the attempts before was executed.
    const isWrong = status === Status.Conflict && row === undefined;
    if (status === Status.Invalid || isWrong) return undefined;
    if (status === Status.Conflict) {
      const known = [wish, otherwise].find((one) => one !== undefined && isSame(one, row));
      if (known === undefined) rack.lose(`slab ${wish.slab} has copies of another writer`);
      return known;
    }
    isInDoubt ||= outcomeOf(status) !== 'notApplied';
    if (!isInDoubt && giveUp?.() === true) return undefined;
    await sleep(timers, pauseMs);
    const isRight = blockFaults.askedBlindly || mayStill === undefined || (await mayStill());
    asked = isRight ? wish : (otherwise ?? wish);
  }
  return undefined;
}

function isSame(one: SetRow, other: SetRow | undefined): boolean {
  if (other?.generation !== one.generation || other.copies.length !== one.copies.length)
    return false;
  return one.copies.every(({ copy }) => other.copies.some((there) => there.copy === copy));
}
