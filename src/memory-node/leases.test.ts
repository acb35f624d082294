import { afterEach, describe, expect, it } from 'vitest';
import { Status } from '../base/status.js';
import { LEASE_TABLE_BYTES, LeaseTable } from '../disk/lease-table.js';
import { LEASE_KEEP_MS, LEASES_PER_NODE_MAX } from '../leases/limits.js';
import { type LeaseWindows, NodeLeases } from './leases.js';
import { memoryNodeFaults } from './planted.js';

const LEASE = 2 ** 40 + 5;
const HOLDER = 2 ** 35 + 1;
const OTHER = 2 ** 35 + 2;
const DURATION_MS = 1_000;

class Rig implements LeaseWindows {
  nowMs = 5_000;
  readonly revoked: string[] = [];
  /** What `revokeLease` waits for. */
  settled: Promise<boolean> = Promise.resolve(true);
  readonly #words = new Int32Array(LEASE_TABLE_BYTES / 4);
  leases!: NodeLeases;

  constructor() {
    this.restart();
  }

  restart(): void {
    const clock = { now: () => this.nowMs, wall: () => 0 };
    this.leases = new NodeLeases(new LeaseTable(this.#words, 0), clock, this);
  }

  revokeLease(lease: number, epoch: number): Promise<boolean> {
    this.revoked.push(`${lease} ${epoch}`);
    return this.settled;
  }

  async hold(epoch: number, holder = HOLDER, lease = LEASE): Promise<void> {
    expect(await this.leases.raise(lease, epoch)).toBeUndefined();
    const grant = { lease, epoch, holder, durationMs: DURATION_MS };
    expect(this.leases.grant(grant)).toBeUndefined();
  }
}

afterEach(() => {
  memoryNodeFaults.leaseWindowNotRevoked = false;
});

/** Whether it has ended when everything that needs no time has come to its end. */
async function hasEnded(promise: Promise<unknown>): Promise<boolean> {
  let ended = false;
  void promise.then(() => (ended = true));
  for (let i = 0; i < 20; i++) await Promise.resolve();
  return ended;
}

describe('the leases of a node', () => {
  it('are raised, granted, renewed by their holder alone, and given up', async () => {
    const { leases } = new Rig();
    expect(leases.inspect(LEASE)).toMatchObject({ status: Status.NotFound });
    const rig = new Rig();
    await rig.hold(3);
    expect(rig.leases.inspect(LEASE)).toMatchObject({ holder: HOLDER, epoch: 3, leftMs: 1_000 });
    rig.nowMs += 400;
    expect(rig.leases.renew(LEASE, 3, OTHER)?.status).toBe(Status.Stale);
    expect(rig.leases.renew(LEASE, 2, HOLDER)?.status).toBe(Status.Stale);
    expect(rig.leases.inspect(LEASE)).toMatchObject({ leftMs: 600 });
    expect(rig.leases.renew(LEASE, 3, HOLDER)).toBeUndefined();
    expect(rig.leases.inspect(LEASE)).toMatchObject({ leftMs: 1_000 });
    expect(rig.leases.end(LEASE, 3)).toBeUndefined();
    expect(rig.leases.inspect(LEASE)).toMatchObject({ holder: 0, epoch: 3, leftMs: 0 });
    expect(rig.leases.renew(LEASE, 3, HOLDER)?.status).toBe(Status.Stale);
  });

  it('that have run out can be renewed as long as nobody has raised them', async () => {
    const rig = new Rig();
    await rig.hold(3);
    rig.nowMs += 60_000;
    expect(rig.leases.inspect(LEASE)).toMatchObject({ holder: HOLDER, leftMs: 0 });
    expect(rig.leases.counts()).toMatchObject({ held: 1, runOut: 1 });
    expect(rig.leases.renew(LEASE, 3, HOLDER)).toBeUndefined();
    expect(rig.leases.inspect(LEASE)).toMatchObject({ leftMs: 1_000 });
  });

  it('keep epoch and holder over a restart, with their full time', async () => {
    const rig = new Rig();
    await rig.hold(3);
    rig.nowMs += 900;
    rig.restart();
    expect(rig.leases.inspect(LEASE)).toMatchObject({ holder: HOLDER, epoch: 3, leftMs: 1_000 });
    expect((await rig.leases.raise(LEASE, 2))?.status).toBe(Status.Stale);
  });

  it('are told as raised only when the windows of older epochs are revoked', async () => {
    const rig = new Rig();
    await rig.hold(3);
    let settle: (value: boolean) => void = () => undefined;
    rig.settled = new Promise((resolve) => (settle = resolve));
    const first = rig.leases.raise(LEASE, 4);
    // It is raised already; and yet whoever asks again is told no earlier.
    const second = rig.leases.raise(LEASE, 4);
    rig.restart();
    const third = rig.leases.raise(LEASE, 4);
    const refused = rig.leases.raise(LEASE, 2);
    for (const one of [first, second, third, refused]) expect(await hasEnded(one)).toBe(false);
    expect(rig.leases.renew(LEASE, 3, HOLDER)?.status).toBe(Status.Stale);
    settle(true);
    for (const one of [first, second, third]) expect(await one).toBeUndefined();
    expect((await refused)?.status).toBe(Status.Stale);
    expect(rig.revoked.slice(-4)).toEqual([4, 4, 4, 4].map((epoch) => `${LEASE} ${epoch}`));
  });

  it('are not told as raised when what began before could not be ended', async () => {
    const rig = new Rig();
    await rig.hold(3);
    rig.settled = Promise.resolve(false);
    expect((await rig.leases.raise(LEASE, 4))?.status).toBe(Status.Busy);
    expect(rig.leases.renew(LEASE, 3, HOLDER)?.status).toBe(Status.Stale);
    expect(rig.leases.counts().notRevoked).toBe(1);
    expect((await rig.leases.raise(LEASE, 2))?.status).toBe(Status.Busy);
    rig.settled = Promise.resolve(true);
    expect((await rig.leases.raise(LEASE, 2))?.status).toBe(Status.Stale);
    expect(await rig.leases.raise(LEASE, 4)).toBeUndefined();
  });

  it('with the planted bug are raised and leave windows open', async () => {
    const rig = new Rig();
    await rig.hold(3);
    rig.revoked.length = 0;
    memoryNodeFaults.leaseWindowNotRevoked = true;
    expect(await rig.leases.raise(LEASE, 4)).toBeUndefined();
    expect(rig.revoked).toEqual([]);
  });

  it('let only their holder open windows', async () => {
    const rig = new Rig();
    await rig.hold(3);
    expect(rig.leases.refuseWindow(LEASE, 3, HOLDER)).toBeUndefined();
    expect(rig.leases.refuseWindow(LEASE, 3, OTHER)?.status).toBe(Status.Stale);
    expect(rig.leases.refuseWindow(LEASE, 4, HOLDER)?.status).toBe(Status.Stale);
    rig.leases.end(LEASE, 3);
    expect(rig.leases.refuseWindow(LEASE, 3, HOLDER)?.status).toBe(Status.Stale);
  });
});

describe('a full table of leases', () => {
  it('refuses one more while all are held', async () => {
    const rig = new Rig();
    for (let i = 1; i <= LEASES_PER_NODE_MAX; i++) await rig.hold(2, HOLDER, i);
    expect((await rig.leases.raise(LEASE, 9))?.status).toBe(Status.NoSpace);
    expect(rig.leases.counts()).toMatchObject({ known: LEASES_PER_NODE_MAX, refusedForSpace: 1 });
    expect(rig.leases.inspect(LEASE)).toMatchObject({ status: Status.NotFound });
  });

  it('forgets the one that nobody held for longest, and never its epoch', async () => {
    const rig = new Rig();
    for (let i = 1; i <= LEASES_PER_NODE_MAX; i++) await rig.hold(2, HOLDER, i);
    await rig.hold(30, HOLDER, 77);
    rig.leases.end(77, 30);
    rig.nowMs += LEASE_KEEP_MS / 2;
    rig.leases.end(78, 2);
    for (let i = 79; i <= LEASES_PER_NODE_MAX; i++) rig.leases.renew(i, 2, HOLDER);
    for (let i = 1; i < 77; i++) rig.leases.renew(i, 2, HOLDER);
    expect((await rig.leases.raise(LEASE, 9))?.status).toBe(Status.NoSpace);
    rig.nowMs += LEASE_KEEP_MS / 2;
    expect(await rig.leases.raise(LEASE, 31)).toBeUndefined();
    expect(rig.leases.counts()).toMatchObject({ forgotten: 1, known: LEASES_PER_NODE_MAX });
    rig.restart();
    // What is not known had at most this epoch, and comes back above it only.
    expect(rig.leases.inspect(77)).toMatchObject({ holder: 0, epoch: 30, leftMs: 0 });
    expect((await rig.leases.raise(77, 30))?.status).toBe(Status.Stale);
    const late = { lease: 77, epoch: 30, holder: HOLDER, durationMs: DURATION_MS };
    expect(rig.leases.grant(late)?.status).toBe(Status.Stale);
    expect(rig.leases.renew(77, 30, HOLDER)?.status).toBe(Status.Stale);
  });
});
