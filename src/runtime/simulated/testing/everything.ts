/**
 * A small rack with everything in it and everything going wrong: what the tests of replay and of
 * the faults run. Servers answer, log what they did to disk and database, and count in threads;
 * clients ask over streams and datagrams, note in shared memory what they ask, connect again when
 * they lost a stream, and give up.
 */

import {
  type Bytes,
  type DatagramBatch,
  type DatagramSocket,
  PEER_BYTES,
  type Stream,
  type StreamHandler,
} from '../../network.js';
import type { RoleMain, RunningRole, Runtime } from '../../runtime.js';
import type { ThreadMain } from '../../thread-main.js';
import { type FaultCounts, FaultKind, type FaultRates } from '../faults.js';
import { type Immediate, type Machine, type SimulatedProcess, SimulatedWorld } from '../world.js';

const PORT = 7070;
const RING = { records: 8, recordWords: 2 } as const;
const SCHEMA = {
  seen: { columns: { id: 'integer', times: 'integer' }, key: ['id'] },
} as const;
const MESSAGE_BYTES = 48;

/** Frequent enough that a short run meets each. */
export const EVERY_FAULT: FaultRates = {
  [FaultKind.StreamReset]: 5_000,
  [FaultKind.HalfOpen]: 3_000,
  [FaultKind.StreamCorruption]: 3_000,
  [FaultKind.StreamSplit]: 100_000,
  [FaultKind.SlowPeer]: 100_000,
  [FaultKind.DatagramLoss]: 50_000,
  [FaultKind.DatagramDuplicate]: 50_000,
  [FaultKind.DatagramReorder]: 50_000,
  [FaultKind.DatagramDelay]: 50_000,
  [FaultKind.DatagramCorruption]: 50_000,
  [FaultKind.DiskFull]: 10_000,
  [FaultKind.DiskReadError]: 100_000,
  [FaultKind.DiskWriteError]: 10_000,
  [FaultKind.DiskFlushError]: 10_000,
  [FaultKind.DatabaseError]: 10_000,
  [FaultKind.SlowWake]: 50_000,
  [FaultKind.StepStopped]: 2_000,
};

function whole(bytes: number): number {
  return bytes - (bytes % MESSAGE_BYTES);
}

/** Sends a message whose 12 words are all alike, so that a damaged one shows. */
function send(stream: Stream, word: number): boolean {
  const at = stream.reserve(MESSAGE_BYTES);
  if (at < 0) return false;
  stream.output.words.fill(word, at / 4, (at + MESSAGE_BYTES) / 4);
  stream.commit(MESSAGE_BYTES);
  stream.flush();
  return true;
}

/** The word of the message at this place, or undefined where it is damaged. */
function wordAt(input: Bytes, at: number): number | undefined {
  const [first, ...rest] = input.words.subarray(at / 4, (at + MESSAGE_BYTES) / 4);
  return rest.every((word) => word === first) ? first : undefined;
}

const server: RoleMain<never> = async (runtime: Runtime): Promise<RunningRole> => {
  const { network, disk, databases, threads } = runtime;
  const rows = await databases.open('/data', 'meta', SCHEMA);
  await disk.makeFolder('/data');
  const former = await disk.list('/data');
  await recover(runtime, former.slice(-2));
  const log = await disk.open(`/data/log-${runtime.processes.pid}`, 'create');
  let logged = 0;
  const shared = threads.share(threads.ringBytes(RING));
  const counter = threads.producer(shared, 0, RING);
  threads.spawn({ entry: 'counter', arguments: {}, shared: [shared], memory: [] });
  const note = async (word: number): Promise<void> => {
    counter.submit(Int32Array.of(word, 1));
    counter.ring();
    const bytes = new Uint8Array(64).fill(word);
    await log.write(64 * logged++, bytes);
    if (word % 4 === 0) await log.flush();
    await log.read(0, bytes);
    await rows.commit([{ put: 'seen', row: { id: word, times: rows.select('seen').length } }]);
  };
  const accept = (): StreamHandler => ({
    received(stream, input, start, end) {
      for (let at = start; at < start + whole(end - start); at += MESSAGE_BYTES) {
        const word = wordAt(input, at);
        if (word === undefined) {
          stream.close('damaged');
          return 0;
        }
        // A disk that fails ends the process; whoever started it starts it again.
        note(word)
          .then(
            () => void send(stream, word),
            () => runtime.processes.exit(1),
          )
          .catch(() => {});
      }
      return whole(end - start);
    },
    drained() {},
    closed() {},
  });
  const listener = await network.listen(`tcp://0.0.0.0:${PORT}`, accept);
  await network.bind(`udp://0.0.0.0:${PORT}`, { received: echo });
  return { address: listener.address, stop: () => listener.close() };
};

function sendDatagram(socket: DatagramSocket, to: Uint8Array, word: number): void {
  const at = socket.reserve(16);
  socket.output.bytes.fill(word, at, at + 16);
  socket.commit(16, to, 0);
  socket.flush();
}

function echo(socket: DatagramSocket, batch: DatagramBatch): void {
  for (let i = 0; i < batch.count; i++) {
    const [start, length] = [batch.starts[i] as number, batch.lengths[i] as number];
    const at = socket.reserve(length);
    socket.output.bytes.set(batch.input.bytes.subarray(start, start + length), at);
    socket.commit(length, batch.peers, i * PEER_BYTES);
  }
  socket.flush();
}

/** Reads the last logs of those before it, whatever is left of them. */
async function recover(runtime: Runtime, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const file = await runtime.disk.open(`/data/${name}`, 'read');
    await file.read(0, new Uint8Array(await file.size()));
    await file.close();
  }
}

const counter: ThreadMain = async (runtime, start) => {
  const consumer = runtime.threads.consumer(start.shared[0] as SharedArrayBuffer, 0, RING);
  const record = new Int32Array(RING.recordWords);
  for (;;) {
    await consumer.wait(100);
    while (consumer.take(record)) await runtime.threads.pausePoint();
  }
};

interface ClientConfig {
  readonly host: string;
  readonly messages: number;
}

/** Asks one thing after the other; tells the world how it went. */
class Client {
  readonly #runtime: Runtime;
  readonly #config: ClientConfig;
  readonly #note: (startedMs: number, ok: boolean) => void;
  readonly #nowMs: () => number;
  #stream: Stream | undefined;
  #answer: (word: number | undefined) => void = () => {};
  done = 0;

  constructor(
    runtime: Runtime,
    config: ClientConfig,
    told: { note: (startedMs: number, ok: boolean) => void; nowMs: () => number },
  ) {
    this.#runtime = runtime;
    this.#config = config;
    this.#note = told.note;
    this.#nowMs = told.nowMs;
  }

  async run(): Promise<void> {
    const { network } = this.#runtime;
    const socket = await network.bind('udp://0.0.0.0:0', {
      received: (_socket, { input, starts }) => this.#answer(input.bytes[starts[0] as number]),
    });
    const server = socket.peerOf(`udp://${this.#config.host}:${PORT}`);
    const { words } = this.#runtime.memory.create('memrack-client', 4096).map(0, 4096);
    for (let i = 1; i <= this.#config.messages; i++) {
      const word = i & 127;
      const startedMs = this.#nowMs();
      const overUdp = i % 3 === 0;
      const answer = this.#waitForAnswer();
      await this.#noteInMemory(words, word);
      if (overUdp) sendDatagram(socket, server, word);
      else await this.#ask(word);
      this.#note(startedMs, (await answer) === word);
      this.done = i;
    }
  }

  #noteInMemory(words: Int32Array, word: number): Promise<void> {
    let at = 0;
    const next = (): boolean => {
      Atomics.store(words, at, word);
      return ++at < 8;
    };
    return new Promise((ended) => this.#runtime.memory.run({ fencesNext: true, next, ended }));
  }

  async #ask(word: number): Promise<void> {
    try {
      this.#stream ??= await this.#connect();
      if (!send(this.#stream, word)) this.#answer(undefined);
    } catch {
      this.#answer(undefined);
    }
  }

  #connect(): Promise<Stream> {
    const lost = (): void => {
      this.#stream = undefined;
      this.#answer(undefined);
    };
    const handler: StreamHandler = {
      received: (_stream, input, start, end) => {
        const bytes = whole(end - start);
        if (bytes > 0) this.#answer(wordAt(input, start));
        return bytes;
      },
      drained() {},
      closed: lost,
    };
    return this.#runtime.network.connect(`tcp://${this.#config.host}:${PORT}`, handler, 200);
  }

  /** Undefined when none came in time; then the stream is not trusted any more. */
  #waitForAnswer(): Promise<number | undefined> {
    return new Promise((resolve) => {
      const timer = this.#runtime.timers.after(300, () => {
        this.#stream?.close('no answer');
        this.#stream = undefined;
        resolve(undefined);
      });
      this.#answer = (word) => {
        timer.cancel();
        resolve(word);
      };
    });
  }
}

const MESSAGES = 150;
const CLIENTS = 4;

/** Runs it with that seed to its end. */
export async function runEverything(
  seed: number,
  immediate: Immediate,
  faults: FaultRates = EVERY_FAULT,
): Promise<SimulatedWorld> {
  const clients = new Map<number, Client>();
  const client = async (runtime: Runtime, config: ClientConfig): Promise<RunningRole> => {
    const target = world.processes.find(({ pid }) => pid === runtime.processes.pid);
    const one = new Client(runtime, config, {
      nowMs: () => world.nowMs,
      note: (startedMs, ok) => {
        if (target) world.noteOutcome(target, startedMs, ok ? 'ok' : 'unknown');
      },
    });
    clients.set(runtime.processes.pid, one);
    one.run().catch((error: unknown) => world.fail(error));
    return { address: '', stop: () => Promise.resolve() };
  };
  const world = new SimulatedWorld({
    seed,
    immediate,
    faults,
    roles: { server, client: client as RoleMain<never> },
    threads: { counter },
    knobs: { stepsApartPerMillion: 300_000 },
  });
  const home = world.machine('home');
  world.start(home, 'server', {});
  for (let i = 0; i < CLIENTS; i++) {
    world.start(world.machine(`client-${i}`), 'client', { host: home.host, messages: MESSAGES });
  }
  harm(world, home);
  const allDone = (): boolean =>
    clients.size === CLIENTS && [...clients.values()].every(({ done }) => done === MESSAGES);
  await world.run({ until: allDone, forMs: 600_000 });
  return world;
}

/** Kills, pauses, crashes and cuts off the server by turns, and starts it again. */
function harm(world: SimulatedWorld, home: Machine): void {
  const server = (): SimulatedProcess | undefined =>
    world.processes.find(({ role }) => role === 'server');
  type Cut = Parameters<typeof world.partition>[2];
  const cut = (how: Cut): void => {
    const others = world.machines.filter((machine) => machine !== home);
    const fault = world.partition([home], [world.prng.pick(others)], how);
    world.after(world.prng.between(100, 900), () => world.heal(fault));
  };
  const pause = (target: SimulatedProcess): void => {
    world.pause(target);
    world.after(world.prng.between(10, 600), () => world.resume(target));
  };
  const crash = (): void => {
    world.crash(home);
    world.after(world.prng.between(10, 400), () => world.restart(home));
  };
  /** So short that none gets through. */
  const shrink = (): void => {
    const clients = world.machines.filter((machine) => machine !== home);
    const isTold = world.prng.chance(500_000);
    const fault = world.shrinkPath(clients, [home], { bytes: 1, isTold });
    world.after(world.prng.between(100, 900), () => world.restorePath(fault));
  };
  const squeeze = (): void => {
    world.squeeze(home, world.prng.between(1, 2 ** 20));
    world.after(world.prng.between(100, 900), () => world.relieve(home));
  };
  const acts: ((target: SimulatedProcess) => void)[] = [
    (target) => world.kill(target),
    pause,
    crash,
    () => cut({ oneWay: true }),
    () => cut({}),
    () => cut({ only: 'streams' }),
    () => cut({ only: 'datagrams' }),
    shrink,
    squeeze,
    () => world.jumpWall(home, world.prng.between(-60_000, 60_000)),
  ];
  const act = (): void => {
    const target = server();
    if (target !== undefined && !target.paused) world.prng.pick(acts)(target);
    world.after(world.prng.between(50, 500), act);
  };
  const supervise = (): void => {
    if (home.up && server() === undefined) world.start(home, 'server', {});
    world.after(20, supervise);
  };
  act();
  supervise();
}

/** What two runs of one seed must agree on. */
export async function traceOf(
  seed: number,
  immediate: Immediate,
): Promise<{ hash: number; turns: number; injected: FaultCounts }> {
  const world = await runEverything(seed, immediate);
  return { hash: world.traceHash(), turns: world.turns, injected: world.faults.injected };
}
