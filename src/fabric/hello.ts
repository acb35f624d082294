/** Agreeing on a version, and telling a client that returns what became of its requests. */

import { IN_FLIGHT_MAX, VERSION_MAX, VERSION_MIN } from '../wire/limits.js';
import { CAPABILITIES, HelloReply } from '../wire/messages.js';
import type { Hello } from './clients.js';
import type { ResultRecord } from './record.js';

/** The newest version that both speak; 0 when there is none. */
export function commonVersion(hello: Hello): number {
  const version = Math.min(hello.versionMax, VERSION_MAX);
  return version >= Math.max(hello.versionMin, VERSION_MIN) ? version : 0;
}

/** The body of the reply to an admitted hello. `previous`: the record that it asked for, if any. */
export function answerHello(
  hello: Hello,
  version: number,
  previous: ResultRecord | undefined,
  server: { readonly instance: number; readonly incarnation: number; readonly opening: number },
): { body: Uint8Array; missed: number } {
  const missed = previous?.missedSince(hello.acknowledged) ?? [];
  const reply = {
    version,
    recordKnown: previous === undefined ? 0 : 1,
    capabilities: hello.capabilities & CAPABILITIES,
    instance: server.instance,
    executed: previous?.executed ?? 0,
    inFlightMax: IN_FLIGHT_MAX,
    incarnation: server.incarnation,
    opening: server.opening,
    missed,
  };
  const body = new Uint8Array(HelloReply.encodedBytes(reply));
  HelloReply.encode({ bytes: body, view: new DataView(body.buffer) }, 0, reply);
  return { body, missed: missed.length };
}
