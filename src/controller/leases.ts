/**
 * Leases: who may change the data of a set of nodes, one holder at a time, each with a higher epoch
 * than all before. The nodes keep them and the holder renews them there; here they only change
 * hands. See docs/internals/leases.md.
 *
 *   1. ask every node of the set (that of the row, and the one that is asked for) who holds it
 *   2. somebody who still renews it: Conflict; a node that does not answer: Unavailable
 *   3. an epoch above all that the row and the nodes know: into the row, durably
 *   4. raise it at every one of them: from then on nobody else changes anything there
 *   5. the new set into the row, durably; grant the epoch at each of its nodes; tell the caller
 *
 * Whatever ends this halfway, the next attempt takes another epoch: none is ever granted twice.
 */

import { Serial } from '../base/serial.js';
import { Status, statusName } from '../base/status.js';
import {
  LEASE_EPOCH_END,
  LEASE_MS_MAX,
  LEASE_MS_MIN,
  LEASES_PER_RACK_MAX,
} from '../leases/limits.js';
import { leaseNumber } from '../leases/number.js';
import { judgeTakeOver, type LeaseSeen } from '../leases/take-over.js';
import type { Clock } from '../runtime/clock.js';
import { LEASE_NODES_MAX } from '../wire/limits.js';
import type { LeaseCalls, LeaseFailure } from './lease-calls.js';
import {
  chosenNodes,
  isSameSet,
  type LeaseNode,
  nodesOf,
  nodesText,
  placeOf,
  stillThere,
  unionOf,
} from './lease-sets.js';
import { LEASE_BLOCKED_SHOWN_MS, LEASE_WAITING_MAX, LEASES_BLOCKED_MAX } from './limits.js';
import type { Membership } from './membership.js';
import type { Metadata, MetadataChange } from './metadata/metadata.js';
import type { LeaseRow } from './metadata/schema.js';
import { quote, refuseName } from './names.js';
import { controllerFaults } from './planted.js';
import { isRefusal, ok, type Refusal, type Result, refuse } from './refusal.js';

export interface LeaseWish {
  readonly name: string;
  /** Its client id towards the nodes. */
  readonly holder: number;
  readonly durationMs: number;
  readonly nodes: readonly string[];
}

export interface Extension {
  readonly lease: number;
  readonly epoch: number;
  readonly holder: number;
  readonly durationMs: number;
  /** The id of the node that is added. */
  readonly node: string;
}

export interface Shrinking {
  readonly lease: number;
  readonly epoch: number;
  readonly node: string;
  readonly memoryId: number;
}

export interface LeasesOptions {
  readonly metadata: Pick<Metadata, 'leases' | 'next' | 'commit'>;
  readonly membership: Pick<Membership, 'members' | 'state'>;
  readonly changes: Serial;
  readonly calls: LeaseCalls;
  readonly clock: Clock;
  /** Of the lease of a device: where sets of its slabs have copies. Undefined: it is another's. */
  readonly copiesOf: (name: string) => readonly LeaseNode[] | undefined;
}

/** A lease that could not be taken over because nodes did not answer. */
export interface BlockedLease {
  readonly name: string;
  readonly nodes: readonly string[];
  readonly atMs: number;
}

interface Granted {
  readonly holder: number;
  readonly epoch: number;
  /** The last one in which another holder may have held it. */
  readonly before: number;
}

type Acquired = Result<{ lease: number; epoch: number }>;

/** Rows that are looked at when one must go to make room. */
const ROOM_ATTEMPTS = 4;

export class Leases {
  readonly #options: LeasesOptions;
  /** One attempt at a time for each name. */
  readonly #turns = new Map<string, Serial>();
  /** Memories that were asked about a name although they are not in its set. */
  readonly #asked = new Map<string, Set<number>>();
  readonly #blocked = new Map<string, BlockedLease>();
  /**
   * By number: the last epoch that may have been granted. Of leases of which no epoch was seen that
   * is not in their rows: another controller may have granted it.
   */
  readonly #granted = new Map<number, Granted>();
  /** Names in the order of their last use in this life. */
  readonly #used = new Set<string>();
  taken = 0;

  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  get known(): number {
    return this.#options.metadata.leases.size;
  }

  /** Within the last minute, for status. */
  blocked(): BlockedLease[] {
    const since = this.#options.clock.now() - LEASE_BLOCKED_SHOWN_MS;
    for (const { name, atMs } of this.#blocked.values()) {
      if (atMs < since) this.#blocked.delete(name);
    }
    return [...this.#blocked.values()];
  }

  async acquire(wish: LeaseWish): Promise<Acquired> {
    const { name } = wish;
    const wrong = refuseName('lease name', name) ?? refuseHolding(wish);
    if (wrong !== undefined) return wrong;
    return this.#inTurn(name, () => this.#acquire(wish));
  }

  /**
   * The last epoch before this one in which another holder may have held the lease: attempts of its
   * own, and those that came to nothing, use up epochs. As far as this process knows; else it is
   * the one before.
   */
  heldBefore(lease: number, epoch: number): number {
    const last = this.#granted.get(lease);
    return last?.epoch === epoch ? last.before : epoch - 1;
  }

  /** Gives it up for its holder at every node. Those that do not answer let it run out. */
  async release(lease: number, epoch: number): Promise<Result<object>> {
    return this.#ofEpoch({ lease, epoch }, async (row) => {
      const statuses = await this.#atAll(this.#living(row), (place) =>
        this.#options.calls.end(place, lease, epoch),
      );
      const isAnswered = statuses.every((one) => one === Status.Ok || one === Status.Stale);
      if (isAnswered) return ok({});
      return refuse(
        Status.Unavailable,
        'a node did not answer: the lease runs out there by itself',
      );
    });
  }

  /**
   * Adds a node to a lease that is held. Before it hears of it the row names it; so a take-over
   * asks it, and raises its epoch there. Wherever this ends, asking again goes on.
   */
  async extend(wish: Extension): Promise<Result<{ memoryId: number; address: string }>> {
    const wrong = refuseHolding(wish);
    if (wrong !== undefined) return wrong;
    return this.#ofEpoch(wish, (row) => this.#extend(row, wish));
  }

  async #extend(
    row: LeaseRow,
    { lease, epoch, holder, durationMs, node }: Extension,
  ): Promise<Result<{ memoryId: number; address: string }>> {
    const { membership, calls } = this.#options;
    const chosen = chosenNodes([node], membership.members);
    if (!Array.isArray(chosen)) return chosen;
    const nodes = unionOf(this.#living(row), chosen);
    if (nodes.length > LEASE_NODES_MAX) {
      const message = `lease ${quote(row.name)} is over ${LEASE_NODES_MAX} nodes already`;
      return refuse(Status.NoSpace, `${message}: take one out that has no copies`);
    }
    if (!isSameSet(nodes, nodesOf(row.nodes))) {
      await this.#commit([{ table: 'leases', put: { ...row, nodes: nodesText(nodes) } }]);
    }
    const [added] = chosen as [LeaseNode];
    const place = placeOf(added, membership.members);
    const raised = await calls.raise(place, lease, epoch);
    const grant = { lease, epoch, holder, durationMs };
    const status = raised === Status.Ok ? await calls.grant(place, grant) : raised;
    if (status === Status.Ok) return ok(place);
    const what = `lease ${quote(row.name)} in epoch ${epoch}`;
    if (status === Status.Stale) {
      return refuse(Status.Stale, `${quote(node)} takes no ${what} any more: take it anew`);
    }
    const why = statusName(status) ?? status;
    return refuse(Status.Unavailable, `${quote(node)} has not taken ${what} yet (${why})`);
  }

  /**
   * Takes a node out of the lease of a device that has no copies there: nothing that its holder may
   * still do at that node counts. The lease is not ended there, but runs out: what has ended can
   * never be granted again in this epoch, and the node may be wanted again.
   */
  shrink(wish: Shrinking): Promise<Result<object>> {
    const { changes, copiesOf } = this.#options;
    // Within a change: a set that names the node is before it, or is refused after it.
    return this.#ofEpoch(wish, (row) =>
      changes.run(async () => {
        const copies = copiesOf(row.name);
        if (copies === undefined) {
          const message = `${quote(row.name)} is no lease of a device: its nodes stay its nodes`;
          return refuse(Status.Unsupported, message);
        }
        const isIts = ({ id, memoryId }: LeaseNode): boolean =>
          id === wish.node && memoryId === wish.memoryId;
        if (copies.some(isIts)) {
          const message = `slabs of the device have copies at ${quote(wish.node)}`;
          return refuse(Status.Busy, `${message}: copy them away before`);
        }
        const nodes = nodesOf(row.nodes);
        const left = nodes.filter((node) => !isIts(node));
        if (left.length === nodes.length) return ok({});
        if (left.length === 0) return refuse(Status.Invalid, 'a lease is over one node at least');
        const put = { ...row, nodes: nodesText(left) };
        await this.#options.metadata.commit([{ table: 'leases', put }]);
        return ok({});
      }),
    );
  }

  /** In turn, when this is the last epoch of the lease. */
  async #ofEpoch<T extends object>(
    { lease, epoch }: { readonly lease: number; readonly epoch: number },
    work: (row: LeaseRow) => Promise<Result<T>>,
  ): Promise<Result<T>> {
    const { metadata } = this.#options;
    const row = [...metadata.leases.values()].find((one) => one.lease === lease);
    if (row === undefined) return refuse(Status.NotFound, `there is no lease number ${lease}`);
    return this.#inTurn(row.name, async () => {
      const now = metadata.leases.get(row.name);
      if (now?.epoch === epoch) return work(now);
      return refuse(Status.Stale, `lease ${quote(row.name)} has passed on since epoch ${epoch}`);
    });
  }

  async #inTurn<T extends object>(
    name: string,
    work: () => Promise<Result<T>>,
  ): Promise<Result<T>> {
    const turn = this.#turns.get(name) ?? new Serial(LEASE_WAITING_MAX);
    if (turn.isFull) return refuse(Status.Busy, `too many want lease ${quote(name)}: try again`);
    this.#turns.set(name, turn);
    const result = await turn.run(work);
    if (turn.waiting === 0 && this.#turns.get(name) === turn) this.#turns.delete(name);
    return result;
  }

  async #acquire(wish: LeaseWish): Promise<Acquired> {
    const { metadata, membership, copiesOf } = this.#options;
    const { name } = wish;
    const chosen = chosenNodes(wish.nodes, membership.members);
    if (!Array.isArray(chosen)) return chosen;
    const row = metadata.leases.get(name);
    const lease = leaseNumber(name);
    const noRoom = row === undefined ? await this.#refuseNew(name, lease) : undefined;
    if (noRoom !== undefined) return noRoom;
    const before = row?.epoch ?? metadata.next('leaseEpoch');
    // Who has copies is asked although an older copy of the database does not know it of the lease.
    const copies = stillThere(copiesOf(name) ?? [], membership.members);
    const known = unionOf(row === undefined ? [] : this.#living(row), chosen, copies);
    const found = await this.#seenBy(known, lease);
    if (!found.isComplete) return this.#refuseBlocked(name, found.silent);
    const others = await this.#askOthers(name, lease, known);
    const seen = [...found.seen, ...others.map((other) => other.seen)];
    const verdict = judgeTakeOver(seen, wish.holder, before);
    if (!verdict.isFree) {
      const message = `lease ${quote(name)} is held, for ${verdict.leftMs} ms unless it is renewed`;
      return refuse(Status.Conflict, message);
    }
    const { epoch } = verdict;
    if (epoch >= LEASE_EPOCH_END) {
      return refuse(Status.NoSpace, `the epochs of lease ${quote(name)} are used up: rename it`);
    }
    if (epoch !== before + 1) this.#granted.delete(lease);
    const holders = others.filter((other) => other.seen.holder !== 0).map((other) => other.node);
    const all = unionOf(known, holders);
    await this.#commit([{ table: 'leases', put: { name, lease, epoch, nodes: nodesText(all) } }]);
    this.#note(name);
    return this.#takeOver(wish, { lease, epoch, all, chosen });
  }

  /** The epoch is this attempt's alone, and stands in the row with everybody who may hear of it. */
  async #takeOver(
    { name, holder, durationMs }: LeaseWish,
    move: {
      readonly lease: number;
      readonly epoch: number;
      readonly all: readonly LeaseNode[];
      readonly chosen: readonly LeaseNode[];
    },
  ): Promise<Acquired> {
    const { calls } = this.#options;
    const { lease, epoch, all, chosen } = move;
    const raised = await this.#atAll(all, (place) => calls.raise(place, lease, epoch));
    const notRaised = all.filter((_, i) => raised[i] !== Status.Ok);
    if (notRaised.length > 0 && !this.#maySkip(notRaised.length, all.length)) {
      return this.#refuseBlocked(name, notRaised, raised);
    }
    if (!isSameSet(all, chosen)) {
      await this.#commit([
        { table: 'leases', put: { name, lease, epoch, nodes: nodesText(chosen) } },
      ]);
    }
    const last = this.#granted.get(lease) ?? { holder: 0, epoch: epoch - 1, before: 0 };
    const others = last.holder === holder ? last.before : last.epoch;
    this.#granted.set(lease, { holder, epoch, before: others });
    const grant = { lease, epoch, holder, durationMs };
    const granted = await this.#atAll(chosen, (place) => calls.grant(place, grant));
    const notGranted = chosen.filter((_, i) => granted[i] !== Status.Ok);
    if (notGranted.length > 0 && !this.#maySkip(notGranted.length, chosen.length)) {
      // Who has refused it has another one's of this epoch, or knows a higher one.
      const perhaps = chosen.filter((_, i) => granted[i] !== Status.Stale);
      void this.#atAll(perhaps, (place) => calls.end(place, lease, epoch));
      return this.#refuseBlocked(name, notGranted, granted);
    }
    this.#blocked.delete(name);
    this.taken += 1;
    return ok({ lease, epoch });
  }

  /** The planted bug: some have answered, and that is taken for all. */
  #maySkip(missing: number, of: number): boolean {
    return controllerFaults.takeOverSkipsNode && missing < of;
  }

  #living(row: LeaseRow): LeaseNode[] {
    return stillThere(nodesOf(row.nodes), this.#options.membership.members);
  }

  #atAll<T>(
    nodes: readonly LeaseNode[],
    work: (place: ReturnType<typeof placeOf>) => Promise<T>,
  ): Promise<T[]> {
    const { members } = this.#options.membership;
    return Promise.all(nodes.map((node) => work(placeOf(node, members))));
  }

  async #seenBy(nodes: readonly LeaseNode[], lease: number) {
    const answers = await this.#atAll(nodes, (place) => this.#options.calls.inspect(place, lease));
    const silent = nodes.filter((_, i) => isFailure(answers[i]));
    const seen = answers.filter((one): one is LeaseSeen | undefined => !isFailure(one));
    const isComplete = silent.length === 0 || this.#maySkip(silent.length, nodes.length);
    return { isComplete, silent, seen };
  }

  /**
   * A database that was restored may name another set than the last one. So nodes outside of it are
   * asked as well, each once in a life of the controller, as far as they answer.
   */
  async #askOthers(name: string, lease: number, known: readonly LeaseNode[]) {
    const { membership } = this.#options;
    const asked = this.#asked.get(name) ?? new Set<number>();
    this.#asked.set(name, asked);
    for (const { memoryId } of known) asked.add(memoryId);
    const others = [...membership.members.values()]
      .filter((one) => membership.state(one) === 'serving' && !asked.has(one.row.memoryId))
      .map(({ row }): LeaseNode => ({ id: row.id, memoryId: row.memoryId }));
    const answers = await this.#atAll(others, (place) => this.#options.calls.inspect(place, lease));
    const found: { node: LeaseNode; seen: LeaseSeen }[] = [];
    others.forEach((node, i) => {
      const seen = answers[i];
      if (isFailure(seen)) return;
      asked.add(node.memoryId);
      if (seen !== undefined) found.push({ node, seen });
    });
    return found;
  }

  #refuseBlocked(
    name: string,
    nodes: readonly LeaseNode[],
    statuses: readonly Status[] = [],
  ): Refusal {
    const ids = nodes.map(({ id }) => id);
    this.#noteBlocked({ name, nodes: ids, atMs: this.#options.clock.now() });
    const why = [...new Set(statuses.filter((one) => one !== Status.Ok))].map(statusName);
    const detail = why.length === 0 ? 'no answer' : why.join(', ');
    return refuse(
      Status.Unavailable,
      `lease ${quote(name)} cannot pass on without ${ids.map(quote).join(', ')} (${detail})`,
    );
  }

  /** The longest ago goes first: whoever asks can name as many leases as he likes. */
  #noteBlocked(blocked: BlockedLease): void {
    this.#blocked.delete(blocked.name);
    this.#blocked.set(blocked.name, blocked);
    if (this.#blocked.size <= LEASES_BLOCKED_MAX) return;
    const [longest] = this.#blocked.keys();
    if (longest !== undefined) this.#blocked.delete(longest);
  }

  async #refuseNew(name: string, lease: number): Promise<Refusal | undefined> {
    const { leases } = this.#options.metadata;
    for (const row of leases.values()) {
      if (row.lease !== lease) continue;
      const message = `${quote(name)} has the number of lease ${quote(row.name)}: choose another`;
      return refuse(Status.Exists, message);
    }
    if (leases.size < LEASES_PER_RACK_MAX) return undefined;
    const unused = [...leases.values()].filter((row) => !this.#used.has(row.name));
    const used = [...this.#used].map((one) => leases.get(one)).filter((row) => row !== undefined);
    for (const row of [...unused, ...used].slice(0, ROOM_ATTEMPTS)) {
      const result = await this.#inTurn(row.name, () => this.#forget(row.name));
      if (!isRefusal(result)) return undefined;
    }
    const message = `there are ${leases.size} leases already: release some that are held`;
    return refuse(Status.NoSpace, message);
  }

  /** Of a lease that nobody holds; raised once more, so that its last holder is none any more. */
  async #forget(name: string): Promise<Result<object>> {
    const { metadata, calls } = this.#options;
    const row = metadata.leases.get(name);
    if (row === undefined) return ok({});
    const nodes = this.#living(row);
    const found = await this.#seenBy(nodes, row.lease);
    const verdict = judgeTakeOver(found.seen, 0, row.epoch);
    if (!found.isComplete || !verdict.isFree) return refuse(Status.Busy, 'it may be held');
    const { lease } = row;
    const { epoch } = verdict;
    this.#granted.delete(lease);
    await this.#commit([{ table: 'leases', put: { ...row, epoch } }]);
    const raised = await this.#atAll(nodes, (place) => calls.raise(place, lease, epoch));
    if (raised.some((status) => status !== Status.Ok)) return refuse(Status.Busy, 'not raised');
    const next = Math.max(metadata.next('leaseEpoch'), epoch);
    await this.#commit([
      { table: 'leases', remove: name },
      { table: 'counters', put: { name: 'leaseEpoch', next } },
    ]);
    this.#used.delete(name);
    this.#asked.delete(name);
    return ok({});
  }

  #note(name: string): void {
    this.#used.delete(name);
    this.#used.add(name);
  }

  #commit(changes: readonly MetadataChange[]): Promise<void> {
    return this.#options.changes.run(() => this.#options.metadata.commit(changes));
  }
}

function refuseHolding({ holder, durationMs }: Pick<LeaseWish, 'holder' | 'durationMs'>) {
  if (durationMs < LEASE_MS_MIN || durationMs > LEASE_MS_MAX) {
    const allowed = `${LEASE_MS_MIN} to ${LEASE_MS_MAX} ms`;
    return refuse(Status.Invalid, `a lease lasts ${allowed}, not ${durationMs} ms`);
  }
  return holder < 1 ? refuse(Status.Invalid, 'a lease needs a holder') : undefined;
}

function isFailure(answer: LeaseSeen | undefined | LeaseFailure): answer is LeaseFailure {
  return answer !== undefined && 'failed' in answer;
}
