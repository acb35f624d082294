/**
 * Which memory node owns which region of a space, and the window to it.
 *
 * The controller is asked when a region is not known, and again when an operation failed in a way
 * that a change of owner could explain; it is never asked on the way of a read or write whose
 * region is known. So the data path goes on while the controller is dead.
 */

import { Status } from '../base/status.js';
import type { CompletionSink } from '../fabric/link.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { REGION_BYTES } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import type { Connection, Connections } from './connections.js';
import type { Control, RegionFacts, RegionState } from './control.js';
import { fenceOver } from './fence.js';
import { type MovedPlace, PutBacks } from './put-back.js';
import type { Route, Routes } from './routes.js';
import type { Unflushed } from './unflushed.js';

interface Region {
  readonly state: RegionState;
  readonly nodeId: string;
  /** What is known of owners under lower epochs is old. */
  readonly epoch: number;
  /** None to a region whose memory is gone: its node may live on with other memory. */
  readonly route: Route | undefined;
}

/** A region whose node has said that it does not hold it any more, or that has another owner. */
interface GoingOver {
  /** What came back, to be started anew, before anything else. */
  readonly putBacks: PutBacks;
  readonly ended: Promise<void>;
  /** The owner that was learned meanwhile. */
  next: RegionFacts | undefined;
}

const RETRY_MS_MIN = 5;
const RETRY_MS_MAX = 250;
/** A node is asked for a window this long, then the controller whether it is still the owner. */
const OPEN_MS_MAX = 1000;
/** One question for the owner of a region. */
const LOOK_AGAIN_MS = 1000;
/** How often a node may refuse its memory before that is believed. */
const REFUSALS_MAX = 2;
/** One attempt to find out whether all is over at the node that a region has left. */
const FENCE_MS = 1000;
/** Nothing came back, and nobody knows another owner: so long it is looked for one. */
const LOOK_FOR_OWNER_MS = 10_000;
/** As often it is looked for another owner before the one that it came back from is gone to. */
const LOOKS_ELSEWHERE = 3;

export class RegionMap implements Routes {
  readonly #runtime: Runtime;
  readonly #control: Control;
  readonly #connections: Connections;
  readonly #space: number;
  readonly #regions = new Map<number, Region>();
  readonly #routes = new Map<string, Route>();
  #refreshing: Promise<Status> | undefined;
  #following: Promise<Status> | undefined;
  readonly #opening = new Map<Route, Promise<Status>>();
  readonly #goingOver = new Map<number, GoingOver>();
  readonly #unflushed: Unflushed | undefined;
  /** The controller works on an older copy of its database, and has not heard of all again. */
  #mayLack = false;
  #lookAgainAtMs = 0;

  constructor(
    runtime: Runtime,
    control: Control,
    connections: Connections,
    space: number,
    unflushed?: Unflushed,
  ) {
    this.#unflushed = unflushed;
    this.#runtime = runtime;
    this.#control = control;
    this.#connections = connections;
    this.#space = space;
    connections.watchLosses((connection) => this.#lookElsewhere(connection));
  }

  /** What is waited for at a node may be at another one by now: this one may be switched off. */
  #lookElsewhere(connection: Connection): void {
    const now = this.#runtime.clock.now();
    const isOurs = this.#routes.get(connection.nodeId)?.connection === connection;
    if (!isOurs || now < this.#lookAgainAtMs) return;
    this.#lookAgainAtMs = now + LOOK_AGAIN_MS;
    void this.refresh(this.#lookAgainAtMs);
  }

  /** The way to a region whose owner and window are known and whose data is not lost. */
  ready(region: number): Route | undefined {
    const route = this.#regions.get(region)?.route;
    if (route?.window === undefined || route.connection.isClosed) return undefined;
    return this.#goingOver.size > 0 && this.#goingOver.has(region) ? undefined : route;
  }

  state(region: number): RegionState | undefined {
    return this.#regions.get(region)?.state;
  }

  /** The connection to the owner, also where no window is open; none to a lost one. */
  connection(region: number): Connection | undefined {
    const connection = this.#regions.get(region)?.route?.connection;
    return connection?.isClosed === true ? undefined : connection;
  }

  refusal(region: number): string | undefined {
    return this.#regions.get(region)?.route?.connection.refusal;
  }

  nodeId(region: number): string | undefined {
    return this.#regions.get(region)?.nodeId;
  }

  /** To all nodes of the space that are known, each once. */
  *connections(): Generator<Connection> {
    for (const { connection } of this.#routes.values()) if (!connection.isClosed) yield connection;
  }

  /** All regions of the space that are known, with their owners. */
  *entries(): Generator<{ region: number; state: RegionState; nodeId: string }> {
    for (const [region, { state, nodeId }] of this.#regions) yield { region, state, nodeId };
  }

  /** What the controller answered, also to other calls than ours. */
  learn(facts: RegionFacts): void {
    const known = this.#regions.get(facts.region);
    // Of before a move. Who went there would be served nothing, and look for the owner in vain.
    if (known !== undefined && facts.epoch < known.epoch) return;
    const going = this.#goingOver.get(facts.region);
    const isMove = known?.route !== undefined && known.nodeId !== facts.nodeId;
    if (facts.state === 'lost' || !isMove || known.route?.connection.isClosed === true) {
      this.#learn(facts);
    } else if (going !== undefined) {
      going.next = facts;
    } else {
      // What is under way at the node before comes first.
      this.#goOver(facts.region, facts);
    }
  }

  #learn({ region, nodeId, address, memoryId, epoch, state }: RegionFacts): void {
    if (state === 'lost') {
      // What still waits at the node that had it waits in vain: its memory was one with the rest.
      const route = this.#regions.get(region)?.route;
      if (route !== undefined) this.#connections.drop(route.connection);
      this.#regions.set(region, { state, nodeId, epoch, route: undefined });
      return;
    }
    const connection = this.#connections.to(nodeId, address, memoryId);
    let route = this.#routes.get(nodeId);
    if (route === undefined || route.connection !== connection) {
      route = { connection, window: undefined };
      this.#routes.set(nodeId, route);
    }
    this.#regions.set(region, { state, nodeId, epoch, route });
  }

  // ------------------------------------------------------------------- to another node of a region

  putBack(sink: CompletionSink, from: MovedPlace): void {
    const region = Math.floor((from.ring.address[from.place] as number) / REGION_BYTES);
    this.#goOver(region, undefined).putBacks.add(sink, from);
  }

  isGoingOver(region: number): boolean {
    return this.#goingOver.has(region);
  }

  moved(first: number, last: number): void {
    for (let region = first; region <= last; region++) {
      if (this.#regions.get(region)?.route !== undefined) this.#goOver(region, undefined);
    }
  }

  /** Resolves when it is known where the region is, as far as it can be known in time. */
  async settled(region: number, deadline: number): Promise<void> {
    const going = this.#goingOver.get(region);
    if (going === undefined) return;
    const leftMs = Math.max(1, deadline - this.#runtime.clock.now());
    await Promise.race([going.ended, sleep(this.#runtime.timers, leftMs)]);
  }

  #goOver(region: number, next: RegionFacts | undefined): GoingOver {
    const known = this.#goingOver.get(region);
    if (known !== undefined) return known;
    let end: () => void = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const going: GoingOver = { putBacks: new PutBacks(), ended, next };
    this.#goingOver.set(region, going);
    // Not at once: whoever tells what came back is in the middle of its operations.
    const begun = Promise.resolve().then(() => this.#goOverNow(region, going));
    void begun.then(end);
    return going;
  }

  /**
   * Waits until nothing of this client can be executed any more at the node that the region was
   * at, finds out where it is, opens a window there, starts what came back, and lets others follow.
   */
  async #goOverNow(region: number, going: GoingOver): Promise<void> {
    const before = this.#regions.get(region);
    const old = before?.route?.connection;
    const giveUpMs = this.#runtime.clock.now() + LOOK_FOR_OWNER_MS;
    let looks = 0;
    for (let pauseMs = RETRY_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, RETRY_MS_MAX)) {
      going.putBacks.expire(this.#runtime.clock.now());
      if (this.#isClosed()) break;
      const isOver = await this.#isOverAt(old, region, going);
      // It may have been there again when what came back was refused, and is served now.
      const least = (before?.epoch ?? 0) + (looks < LOOKS_ELSEWHERE ? 1 : 0);
      if (isOver && (await this.#findOwner(region, going, least))) break;
      looks += isOver ? 1 : 0;
      const isForNobody = going.putBacks.count === 0 && this.#runtime.clock.now() >= giveUpMs;
      if (isForNobody) break;
      await sleep(this.#runtime.timers, pauseMs);
    }
    this.#goingOver.delete(region);
    const route = this.#regions.get(region)?.route;
    const window = route?.window;
    if (route === undefined || window === undefined || route.connection.isClosed) {
      const isLost = this.#regions.get(region)?.state === 'lost';
      going.putBacks.fail(isLost ? Status.DataLost : Status.Unavailable);
    } else {
      going.putBacks.start(route.connection.link, window, this.#unflushed);
    }
  }

  #isClosed(): boolean {
    return this.#connections.isClosed;
  }

  /** Everything that was started there has ended, or come back. */
  async #isOverAt(
    connection: Connection | undefined,
    region: number,
    going: GoingOver,
  ): Promise<boolean> {
    if (connection === undefined || connection.isClosed) return true;
    const { link } = connection;
    const status = await fenceOver(link, this.#runtime.clock.now() + FENCE_MS);
    if (status === Status.Ok || status === Status.Closed) return true;
    // A node that has let go of the region may have been switched off: no answer will come. It
    // executes nothing there any more, so what nobody waits for does not matter.
    if (going.next === undefined) return false;
    link.giveBack(this.#space, region);
    return !link.awaits(this.#space, region);
  }

  /** Under this epoch at least. False: it is to be looked for again. */
  async #findOwner(region: number, going: GoingOver, epoch: number): Promise<boolean> {
    const deadline = this.#runtime.clock.now() + LOOK_AGAIN_MS;
    if (going.next === undefined) await this.#askOldOwner(region, going);
    const isAsked = going.next === undefined;
    if (isAsked && (await this.refresh(deadline)) !== Status.Ok) return false;
    const { next } = going;
    going.next = undefined;
    if (next !== undefined) this.#learn(next);
    const known = this.#regions.get(region);
    if (known?.state === 'lost') return true;
    if (known?.route === undefined || known.epoch < epoch) return false;
    return (await this.#open(known.route, deadline)) === Status.Ok;
  }

  async #askOldOwner(region: number, going: GoingOver): Promise<void> {
    const known = this.#regions.get(region);
    const connection = known?.route?.connection;
    if (known === undefined || connection === undefined || connection.isClosed) return;
    const request = { space: this.#space, region };
    const reply = await connection.link.call(MessageType.WhereIs, request, LOOK_AGAIN_MS);
    if (reply.status !== Status.Ok || reply.epoch <= known.epoch) return;
    const { id: nodeId, address, memoryId, epoch } = reply;
    going.next ??= { region, nodeId, address, memoryId, epoch, state: 'serving' };
  }

  /** Of a region that the controller did not name when it was asked last. */
  get missing(): Status {
    return this.#mayLack ? Status.Unavailable : Status.NotAllocated;
  }

  /** Asks the controller if nothing was ever learned. */
  refreshOnce(deadline: number): Promise<Status> {
    return this.#regions.size > 0 ? Promise.resolve(Status.Ok) : this.refresh(deadline);
  }

  /**
   * Asks the controller for the whole map. Those who ask at the same time share one answer, but
   * nobody gets one that is older than the question: a region granted meanwhile is not in it.
   */
  refresh(deadline: number): Promise<Status> {
    if (this.#following !== undefined) return this.#following;
    if (this.#refreshing === undefined) return this.#refreshNow(deadline);
    this.#following = this.#refreshing.then((status) => {
      this.#following = undefined;
      // Where there was no answer there is none now.
      return status === Status.Ok ? this.#refreshNow(deadline) : status;
    });
    return this.#following;
  }

  #refreshNow(deadline: number): Promise<Status> {
    this.#refreshing = this.#refresh(deadline).finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #refresh(deadline: number): Promise<Status> {
    const answer = await this.#control.regions(this.#space, deadline);
    if (answer.status !== Status.Ok) return answer.status;
    for (const facts of answer.regions) this.learn(facts);
    this.#mayLack = answer.mayLack;
    return Status.Ok;
  }

  /**
   * Makes the regions `[first, last]` ready, or says why not: `NotAllocated` (never granted),
   * `DataLost`, `NotFound` (the space was removed), `Unavailable` (controller or node away until
   * the deadline), `Unsupported` (its memory cannot be reached as it was demanded), `Closed`.
   */
  async prepare(first: number, last: number, deadline: number): Promise<Status> {
    for (let region = first; region <= last; region++) {
      const status = await this.#prepareOne(region, deadline);
      if (status !== Status.Ok) return status;
    }
    return Status.Ok;
  }

  async #prepareOne(region: number, deadline: number): Promise<Status> {
    for (let pauseMs = RETRY_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, RETRY_MS_MAX)) {
      await this.settled(region, deadline);
      if (this.ready(region) !== undefined) return Status.Ok;
      if (this.isGoingOver(region)) return Status.Unavailable;
      const status = await this.#attempt(region, deadline);
      if (status !== Status.Unavailable) return status;
      if (this.#runtime.clock.now() + pauseMs >= deadline) return Status.Unavailable;
      await sleep(this.#runtime.timers, pauseMs);
      // The owner may have moved, or be known as lost by now.
      if ((await this.refresh(deadline)) === Status.NotFound) return Status.NotFound;
    }
  }

  async #attempt(region: number, deadline: number): Promise<Status> {
    let known = this.#regions.get(region);
    if (known === undefined || known.route?.connection.isClosed === true) {
      const status = await this.refresh(deadline);
      if (status !== Status.Ok) return status;
      known = this.#regions.get(region);
      if (known === undefined) return this.missing;
    }
    if (known.route === undefined) return Status.DataLost;
    return this.#open(known.route, deadline);
  }

  #open(route: Route, deadline: number): Promise<Status> {
    if (route.window !== undefined) return Promise.resolve(Status.Ok);
    const running = this.#opening.get(route);
    if (running !== undefined) return running;
    const opening = this.#openNow(route, deadline).finally(() => this.#opening.delete(route));
    this.#opening.set(route, opening);
    return opening;
  }

  async #openNow(route: Route, deadline: number): Promise<Status> {
    for (let refusals = 0; ; ) {
      const leftMs = deadline - this.#runtime.clock.now();
      const timeoutMs = Math.max(1, Math.min(leftMs, OPEN_MS_MAX));
      const answer = await route.connection.link.openWindow(this.#space, timeoutMs);
      if (typeof answer === 'number') {
        return isPassing(answer) || refusals > 0 ? Status.Unavailable : answer;
      }
      // A node that is away refuses nothing, nor does one that ends while it is asked: it must
      // have been there before, and have refused it again, and be there still.
      if (refusals === REFUSALS_MAX) return Status.Unsupported;
      if (await this.#connections.isGood(route.connection, timeoutMs)) {
        route.window = answer;
        return Status.Ok;
      }
      refusals += 1;
    }
  }

  /** After a refusal that a restart of the node explains: the next operation opens a new one. */
  dropWindow(region: number): void {
    const known = this.#regions.get(region);
    if (known?.route !== undefined) known.route.window = undefined;
  }
}

/**
 * Opening a window changes nothing, so an unknown outcome is as good as none. A node that holds
 * nothing of the space may be about to: only the controller knows whether there is one.
 */
function isPassing(status: Status): boolean {
  return (
    status === Status.NotFound ||
    status === Status.Timeout ||
    status === Status.Busy ||
    status === Status.OutcomeUnknown ||
    status === Status.Stale
  );
}
