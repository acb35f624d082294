/** The calls that tell whoever asks where time goes at this node. */

import { Status } from '../../base/status.js';
import { REQUEST_KINDS, Station, type Stations } from '../../fabric/stations.js';
import type { Clock } from '../../runtime/clock.js';
import { MessageType } from '../../wire/messages.js';
import type { CallServer } from './call-server.js';

export interface MeasureCallParts {
  readonly clock: Clock;
  readonly stations: Stations;
  /** Resolves when the slow path has answered. */
  readonly pingSlowPath: () => Promise<void>;
}

export function serveMeasures(server: CallServer, parts: MeasureCallParts): void {
  const { clock, stations, pingSlowPath } = parts;
  server.serve(MessageType.MeasureStations, ({ every, forMs }) => {
    stations.measure(every, forMs);
    const { clockNs } = stations;
    const sums = REQUEST_KINDS.map((_, kind) => ({
      kind,
      requests: stations.requests(kind),
      checkNs: stations.sumNs(kind, Station.CHECK),
      recordNs: stations.sumNs(kind, Station.RECORD),
      translateNs: stations.sumNs(kind, Station.TRANSLATE),
      accessNs: stations.sumNs(kind, Station.ACCESS),
      replyNs: stations.sumNs(kind, Station.REPLY),
      sendNs: stations.sumNs(kind, Station.SEND),
    }));
    return { status: Status.Ok, clockNs, sums };
  });
  server.serve(MessageType.PingSlowPath, async () => {
    const askedMs = clock.now();
    await pingSlowPath();
    return { status: Status.Ok, waitedUs: Math.round((clock.now() - askedMs) * 1000) };
  });
}
