/** The memory node of a rack, asked over a connection of its own about what it counts. */

import { connect } from '../../../src/apps/library.js';
import { Status } from '../../../src/base/status.js';
import { createEndpoint } from '../../../src/fabric/endpoint.js';
import type { Peer } from '../../../src/fabric/link.js';
import { createRuntime, type NodeRuntime } from '../../../src/runtime/node/create-runtime.js';
import { MessageType } from '../../../src/wire/messages.js';

export interface AskedNode {
  readonly runtime: NodeRuntime;
  /** `tcp://HOST:PORT`; datagrams go to the same port. */
  readonly address: string;
  readonly peer: Peer;
  close(): Promise<void>;
}

/** The only memory node of this rack. */
export async function nodeOf(url: string): Promise<AskedNode> {
  const rack = await connect(url, { link: 'tcp' });
  const node = (await rack.nodes()).find(({ kind }) => kind === 'memory-node');
  await rack.close();
  if (node === undefined) throw new Error('the rack has no memory node');
  const runtime = createRuntime({ source: 'bench', logLevel: 'warn' });
  const endpoint = createEndpoint(runtime, {});
  const peer = endpoint.peer(node.address);
  return { runtime, address: node.address, peer, close: async () => endpoint.close() };
}

/** How often a full bucket pushed a search for an address on, since the node's start. */
export async function allocationRetries({ peer }: AskedNode): Promise<number> {
  const reply = await peer.call(MessageType.Counters, {}, 10_000);
  if (reply.status !== Status.Ok) throw new Error(`no counters: status ${reply.status}`);
  return Number((JSON.parse(reply.json) as Record<string, unknown>)['allocationRetries']);
}
