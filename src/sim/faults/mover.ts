/**
 * Regions that go from node to node, one move after the other, and blows that fall when a move has
 * come to a moment that matters: the simulator looks at both nodes, and strikes in the turn after.
 *
 * A move is asked for when the rack is well again, so that most of them come to their end; clients
 * take it easy until then, so that their share of the work is not used up meanwhile.
 */

import { defined } from '../../base/assert.js';
import type { Prng } from '../../base/prng.js';
import type { ControllerApi, RegionFacts } from '../../controller/api.js';
import type { RunningController } from '../../controller/main.js';
import type { RunningNode } from '../../memory-node/main.js';
import { FaultKind, type SimulatedProcess } from '../../runtime/simulated/world.js';
import type { ClientProcesses } from '../client-process.js';
import type { Journal } from '../journal.js';
import type { SimulatedRack } from '../rack.js';
import { REGION_BYTES } from '../../wire/limits.js';
import { DEADLINE_AHEAD_MS_MAX } from '../../wire/datagram.js';

/** Between two looks at a move. */
const LOOK_MS = 0.02;
/** Nobody looks longer than that for a moment to strike at. */
const AIMED_MS_MAX = 60;
/** A move that is in doubt for longer than that is left to itself. */
const MOVE_MS_MAX = 2_500;
const BETWEEN_MS: readonly number[] = [0.5, 2, 6];
const UNWELL_LOOK_MS = 10;
/** After a blow clients are at work for so long, then they take it easy. */
const BUSY_AFTER_MS = 15;
const AIMED_PER_MILLION = 750_000;
/** Of those at threads that reach memory without their node, where there are any. */
const OF_STEPS_PER_MILLION = 700_000;
/** Of memory that all clients use. */
const SHARED_PER_MILLION = 700_000;
const STEPS_STOPPED = 25_000;
/** A thread is waited for in a pause, or holds it up. */
const STUCK_MS: readonly number[] = [20, 130, 130, 200];
/** So long a round takes at most in which a thread is to be met. */
const SENDS_MS_MAX = 40;
/** So late answers of the old owner are; after so long clients ask who owns what. */
const ANSWERS_LATE_MS = 300;
const ASKS_AFTER_MS = 20;
/** By then the next controller has asked the source. */
const KILLED_LATE_MS = 500;
/** A node takes back so much later what it has given away. */
const RESTS_MS = 2 * DEADLINE_AHEAD_MS_MAX;
/** What a client has sent is under way for so long at most, until its region is back. */
const SENT_LATE_MS_MAX = 4 * RESTS_MS;
/** Between two looks whether it is. */
const BACK_LOOK_MS = 20;

/** Where a move stands, as seen at its two nodes. */
type Moment = 'begins' | 'copying' | 'sending' | 'paused' | 'handing' | 'taken' | 'gone';

interface Going {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly space: number;
  readonly region: number;
  /** Under which the source holds it. */
  readonly held: number;
  readonly startedMs: number;
  /** That the source had copied for others before. */
  readonly bytesBefore: number;
  /** When something happened that clients should meet. */
  busyMs: number;
  isOver: boolean;
}

type Act = (going: Going) => void;
/** Each with how often, relative to the others. */
type Choices = readonly (readonly [number, Act])[];
type Acts = Readonly<Record<Moment, Choices>>;

export class Mover {
  readonly #rack: SimulatedRack;
  readonly #clients: ClientProcesses;
  readonly #journal: Journal;
  readonly #prng: Prng;
  /** The rate that a kind has when no blow raises it. */
  readonly #usualRate: (kind: FaultKind) => number;
  readonly #isOneSided: boolean;
  /** What can be done at each moment, with how often, relative to the others. */
  readonly #acts: Acts;
  /** When a region left a node, by both. */
  readonly #left = new Map<string, number>();

  constructor(parts: {
    rack: SimulatedRack;
    clients: ClientProcesses;
    journal: Journal;
    prng: Prng;
    isOneSided: boolean;
    isPersistent: boolean;
    /** Copies of the controller's database are put back. */
    isRestored: boolean;
    usualRate: (kind: FaultKind) => number;
  }) {
    this.#rack = parts.rack;
    this.#clients = parts.clients;
    this.#journal = parts.journal;
    this.#prng = parts.prng;
    this.#usualRate = parts.usualRate;
    this.#isOneSided = parts.isOneSided;
    // What is lost while nobody knows it is judged by nobody.
    const acts = this.#actsOf(parts.isOneSided, parts.isRestored ? 0 : 0.3);
    const more = parts.isRestored ? this.#withCopies(acts) : acts;
    this.#acts = parts.isPersistent ? this.#withCrashes(more) : more;
  }

  #actsOf(isOneSided: boolean, ends: number): Acts {
    const killSource: Act = ({ from }) => this.#kill(this.#rack.nodeProcess(from));
    const killTarget: Act = ({ to }) => this.#kill(this.#rack.nodeProcess(to));
    const pauseSource: Act = ({ from }) => this.#pause(this.#rack.nodeProcess(from), [20, 700]);
    const pauseTarget: Act = ({ to }) => this.#pause(this.#rack.nodeProcess(to), [20, 700, 1_500]);
    const killController: Act = () => this.#rack.killController();
    const pauseController: Act = () => this.#pause(this.#rack.controller.process, [100, 600]);
    const cutTo: Act = ({ from, to }) => this.#cut(from, to, [300, 700, 1_600]);
    const cutFrom: Act = ({ from, to }) => this.#cut(to, from, [300, 700, 1_600]);
    const endSource: Act = ({ from }) => this.#rack.killSupervisor(from);
    const endTarget: Act = ({ to }) => this.#rack.killSupervisor(to);
    const both = (...acts: Act[]): Act => {
      return (going) => acts.forEach((act) => act(going));
    };
    const stopSteps: Act = (going) => this.#stopSteps(going);
    const stopBeforePause: Act = (going) => this.#stopBeforePause(going);
    const learnFirst: Act = (going) => this.#learnFirst(going);
    const usual: Choices = [
      [3, killSource],
      [3, killTarget],
      [1, pauseSource],
      [1, pauseTarget],
      [2, killController],
      [1, pauseController],
      [1, cutTo],
      [1, cutFrom],
      [ends, endSource],
      [ends, endTarget],
    ];
    const ofSteps: Choices = isOneSided ? [[60, stopSteps]] : [];
    return {
      begins: [...usual, [6, (going) => this.#sendsLate(going)]],
      copying: [...ofSteps, ...usual],
      // The last look at steps but that of the pause is over.
      sending: [...(isOneSided ? ([[60, stopBeforePause]] as const) : []), ...usual],
      paused: [[10, learnFirst], ...ofSteps, ...usual],
      handing: [
        [4, killTarget],
        [6, learnFirst],
        [3, killSource],
        [4, cutTo],
        [2, both(cutTo, killSource)],
        [1, both(cutTo, killController)],
        [ends, endSource],
        [ends, endTarget],
      ],
      taken: [
        [4, cutFrom],
        [3, killSource],
        [1, both(cutFrom, killSource)],
        [3, killTarget],
        [1, killController],
        [ends, endSource],
        [ends, endTarget],
      ],
      gone: [
        [3, killSource],
        [2, both(pauseController, killSource)],
        [1, pauseController],
        [1, killController],
        [ends, endSource],
      ],
    };
  }

  /** Copies that do not know the move, whatever becomes of its ends. */
  #withCopies(acts: Acts): Acts {
    const putBack: Act = () => this.#rack.putBackMetadata();
    const andKill =
      (node: 'from' | 'to', lateMs: number): Act =>
      (going) => {
        putBack(going);
        this.#rack.world.after(lateMs, () => {
          if (this.#rack.world.faults.enabled) this.#kill(this.#rack.nodeProcess(going[node]));
        });
      };
    const andCut: Act = (going) => {
      putBack(going);
      this.#cut(going.from, going.to, [300, 1_600, 4_000]);
    };
    const copies: Choices = [
      [12, putBack],
      [6, andCut],
      [3, andKill('from', 0)],
      [3, andKill('from', KILLED_LATE_MS)],
      [3, andKill('to', 0)],
    ];
    const entries = Object.entries(acts).map(([moment, choices]) => {
      return [moment, [...choices, ...copies]];
    });
    return Object.fromEntries(entries) as Acts;
  }

  /** Of memory on disks: where power goes away, what was told is on one of them. */
  #withCrashes(acts: Acts): Acts {
    const source: Act = ({ from }) => this.#rack.crashNode(from);
    const target: Act = ({ to }) => this.#rack.crashNode(to);
    const all: Act = (going) => [source, target].forEach((act) => act(going));
    const crashes: Choices = [
      [2, source],
      [2, target],
      [1, all],
    ];
    const late: Choices = [...crashes, ...crashes];
    return {
      ...acts,
      copying: [...acts.copying, ...crashes],
      paused: [...acts.paused, ...crashes],
      handing: [...acts.handing, ...late],
      taken: [...acts.taken, ...late],
      gone: [...acts.gone, ...late, [10, (going) => this.#crashWhenOver(going)]],
    };
  }

  /** What the source has told may be forgotten by it, when nobody asks any more. */
  #crashWhenOver(going: Going): void {
    const { world } = this.#rack;
    const look = (): void => {
      if (!world.faults.enabled || world.nowMs - going.startedMs > MOVE_MS_MAX) return;
      if (going.isOver) this.#rack.crashNode(going.from);
      else world.after(LOOK_MS, look);
    };
    look();
  }

  /** One move after the other, for as long as there are faults. */
  start(): void {
    this.#again(this.#prng.pick(BETWEEN_MS));
  }

  #again(ms: number): void {
    const { world } = this.#rack;
    world.after(ms, () => {
      if (world.faults.enabled) this.#next();
    });
  }

  #next(): void {
    const { board } = this.#clients;
    const wasQuiet = board.isQuiet;
    board.isQuiet = !this.#isWell();
    // Whose steps are to be met, is at work when it begins.
    if (board.isQuiet || (wasQuiet && this.#isOneSided)) return this.#again(UNWELL_LOOK_MS);
    const going = this.begin();
    if (going === undefined) {
      board.isQuiet = true;
      return this.#again(UNWELL_LOOK_MS);
    }
    if (this.#prng.chance(AIMED_PER_MILLION)) this.aim(going);
    const { world } = this.#rack;
    const look = (): void => {
      const lastsMs = world.nowMs - going.startedMs;
      board.isQuiet = world.nowMs - going.busyMs > BUSY_AFTER_MS;
      if (going.isOver || lastsMs > MOVE_MS_MAX) this.#again(this.#prng.pick(BETWEEN_MS));
      else world.after(1, look);
    };
    look();
  }

  get #api(): ControllerApi | undefined {
    const { process } = this.#rack.controller;
    if (!process.alive || process.paused) return undefined;
    return ((process.running ?? {}) as Partial<RunningController>).api;
  }

  #isWell(): boolean {
    const members = this.#api?.members() ?? [];
    const serving = members.filter(({ kind, state }) => {
      return kind === 'memory-node' && state === 'serving';
    });
    return serving.length === this.#rack.shape.nodes && this.#rack.isComplete;
  }

  /** Any region to any other node, if the controller is there to be asked. */
  begin(): Going | undefined {
    const { world, supervisors } = this.#rack;
    const prng = this.#prng;
    const api = this.#api;
    const spaces = api?.spaces().filter(({ regions }) => regions > 0) ?? [];
    if (api === undefined || spaces.length === 0) return undefined;
    const { name, id: space } = prng.pick(spaces);
    const listed = api.regions(name);
    if (!('regions' in listed)) return undefined;
    const isOfThreads = this.#isOneSided && prng.chance(OF_STEPS_PER_MILLION);
    const ways = listed.regions.flatMap((facts) => {
      const post = supervisors.find((one) => one.name === facts.node);
      // Threads that are to be met are those of its machine.
      if (isOfThreads && post !== undefined && !this.#clients.isAtWorkOn(post.machine)) return [];
      const others = supervisors.filter((other) => this.#mayGo(name, facts, other.name));
      return others.map((other) => ({ ...facts, target: other.name }));
    });
    if (ways.length === 0) return undefined;
    const shared = ways.filter(({ region }) => this.#isShared(name, region));
    const isOfShared = shared.length > 0 && prng.chance(SHARED_PER_MILLION);
    const { region, node, target, epoch: held } = prng.pick(isOfShared ? shared : ways);
    const [from = 0, to = 0] = [node, target].map((id) => {
      return supervisors.findIndex((post) => post.name === id);
    });
    const what = `${name}/${region}`;
    this.#journal.movedRegions.add(what);
    this.#journal.note(`region ${what} is to go from ${node} to ${target}`);
    const startedMs = world.nowMs;
    const going = {
      name: what,
      from,
      to,
      space,
      region,
      held,
      startedMs,
      bytesBefore: this.#bytesCopied(from),
      busyMs: startedMs,
      isOver: false,
    };
    void this.#order(api, what, target).then((isDone) => {
      going.isOver = true;
      if (isDone) this.#left.set(`${what} ${node}`, world.nowMs);
    });
    return going;
  }

  async #order(api: ControllerApi, what: string, target: string): Promise<boolean> {
    const [space = '', region] = what.split('/');
    const end = await api.moveRegion(space, Number(region), target);
    const text = 'message' in end ? end.message : 'done';
    this.#journal.note(`region ${what} to ${target}: ${text}`);
    this.#journal.noteMove(text === 'done');
    return text === 'done';
  }

  /**
   * What one client sends to the source comes when the region has left it, and is back; meanwhile
   * it learns the target.
   */
  #sendsLate(going: Going): void {
    const { world, supervisors } = this.#rack;
    const clients = world.machines.filter(({ name }) => !/^(node|controller)/.test(name));
    if (clients.length === 0) return;
    const node = world.machine(`node-${going.from + 1}`);
    const cut = world.partition([this.#prng.pick(clients)], [node], { oneWay: true });
    const id = defined(supervisors[going.from]).name;
    let isAsked = false;
    let isTold = false;
    const look = (): void => {
      const leftMs = this.#left.get(`${going.name} ${id}`) ?? 0;
      const hasStayed = going.isOver && leftMs < going.startedMs;
      const isLate = world.nowMs - going.startedMs >= SENT_LATE_MS_MAX;
      if (hasStayed || isLate || !world.faults.enabled) return world.heal(cut);
      // There is something to be sent late.
      going.busyMs = world.nowMs;
      if (going.isOver && !isTold) {
        isTold = true;
        this.#killAnother(going);
      }
      const api = this.#api;
      if (!isAsked && going.isOver && world.nowMs - leftMs >= RESTS_MS && api) {
        isAsked = true;
        void this.#order(api, going.name, id).then(() => world.heal(cut));
      }
      world.after(BACK_LOOK_MS, look);
    };
    look();
  }

  #mayGo(space: string, { region, node, state }: RegionFacts, target: string): boolean {
    const leftMs = this.#left.get(`${space}/${region} ${target}`) ?? -RESTS_MS;
    const isLongAgo = this.#rack.world.nowMs - leftMs >= RESTS_MS;
    return state === 'serving' && target !== node && isLongAgo;
  }

  #isShared(space: string, region: number): boolean {
    return this.#clients.board.shared.some((allocation) => {
      return allocation.space === space && Math.floor(allocation.at / REGION_BYTES) === region;
    });
  }

  /** One blow, at a moment that is chosen now. */
  aim(going: Going): void {
    const { world } = this.#rack;
    const prng = this.#prng;
    const isOfSteps = this.#isOneSided && prng.chance(OF_STEPS_PER_MILLION);
    const moment = prng.pick(isOfSteps ? MOMENTS_OF_STEPS : MOMENTS);
    const act = weighted(this.#acts[moment], prng);
    const lateMs = prng.chance(400_000) ? prng.fraction() * prng.pick([0.1, 1, 5]) : 0;
    const look = (): void => {
      const isLate = world.nowMs - going.startedMs > AIMED_MS_MAX;
      if (!world.faults.enabled || isLate) return;
      if (this.#standsAt(going, moment)) {
        this.#journal.note(`blow: at ${going.name}, which is ${moment}`);
        world.after(lateMs, () => {
          going.busyMs = world.nowMs;
          if (world.faults.enabled) act(going);
        });
      } else if (!going.isOver) {
        world.after(LOOK_MS, look);
      }
    };
    look();
  }

  #node(index: number): RunningNode['node'] | undefined {
    return (this.#rack.nodeProcess(index)?.running as RunningNode | undefined)?.node;
  }

  #bytesCopied(node: number): number {
    return Number(this.#node(node)?.moves.counts().regionMoveBytes ?? 0);
  }

  #standsAt({ from, to, space, region, held, bytesBefore }: Going, moment: Moment): boolean {
    const source = this.#node(from);
    if (moment === 'begins' || source === undefined) return moment === 'begins';
    const isHeld = source.table.regions.holds(space, region);
    const { isHanding } = source.moves;
    switch (moment) {
      case 'copying':
        return source.table.isTracking;
      case 'sending':
        return source.table.isTracking && this.#bytesCopied(from) > bytesBefore;
      case 'paused':
        return isHeld && !isHanding && source.moves.isPaused(space, region);
      case 'handing':
        return isHanding;
      case 'taken':
        return isHanding && (this.#node(to)?.table.regions.epochOf(space, region) ?? 0) > held;
      case 'gone':
        return !isHeld;
    }
  }

  #kill(process: SimulatedProcess | undefined): void {
    if (process !== undefined) this.#rack.world.kill(process);
  }

  #pause(process: SimulatedProcess | undefined, pausesMs: readonly number[]): void {
    if (process === undefined || !process.alive) return;
    const { world } = this.#rack;
    world.pause(process);
    world.after(this.#prng.pick(pausesMs), () => {
      if (process.alive) world.resume(process);
    });
  }

  /** What one sends to the other does not come, for a while. */
  #cut(from: number, to: number, cutMs: readonly number[]): void {
    const { world } = this.#rack;
    const [one, other] = [from, to].map((node) => world.machine(`node-${node + 1}`));
    if (one === undefined || other === undefined) return;
    const cut = world.partition([one], [other], { oneWay: true });
    world.after(this.#prng.pick(cutMs), () => world.heal(cut));
  }

  /**
   * What the source answers comes late, so clients do not know that their operations come back; and
   * they ask the controller who owns what, because another node has gone.
   */
  #learnFirst(going: Going): void {
    const { world } = this.#rack;
    const { from } = going;
    const clients = world.machines.filter(({ name }) => !/^(node|controller)/.test(name));
    const cut = world.partition([world.machine(`node-${from + 1}`)], clients, { oneWay: true });
    world.after(ANSWERS_LATE_MS, () => world.heal(cut));
    going.busyMs += ANSWERS_LATE_MS;
    world.after(ASKS_AFTER_MS, () => {
      if (world.faults.enabled) this.#killAnother(going);
    });
  }

  /** Neither source nor target, where there are more: clients ask who owns what. */
  #killAnother({ from, to }: Going): void {
    const others = this.#rack.supervisors.map((_, node) => node).filter((node) => node !== from);
    this.#kill(this.#rack.nodeProcess(others.find((node) => node !== to) ?? to));
  }

  /** The last round before the pause goes on until a thread stands still in a step there. */
  #stopBeforePause(going: Going): void {
    const { world, supervisors } = this.#rack;
    const target = this.#rack.nodeProcess(going.to);
    const machine = supervisors[going.from]?.machine;
    if (target === undefined || machine === undefined) return;
    world.pause(target);
    const untilMs = world.nowMs + SENDS_MS_MAX;
    const look = (): void => {
      going.busyMs = world.nowMs;
      // Who has not said yet what he works on is waited for by nobody.
      const isHeld = (this.#node(going.from)?.sharing.quiescence.heldFrames().size ?? 0) > 0;
      const thread = isHeld ? this.#clients.inStepAt(machine) : undefined;
      const isOver = world.nowMs >= untilMs || !world.faults.enabled;
      if (thread === undefined && !isOver) return void world.after(LOOK_MS, look);
      if (!isOver) this.#pause(thread, STUCK_MS);
      if (target.alive) world.resume(target);
    };
    look();
  }

  /** Threads are stopped in their steps until the region is handed over, or not. */
  #stopSteps(going: Going): void {
    const { world } = this.#rack;
    const { faults } = world;
    faults.setRate(FaultKind.StepStopped, STEPS_STOPPED);
    const look = (): void => {
      if (!faults.enabled) return;
      const isHanding = this.#standsAt(going, 'handing');
      // What is stored here now should be stored there.
      if (isHanding) {
        going.busyMs = world.nowMs;
        if (this.#prng.chance(500_000)) this.#cut(going.to, going.from, [40]);
      }
      if (going.isOver || isHanding) {
        faults.setRate(FaultKind.StepStopped, this.#usualRate(FaultKind.StepStopped));
      } else {
        world.after(LOOK_MS, look);
      }
    };
    look();
  }
}

const MOMENTS_OF_STEPS: readonly Moment[] = ['copying', 'sending', 'sending', 'sending'];
const MOMENTS: readonly Moment[] = [
  'begins',
  'copying',
  'paused',
  ...(['handing', 'handing', 'handing', 'taken', 'taken', 'gone', 'gone'] as const),
];

function weighted(choices: Choices, prng: Prng): Act {
  const total = choices.reduce((sum, [weight]) => sum + weight, 0);
  let at = prng.fraction() * total;
  const found = choices.find(([weight]) => (at -= weight) < 0) ?? choices[0];
  return defined(found)[1];
}
