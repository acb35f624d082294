/**
 * One seed: a whole rack, its clients at work, blows falling on both; then calm, in which
 * everything must come to an end; then the audit, and the checkers over all that was seen.
 */

import { setImmediate } from 'node:timers';
import { assert } from '../base/assert.js';
import { Prng } from '../base/prng.js';
import { planOf } from '../block/slabs.js';
import { nodeChecksum } from '../runtime/node/node-checksum.js';
import {
  FaultKind,
  type FaultRates,
  type Knobs,
  type LogEntry,
  SimulatedCrash,
  SimulatedWorld,
} from '../runtime/simulated/world.js';
import { Audit, watchRegions } from './audit.js';
import { checkAll } from './checkers/all.js';
import type { RegionSeen } from './checkers/ownership.js';
import { ClientProcesses } from './client-process.js';
import { DeviceWatch } from './device-watch.js';
import { Blows } from './faults/blows.js';
import { DiskBlows } from './faults/disk-blows.js';
import { Mover } from './faults/mover.js';
import { Journal } from './journal.js';
import { makeKeptDevices } from './kept-devices.js';
import { NBD_PORT, type RackShape, SimulatedRack } from './rack.js';
import { ROLES, THREADS } from './roles.js';
import type { Failure, SeedVerdict } from './verdict.js';
import { WORKLOADS, workloadNamed } from './workloads/all.js';
import type { Workload } from './workloads/workload.js';

export interface SeedOptions {
  readonly seed: number;
  /** Undefined: the seed's own. */
  readonly workload?: string | undefined;
  readonly onLog?: (entry: LogEntry) => void;
  /** No blows and no rates: to see what the rack does by itself. */
  readonly calm?: boolean;
}

/** Simulated time in which each part must be over. */
const START_MS_MAX = 30_000;
const SAFETY_MS_MAX = 60_000;
const LIVENESS_MS_MAX = 60_000;
const AUDIT_MS_MAX = 300_000;
/** How often steps over shared memory are made in parts, and copies seen by halves. */
const STEPS_APART = [0, 300_000, 700_000, 900_000, 900_000, 950_000];
const SPLIT_COPIES = [0, 50_000, 500_000];
/** Not much longer than a thread is waited for, or every move is given up, and copies left. */
const STOPPED_SHORT_MS_MAX = 150;
/** Payload of the longest datagram that passes; long ones often, so that they can be missed. */
const PATH_BYTES = [1_472, 8_972, 8_972, 65_504, 65_504];
/** Of machines where nothing is ever late by more than a lease can bear. */
const PROMPT: Partial<Knobs> = { latencyNs: 10_000, tailDoublingsMax: 4, timerSlackUs: 200 };
const REBALANCING_PER_MILLION = 330_000;
/** Blows per seed. */
const BLOWS = [7, 16] as const;
const BULKY_SEGMENTS = [8_960, 65_536, 65_536];

export function workloadOf(seed: number, name?: string): Workload {
  const named = name === undefined ? WORKLOADS[seed % WORKLOADS.length] : workloadNamed(name);
  assert(named !== undefined, 'a workload that does not exist');
  return named;
}

/** What a phase that is not over in time leaves behind. */
class NotFinished extends Error {}

let current: SimulatedWorld | undefined;

/** A rejection that nobody awaited belongs to the world that runs now. */
export function failCurrent(error: unknown): void {
  current?.fail(error);
}

export async function runSeed(options: SeedOptions): Promise<SeedVerdict> {
  const run = new SeedRun(options);
  current = run.world;
  try {
    return await run.verdict();
  } finally {
    current = undefined;
  }
}

class SeedRun {
  readonly world: SimulatedWorld;
  readonly #options: SeedOptions;
  readonly #workload: Workload;
  readonly #journal = new Journal();
  readonly #rates: FaultRates;
  readonly #regionsSeen: RegionSeen[] = [];

  constructor(options: SeedOptions) {
    this.#options = options;
    this.#workload = workloadOf(options.seed, options.workload);
    this.#journal.isControllerAlone = this.#workload.isControllerAlone === true;
    const prng = new Prng(options.seed).fork('rates');
    this.#rates = options.calm === true ? {} : drawRates(prng, this.#workload);
    this.world = new SimulatedWorld({
      seed: options.seed,
      knobs: drawKnobs(prng, this.#workload),
      immediate: setImmediate,
      roles: ROLES,
      threads: THREADS,
      plainPorts: [NBD_PORT],
      traceEvents: 60,
      checksum: nodeChecksum,
      ...(options.onLog === undefined ? {} : { onLog: options.onLog }),
    });
  }

  async verdict(): Promise<SeedVerdict> {
    let failure: Failure | undefined;
    try {
      await this.#play();
      checkAll(this.#journal, this.#regionsSeen);
      if (this.#journal.violations.length > 0) failure = 'correctness';
    } catch (error) {
      failure = error instanceof NotFinished ? 'liveness' : 'crash';
      this.#journal.complain(failure, describe(error));
      // What was seen until then may say more than the end does.
      if (failure === 'liveness') checkAll(this.#journal, this.#regionsSeen);
      if (this.#journal.violations.length > 1) failure = 'correctness';
    }
    const { world } = this;
    const { endings, operations, violations, recent } = this.#journal;
    return {
      seed: this.#options.seed,
      workload: this.#workload.name,
      failure,
      violations,
      endings,
      operations,
      injected: { ...world.faults.injected },
      mattered: { ...world.faults.mattered },
      traceHash: world.traceHash(),
      turns: world.turns,
      simulatedMs: world.nowMs,
      notes: recent,
      events: failure === undefined ? '' : world.report(),
    };
  }

  async #play(): Promise<void> {
    const { world } = this;
    this.#journal.nowMs = () => world.nowMs;
    const rack = new SimulatedRack(world, this.#shape(), this.#journal);
    await this.#until('the start', START_MS_MAX, () => rack.isComplete);
    for (const [kind, rate] of Object.entries(this.#rates)) {
      world.faults.setRate(kind as FaultKind, rate);
    }
    const clients = new ClientProcesses(rack, this.#journal, this.#workload);
    makeKeptDevices(rack).catch((error: unknown) => world.fail(error));
    if (this.#options.calm !== true) this.#arm(rack, clients);
    watchRegions(rack, this.#regionsSeen, 300).catch((error: unknown) => world.fail(error));
    clients.startAll();
    if (this.#workload.hasUnequalPaths === true) this.#layPaths();
    await world.run({ until: () => clients.areDone, forMs: SAFETY_MS_MAX });
    this.#journal.onCount = undefined;
    world.calm();
    this.#journal.note('calm: no more faults');
    await this.#until(
      'the programs of the clients',
      LIVENESS_MS_MAX,
      () => clients.areDone && rack.isComplete && rack.isBelieved && rack.isAtRest,
      () => clients.unfinished,
    );
    if (this.#workload.isOneSided === true) await this.#close(clients);
    await this.#audit(rack);
  }

  /** Each way between two machines takes datagrams of its own length. */
  #layPaths(): void {
    const prng = this.world.prng.fork('paths');
    for (const from of this.world.machines) {
      for (const to of this.world.machines) {
        if (from !== to) this.world.setPath(from, to, prng.pick(PATH_BYTES));
      }
    }
  }

  /** Nobody is attached to a node's memory any more. */
  async #close(clients: ClientProcesses): Promise<void> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    clients.closeAll().then(over, (error: unknown) => this.world.fail(error));
    await this.#until('the closing of the clients', LIVENESS_MS_MAX, () => isOver);
  }

  async #audit(rack: SimulatedRack): Promise<void> {
    const audit = new Audit(rack, this.#journal);
    let isOver = false;
    let failed: unknown;
    audit.run().then(
      () => {
        isOver = true;
      },
      (error: unknown) => {
        isOver = true;
        failed = error;
      },
    );
    await this.#until(
      'the audit',
      AUDIT_MS_MAX,
      () => isOver,
      () => audit.stage,
    );
    if (failed === undefined) return;
    const { code } = failed as { code?: string };
    if (code !== 'Unavailable' && code !== 'Timeout') throw failed;
    throw new NotFinished(`the audit met ${code} while ${audit.stage}: ${describe(failed)}`);
  }

  #shape(): RackShape {
    const prng = this.world.prng.fork('shape');
    const isOneSided = this.#workload.isOneSided === true;
    return {
      // Most memory shall be on the machine of most clients.
      isOneSided,
      isShortOfMemory: this.#workload.isShortOfMemory === true,
      isCalm: this.#options.calm === true,
      nodes: this.#nodes(prng),
      isPersistent: this.#workload.isPersistent === true,
      isRebalancing: this.#isRebalancing(),
      isMoving: this.#workload.isMoving === true,
      clients: prng.between(3, 4),
      frames: prng.between(...this.#workload.frames),
      pageBytes: 64 * 1024,
      heartbeatMs: prng.pick([100, 500]),
      ...this.#devices(),
    };
  }

  #devices(): Pick<RackShape, 'hosts' | 'areHostsNear' | 'devices'> {
    const { hasDevices, haveBackups, areHostsNear = false } = this.#workload;
    if (hasDevices !== true) return {};
    const prng = this.world.prng.fork('devices');
    const drawn = { ...drawDevices(prng), areHostsNear };
    if (haveBackups !== true) return drawn;
    const devices = (drawn.devices ?? []).map((device) => {
      return { ...device, copies: prng.pick([1, 1, 2]), backup: `/${device.name}` };
    });
    return { hosts: prng.pick([1, 1, 2]), devices };
  }

  /** Where regions move anyhow, in some runs they do so by a policy, too. */
  #isRebalancing(): boolean {
    const { isMoving, isPersistent, blows } = this.#workload;
    // What is on disks stays where it is, unless somebody asks.
    if (isPersistent === true) return false;
    if (isMoving !== true && (blows['drain-node'] ?? 0) === 0) return false;
    return this.world.prng.fork('rebalancing').chance(REBALANCING_PER_MILLION);
  }

  #nodes(prng: Prng): number {
    const { isOneSided, isMoving, hasDevices, blows } = this.#workload;
    if (hasDevices === true) return prng.between(3, 4);
    if ((blows['drain-node'] ?? 0) > 0) return prng.between(3, 4);
    // A region does not go back at once.
    if (isMoving === true) return 3;
    const isAlone = isOneSided === true && (blows['move-region'] ?? 0) === 0;
    return isAlone ? prng.pick([1, 1, 1, 2]) : prng.between(2, 3);
  }

  async #until(
    what: string,
    forMs: number,
    until: () => boolean,
    detail: () => string = () => '',
  ): Promise<void> {
    const end = await this.world.run({ until, forMs });
    if (end === 'condition') return;
    throw new NotFinished(`${what} did not end within ${forMs} ms: ${detail()} (${end})`);
  }

  /** Blows fall when the clients have come so far, never twice at one place. */
  #arm(rack: SimulatedRack, clients: ClientProcesses): void {
    const { world } = this;
    const prng = world.prng.fork('blows');
    const usualRate = (kind: FaultKind): number => this.#rates[kind] ?? 0;
    const parts = { rack, clients, journal: this.#journal, usualRate };
    const isOneSided = this.#workload.isOneSided === true;
    const { isMoving = false, isPersistent = false } = this.#workload;
    const isRestored = this.#workload.blows['put-back-metadata'] !== undefined;
    const of = { isOneSided, isPersistent, isRestored };
    const mover = new Mover({ ...parts, prng: world.prng.fork('moves'), ...of });
    if (isMoving) mover.start();
    if (isPersistent) {
      new DiskBlows({ ...parts, prng: world.prng.fork('disks'), isRare: isMoving }).start();
    }
    const watch = new DeviceWatch(rack, this.#journal);
    if (this.#workload.hasDevices === true) {
      watch.run().catch((error: unknown) => world.fail(error));
    }
    const blows = new Blows({ ...parts, mover, watch, prng });
    const count = prng.between(...(this.#workload.blowCount ?? BLOWS));
    const places = Array.from({ length: count }, () => prng.fraction() * 0.95).sort(
      (a, b) => a - b,
    );
    let next = 0;
    this.#journal.onCount = () => {
      while (next < count && clients.progress >= (places[next] ?? 1)) {
        next += 1;
        const name = blows.choose(this.#workload.blows);
        world.after(prng.fraction() * 0.5, () => {
          if (world.faults.enabled) blows.strike(name);
        });
      }
    };
  }
}

/** Of two copies mostly; small, so that everything happens to every slab. */
function drawDevices(prng: Prng): Pick<RackShape, 'hosts' | 'devices'> {
  const count = prng.pick([1, 1, 2]);
  const devices = Array.from({ length: count }, (_, i) => {
    const slabBytes = prng.pick([512, 1024]) * 1024;
    const { dataBytes } = planOf(1, slabBytes).layout;
    // The last slab need not be used to its end.
    const bytes = prng.between(1, 3) * dataBytes + prng.pick([0, 512, dataBytes / 2]);
    return { name: `disk-${i + 1}`, bytes, slabBytes, copies: prng.pick([2, 2, 2, 2, 1, 3]) };
  });
  return { hosts: prng.pick([1, 2, 2]), devices };
}

/** Steps over shared memory are made. */
function isNear({ isOneSided, areHostsNear }: Workload): boolean {
  return isOneSided === true || areHostsNear === true;
}

function drawKnobs(prng: Prng, workload: Workload): Partial<Knobs> {
  if (workload.isControllerAlone === true) return { ...PROMPT };
  const hasSteps = isNear(workload);
  // Large transfers in tiny pieces cost more time than they show; small ones have them all.
  const isLarge = workload.isBulky || hasSteps;
  const ofBytes = isLarge ? { segmentBytes: prng.pick(BULKY_SEGMENTS) } : {};
  if (!hasSteps) return ofBytes;
  // A move is of no interest to steps that are made at once.
  const isMoving = workload.isMoving === true;
  const apart = isMoving ? STEPS_APART.filter((rate) => rate > 0) : STEPS_APART;
  const stepsApartPerMillion = prng.pick(apart);
  const isShort = isMoving || workload.areHostsNear === true;
  const stopped = isShort ? { stoppedMsMax: STOPPED_SHORT_MS_MAX } : {};
  return {
    ...ofBytes,
    ...stopped,
    stepsApartPerMillion,
    splitCopiesPerMillion: prng.pick(SPLIT_COPIES),
  };
}

/** Faults that come by themselves, some seeds with many, some with none. */
function drawRates(prng: Prng, workload: Workload): FaultRates {
  const { isBulky, ...is } = workload;
  if (is.isControllerAlone === true) return {};
  const hasSteps = isNear(workload);
  const rates = drawRatesOfAll(prng, isBulky || hasSteps);
  if (hasSteps) rates[FaultKind.StepStopped] = prng.pick([5_000, 10_000, 30_000]);
  if (is.isByDatagrams !== true) return rates;
  const ofDatagrams: FaultRates = { ...rates, ...drawRatesOfDatagrams(prng) };
  for (const [kind, choice] of Object.entries(is.rates ?? {})) {
    ofDatagrams[kind as FaultKind] = prng.pick(choice);
  }
  if (is.hasUnequalPaths !== true) return ofDatagrams;
  // Copies that come after a path has shrunk are what matters.
  const [loss, delay] = [prng.pick([0, 1_000, 20_000]), prng.pick([30_000, 100_000, 200_000])];
  return { ...ofDatagrams, [FaultKind.DatagramLoss]: loss, [FaultKind.DatagramDelay]: delay };
}

function drawRatesOfDatagrams(prng: Prng): FaultRates {
  return {
    [FaultKind.DatagramLoss]: prng.pick([1_000, 20_000, 50_000, 200_000]),
    [FaultKind.DatagramDuplicate]: prng.pick([0, 20_000, 100_000]),
    [FaultKind.DatagramReorder]: prng.pick([0, 50_000, 300_000]),
    [FaultKind.DatagramDelay]: prng.pick([0, 5_000, 50_000]),
    [FaultKind.DatagramCorruption]: prng.pick([0, 10_000, 50_000]),
  };
}

function drawRatesOfAll(prng: Prng, isBulky: boolean): FaultRates {
  return {
    [FaultKind.StreamSplit]: prng.pick(isBulky ? [0, 1_000, 10_000] : [0, 30_000, 300_000]),
    [FaultKind.SlowPeer]: prng.pick([0, 0, 20_000]),
    [FaultKind.SlowWake]: prng.pick([0, 10_000]),
    [FaultKind.StreamReset]: prng.pick([0, 200, 1_500]),
    [FaultKind.HalfOpen]: prng.pick([0, 0, 500]),
    [FaultKind.StreamCorruption]: prng.pick([0, 0, 500]),
    [FaultKind.DatabaseError]: prng.pick([0, 0, 0, 20_000]),
  };
}

function describe(error: unknown): string {
  const cause = error instanceof SimulatedCrash ? error.cause : undefined;
  const inner = cause instanceof Error ? `\n${cause.stack ?? ''}` : '';
  if (!(error instanceof Error)) return String(error);
  return inner === '' ? (error.stack ?? error.message) : `${error.message}${inner}`;
}
