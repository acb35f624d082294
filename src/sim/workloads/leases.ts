/**
 * Several clients take the same lease over from each other, give it up or are stopped with it, and
 * write through its windows; others look on. Whatever a former holder still has under way must
 * count for nothing.
 */

import type { Allocation } from '../journal.js';
import type { HeldLease, LeasedSpace, ObservedLeases } from '../observed-leases.js';
import type { ObservedSpace } from '../observed-space.js';
import { type ClientProgram, inLanes, share, type Workload } from './workload.js';

const LEASE = 'the-lease';
const SHARED = 3;
const PLACES = [0, 1, 4096, 8191];
const GIVEN_UP_PER_MILLION = 20_000;
/** Shorter than most pauses, so that the lease runs out under a holder that writes. */
const DURATIONS_MS = [100, 200, 600];

const OWN_DURATIONS_MS = [200, 400, 1_000];

/** What one client does while it holds the lease. */
class Reign {
  readonly #client: ClientProgram;
  readonly #held: HeldLease;
  readonly #windows = new Map<Allocation, LeasedSpace>();

  constructor(client: ClientProgram, held: HeldLease) {
    this.#client = client;
    this.#held = held;
  }

  /** False: nothing can be done here at present. */
  async step(allocation: Allocation): Promise<boolean> {
    const { prng } = this.#client;
    const window = this.#windows.get(allocation) ?? (await this.#open(allocation));
    if (window === undefined) return false;
    const places = prng.pick([1, 1, 2, 4]);
    // Several at once: some are under way when the lease is lost.
    const all = Array.from({ length: places }, () => {
      const place = prng.pick(PLACES);
      return prng.chance(650_000)
        ? window.writeWord(allocation, place)
        : window.readWord(allocation, place);
    });
    const ended = await Promise.all(all);
    if (ended.some(({ code }) => code === 'DataLost')) return this.#replace(allocation);
    return ended.some(({ code }) => code === 'Ok');
  }

  async #open(allocation: Allocation): Promise<LeasedSpace | undefined> {
    const window = await this.#held.through(allocation.space, allocation);
    if (window !== undefined) this.#windows.set(allocation, window);
    return window;
  }

  #replace(allocation: Allocation): false {
    const { shared } = this.#client.board;
    const at = shared.indexOf(allocation);
    if (at >= 0) shared.splice(at, 1);
    return false;
  }
}

class Candidate {
  readonly #client: ClientProgram;
  readonly #leases: ObservedLeases;
  readonly #spaces: readonly ObservedSpace[];

  constructor(client: ClientProgram, leases: ObservedLeases, spaces: readonly ObservedSpace[]) {
    this.#client = client;
    this.#leases = leases;
    this.#spaces = spaces;
  }

  async step(): Promise<void> {
    const { prng } = this.#client;
    const durationMs = prng.pick(DURATIONS_MS);
    const waitMs = prng.pick([0, 2 * durationMs, 10 * durationMs]);
    const held = await this.#leases.acquire(LEASE, { durationMs, waitMs });
    if (held === undefined) {
      await this.#client.sleep(prng.between(1, 100));
      return;
    }
    const reign = new Reign(this.#client, held);
    // Side by side, so that one node that is away does not hold up the others.
    const all = this.#client.board.shared.slice(0, SHARED);
    await Promise.all(all.map((allocation) => this.#use(held, reign, allocation)));
    await held.release();
    await this.#client.sleep(prng.between(0, 30));
  }

  async #use(held: HeldLease, reign: Reign, allocation: Allocation): Promise<void> {
    const { prng, board } = this.#client;
    const steps = prng.between(2, 40);
    for (let i = 0; i < steps && !held.isLost && board.shared.includes(allocation); i++) {
      if (!(await reign.step(allocation))) await this.#client.sleep(prng.between(1, 50));
      else if (prng.chance(300_000)) await this.#client.sleep(prng.between(1, 20));
    }
  }

  async look(): Promise<void> {
    const { prng, board } = this.#client;
    if (board.shared.length === 0) await share(this.#client, this.#spaces, SHARED, () => []);
    const allocation = prng.pick(board.shared);
    const space = this.#spaces.find((one) => one.name === allocation.space);
    if (space === undefined) return;
    await Promise.all(PLACES.map((place) => space.readWord(allocation, place)));
    await this.#client.sleep(prng.between(5, 80));
  }
}

async function run(client: ClientProgram): Promise<void> {
  // Spaces of their own, so that the words lie at several nodes.
  const spaces = [await client.open('leased-1'), await client.open('leased-2')];
  await share(client, spaces, SHARED, () => []);
  const candidate = new Candidate(client, await client.leases(), spaces);
  await inLanes(client, 2, (lane) => (lane === 0 ? candidate.step() : candidate.look()));
}

export const leases: Workload = {
  name: 'leases',
  about: 'one lease that is taken over again and again, and writes through its windows',
  isBulky: false,
  frames: [12, 24],
  steps: 420,
  blows: {
    cut: 20,
    corrupt: 5,
    partition: 20,
    split: 50,
    'pause-node': 10,
    'pause-client': 80,
    'kill-node': 15,
    'kill-supervisor': 3,
    'kill-client': 10,
    'kill-controller': 15,
    'pause-controller': 8,
    'crash-node': 0,
    'crash-controller': 4,
    'stop-node': 0,
    'stop-controller': 3,
  },
  run,
};

/** Each has a lease of its own, and nothing that could take it away ever happens. */
async function keep(client: ClientProgram): Promise<void> {
  const { prng, board } = client;
  const spaces = [await client.open('leased-1'), await client.open('leased-2')];
  await share(client, spaces, SHARED, () => []);
  const leases = await client.leases();
  let held: HeldLease | undefined;
  let reign: Reign | undefined;
  await inLanes(client, 1, async () => {
    if (held === undefined || reign === undefined || held.isLost) {
      const durationMs = prng.pick(OWN_DURATIONS_MS);
      held = await leases.acquire(`of-${client.number}`, { durationMs, waitMs: 100 });
      if (held === undefined) return client.sleep(prng.between(5, 100));
      reign = new Reign(client, held);
    }
    if (board.shared.length > 0) await reign.step(prng.pick(board.shared));
    await client.sleep(prng.between(1, 60));
    if (prng.chance(GIVEN_UP_PER_MILLION)) {
      await held.release();
      held = undefined;
    }
  });
  await held?.release();
}

export const keptLeases: Workload = {
  name: 'kept-leases',
  about: 'leases that nobody wants to take, renewed while the controller comes and goes',
  isBulky: false,
  isControllerAlone: true,
  frames: [12, 24],
  steps: 700,
  blowCount: [14, 24],
  blows: {
    'kill-controller': 20,
    'pause-controller': 20,
    'crash-controller': 10,
    'stop-controller': 5,
  },
  run: keep,
};

export const keptDatagramLeases: Workload = {
  ...keptLeases,
  name: 'kept-datagram-leases',
  about: 'the same over datagrams, beside streams that are closed when idle',
  isByDatagrams: true,
  idleStreamMs: [2, 20, 200],
};

export const oneSidedLeases: Workload = {
  name: 'one-sided-leases',
  about: 'the same by threads that reach the memory themselves, and are stopped in the middle',
  isBulky: false,
  isOneSided: true,
  frames: [12, 24],
  steps: 420,
  blows: {
    cut: 10,
    partition: 5,
    'pause-node': 5,
    'pause-client': 30,
    'kill-node': 10,
    'kill-client': 5,
    'kill-controller': 5,
    'pause-controller': 3,
    'crash-controller': 2,
    'stop-in-step': 20,
    'pause-in-step': 80,
    'kill-in-step': 10,
    'kill-node-in-step': 10,
  },
  run,
};
