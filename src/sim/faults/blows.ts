/**
 * What the fault driver does to a rack, one blow at a time. Which streams are cut and which bytes
 * are flipped is the simulated network's choice; what is killed, paused and cut off is chosen
 * here, while clients are at work, so that most blows meet something.
 *
 * The limits of what is survivable: a node's memory ends only with its supervisor, and then its
 * contents are rightly lost; the controller's disk keeps what it was told to keep.
 */

import type { Prng } from '../../base/prng.js';
import { FaultKind, type SimulatedProcess } from '../../runtime/simulated/world.js';
import type { ClientProcesses } from '../client-process.js';
import { areElsewhere, type DeviceWatch } from '../device-watch.js';
import type { Journal } from '../journal.js';
import { LEND_ABOVE_PAGES, type SimulatedRack } from '../rack.js';
import { BLOW_NAMES, type BlowName } from '../workloads/workload.js';
import type { Mover } from './mover.js';

/** Sure to hit the next segments. */
const RATE_OF_A_BLOW = 300_000;
const RATE_LASTS_MS_MAX = 50;
const LOOK_MS = 0.05;
/** Longer than who serves a device goes on without asking for less copies. */
const LEFT_WITHIN_MS = 2_500;
const LOSE_WITHIN_MS = 30_000;
const WHOLE_MS_MAX = 200;
/** By then the controller knows that memory is gone, and what it calls whole is so. */
const NOTICED_WITHIN_MS = 5_000;
/** After that everything in its files is as new as in the copies. */
const HOST_RESTS_MS = 15_000;
const STOP_WITHIN_MS = 2_000;
const FLUSH_WITHIN_MS = 12_000;
/** What the watch saw so long ago is so still. */
const IN_FILE_MS = 100;
const FLUSH_LOOK_MS = 0.2;
const SQUEEZES_MS: readonly number[] = [50, 500, 3_000, 8_000];
const NOISE_PAGES = 2;
const STAYS_STOPPED_MS: readonly number[] = [400, 1_500, 3_000];
/** Of the disk with the metadata. */
const FULL_MS: readonly number[] = [20, 200, 1_000, 3_000];
const PAUSES_MS: readonly number[] = [1, 20, 500, 2_500, 5_000];
/** Around the time after which a thread counts as stuck, and minutes. */
const IN_STEP_PAUSES_MS: readonly number[] = [20, 90, 130, 200, 400, 1_500, 100_000];

/** Payload of datagrams; shorter ones are not for links of ours. */
const SHRUNK_PATHS: readonly number[] = [1_232, 1_232, 1_472, 4_068];
const SHRUNK_MS: readonly number[] = [100, 300, 1_000];
/** For so long what is too long comes late: longer than a time-out, so that further copies do. */
const SHRUNK_LATE_MS: readonly number[] = [0, 1, 5, 20];

type DeviceBlow = Extract<
  BlowName,
  'lose-copies' | 'lose-all-memory' | 'cut-power' | 'kill-host' | 'pause-host' | 'kill-host-in-copy'
>;

export class Blows {
  readonly #rack: SimulatedRack;
  readonly #clients: ClientProcesses;
  readonly #mover: Mover;
  readonly #journal: Journal;
  readonly #prng: Prng;
  readonly #watch: DeviceWatch;
  #disturbedUntilMs = -Infinity;
  #hostStruckMs = -Infinity;
  #memoryLostMs = -Infinity;
  /** The rate that a kind has when no blow raises it. */
  readonly #usualRate: (kind: FaultKind) => number;

  constructor(parts: {
    rack: SimulatedRack;
    clients: ClientProcesses;
    mover: Mover;
    journal: Journal;
    watch: DeviceWatch;
    prng: Prng;
    usualRate: (kind: FaultKind) => number;
  }) {
    this.#rack = parts.rack;
    this.#clients = parts.clients;
    this.#mover = parts.mover;
    this.#journal = parts.journal;
    this.#prng = parts.prng;
    this.#watch = parts.watch;
    this.#usualRate = parts.usualRate;
  }

  choose(weights: Readonly<Partial<Record<BlowName, number>>>): BlowName {
    const total = BLOW_NAMES.reduce((sum, name) => sum + (weights[name] ?? 0), 0);
    let at = this.#prng.below(total);
    for (const name of BLOW_NAMES) {
      at -= weights[name] ?? 0;
      if (at < 0) return name;
    }
    return 'cut';
  }

  strike(name: BlowName): void {
    this.#journal.note(`blow: ${name}`);
    const prng = this.#prng;
    const node = prng.below(this.#rack.shape.nodes);
    switch (name) {
      case 'cut':
        return this.#burst(prng.pick([FaultKind.StreamReset, FaultKind.HalfOpen]));
      case 'corrupt':
        return this.#burst(FaultKind.StreamCorruption);
      case 'partition':
        return this.#partition(node);
      case 'split':
        return this.#split(node);
      case 'cut-streams':
        return this.#cutOff(node, 'streams');
      case 'cut-datagrams':
        return this.#cutOff(node, 'datagrams');
      case 'pause-node':
        return this.#pause(this.#rack.nodeProcess(node));
      case 'pause-client':
        return this.#pause(this.#clients.pick(prng));
      case 'kill-node':
        this.#disturb(0);
        return this.#kill(this.#rack.nodeProcess(node));
      case 'kill-supervisor':
        return this.#rack.killSupervisor(node);
      case 'kill-client':
        return this.#clients.killOne(prng);
      case 'kill-controller':
        return this.#rack.killController();
      case 'pause-controller':
        return this.#pause(this.#rack.controller.process);
      case 'crash-node':
        return this.#rack.crashNode(node);
      case 'crash-controller':
        return this.#rack.crashController();
      case 'stop-node':
        return this.#rack.stopNode(node);
      case 'stop-controller':
        return this.#rack.world.terminate(this.#rack.controller.process);
      case 'copy-metadata':
        return this.#rack.copyMetadata();
      case 'put-back-metadata':
        return this.#rack.putBackMetadata();
      case 'fail-flushes':
        return this.#burst(FaultKind.DiskFlushError);
      case 'fill-disk':
        return this.#fillDisk();
      case 'shrink-path':
        return this.#shrinkPath(node);
      case 'move-region':
        return void this.#mover.begin();
      case 'strike-in-move':
        return this.#strikeInMove();
      case 'drain-node':
        return this.#drain(node);
      case 'squeeze':
        return this.#squeezeSome(node);
      case 'stop-in-step':
        return this.#burst(FaultKind.StepStopped);
      case 'pause-in-step':
      case 'kill-in-step':
      case 'kill-node-in-step':
        return this.#strikeInStep(name);
      default:
        return this.#strikeDevices(name, node);
    }
  }

  #strikeDevices(name: DeviceBlow, node: number): void {
    const { hosts, world } = this.#rack;
    if (name === 'lose-copies') return this.#loseCopies(node);
    if (name === 'lose-all-memory') return this.#loseAllMemory();
    if (name === 'cut-power') return this.#cutPowerSometime();
    if (name === 'kill-host-in-copy') {
      const inCopy = () => hosts.find(({ process }) => world.isInCopy(process));
      return this.#whenOne(inCopy, (host) => this.#killHost(hosts.indexOf(host)));
    }
    if (name === 'kill-host') return this.#killHost(this.#prng.below(hosts.length));
    this.#pause(this.#prng.pick(hosts).process);
    this.#hostStruck();
  }

  #killHost(host: number): void {
    this.#rack.killHost(host);
    this.#hostStruck();
  }

  #strikeInStep(name: 'pause-in-step' | 'kill-in-step' | 'kill-node-in-step'): void {
    switch (name) {
      case 'pause-in-step':
        return this.#whenInStep((client) => this.#pause(client, IN_STEP_PAUSES_MS));
      case 'kill-in-step':
        return this.#whenInStep((client) => this.#clients.kill(client));
      case 'kill-node-in-step':
        return this.#whenStopped((client) => this.#kill(this.#rack.nodeProcessAt(client.machine)));
    }
  }

  /** Raises the rate until one has happened, or the moment is over. */
  #burst(kind: FaultKind): void {
    const { world } = this.#rack;
    const before = world.faults.injected[kind];
    const startedMs = world.nowMs;
    world.faults.setRate(kind, RATE_OF_A_BLOW);
    const look = (): void => {
      const isOver = world.nowMs - startedMs > RATE_LASTS_MS_MAX;
      if (isOver || world.faults.injected[kind] > before) {
        world.faults.setRate(kind, this.#usualRate(kind));
      } else {
        world.after(0.02, look);
      }
    };
    look();
  }

  /** For so long not everybody reaches everybody. */
  #disturb(ms: number): void {
    this.#disturbedUntilMs = Math.max(this.#disturbedUntilMs, this.#rack.world.nowMs + ms);
  }

  /**
   * One at a time, and when no copy is missing, or about to be left: who leaves a copy that does
   * not answer, and then loses the other one, has rightly lost the slab. So has who begins a slab
   * with one copy while the controller does not know the other nodes yet.
   */
  #loseCopies(node: number): void {
    const { world, shape } = this.#rack;
    const { devices = [] } = shape;
    const startedMs = world.nowMs;
    const isCrash = this.#prng.chance(300_000);
    // Of one copy, what is gone is gone.
    const single = devices.filter(({ copies, backup }) => copies === 1 && backup === undefined);
    if (single.length > 0 && !this.#prng.chance(300_000)) return;
    const look = (): void => {
      if (!world.faults.enabled || world.nowMs - startedMs > LOSE_WITHIN_MS) return;
      const disturbedMs = Math.max(this.#disturbedUntilMs, this.#rack.controllerSinceMs);
      const isQuiet = world.nowMs - disturbedMs > LEFT_WITHIN_MS;
      const isWhole = world.nowMs - this.#watch.wholeMs < WHOLE_MS_MAX;
      // One that does not answer may have been left in this very moment.
      const rows = world.copyDatabases(this.#rack.controller.machine);
      const isSafe = single.length > 0 || areElsewhere(rows, `n${node + 1}`);
      const mayLose = isQuiet && isWhole && isSafe && this.#rack.isComplete;
      if (!mayLose) return void world.after(20, look);
      for (const { name } of single) this.#journal.mayBeLost.add(name);
      if (devices.some(({ copies, backup }) => copies === 1 && backup !== undefined)) {
        this.#onlyFilesAreLeft();
      }
      this.#disturb(0);
      if (isCrash) this.#rack.crashNode(node);
      else this.#rack.killSupervisor(node);
    };
    look();
  }

  /** Of all nodes, when everything is in the files of the host, too; `then` follows. */
  #loseAllMemory(then?: () => void): void {
    const { world, shape } = this.#rack;
    const startedMs = world.nowMs;
    const look = (): void => {
      if (!world.faults.enabled || world.nowMs - startedMs > LOSE_WITHIN_MS) return;
      const isWhole = world.nowMs - this.#watch.wholeMs < WHOLE_MS_MAX;
      if (!isWhole || !this.#rack.isComplete) return void world.after(20, look);
      this.#onlyFilesAreLeft();
      this.#disturb(0);
      for (let node = 0; node < shape.nodes; node++) this.#rack.killSupervisor(node);
      then?.();
    };
    look();
  }

  /**
   * A host that was struck may have areas in its files that are behind, and so may one that is
   * struck before copies are there again; another host has no files at all.
   */
  #onlyFilesAreLeft(): void {
    const { world, hosts } = this.#rack;
    this.#memoryLostMs = world.nowMs;
    const isSure = hosts.length === 1 && world.nowMs - this.#hostStruckMs > HOST_RESTS_MS;
    if (!isSure) this.#allowLoss();
  }

  #hostStruck(): void {
    this.#hostStruckMs = this.#rack.world.nowMs;
    const isWhole = this.#watch.wholeMs > this.#memoryLostMs + NOTICED_WITHIN_MS;
    if (!isWhole) this.#allowLoss();
  }

  #allowLoss(): void {
    for (const name of this.#kept) this.#journal.mayBeLost.add(name);
  }

  /** Devices that are in files, too. */
  get #kept(): string[] {
    const kept = (this.#rack.shape.devices ?? []).filter(({ backup }) => backup !== undefined);
    return kept.map(({ name }) => name);
  }

  /** Now, or right after a flush while a slab is in a file alone: memory was short, or was lost. */
  #cutPowerSometime(): void {
    const { supervisors } = this.#rack;
    const squeezeAll = (): void => supervisors.forEach((_, node) => this.#squeeze(node));
    if (this.#prng.chance(300_000)) return this.#cutPower();
    if (this.#prng.chance(500_000)) {
      squeezeAll();
      this.#cutPowerAfterFlush();
    } else {
      this.#loseAllMemory(() => {
        squeezeAll();
        this.#cutPowerAfterFlush();
      });
    }
  }

  #cutPowerAfterFlush(): void {
    const { world } = this.#rack;
    const untilMs = world.nowMs + FLUSH_WITHIN_MS;
    let flushes = this.#journal.flushes;
    const look = (): void => {
      if (!world.faults.enabled || world.nowMs > untilMs) return;
      const isInFile = world.nowMs - this.#watch.inFileMs < IN_FILE_MS;
      if (isInFile && this.#journal.flushes > flushes) return this.#cutPower();
      flushes = this.#journal.flushes;
      world.after(FLUSH_LOOK_MS, look);
    };
    look();
  }

  /** Of hosts and nodes. What is in a file alone is then as it was flushed last, or later. */
  #cutPower(): void {
    const { shape, hosts } = this.#rack;
    this.#allowLoss();
    for (const name of this.#kept) this.#journal.crashDevice(name);
    this.#memoryLostMs = this.#rack.world.nowMs;
    this.#disturb(0);
    for (let host = 0; host < hosts.length; host++) this.#rack.crashHost(host);
    for (let node = 0; node < shape.nodes; node++) this.#rack.killSupervisor(node);
    this.#hostStruckMs = this.#rack.world.nowMs;
  }

  #partition(node: number): void {
    const { world } = this.#rack;
    const prng = this.#prng;
    const one = prng.chance(200_000)
      ? world.machine('controller')
      : world.machine(`node-${node + 1}`);
    const others = world.machines.filter((machine) => machine !== one && prng.chance(600_000));
    if (others.length === 0) return;
    const [from, to] = prng.chance(500_000) ? [[one], others] : [others, [one]];
    const cut = world.partition(from, to, { oneWay: prng.chance(300_000) });
    const ms = prng.pick([5, 100, 1_000, 3_000, 8_000]);
    this.#disturb(ms);
    world.after(ms, () => world.heal(cut));
  }

  /** A firewall between a node and clients, which still passes the other kind. */
  #cutOff(node: number, only: 'streams' | 'datagrams'): void {
    const { world } = this.#rack;
    const prng = this.#prng;
    const one = world.machine(`node-${node + 1}`);
    const isInfrastructure = (name: string): boolean => /^(node|controller)/.test(name);
    const clients = world.machines.filter(({ name }) => !isInfrastructure(name));
    const cutOff = clients.filter(() => prng.chance(700_000));
    if (cutOff.length === 0) return;
    const [from, to] = prng.chance(500_000) ? [[one], cutOff] : [cutOff, [one]];
    const cut = world.partition(from, to, { only, oneWay: prng.chance(300_000) });
    world.after(prng.pick([200, 1_500, 3_000, 6_000, 12_000]), () => world.heal(cut));
  }

  /** A node, and some with it, is without the controller and the others, and goes on. */
  #split(node: number): void {
    const { world } = this.#rack;
    const prng = this.#prng;
    const away = world.machine(`node-${node + 1}`);
    const controller = world.machine('controller');
    const one = world.machines.filter((machine) => {
      return machine === away || (machine !== controller && prng.chance(400_000));
    });
    const other = world.machines.filter((machine) => !one.includes(machine));
    const cut = world.partition(one, other);
    const ms = prng.pick([1_500, 5_000, 9_000]);
    this.#disturb(ms);
    world.after(ms, () => world.heal(cut));
  }

  /** Of a node, to all others or from them. */
  #shrinkPath(node: number): void {
    const { world } = this.#rack;
    const prng = this.#prng;
    const one = world.machine(`node-${node + 1}`);
    const others = world.machines.filter((machine) => machine !== one);
    const [from, to] = prng.chance(200_000) ? [[one], others] : [others, [one]];
    const options = {
      bytes: prng.pick(SHRUNK_PATHS),
      isTold: prng.chance(300_000),
      lateMs: prng.pick(SHRUNK_LATE_MS),
    };
    const shrunk = world.shrinkPath(from, to, options);
    world.after(prng.pick(SHRUNK_MS), () => world.restorePath(shrunk));
  }

  /** One at a time, mostly: else there is nowhere to go. */
  #drain(node: number): void {
    const { drains, supervisors } = this.#rack;
    const prng = this.#prng;
    if (!drains.isOver && prng.chance(800_000)) return;
    drains.drain(supervisors[node]?.name ?? '');
    if (prng.chance(500_000)) return;
    const { world, shape } = this.#rack;
    world.after(prng.fraction() * prng.pick([2, 10, 40]), () => {
      if (!world.faults.enabled) return;
      const other = (node + prng.between(1, shape.nodes - 1)) % shape.nodes;
      const choice = prng.below(100);
      if (choice < 25) this.#rack.killController();
      else if (choice < 55) this.#kill(this.#rack.nodeProcess(node));
      else if (choice < 75) this.#kill(this.#rack.nodeProcess(other));
      else if (choice < 90) this.#cutBetween(node, other);
      else this.#pause(this.#rack.nodeProcess(node));
    });
  }

  #cutBetween(from: number, to: number): void {
    const { world } = this.#rack;
    const [one, other] = [from, to].map((node) => world.machine(`node-${node + 1}`));
    if (one === undefined || other === undefined) return;
    const cut = world.partition([one], [other], { oneWay: this.#prng.chance(500_000) });
    world.after(this.#prng.pick([100, 600, 2_000, 5_000]), () => world.heal(cut));
  }

  #strikeInMove(): void {
    const going = this.#mover.begin();
    if (going !== undefined) this.#mover.aim(going);
  }

  /** A node's machine has little left, which goes up and down a little; then all again. */
  /** One, or all: then what a file has as well finds no other place. */
  #squeezeSome(node: number): void {
    const { devices = [] } = this.#rack.shape;
    const areKept = devices.some(({ backup }) => backup !== undefined);
    if (!areKept || this.#prng.chance(300_000)) this.#squeeze(node);
    else this.#rack.supervisors.forEach((_, index) => this.#squeeze(index));
  }

  #squeeze(node: number): void {
    const { world, shape } = this.#rack;
    const prng = this.#prng;
    const machine = world.machine(`node-${node + 1}`);
    const pages = prng.between(0, shape.frames + LEND_ABOVE_PAGES);
    const isSteady = prng.chance(500_000);
    const untilMs = world.nowMs + prng.pick(SQUEEZES_MS);
    const look = (): void => {
      if (!world.faults.enabled) return;
      if (world.nowMs >= untilMs) return world.relieve(machine);
      const noise = isSteady ? 0 : prng.fraction() * NOISE_PAGES;
      world.squeeze(machine, (pages + noise) * shape.pageBytes);
      world.after(prng.pick([20, 100, 300]), look);
    };
    look();
  }

  /** Looks until a client is in the middle of a step, or the moment is over. */
  #whenInStep(strike: (client: SimulatedProcess) => void): void {
    this.#whenOne(() => this.#clients.pickInStep(this.#prng), strike);
  }

  #whenOne<T>(find: () => T | undefined, strike: (found: T) => void): void {
    const { world } = this.#rack;
    const startedMs = world.nowMs;
    const look = (): void => {
      if (!world.faults.enabled || world.nowMs - startedMs > RATE_LASTS_MS_MAX) return;
      const found = find();
      if (found === undefined) world.after(this.#prng.fraction() * LOOK_MS, look);
      else strike(found);
    };
    look();
  }

  /**
   * A moment after memory was freed under a client that is stopped in the middle of a step. It
   * stays so for longer than others need to come back.
   */
  #whenStopped(strike: (client: SimulatedProcess) => void): void {
    const { world } = this.#rack;
    const startedMs = world.nowMs;
    const look = (): void => {
      if (!world.faults.enabled || world.nowMs - startedMs > STOP_WITHIN_MS) return;
      const client = this.#clients.pickStoppedAtFreed(this.#prng);
      if (client === undefined) {
        world.after(1, look);
        return;
      }
      this.#pause(client, STAYS_STOPPED_MS);
      strike(client);
    };
    look();
  }

  /** Of the controller; what it has told meanwhile is looked at by the next one. */
  #fillDisk(): void {
    const { world } = this.#rack;
    const machine = world.machine('controller');
    world.fillDisk(machine);
    world.after(this.#prng.pick(FULL_MS), () => {
      world.freeDisk(machine);
      if (world.faults.enabled && this.#prng.chance(500_000)) this.#rack.killController();
    });
  }

  #pause(process: SimulatedProcess | undefined, pausesMs = PAUSES_MS): void {
    if (process === undefined || !process.alive) return;
    const { world } = this.#rack;
    world.pause(process);
    const ms = this.#prng.pick(pausesMs);
    this.#disturb(ms);
    world.after(ms, () => {
      if (process.alive) world.resume(process);
    });
  }

  #kill(process: SimulatedProcess | undefined): void {
    if (process !== undefined) this.#rack.world.kill(process);
  }
}
