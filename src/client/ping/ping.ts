/**
 * A ping at three levels: the node's network layer answers it, or its fast path (a read that is
 * translated), or its slow path (the worker). They take turns, so that all of them see the same
 * network. Over datagrams the answers tell how long they were at the node; over streams the node's
 * stopwatch has to say that.
 */

import { Status } from '../../base/status.js';
import { Prober } from '../../fabric/datagram/prober.js';
import { createEndpoint, type Endpoint } from '../../fabric/endpoint.js';
import type { CompletionSink, Link } from '../../fabric/link.js';
import { ShmLink } from '../../fabric/shm/shm-link.js';
import {
  askStations,
  isSums,
  type StationSums,
  stationsBetween,
} from '../../fabric/station-times.js';
import type { TcpLink } from '../../fabric/tcp-link.js';
import type { Runtime } from '../../runtime/runtime.js';
import { MessageType } from '../../wire/messages.js';
import { Control, type Member } from '../control.js';
import { failed, MemrackError } from '../error.js';
import { parseRackUrl } from '../options.js';
import type { Rack } from '../rack.js';
import type { RemoteSpace } from '../space.js';
import { breakGround, type Ground } from './ground.js';
import { type Measured, newMeasured, type PingRow, rowsOf, type Samples } from './levels.js';

export type PingLink = 'udp' | 'tcp' | 'shm';

export interface PingWish {
  readonly runtime: Runtime;
  /** Connected with the link that is measured. */
  readonly rack: Rack;
  readonly node: Member;
  readonly link: PingLink;
  /** How often at each level. */
  readonly count: number;
  /** A space of nobody else; it is removed afterwards. */
  readonly space: string;
  /** Called after each round; may throw, which ends the measuring. */
  readonly progress: () => void;
}

const READ_BYTES = 64;
const PING_BYTES = 64;
/** A question that is not answered by then is lost. */
const LOST_MS = 1_000;
const CALL_MS = 5_000;
const HELLOS = 4;
const HELLO_MS = 500;
/** Cookies are good for a minute. */
const HELLO_AGAIN_MS = 20_000;
const MEASURE_MS = 60_000;
/** The first rounds only warm up: connections are made, code is compiled. */
const WARM_ROUNDS = 5;

/** Throws a `MemrackError` where the node cannot be measured over that link. */
export async function pingNode(wish: PingWish): Promise<PingRow[]> {
  const { runtime, rack } = wish;
  const endpoint = createEndpoint(runtime, {});
  const space = await rack.space(wish.space, { create: true });
  let pinger: Pinger | undefined;
  try {
    pinger = await Pinger.open(wish, endpoint, space);
    return rowsOf(await pinger.measure(wish.count, wish.progress));
  } finally {
    pinger?.close();
    await rack.removeSpace(wish.space);
    await endpoint.close();
  }
}

interface PingerParts {
  readonly wish: PingWish;
  readonly space: RemoteSpace;
  readonly ground: Ground;
  /** Over which pings and calls go. */
  readonly stream: TcpLink;
  readonly link: Link;
  readonly prober: Prober | undefined;
}

class Pinger {
  readonly #parts: PingerParts;
  readonly #runtime: Runtime;
  readonly #measured = newMeasured();
  readonly #into = new Uint8Array(READ_BYTES);
  #helloAt: number;

  static async open(wish: PingWish, endpoint: Endpoint, space: RemoteSpace): Promise<Pinger> {
    const { runtime, rack, node } = wish;
    const address = parseRackUrl(rack.url);
    if (address instanceof MemrackError) throw address;
    const control = new Control(runtime, endpoint.peer(address), rack.url);
    const opened: { stream?: TcpLink } = {};
    const linkTo = (memoryId: number): Link => {
      const stream = endpoint.link(node.address, memoryId);
      opened.stream = stream;
      return wish.link === 'shm' ? ShmLink.open({ runtime, link: stream }) : stream;
    };
    const parts = { runtime, control, space, node, linkTo, timeoutMs: CALL_MS };
    const { link, ...ground } = await breakGround(parts);
    if (link instanceof ShmLink) {
      const refusal = await link.attach(CALL_MS);
      if (refusal !== undefined) throw new MemrackError('Unsupported', `${node.id}: ${refusal}`);
    }
    const prober = wish.link === 'udp' ? await proberOf(runtime, endpoint, node) : undefined;
    const stream = opened.stream as TcpLink;
    return new Pinger({ wish, space, ground, stream, link, prober });
  }

  private constructor(parts: PingerParts) {
    this.#parts = parts;
    this.#runtime = parts.wish.runtime;
    this.#helloAt = this.#runtime.clock.now();
  }

  async measure(count: number, progress: () => void): Promise<Measured> {
    for (let i = 0; i < WARM_ROUNDS; i++) await this.#round(newMeasured());
    const before = await this.#stopwatch(1);
    for (let i = 0; i < count; i++) {
      await this.#sayHelloAgain();
      await this.#round(this.#measured);
      progress();
    }
    const after = await this.#stopwatch(0);
    if (before === undefined || after === undefined) return this.#measured;
    const { ping, read } = stationsBetween(before, after);
    return { ...this.#measured, nodePing: ping, nodeRead: read };
  }

  async #round(to: Measured): Promise<void> {
    const { prober } = this.#parts;
    if (prober === undefined) await this.#pingByStream(to.ping);
    else await this.#pingByDatagram(prober, to);
    await this.#read(to.read);
    await this.#call(to);
  }

  async #pingByDatagram(prober: Prober, to: Measured): Promise<void> {
    const { ground } = this.#parts;
    const ping = await prober.ping(PING_BYTES, LOST_MS);
    note(to.ping, ping?.roundTripMs);
    if (ping !== undefined) {
      to.pingNetwork.ms.push(ping.roundTripMs - ping.residenceMs);
      to.pingNode.ms.push(ping.residenceMs);
    }
    const read = await prober.read(ground.window, ground.address, READ_BYTES, LOST_MS);
    const isGood = read?.status === Status.Ok;
    note(to.bareRead, isGood ? read.roundTripMs : undefined);
    if (!isGood) return;
    to.readNetwork.ms.push(read.roundTripMs - read.residenceMs);
    to.readNode.ms.push(read.residenceMs);
  }

  async #pingByStream(to: Samples): Promise<void> {
    const { clock } = this.#runtime;
    const sentMs = clock.now();
    const { transport } = this.#parts.stream;
    const status = await new Promise<Status>((resolve) => {
      const sink: CompletionSink = { completed: (_token, ended) => resolve(ended) };
      transport.add(MessageType.Ping, sink, 0, sentMs + LOST_MS);
    });
    note(to, status === Status.Ok ? clock.now() - sentMs : undefined);
  }

  /** Throws what the library throws: without a read there is nothing to show. */
  async #read(to: Samples): Promise<void> {
    const { space, ground } = this.#parts;
    const sentMs = this.#runtime.clock.now();
    await space.read(ground.address, this.#into);
    note(to, this.#runtime.clock.now() - sentMs);
  }

  async #call(to: Measured): Promise<void> {
    const sentMs = this.#runtime.clock.now();
    const reply = await this.#parts.link.call(MessageType.PingSlowPath, {}, CALL_MS);
    const isGood = reply.status === Status.Ok;
    if (reply.status === Status.Unsupported) throw failed('the slow path', reply.status);
    note(to.call, isGood ? this.#runtime.clock.now() - sentMs : undefined);
    if (isGood) to.worker.ms.push(reply.waitedUs / 1000);
  }

  /** Memory that is reached without the node passes none of its stations. */
  async #stopwatch(every: number): Promise<StationSums | undefined> {
    const { wish, link } = this.#parts;
    if (wish.link === 'shm') return undefined;
    const answer = await askStations(link, { every, forMs: every === 0 ? 0 : MEASURE_MS }, CALL_MS);
    return isSums(answer) ? answer : undefined;
  }

  async #sayHelloAgain(): Promise<void> {
    const now = this.#runtime.clock.now();
    if (now - this.#helloAt < HELLO_AGAIN_MS) return;
    this.#helloAt = now;
    await this.#parts.prober?.hello(HELLO_MS);
  }

  close(): void {
    this.#parts.prober?.close();
    this.#parts.link.close();
  }
}

async function proberOf(runtime: Runtime, endpoint: Endpoint, node: Member): Promise<Prober> {
  const remedy = 'see `memrack doctor --rack URL`, or take --link tcp';
  if (!node.address.startsWith('tcp:')) {
    const what = `${node.id} listens at ${node.address}, and takes no datagrams`;
    throw new MemrackError('Unsupported', what, { remedy });
  }
  const address = node.address.replace('tcp:', 'udp:');
  const prober = await Prober.open({ runtime, address, client: endpoint.clientId });
  for (let i = 0; i < HELLOS; i++) {
    if ((await prober.hello(HELLO_MS)) !== undefined) return prober;
  }
  prober.close();
  const what = `${node.id}: no datagram to ${address} is answered`;
  throw new MemrackError('Unavailable', what, { remedy });
}

function note(to: Samples, ms: number | undefined): void {
  if (ms === undefined) to.lost++;
  else to.ms.push(ms);
}
