import { expect, test } from 'vitest';
import type { Runtime } from '../../runtime/runtime.js';
import { SharedNode } from '../testing/shared-node.js';
import { SteppedMemory } from '../testing/stepped-memory.js';
import { Attachment, type AttachFacts } from './attachment.js';

const ME = { client: 7, identity: 'me', memoryId: 4711 };

function opening() {
  const memory = new SteppedMemory();
  const runtime = { memory } as unknown as Runtime;
  const node = new SharedNode(runtime);
  const facts = node.attach(ME.client, ME.identity);
  const open = (change: Partial<AttachFacts> = {}, owner = ME): unknown => {
    const opened = Attachment.open(runtime, { ...facts, ...change }, owner);
    if (typeof opened === 'string') expect(memory.opened).toBe(0);
    return opened;
  };
  return { memory, node, facts, open, runtime };
}

test('the three files that belong together and to us are opened, and given up again', () => {
  const { memory, node, open } = opening();
  const opened = open();
  if (!(opened instanceof Attachment)) throw new Error(String(opened));
  expect(opened).toMatchObject({ slot: 0, incarnation: 1, frames: 16, pageShift: 16 });
  expect(memory.opened).toBe(3);
  opened.release();
  expect(memory.opened).toBe(0);
  expect(node.generationOf()).toBe(0);
});

test('what does not fit is refused with its reason, and nothing of it is held', () => {
  const { node, facts, open, runtime } = opening();
  const other = new SharedNode(runtime, { memoryId: 4712 });
  const theirs = other.attach(ME.client, ME.identity);
  const cases: [string, Partial<AttachFacts>, typeof ME?][] = [
    ['no memory file', { table: 'file/99' }],
    ['no memory file', { slots: 'nonsense' }],
    ['not a table file', { table: facts.frames }],
    ['the frames is that of another memory', { frames: theirs.frames }],
    ['the slots is that of another memory', { slots: theirs.slots }],
    ['the slots is that of another memory', { slots: facts.table }],
    ['other memory', theirs],
    ['not ours', { slot: 3 }],
    ['not in the file', { slot: 1024 }],
    ['not ours', {}, { ...ME, client: 8 }],
    ['not ours', {}, { ...ME, identity: 'another' }],
    ['serves no more', { incarnation: 2 }],
    ['serves no more', { incarnation: 0 }],
  ];
  for (const [reason, change, owner] of cases) {
    expect(open(change, owner), JSON.stringify(change)).toContain(reason);
  }
  node.table.alive = 0;
  expect(open()).toContain('serves no more');
});
