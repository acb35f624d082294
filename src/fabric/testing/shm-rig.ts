/** A memory node and a client of the same machine in a fake world, attached to each other. */

import type { Runtime } from '../../runtime/runtime.js';
import { createEndpoint, type Endpoint } from '../endpoint.js';
import type { Window } from '../link.js';
import { ShmLink } from '../shm/shm-link.js';
import type { TcpLink } from '../tcp-link.js';
import { FakeWorld } from './fake-world.js';
import { NODE, Sink } from './rig.js';
import { SharedNode, type SharedNodeOptions } from './shared-node.js';
import { SteppedMemory } from './stepped-memory.js';

export class ShmRig {
  readonly world = new FakeWorld();
  readonly memory = new SteppedMemory();
  readonly runtime: Runtime;
  readonly node: SharedNode;
  readonly sink = new Sink();
  readonly client: Endpoint;
  readonly tcp: TcpLink;
  readonly link: ShmLink;
  readonly window: Window;
  server: Endpoint;

  constructor(identity = 'a process', options: SharedNodeOptions = {}) {
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

  async result<T>(promise: Promise<T>): Promise<T> {
    const box: { value?: T; isThere: boolean } = { isThere: false };
    void promise.then((value) => {
      box.value = value;
      box.isThere = true;
    });
    if (!(await this.world.run(() => box.isThere))) throw new Error('it never settles');
    return box.value as T;
  }

  get deadline(): number {
    return this.world.nowMs + 10_000;
  }

  async told(count: number): Promise<void> {
    const isThere = await this.world.run(() => this.sink.told.size >= count);
    if (!isThere) throw new Error(`only ${this.sink.told.size} of ${count} were told`);
  }
}
