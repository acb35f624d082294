/** A memory node and a client of the same machine in a fake world, attached to each other. */

import type { Runtime } from '../../runtime/runtime.js';
import { createEndpoint, type Endpoint } from '../endpoint.js';
import type { Window } from '../link.js';
import { ShmLink } from '../shm/shm-link.js';
import type { TcpLink } from '../tcp-link.js';
import { NODE, WaitingRig } from './rig.js';
import { SharedNode, type SharedNodeOptions } from './shared-node.js';
import { SteppedMemory } from './stepped-memory.js';

export class ShmRig extends WaitingRig {
  readonly memory = new SteppedMemory();
  readonly runtime: Runtime;
  readonly node: SharedNode;
  readonly client: Endpoint;
  readonly tcp: TcpLink;
  readonly link: ShmLink;
  readonly window: Window;
  server: Endpoint;

  constructor(identity = 'a process', options: SharedNodeOptions = {}) {
    super();
    const processes = { identity };
    this.runtime = {
      ...this.world.runtime(),
      memory: this.memory,
      processes,
    } as unknown as Runtime;
    this.node = new SharedNode(this.runtime, options);
    this.window = this.node.window();
    this.server = this.serve();
    this.client = createEndpoint(this.runtime);
    this.tcp = this.client.link(NODE, this.node.memoryId);
    this.link = ShmLink.open({ runtime: this.runtime, link: this.tcp });
  }

  /** A process of the node, under its address. */
  serve(): Endpoint {
    const { memoryId } = this.node;
    const server = createEndpoint(this.runtime, { memoryId });
    this.node.serve(server);
    void server.listen(NODE);
    return server;
  }

  /** Another process takes the memory over. */
  async restart(): Promise<void> {
    const ended = this.server.close();
    this.node.restart();
    await this.world.run(() => false, 5);
    await ended;
    this.server = this.serve();
  }

  async attach(): Promise<void> {
    const why = await this.result(this.link.attach(5000));
    if (why !== undefined) throw new Error(why);
  }
}
