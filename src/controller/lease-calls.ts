/**
 * What the controller asks of nodes about leases. As in `NodeCalls`, every call ends within a
 * bounded time, and `Unavailable`, `Timeout`, `OutcomeUnknown` and `Closed` mean that no answer
 * came, whether the node has done it or not.
 */
import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import type { Grant } from '../leases/record.js';
import type { LeaseSeen } from '../leases/take-over.js';
import { MessageType } from '../wire/messages.js';
import type { NodeAt } from './node-calls.js';

/** Three of them one after the other end before a client asks for the second time. */
export const LEASE_TELL_MS = 600;

export interface LeaseCalls {
  /** Undefined: the node answers that it does not know the lease. */
  inspect(node: NodeAt, lease: number): Promise<LeaseSeen | undefined | LeaseFailure>;
  /** `Ok` only when nothing of an older epoch can change anything there any more. */
  raise(node: NodeAt, lease: number, epoch: number): Promise<Status>;
  grant(node: NodeAt, grant: Grant): Promise<Status>;
  end(node: NodeAt, lease: number, epoch: number): Promise<Status>;
}

export interface LeaseFailure {
  readonly failed: Status;
  readonly reason: string;
}

export class PeerLeaseCalls implements LeaseCalls {
  readonly #at: (node: NodeAt) => Peer;

  constructor(at: (node: NodeAt) => Peer) {
    this.#at = at;
  }

  async inspect(node: NodeAt, lease: number): Promise<LeaseSeen | undefined | LeaseFailure> {
    const peer = this.#at(node);
    const reply = await peer.call(MessageType.InspectLease, { lease }, LEASE_TELL_MS);
    if (reply.status === Status.Ok) return reply;
    if (reply.status === Status.NotFound) return undefined;
    return { failed: reply.status, reason: reply.reason };
  }

  async raise(node: NodeAt, lease: number, epoch: number): Promise<Status> {
    const request = { lease, epoch };
    return (await this.#at(node).call(MessageType.RaiseLease, request, LEASE_TELL_MS)).status;
  }

  async grant(node: NodeAt, grant: Grant): Promise<Status> {
    return (await this.#at(node).call(MessageType.GrantLease, grant, LEASE_TELL_MS)).status;
  }

  async end(node: NodeAt, lease: number, epoch: number): Promise<Status> {
    const request = { lease, epoch };
    return (await this.#at(node).call(MessageType.EndLease, request, LEASE_TELL_MS)).status;
  }
}
