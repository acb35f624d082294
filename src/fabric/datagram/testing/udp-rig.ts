/** A link over datagrams to a node that answers as the test says. */

import { Status } from '../../../base/status.js';
import type { Window } from '../../link.js';
import { Rig } from '../../testing/rig.js';
import { UdpLink } from '../udp-link.js';
import { ScriptedNode } from './scripted-node.js';

export class UdpRig extends Rig {
  readonly node: ScriptedNode;
  readonly udp: UdpLink;
  window!: Window;
  #token = 0;

  constructor() {
    super();
    this.node = new ScriptedNode(this.world);
    const link = this.link as Parameters<typeof UdpLink.open>[0]['link'];
    this.udp = UdpLink.open({ runtime: this.node.runtime(), link, address: 'udp://node:1' });
  }

  /** `prepare` is called before anything is sent. */
  static async open(prepare?: (node: ScriptedNode) => void): Promise<UdpRig> {
    const rig = new UdpRig();
    prepare?.(rig.node);
    rig.window = await rig.openWindow();
    // The first operation finds out who is there.
    rig.read(0, 8);
    await rig.told(1);
    rig.node.attempts.length = 0;
    return rig;
  }

  read(at: number, bytes: number, timeoutMs = 10_000): { token: number; into: Uint8Array } {
    const into = new Uint8Array(bytes);
    const token = ++this.#token;
    const deadline = this.world.nowMs + timeoutMs;
    this.udp.read(this.window, at, into, 0, bytes, this.sink, token, deadline);
    return { token, into };
  }

  write(at: number, bytes: number, timeoutMs = 10_000, reservation = 0): number {
    const from = new Uint8Array(bytes).fill(++this.#token);
    const deadline = this.world.nowMs + timeoutMs;
    const { udp, window, sink } = this;
    udp.write(window, at, from, 0, bytes, sink, this.#token, deadline, reservation);
    return this.#token;
  }

  add(at: number, delta: number): number {
    const { udp, window, sink, deadline } = this;
    udp.fetchAndAdd(window, at, delta, 0, sink, ++this.#token, deadline);
    return this.#token;
  }

  pass(ms: number): Promise<boolean> {
    return this.world.run(() => false, ms);
  }

  status(token: number): Status | undefined {
    return this.sink.status(token);
  }

  async until(condition: () => boolean): Promise<void> {
    if (!(await this.world.run(condition))) throw new Error('it never happens');
  }
}
