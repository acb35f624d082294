import { expect, test } from 'vitest';
import type { CompletionSink, Link, OperationColumns, Window } from '../fabric/link.js';
import { MessageType } from '../wire/messages.js';
import { PutBacks } from './put-back.js';

const SINK: CompletionSink = { completed: () => undefined };

/** Operations of these types at these moments, each of eight bytes at its number. */
function ringOf(operations: readonly [type: MessageType, order: number][]): OperationColumns {
  const count = operations.length;
  return {
    type: Uint8Array.from(operations.map(([type]) => type)),
    order: Float64Array.from(operations.map(([, order]) => order)),
    address: Float64Array.from({ length: count }, (_, i) => 8 * i),
    start: new Float64Array(count),
    deadline: new Float64Array(count).fill(1_000),
    operands: new Int32Array(4 * count),
    buffer: operations.map(() => new Uint8Array(8)),
  };
}

test('what came back out of its order is started in its order', () => {
  const ring = ringOf([
    [MessageType.Read, 7],
    [MessageType.Write, 6],
    [MessageType.Read, 9],
    [MessageType.FetchAndAdd, 8],
  ]);
  const putBacks = new PutBacks();
  for (let place = 0; place < 4; place++) {
    putBacks.add(SINK, { token: place, ring, place, offset: 0, bytes: 8 });
  }
  const started: string[] = [];
  const note = (verb: string) => (_window: Window, address: number) => {
    started.push(`${verb} ${address / 8}`);
  };
  const link = { read: note('read'), write: note('write'), fetchAndAdd: note('add') };
  putBacks.start(link as unknown as Link, {} as Window, undefined);
  expect(started).toEqual(['write 1', 'read 0', 'add 3', 'read 2']);
  expect(putBacks.count).toBe(0);
});
