/**
 * Leases as a program uses them: who may change the data of a set of memory nodes, one holder at a
 * time. The controller is asked when a lease is acquired and for nothing else; see
 * docs/internals/leases.md.
 */

import { Status } from '../base/status.js';
import { deviceLeaseName } from '../leases/device-lease.js';
import { LEASE_MS_DEFAULT, LEASE_MS_MAX, LEASE_MS_MIN } from '../leases/limits.js';
import { Holder } from '../leases/holder.js';
import { sleep } from '../runtime/clock.js';
import { LEASE_NODES_MAX } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { badName, show } from './arguments.js';
import { closed, failed, invalid, MemrackError, unawaited } from './error.js';
import { Lease } from './lease.js';
import { LeaseChange } from './lease-change.js';
import { LeaseNodes, type LeaseNodesParts, memoryOf, type Place } from './lease-nodes.js';
import type { RemoteSpace } from './space.js';

export interface LeaseOptions {
  /** Ids of memory nodes. Missing: those that hold `space`, or, without one, all of the rack. */
  readonly nodes?: readonly string[];
  readonly space?: RemoteSpace;
  /** How long others wait for a holder that has vanished. Default 10,000. */
  readonly durationMs?: number;
  /** How long to wait while somebody holds it. Default 0: `Conflict` at once. */
  readonly waitMs?: number;
  /** Ends the waiting: rejects with `Timeout`. */
  readonly signal?: AbortSignal;
}

export interface LeasesParts extends LeaseNodesParts {
  /** By which nodes know this client. */
  readonly clientId: number;
  readonly timeoutMs: number;
}

const AGAIN_MS_MIN = 20;
const AGAIN_MS_MAX = 250;
const GIVE_UP_MS = 300;

export class Leases {
  readonly #parts: LeasesParts;
  /** By name; undefined while it is being acquired. A name is held once in a client. */
  readonly #held = new Map<string, Lease | undefined>();
  #isClosing = false;
  #isClosed = false;

  constructor(parts: LeasesParts) {
    this.#parts = parts;
  }

  acquire(name: string, given: LeaseOptions): Promise<Lease> {
    const options = given ?? {};
    const wrong = badName('lease', name) ?? badOptions(options);
    return wrong === undefined
      ? this.#acquireUntil(name, options)
      : unawaited(Promise.reject(wrong));
  }

  /** The lease of a block device, which no program can name. */
  acquireOfDevice(device: number, options: LeaseOptions): Promise<Lease> {
    return this.#acquireUntil(deviceLeaseName(device), options);
  }

  #acquireUntil(name: string, options: LeaseOptions): Promise<Lease> {
    const { signal } = options;
    if (signal?.aborted === true) return unawaited(Promise.reject(aborted(name, signal)));
    const whole = this.#acquire(name, options);
    if (signal === undefined) return unawaited(whole);
    return unawaited(untilAborted(name, whole, signal));
  }

  /** Gives up what is held, so that others need not wait; not for long, where nodes are away. */
  async close(): Promise<void> {
    const held = [...this.#held.values()];
    this.#held.clear();
    this.#isClosing = true;
    await Promise.all(held.map((lease) => lease?.giveUp(GIVE_UP_MS)));
    this.#isClosed = true;
  }

  async #acquire(name: string, options: LeaseOptions): Promise<Lease> {
    const { clock, timers } = this.#parts.runtime;
    const durationMs = options.durationMs ?? LEASE_MS_DEFAULT;
    const endMs = clock.now() + (options.waitMs ?? 0);
    const againMs = Math.min(AGAIN_MS_MAX, Math.max(AGAIN_MS_MIN, durationMs / 10));
    for (;;) {
      const lease = await this.#attempt(name, durationMs, options);
      if (lease instanceof Lease) return lease;
      const isOver = clock.now() + againMs >= endMs;
      if (isOver || lease.code !== 'Conflict') throw lease;
      await sleep(timers, againMs);
      // Whoever asked knows it already.
      if (options.signal?.aborted === true) throw lease;
    }
  }

  async #attempt(
    name: string,
    durationMs: number,
    options: LeaseOptions,
  ): Promise<Lease | MemrackError> {
    if (this.#isClosing) return closed('the rack was closed');
    if (this.#held.has(name)) return heldHere(name);
    this.#held.set(name, undefined);
    try {
      const lease = await this.#take(name, durationMs, options);
      if (this.#isClosing) {
        await lease.giveUp(GIVE_UP_MS);
        return closed('the rack was closed');
      }
      this.#held.set(name, lease);
      return lease;
    } catch (error) {
      this.#held.delete(name);
      if (!(error instanceof MemrackError)) throw error;
      return this.#isClosing ? closed('the rack was closed') : error;
    }
  }

  async #take(name: string, durationMs: number, options: LeaseOptions): Promise<Lease> {
    const { runtime, control, clientId, timeoutMs } = this.#parts;
    const deadline = runtime.clock.now() + timeoutMs;
    const places = await this.#places(options, deadline);
    const nodes = places.map(({ id }) => ({ id }));
    const request = { name, holder: clientId, durationMs, nodes };
    const type = MessageType.AcquireLease;
    const reply = await control.call(type, request, deadline);
    if (reply.status === Status.Conflict) throw heldElsewhere(reply.reason);
    if (reply.status !== Status.Ok) {
      throw control.failure(`acquiring the lease ${name}`, reply.status, reply.reason);
    }
    const { lease: number, epoch } = reply;
    const isOver = (): boolean => this.#isClosed;
    const nodesOf = new LeaseNodes(this.#parts, { lease: number, epoch, isOver });
    const holder = new Holder({
      clock: runtime.clock,
      timers: runtime.timers,
      durationMs,
      nodes: places.map((place) => nodesOf.add(place)),
      controllerAnswers: () => this.#controllerAnswers(),
      lostReason: (why) => lost(name, why),
    });
    const ended = (): void => {
      if (this.#held.get(name)?.epoch === epoch) this.#held.delete(name);
    };
    const wish = { lease: number, epoch, holder: clientId, durationMs };
    const change = new LeaseChange(control, { name, wish, nodes: nodesOf, holder });
    const facts = { name, number, epoch, nodes: nodesOf, change, timeoutMs, ended };
    if (await holder.begin()) return new Lease(runtime, holder, facts);
    const why = 'it was lost before it could be used';
    if (holder.lost.aborted) throw new MemrackError('Conflict', `lease ${name}: ${why}`);
    await holder.release(1);
    throw failed(`lease ${name}: none of its nodes can be reached from here`, Status.Unavailable);
  }

  async #controllerAnswers(): Promise<boolean> {
    const { runtime, control } = this.#parts;
    const deadline = runtime.clock.now() + LEASE_MS_MIN;
    const reply = await control.call(MessageType.RackStatus, {}, deadline);
    return reply.status === Status.Ok;
  }

  async #places(options: LeaseOptions, deadline: number): Promise<Place[]> {
    const { space, nodes } = options;
    const places =
      nodes === undefined && space !== undefined
        ? await this.#placesOfSpace(space, deadline)
        : await this.#placesOfNodes(nodes, deadline);
    if (places.length > 0 && places.length <= LEASE_NODES_MAX) return places;
    const remedy = `name 1 to ${LEASE_NODES_MAX} of them as \`nodes\``;
    throw invalid(`a lease over ${places.length} memory nodes`, remedy);
  }

  async #placesOfSpace(space: RemoteSpace, deadline: number): Promise<Place[]> {
    const { control } = this.#parts;
    const answer = await control.regions(space.id, deadline);
    if (answer.status !== Status.Ok) {
      throw control.failure(`the nodes of ${space.name}`, answer.status, answer.reason);
    }
    const places = new Map<string, Place>();
    for (const { nodeId, address, memoryId, state } of answer.regions) {
      if (state !== 'lost') places.set(nodeId, { id: nodeId, address, memoryId });
    }
    return [...places.values()];
  }

  async #placesOfNodes(ids: readonly string[] | undefined, deadline: number): Promise<Place[]> {
    const members = await this.#parts.control.members(deadline);
    const there = members.filter(({ kind, state }) => kind === 'memory-node' && state !== 'ended');
    const wanted = ids ?? there.map(({ id }) => id);
    return Promise.all(
      [...new Set(wanted)].map(async (id) => {
        const address = there.find((member) => member.id === id)?.address;
        if (address === undefined) {
          const remedy = '`memrack nodes` lists them';
          throw new MemrackError('NotFound', `there is no memory node ${id}`, { remedy });
        }
        return { id, address, memoryId: await memoryOf(this.#parts.control, id, deadline) };
      }),
    );
  }
}

function badOptions(options: LeaseOptions): MemrackError | undefined {
  const { durationMs = LEASE_MS_DEFAULT, waitMs = 0, nodes, signal } = options;
  const isWhole = Number.isInteger(durationMs);
  if (!isWhole || durationMs < LEASE_MS_MIN || durationMs > LEASE_MS_MAX) {
    const remedy = `pass a whole number of milliseconds from ${LEASE_MS_MIN} to ${LEASE_MS_MAX}`;
    return invalid(`durationMs is ${show(durationMs)}`, remedy);
  }
  if (typeof waitMs !== 'number' || !(waitMs >= 0)) {
    return invalid(`waitMs is ${show(waitMs)}`, 'pass 0 or more milliseconds');
  }
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    return invalid('signal is not an AbortSignal', 'pass the signal of an AbortController');
  }
  if (nodes === undefined || (Array.isArray(nodes) && nodes.length > 0)) return undefined;
  return invalid('nodes names no memory node', 'pass a list of ids, or leave it out');
}

function heldHere(name: string): MemrackError {
  const remedy = 'release it before, or share the one that is held';
  return new MemrackError('Conflict', `this client itself holds the lease ${name}`, { remedy });
}

function heldElsewhere(reason: string): MemrackError {
  const remedy = 'try again later, or wait for it with waitMs';
  return new MemrackError('Conflict', reason, { remedy });
}

function lost(name: string, why: string): MemrackError {
  return new MemrackError('Stale', `the lease ${name} is lost: ${why}`);
}

function aborted(name: string, signal: AbortSignal): MemrackError {
  const { reason } = signal as { reason?: unknown };
  const details = { remedy: 'acquire it again when it is wanted', cause: reason };
  return new MemrackError('Timeout', `acquiring the lease ${name} was aborted`, details);
}

/** Whoever has given up waiting does not hold it: then it is given back. */
function untilAborted(name: string, whole: Promise<Lease>, signal: AbortSignal): Promise<Lease> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      reject(aborted(name, signal));
      whole.then(
        (lease) => void lease.release().catch(() => undefined),
        () => undefined,
      );
    };
    signal.addEventListener('abort', stop, { once: true });
    // Before anybody hears of it: what is aborted from then on is not this acquiring.
    const over = (): void => signal.removeEventListener('abort', stop);
    whole.then(
      (lease) => {
        over();
        resolve(lease);
      },
      (error: unknown) => {
        over();
        reject(error);
      },
    );
  });
}
