/**
 * The client's calls to the controller, each repeated until the deadline while the controller is
 * away or busy: it may be restarting, and nothing on the data path waits for it.
 *
 * A call whose reply was lost is sent again as well: each of them either changes nothing, or
 * gives the same result twice, or (granting regions) leaves at worst a region that a later
 * allocation takes, or (removing) finds nothing the second time. So it is remembered that there was
 * such an attempt: what it finds then is no failure, and what ends without an answer is in doubt.
 */

import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { MessageType, NodeState, type Reply, type Request } from '../wire/messages.js';
import { codeOf, type ErrorCode, MemrackError } from './error.js';

export type RegionState = 'serving' | 'away' | 'lost';

export interface RegionFacts {
  readonly region: number;
  readonly nodeId: string;
  readonly address: string;
  /** The memory that holds it; 0 when that is lost. */
  readonly memoryId: number;
  /** Under which it is held: higher than at any node that had it before. */
  readonly epoch: number;
  readonly state: RegionState;
}

export interface RegionsAnswer {
  readonly status: Status;
  readonly reason: string;
  readonly regions: readonly RegionFacts[];
  /** There may be more, of which the controller has not heard again. */
  readonly mayLack: boolean;
}

/** A memory node or a host, as the controller knows it. */
export interface Member {
  readonly id: string;
  readonly kind: 'memory-node' | 'host';
  readonly address: string;
  readonly state: 'serving' | 'draining' | 'away' | 'lost' | 'ended';
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
  readonly pid: number;
  readonly machine: string;
  readonly incarnation: number;
}

const MEMBER_STATES: Readonly<Record<number, Member['state']>> = {
  [NodeState.SERVING]: 'serving',
  [NodeState.DRAINING]: 'draining',
  [NodeState.AWAY]: 'away',
  [NodeState.LOST]: 'lost',
  [NodeState.ENDED]: 'ended',
};

const RETRY_MS_MIN = 5;
const RETRY_MS_MAX = 250;
/** One attempt; a controller that is paused for longer is asked anew on the same connection. */
const ATTEMPT_MS = 2000;
const PAGES_MAX = 100_000;

/** Of these the controller says what to do itself: what helps with data would contradict it. */
const REASON_SAYS_ALL: ReadonlySet<ErrorCode> = new Set(['Busy', 'Conflict', 'Exists', 'Denied']);

type Call = Parameters<Peer['call']>[0];

export class Control {
  readonly address: string;
  readonly #runtime: Runtime;
  readonly #peer: Peer;

  constructor(runtime: Runtime, peer: Peer, address: string) {
    this.#runtime = runtime;
    this.#peer = peer;
    this.address = address;
  }

  /** The last answer: that of the controller, or why there was none until the deadline. */
  async call<T extends Call>(type: T, request: Request<T>, deadline: number): Promise<Reply<T>> {
    let isInDoubt = false;
    for (let pauseMs = RETRY_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, RETRY_MS_MAX)) {
      const leftMs = Math.max(1, deadline - this.#runtime.clock.now());
      const reply = await this.#peer.call(type, request, Math.min(leftMs, ATTEMPT_MS));
      const { status } = reply as { readonly status: Status };
      isInDoubt ||= status === Status.OutcomeUnknown && changes(type, request);
      const isLast = !isPassing(status) || this.#runtime.clock.now() + pauseMs >= deadline;
      if (isLast) return isInDoubt ? afterDoubt(type, reply) : reply;
      await sleep(this.#runtime.timers, pauseMs);
    }
  }

  /** As `call`, and anything but `Ok` is thrown as an error that says `what` failed. */
  async demand<T extends Call>(
    what: string,
    type: T,
    request: Request<T>,
    deadline: number,
  ): Promise<Extract<Reply<T>, { readonly status: typeof Status.Ok }>> {
    const reply = await this.call(type, request, deadline);
    const { status } = reply as { readonly status: Status };
    if (status === Status.Ok) {
      return reply as Extract<Reply<T>, { readonly status: typeof Status.Ok }>;
    }
    throw this.failure(what, status, (reply as { readonly reason?: string }).reason ?? '');
  }

  /** Away may be the controller, or what it asked itself: the reason says which. */
  failure(what: string, status: Status, reason: string): MemrackError {
    const code = codeOf(status);
    const why = reason === '' ? what : `${what}: ${reason}`;
    if (reason !== '' && REASON_SAYS_ALL.has(code)) {
      return new MemrackError(code, `${why} (${code})`, { remedy: '' });
    }
    if (code !== 'Unavailable' && code !== 'Timeout') return new MemrackError(code, why);
    const answer = reason === '' ? 'no answer' : reason;
    const whole = `${what}, asked of the controller at ${this.address}: ${answer}`;
    const remedy = 'see `memrack status`; where no controller runs, start a rack with `memrack up`';
    return new MemrackError('Unavailable', whole, { remedy });
  }

  /** The whole map of a space. */
  async regions(space: number, deadline: number): Promise<RegionsAnswer> {
    const regions: RegionFacts[] = [];
    let mayLack = false;
    for (let after = 0, page = 0; page < PAGES_MAX; page++) {
      const reply = await this.call(MessageType.SpaceRegions, { space, after }, deadline);
      if (reply.status !== Status.Ok) return { ...reply, regions, mayLack };
      regions.push(...placesOf(reply));
      mayLack ||= reply.mayLack === 1;
      const last = reply.regions.at(-1);
      if (reply.more === 0 || last === undefined) break;
      after = last.region;
    }
    return { status: Status.Ok, reason: '', regions, mayLack };
  }

  /** New regions for this space, side by side; `bytes` is what each must have room for. */
  async grant(
    space: number,
    wanted: { readonly count: number; readonly bytes: number; readonly near: string },
    deadline: number,
  ): Promise<RegionsAnswer> {
    const request = { space, ...wanted };
    const reply = await this.call(MessageType.GrantRegions, request, deadline);
    if (reply.status !== Status.Ok) return { ...reply, regions: [], mayLack: true };
    return { status: Status.Ok, reason: '', regions: placesOf(reply), mayLack: true };
  }

  async members(deadline: number, what = 'listing the nodes'): Promise<Member[]> {
    const reply = await this.demand(what, MessageType.ListNodes, {}, deadline);
    return reply.members.map((member) => ({
      id: member.id,
      kind: member.isHost === 1 ? 'host' : 'memory-node',
      address: member.address,
      state: MEMBER_STATES[member.state] ?? 'away',
      bytesLent: member.bytesLent,
      bytesUsed: member.bytesUsed,
      bytesCommitted: member.bytesCommitted,
      pid: member.pid,
      machine: member.machine,
      incarnation: member.incarnation,
    }));
  }
}

function isPassing(status: Status): boolean {
  return (
    status === Status.Unavailable ||
    status === Status.Timeout ||
    status === Status.Busy ||
    status === Status.OutcomeUnknown
  );
}

/** Opening a space that is not to be made changes nothing, wherever its reply has gone. */
function changes<T extends Call>(type: T, request: Request<T>): boolean {
  return type !== MessageType.OpenSpace || (request as { readonly create: number }).create !== 0;
}

/** The last reply to a call of which an earlier attempt may have been executed. */
function afterDoubt<T extends Call>(type: T, reply: Reply<T>): Reply<T> {
  const { status, reason } = reply as { readonly status: Status; readonly reason?: string };
  const isGone = status === Status.NotFound;
  if (isGone && type === MessageType.RemoveSpaceByName) return { status: Status.Ok } as Reply<T>;
  // What its entry said is not known any more, nor whether it was this call that removed it.
  const isInDoubt = isPassing(status) || (isGone && type === MessageType.RemoveFile);
  return isInDoubt ? ({ status: Status.OutcomeUnknown, reason } as Reply<T>) : reply;
}

type Places = Extract<Reply<typeof MessageType.SpaceRegions>, { readonly nodes: unknown }>;

function placesOf(reply: Places): RegionFacts[] {
  const facts: RegionFacts[] = [];
  for (const { region, node, lost, epoch } of reply.regions) {
    const place = reply.nodes[node];
    // A reply that names no owner is a bug of the controller; the region stays unknown then.
    if (place === undefined) continue;
    const isServing = place.state === NodeState.SERVING || place.state === NodeState.DRAINING;
    const state = lost === 1 ? 'lost' : isServing ? 'serving' : 'away';
    const { id: nodeId, address, memoryId } = place;
    facts.push({ region, nodeId, address, memoryId, epoch, state });
  }
  return facts;
}
