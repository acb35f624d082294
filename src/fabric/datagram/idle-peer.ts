/**
 * Somebody who is only called, over a stream that is closed when nobody has called for a while and
 * made again for the next call: so that a process that is called by thousands now and then, as the
 * controller is by clients over datagrams, need not keep a connection for each.
 */

import type { Runtime } from '../../runtime/runtime.js';
import type { Peer } from '../link.js';
import type { TcpLink } from '../tcp-link.js';
import { IdleStream, STREAM_IDLE_MS_DEFAULT } from './idle-stream.js';

/** Nobody else wraps `link`, and it is closed by `close`, or with its endpoint. */
export function idlePeer(runtime: Runtime, link: TcpLink, idleMs = STREAM_IDLE_MS_DEFAULT): Peer {
  const stream = new IdleStream(runtime, link.transport, idleMs);
  link.transport.watcher = {
    changed: () => stream.changed(),
    lastCall: () => undefined,
  };
  return {
    call: (type, request, timeoutMs) => link.call(type, request, timeoutMs),
    close: () => link.close(),
  };
}
