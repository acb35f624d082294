/** The process of clients of a space; see space-client.ts. */
import { connect, type MemrackError, type Rack, type RemoteSpace } from '../../src/apps/library.js';
import { Counting } from './counting.js';
import { enterNamespace } from './enter-namespace.js';
import type {
  SpaceAnswer,
  SpaceAsked,
  SpaceClientOptions,
  SpaceCommand,
  SpaceResult,
} from './space-client-control.js';

type CountCommand = Extract<SpaceCommand, { do: 'count' }>;

class Clients {
  readonly #options: SpaceClientOptions;
  readonly #racks: Rack[] = [];
  readonly #spaces: RemoteSpace[] = [];
  #counting: Counting | undefined;

  constructor(options: SpaceClientOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { url, link, timeoutMs, space, clients } = this.#options;
    for (let i = 0; i < clients; i++) {
      const rack = await connect(url, { link, timeoutMs });
      this.#racks.push(rack);
      this.#spaces.push(await rack.space(space, { create: true }));
    }
  }

  async obey(command: SpaceCommand): Promise<SpaceResult> {
    const space = this.#spaces[0] as RemoteSpace;
    switch (command.do) {
      case 'alloc':
        return space.alloc(command.bytes);
      case 'read':
        return space.read(command.at, command.bytes);
      case 'write':
        await space.write(command.at, command.data);
        return 0;
      case 'count':
        return this.#count(command);
      case 'path':
        return this.#racks[0]?.counters().links[0]?.datagrams?.pathBytes ?? 0;
      case 'done':
        return this.#counting?.done ?? 0;
      case 'stop':
        this.#counting?.stop();
        return 0;
    }
  }

  async #count(command: CountCommand): Promise<SpaceResult> {
    const { at, shared, own, firstOwn, increments } = command;
    const counting = new Counting(increments, this.#options.timeoutMs);
    this.#counting = counting;
    const running = this.#spaces.map((space, i) => {
      const lines = Array.from({ length: shared + own }, (_, k) => {
        return k < shared ? k : firstOwn + i * own + (k - shared);
      });
      return counting.run(space, at, lines);
    });
    await Promise.all(running);
    return counting.finish();
  }
}

function tell(answer: SpaceAnswer): void {
  process.send?.(answer);
}

async function answer(clients: Clients, asked: SpaceAsked): Promise<void> {
  const began = performance.now();
  const ms = (): number => performance.now() - began;
  try {
    const result = await clients.obey(asked);
    tell({ id: asked.id, isOk: true, ms: ms(), result });
  } catch (error) {
    const { code, outcome, message } = error as MemrackError;
    tell({ id: asked.id, isOk: false, ms: ms(), result: { code, outcome, message } });
  }
}

// Whoever started it has ended, however it did.
process.on('disconnect', () => process.exit(0));
const options = JSON.parse(process.argv[2] ?? '') as SpaceClientOptions;
// Before any socket is opened.
if (options.namespace !== undefined) enterNamespace(options.namespace);
const clients = new Clients(options);
await clients.open();
process.on('message', (asked: SpaceAsked) => void answer(clients, asked));
tell({ id: -1, isOk: true, ms: 0, result: 0 });
