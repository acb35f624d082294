import { expect, test } from 'vitest';
import { DiskError, type File } from '../../runtime/disk.js';
import { FinalError, FlushedFile } from './flushed-file.js';

interface Asked {
  readonly kind: string;
  readonly bytes: Uint8Array;
  end(): void;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A disk that does what it is asked when it is told to, and time that passes by the tick. */
function rigOf() {
  const asked: Asked[] = [];
  let ticks: (() => void)[] = [];
  const timers = {
    after: (_ms: number, run: () => void) => {
      ticks.push(run);
      return { cancel: () => undefined };
    },
    soon: (run: () => void) => run(),
  };
  const ask = <T>(kind: string, value: T, bytes: Uint8Array = new Uint8Array()): Promise<T> =>
    new Promise((resolve) => asked.push({ kind, bytes, end: () => resolve(value) }));
  const file = {
    read: (_at: number, into: Uint8Array) => ask('read', into.length, into),
    write: (_at: number, from: Uint8Array) => ask('write', undefined, from),
    flush: () => ask('flush', undefined),
    close: () => ask('close', undefined),
  } as unknown as File;
  const tick = async (count: number): Promise<void> => {
    await turn();
    for (let i = 0; i < count; i++) {
      const due = ticks;
      ticks = [];
      for (const run of due) run();
      await turn();
    }
  };
  return { asked, tick, file: new FlushedFile(file, timers) };
}

/** What it has come to; undefined: nothing yet. */
function watched(doing: Promise<unknown>): { end: unknown } {
  const seen: { end: unknown } = { end: undefined };
  void doing.then(
    () => (seen.end = 'done'),
    (error: unknown) => (seen.end = error),
  );
  return seen;
}

test.each(['write', 'flush'] as const)('after a %s that hangs nothing is written', async (kind) => {
  const { asked, tick, file } = rigOf();
  const doing = watched(kind === 'write' ? file.write(0, new Uint8Array(8)) : file.flush());
  await tick(20);
  expect(doing.end).toBeUndefined();
  await tick(1);
  expect(doing.end).toBeInstanceOf(FinalError);
  asked[0]?.end();
  await tick(1);
  await expect(file.write(8, new Uint8Array(8))).rejects.toBeInstanceOf(FinalError);
  await expect(file.flush()).rejects.toBeInstanceOf(FinalError);
  expect(asked.map((one) => one.kind)).toEqual([kind]);
});

test('a read that comes late reads nothing into what is used by others', async () => {
  const { asked, tick, file } = rigOf();
  const into = new Uint8Array(8);
  const reading = watched(file.read(0, into));
  await tick(21);
  expect(reading.end).toBeInstanceOf(DiskError);
  await expect(file.read(0, into)).rejects.toBeInstanceOf(DiskError);
  asked[0]?.bytes.fill(7);
  asked[0]?.end();
  await tick(1);
  expect(into).toEqual(new Uint8Array(8));
  const again = watched(file.read(0, into));
  await tick(1);
  asked[1]?.bytes.fill(9);
  asked[1]?.end();
  await tick(1);
  expect([again.end, into[0]]).toEqual(['done', 9]);
});

test('it is closed when nothing can come late any more', async () => {
  const { asked, tick, file } = rigOf();
  watched(file.write(0, new Uint8Array(8)));
  await tick(21);
  const closing = watched(file.close());
  await tick(5);
  expect(asked.map(({ kind }) => kind)).toEqual(['write']);
  asked[0]?.end();
  await tick(1);
  asked[1]?.end();
  await tick(1);
  expect([asked[1]?.kind, closing.end]).toEqual(['close', 'done']);
});

test('what goes on is waited for, however often something is asked', async () => {
  const { asked, tick, file } = rigOf();
  for (let i = 0; i < 30; i++) {
    const writing = watched(file.write(0, new Uint8Array(8)));
    await tick(2);
    asked.at(-1)?.end();
    await tick(1);
    expect(writing.end).toBe('done');
  }
});
