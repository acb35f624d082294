import { expect, test, vi } from 'vitest';
import { crc32c } from '../base/crc32c.js';
import { type Outcome, Status } from '../base/status.js';
import { type CompletionSink, NOT_NOW } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import type { Copy, TornRange } from './copy.js';
import { AREA_BYTES, BLOCK_BYTES, layoutOf, PIECE_BLOCKS, PIECE_BYTES } from './layout.js';
import { tornFaults } from './planted.js';
import { ReplicaSet } from './replica-set.js';

const BYTES = AREA_BYTES + 1_024;

/** Memory that answers in the next turn, with what it is told to answer. */
class FakeCopy implements Copy {
  readonly id: number;
  readonly memory = new Uint8Array(BYTES);
  status: Status = Status.Ok;
  /** It has no room for what begins there. */
  refusesAt = -1;
  reads = 0;
  answersAfterMs = 0;
  readonly written: [at: number, bytes: number][] = [];
  readonly trimmed: [at: number, bytes: number][] = [];

  constructor(id: number) {
    this.id = id;
  }

  readNow = (): number => NOT_NOW;
  writeNow = (): number => {
    if (!this.isNear) return NOT_NOW;
    this.writtenNow += 1;
    return Status.Ok;
  };
  mayWriteNow = (): boolean => this.isNear;
  isNear = false;
  writtenNow = 0;
  failed = (): void => undefined;

  /** Told with the first read. */
  torn: TornRange[] = [];
  mends = 0;
  mendStatus: Status = Status.Ok;
  #tellTorn: (ranges: readonly TornRange[]) => void = () => undefined;

  whenTorn(tell: (ranges: readonly TornRange[]) => void): void {
    this.#tellTorn = tell;
  }

  mended(range: TornRange): Promise<Status> {
    this.mends += 1;
    if (this.mendStatus === Status.Ok) this.torn = this.torn.filter((one) => one !== range);
    return Promise.resolve(this.mendStatus);
  }

  read(...[at, into, start, bytes, sink, token]: Parameters<Copy['read']>): void {
    this.reads += 1;
    this.#tellTorn(this.torn);
    this.#answer(sink, token, () => {
      into.set(this.memory.subarray(at, at + bytes), start);
    });
  }

  write(...[at, from, start, bytes, sink, token]: Parameters<Copy['write']>): void {
    if (at === this.refusesAt) {
      setImmediate(() => sink.completed(token, Status.NoSpace, 'notApplied', 0, 0));
      return;
    }
    this.#answer(sink, token, () => {
      this.memory.set(from.subarray(start, start + bytes), at);
      this.written.push([at, bytes]);
    });
  }

  trim(...[at, bytes, sink, token]: Parameters<NonNullable<Copy['trim']>>): void {
    this.#answer(sink, token, () => {
      this.memory.fill(0, at, at + bytes);
      this.trimmed.push([at, bytes]);
    });
  }

  #answer(sink: CompletionSink, token: number, work: () => void): void {
    const { status, answersAfterMs } = this;
    const answer = (): void => {
      if (status === Status.Ok) work();
      sink.completed(token, status, outcomeOf(status), 0, 0);
    };
    if (answersAfterMs > 0) setTimeout(answer, answersAfterMs);
    else setImmediate(answer);
  }
}

/** Takes longer for a write than some give it. */
class SlowCopy extends FakeCopy {
  /** How long each write was given. */
  readonly given: number[] = [];
  readonly #needsMs: number;

  constructor(id: number, needsMs: number) {
    super(id);
    this.#needsMs = needsMs;
  }

  override write(...args: Parameters<Copy['write']>): void {
    const [at, , , bytes, sink, token, deadline] = args;
    // Of what the writer keeps in the copy's tail about itself nothing is slow.
    if (at + bytes > AREA_BYTES) {
      super.write(...args);
      return;
    }
    const givenMs = deadline - performance.now();
    this.given.push(givenMs);
    const status = givenMs < this.#needsMs ? Status.Timeout : Status.Ok;
    setTimeout(
      () => sink.completed(token, status, outcomeOf(status), 0, 0),
      Math.min(givenMs, this.#needsMs),
    );
  }
}

function setOf(copies: readonly Copy[], isNew = true): ReplicaSet {
  return new ReplicaSet({
    clock: performance,
    timers: {
      after: (ms, run) => {
        const timer = setTimeout(run, ms);
        return { cancel: () => clearTimeout(timer) };
      },
      soon: queueMicrotask,
    },
    checksum: { crc32c },
    layout: layoutOf(BYTES),
    copies,
    keeper: {
      failing: () => {},
      confirm: () => Promise.resolve(true),
      damaged: () => {},
    },
    isNew,
  });
}

type End = [status: Status, outcome: Outcome];

function write(set: ReplicaSet, block: number, fill: number, ms = 10_000): Promise<End> {
  const bytes = new Uint8Array(BLOCK_BYTES).fill(fill);
  return new Promise((resolve) => {
    const completed: CompletionSink['completed'] = (_token, ...[status, outcome]) => {
      resolve([status, outcome]);
    };
    const sink = { completed };
    set.write(block, 1, bytes, 0, sink, 0, performance.now() + ms);
  });
}

function trim(set: ReplicaSet, first: number, count: number): Promise<Status> {
  return new Promise((resolve) => {
    const sink = { completed: (_token: number, status: Status) => resolve(status) };
    set.trim(first, count, sink, 0, performance.now() + 10_000);
  });
}

const turns = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test('an operation that needs longer than an attempt is given longer ones', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'setImmediate', 'performance'] });
  try {
    await vi.advanceTimersByTimeAsync(1);
    const slow = new SlowCopy(1, 1_700);
    const set = setOf([slow]);
    let end: End | undefined;
    void write(set, 3, 7).then((told) => (end = told));
    await vi.advanceTimersByTimeAsync(5_000);
    expect(end).toEqual([Status.Ok, 'applied']);
    expect(slow.given.map(Math.round)).toEqual([1_000, 1_020, 2_060]);
  } finally {
    vi.useRealTimers();
  }
});

test('a write is told when all copies have it', async () => {
  const copies = [new FakeCopy(1), new FakeCopy(2)];
  const set = setOf(copies);
  expect(await write(set, 3, 7)).toEqual([Status.Ok, 'applied']);
  for (const { memory } of copies) expect(memory[3 * BLOCK_BYTES]).toBe(7);
  set.stop();
});

test('when it stops, what one copy has is unknown, and what none has was not done', async () => {
  const [whole, silent] = [new FakeCopy(1), new FakeCopy(2)];
  const set = setOf([whole, silent]);
  await write(set, 0, 1);
  silent.status = Status.Unavailable;
  const begun = write(set, 3, 7);
  const behind = write(set, 3, 8);
  await turns(60);
  expect(whole.memory[3 * BLOCK_BYTES]).toBe(7);
  set.stop();
  expect(await begun).toEqual([Status.OutcomeUnknown, 'unknown']);
  expect(await behind).toEqual([Status.Stale, 'notApplied']);
  expect(await write(set, 3, 9)).toEqual([Status.Stale, 'notApplied']);
});

test('what is under way when it stops, and is refused, is for the next writer', async () => {
  const copy = new FakeCopy(1);
  const set = setOf([copy]);
  await write(set, 0, 1);
  copy.answersAfterMs = 30;
  copy.status = Status.Unavailable;
  const reading = new Promise<Status>((resolve) => {
    const sink = { completed: (_token: number, status: Status) => resolve(status) };
    set.read(0, 1, new Uint8Array(BLOCK_BYTES), 0, sink, 0, performance.now() + 10_000);
  });
  const writing = write(set, 3, 7);
  await turns(10);
  set.stop();
  expect(await reading).toBe(Status.Stale);
  expect(await writing).toEqual([Status.Stale, 'notApplied']);
});

test('a write goes on when the copy that does not answer has left', async () => {
  const [whole, silent] = [new FakeCopy(1), new FakeCopy(2)];
  const set = setOf([whole, silent]);
  await write(set, 0, 1);
  silent.status = Status.Unavailable;
  const begun = write(set, 3, 7);
  await turns(40);
  expect(await set.upkeep.canSpare(2)).toBe(true);
  expect(await set.upkeep.canSpare(1)).toBe(false);
  set.drop(2);
  expect(await begun).toEqual([Status.Ok, 'applied']);
  set.stop();
});

test('when it stops, no write is told as done that a copy lacks which may count', async () => {
  const [whole, asked] = [new FakeCopy(1), new FakeCopy(2)];
  const set = setOf([whole]);
  await write(set, 3, 6);
  expect(await set.upkeep.learn(asked, (_bytes, work) => work())).toBe(true);
  expect(set.ask(2)).toBe(true);
  asked.status = Status.Timeout;
  asked.answersAfterMs = 60;
  const begun = write(set, 3, 7);
  await turns(20);
  // Whoever asked for the row with it does not learn any more whether it is there.
  set.stop();
  set.drop(2);
  expect(await begun).toEqual([Status.OutcomeUnknown, 'unknown']);
  expect(asked.memory[3 * BLOCK_BYTES]).toBe(6);
});

test('a write that lent its blocks ends at its deadline, whoever has them', async () => {
  const [whole, full] = [new FakeCopy(1), new FakeCopy(2)];
  const set = setOf([whole, full]);
  await write(set, 0, 1);
  full.refusesAt = 3 * BLOCK_BYTES;
  const refused = write(set, 3, 7, 300);
  await turns(60);
  expect(await set.hold(0, 64)).toBe(true);
  expect(await refused).toEqual([Status.OutcomeUnknown, 'unknown']);
  set.letGo(0, 64);
  full.refusesAt = -1;
  expect(await write(set, 3, 8)).toEqual([Status.Ok, 'applied']);
  set.stop();
});

test('nothing is written at once where one of the copies can only be asked', async () => {
  const [near, far] = [new FakeCopy(1), new FakeCopy(2)];
  const set = setOf([near, far]);
  await write(set, 3, 7);
  near.isNear = true;
  const bytes = new Uint8Array(BLOCK_BYTES);
  expect([set.writeNow(3, 1, bytes, 0), near.writtenNow]).toEqual([NOT_NOW, 0]);
  far.isNear = true;
  expect([set.writeNow(3, 1, bytes, 0), near.writtenNow]).toEqual([Status.Ok, 1]);
  set.stop();
});

test('a write that a full copy refuses waits for the copy that is made in its place', async () => {
  const [whole, full, other] = [new FakeCopy(1), new FakeCopy(2), new FakeCopy(3)];
  const set = setOf([whole, full]);
  await write(set, 0, 1);
  full.refusesAt = 3 * BLOCK_BYTES;
  const refused = write(set, 3, 7);
  await turns(60);
  expect(whole.memory[3 * BLOCK_BYTES]).toBe(7);
  // Before its deadline.
  expect(await set.upkeep.learn(other, (_bytes, work) => work())).toBe(true);
  expect(set.ask(3)).toBe(true);
  set.joined();
  set.drop(2);
  expect(await refused).toEqual([Status.Ok, 'applied']);
  for (const { memory } of [whole, other]) expect(memory[3 * BLOCK_BYTES]).toBe(7);
  set.stop();
});

test('what only a copy has that is given up before it counted was not done', async () => {
  const [full, learner] = [new FakeCopy(1), new FakeCopy(2)];
  const set = setOf([full]);
  await write(set, 0, 1);
  expect(await set.upkeep.learn(learner, (_bytes, work) => work())).toBe(true);
  full.refusesAt = 3 * BLOCK_BYTES;
  const refused = write(set, 3, 7);
  await turns(60);
  expect(learner.memory[3 * BLOCK_BYTES]).toBe(7);
  set.drop(2);
  set.isFull = true;
  expect(await refused).toEqual([Status.NoSpace, 'notApplied']);
  set.stop();
});

test('a write that was refused, and lent its blocks, may have been done', async () => {
  const [whole, full] = [new FakeCopy(1), new FakeCopy(2)];
  const set = setOf([whole, full]);
  await write(set, 0, 1);
  full.refusesAt = 3 * BLOCK_BYTES;
  const refused = write(set, 3, 7);
  await turns(60);
  expect(await set.hold(0, 64)).toBe(true);
  await turns(60);
  set.letGo(0, 64);
  set.stop();
  expect(await refused).toEqual([Status.OutcomeUnknown, 'unknown']);
});

test('a read that no copy answers is tried again with pauses, until one does', async () => {
  const copy = new FakeCopy(1);
  const set = setOf([copy]);
  await write(set, 3, 7);
  copy.status = Status.Unavailable;
  const before = copy.reads;
  const into = new Uint8Array(BLOCK_BYTES);
  const end = new Promise<Status>((resolve) => {
    const sink = { completed: (_token: number, status: Status) => resolve(status) };
    set.read(3, 1, into, 0, sink, 0, performance.now() + 10_000);
  });
  await turns(200);
  const tried = copy.reads - before;
  expect(tried).toBeGreaterThanOrEqual(2);
  expect(tried).toBeLessThan(50);
  copy.status = Status.Ok;
  expect(await end).toBe(Status.Ok);
  expect(into[0]).toBe(7);
  set.stop();
});

test('blocks are trimmed at all copies, and read as zeros', async () => {
  const copies = [new FakeCopy(1), new FakeCopy(2)];
  const set = setOf(copies);
  for (const block of [2, 3, 5]) await write(set, block, 7);
  expect(await trim(set, 2, 2)).toBe(Status.Ok);
  expect(await trim(set, PIECE_BLOCKS, PIECE_BLOCKS)).toBe(Status.Ok);
  for (const { memory, trimmed } of copies) {
    expect(trimmed).toEqual([
      [2 * BLOCK_BYTES, 2 * BLOCK_BYTES],
      [PIECE_BYTES, PIECE_BYTES],
    ]);
    expect(memory.subarray(0, 5 * BLOCK_BYTES).every((byte) => byte === 0)).toBe(true);
    expect(memory[5 * BLOCK_BYTES]).toBe(7);
  }
  set.stop();
});

test('a copy that cannot trim has zeros written', async () => {
  const [whole, file] = [new FakeCopy(1), new FakeCopy(2)];
  Object.defineProperty(file, 'trim', { value: undefined });
  const set = setOf([whole, file]);
  await write(set, 3, 7);
  expect(await trim(set, 3, 1)).toBe(Status.Ok);
  expect(file.memory[3 * BLOCK_BYTES]).toBe(0);
  expect(file.trimmed).toEqual([]);
  expect(whole.trimmed).toHaveLength(1);
  set.stop();
});

test('a copy that is made of another one is not written zeros', async () => {
  const [first, made] = [new FakeCopy(1), new FakeCopy(2)];
  const set = setOf([first]);
  await write(set, 3, 7);
  await write(set, PIECE_BLOCKS, 7);
  expect(await trim(set, PIECE_BLOCKS, PIECE_BLOCKS)).toBe(Status.Ok);
  expect(await set.upkeep.learn(made, (_bytes, work) => work())).toBe(true);
  const blocks = made.written.filter(([at]) => at < AREA_BYTES);
  expect(blocks).toEqual([[0, PIECE_BYTES]]);
  const [mine, its] = [made, first].map(({ memory }) =>
    Buffer.from(memory.subarray(0, AREA_BYTES)),
  );
  expect(mine?.equals(its as Buffer)).toBe(true);
  set.stop();
});

function read(set: ReplicaSet, block: number): Promise<Uint8Array | Status> {
  const bytes = new Uint8Array(BLOCK_BYTES);
  return new Promise((resolve) => {
    const completed: CompletionSink['completed'] = (_token, status) => {
      resolve(status === Status.Ok ? bytes : status);
    };
    set.read(block, 1, bytes, 0, { completed }, 0, performance.now() + 10_000);
  });
}

/** The next writer, after one who was stopped in the middle of a write of 9 to the first copy. */
async function stoppedInBlock(block: number) {
  const copies = [new FakeCopy(1), new FakeCopy(2)] as const;
  const before = setOf(copies);
  await write(before, block, 7);
  before.stop();
  const [torn] = copies;
  torn.memory.fill(9, block * BLOCK_BYTES, block * BLOCK_BYTES + 100);
  torn.torn = [{ from: 0, bytes: PIECE_BYTES }];
  const set = setOf(copies, false);
  return { copies, set };
}

test('what a stopped writer left half written is taken from the other copy', async () => {
  const { copies, set } = await stoppedInBlock(3);
  const beginning = set.upkeep.begin();
  expect(await read(set, 3)).toEqual(new Uint8Array(BLOCK_BYTES).fill(7));
  await beginning;
  expect(copies[0].memory[3 * BLOCK_BYTES]).toBe(7);
  expect([copies[0].torn, copies[0].mends]).toEqual([[], 1]);
  set.stop();
  tornFaults.tornTaken = true;
  const blind = await stoppedInBlock(3);
  void blind.set.upkeep.begin();
  expect(await read(blind.set, 3)).not.toEqual(new Uint8Array(BLOCK_BYTES).fill(7));
  tornFaults.tornTaken = false;
  blind.set.stop();
});

test('nothing is written to what is torn before the copy has forgotten that it is', async () => {
  const { copies, set } = await stoppedInBlock(3);
  copies[0].mendStatus = Status.Unavailable;
  await set.upkeep.begin();
  const writing = write(set, 3, 8);
  const elsewhere = await write(set, PIECE_BLOCKS, 8);
  expect(elsewhere[0]).toBe(Status.Ok);
  await turns(50);
  expect(copies[0].mends).toBeGreaterThan(0);
  expect(copies[1].memory[3 * BLOCK_BYTES]).toBe(7);
  copies[0].mendStatus = Status.Ok;
  expect((await writing)[0]).toBe(Status.Ok);
  expect(copies[1].memory[3 * BLOCK_BYTES]).toBe(8);
  set.stop();
});

test('who waits for copies that are gone is told at once', async () => {
  const copy = new FakeCopy(1);
  copy.status = Status.Unavailable;
  const set = setOf([copy]);
  const ends = [read(set, 1), write(set, 2, 7)];
  await turns(50);
  set.isGone = true;
  expect(await Promise.all(ends)).toEqual([Status.DataLost, [Status.DataLost, 'notApplied']]);
  // Nothing has begun: it is not known yet what the copies have.
  const next = setOf([copy], false);
  void next.upkeep.begin();
  const waiting = read(next, 1);
  await turns(10);
  next.isGone = true;
  expect(await waiting).toBe(Status.DataLost);
  set.stop();
  next.stop();
});
