/** The calls about leases: what comes in is handed to the rules, what they say is the answer. */

import { Status } from '../../base/status.js';
import { MessageType, type Refused } from '../../wire/messages.js';
import type { NodeLeases } from '../leases.js';
import type { CallServer } from './call-server.js';

const done = { status: Status.Ok } as const;

export function serveLeases(server: CallServer, leases: NodeLeases): void {
  server.serve(MessageType.RaiseLease, async ({ lease, epoch }) => {
    return answer(await leases.raise(lease, epoch));
  });
  server.serve(MessageType.GrantLease, (grant) => answer(leases.grant(grant)));
  server.serve(MessageType.RenewLease, ({ lease, epoch }, session) => {
    return answer(leases.renew(lease, epoch, session.client));
  });
  server.serve(MessageType.EndLease, ({ lease, epoch }) => answer(leases.end(lease, epoch)));
  server.serve(MessageType.InspectLease, ({ lease }) => {
    const seen = leases.inspect(lease);
    return 'status' in seen ? seen : { status: Status.Ok, ...seen };
  });
}

function answer(refusal: Refused | undefined): Refused | typeof done {
  return refusal ?? done;
}
