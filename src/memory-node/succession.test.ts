import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Endpoint } from '../fabric/endpoint.js';
import type { Runtime } from '../runtime/runtime.js';
import { MessageType, NodeState } from '../wire/messages.js';
import { succeed } from './succession.js';

const OURS = 7;
const FORMER = 5;

test('a join of the former node that arrives late is noticed, and told to be gone', async () => {
  const former = { memoryId: FORMER, machine: 'here', keeper: 'k', process: 'p' };
  const answers: object[] = [
    { status: Status.Ok, ...former, state: NodeState.ENDED },
    // The late join was taken: nothing was known against it.
    { status: Status.Ok, ...former, state: NodeState.SERVING },
    { status: Status.Ok, ...former, memoryId: OURS, state: NodeState.SERVING },
  ];
  const told: unknown[] = [];
  const call = (type: number, request: unknown): Promise<object | undefined> => {
    if (type === MessageType.DescribeNode) return Promise.resolve(answers.shift());
    told.push(request);
    return Promise.resolve({ status: Status.Ok });
  };
  const endpoint = { peer: () => ({ call }) } as unknown as Endpoint;
  const runtime = {
    timers: { after: (_ms: number, callback: () => void) => queueMicrotask(callback) },
    processes: { hasEnded: () => true },
  } as unknown as Runtime;
  let cleared = 0;
  const to = { id: 'n', machine: 'here', memoryId: OURS, join: ['a'], replace: false };
  await succeed(runtime, endpoint, { ...to, isStopped: () => false }, () => (cleared += 1));
  expect(told).toEqual([{ id: 'n', memoryId: FORMER }]);
  expect(cleared).toBeGreaterThan(0);
  expect(answers).toEqual([]);
});
