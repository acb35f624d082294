/**
 * The utility as a service: people's photos in remote memory, a process and a protected collection
 * for each of them.
 *
 *   npm run images -- serve [--port 8090] [--collection 24] [--rack URL]
 *
 *   PUT  /NAME/3         a picture, cut to a square and kept as original 3 of NAME's collection
 *   POST /NAME/compress  compresses all of them
 *   GET  /NAME/3         the compressed one, as JPEG
 *   GET  /NAME           a page with all of them
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { ClientProcess, Service } from './service.ts';

const QUALITY = 80;
const BODY_BYTES_MAX = 16 * 2 ** 20;
const CLIENTS_MAX = 200;

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string | Uint8Array;
}

function text(status: number, body: string): Reply {
  return { status, type: 'text/plain; charset=utf-8', body: `${body}\n` };
}

/** Until it is ended; the address once it listens. */
export async function serveImages(service: Service, images: number, port: number): Promise<string> {
  const front = new Front(service, images);
  const server = createServer((request, response) => {
    front.answer(request).then(
      (reply) => send(response, reply),
      (error: unknown) =>
        send(response, text(500, error instanceof Error ? error.message : 'failed')),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : port}`;
}

function send(response: ServerResponse, { status, type, body }: Reply): void {
  response.writeHead(status, { 'content-type': type }).end(body);
}

class Front {
  readonly #service: Service;
  readonly #images: number;
  readonly #clients = new Map<string, Promise<ClientProcess>>();

  constructor(service: Service, images: number) {
    this.#service = service;
    this.#images = images;
  }

  async answer(request: IncomingMessage): Promise<Reply> {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    const [name = '', what = ''] = path.split('/').slice(1);
    if (!/^[a-z0-9-]{1,40}$/.test(name)) {
      return text(404, 'a name has small letters, digits and "-": /NAME, /NAME/3, /NAME/compress');
    }
    if (request.method === 'PUT') return this.#put(name, what, await bodyOf(request));
    const client = await this.#clients.get(name);
    if (client === undefined) return text(404, `${name} has no collection; PUT a picture first`);
    if (request.method === 'POST' && what === 'compress') {
      await client.ask({ do: 'compress', quality: QUALITY });
      return text(200, `compressed ${this.#images} images`);
    }
    if (request.method !== 'GET') return text(405, 'GET, PUT or POST');
    return what === '' ? this.#page(name) : this.#get(client, what);
  }

  async #put(name: string, what: string, file: Uint8Array | undefined): Promise<Reply> {
    const number = this.#number(what);
    if (number === undefined) return text(404, `images have the numbers 0 to ${this.#images - 1}`);
    if (file === undefined) return text(413, `a picture has at most ${BODY_BYTES_MAX} bytes`);
    let client = this.#clients.get(name);
    if (client === undefined) {
      if (this.#clients.size >= CLIENTS_MAX) return text(503, `there are ${CLIENTS_MAX} clients`);
      client = this.#service.admit();
      this.#clients.set(name, client);
      client.catch(() => this.#clients.delete(name));
    }
    try {
      await (await client).ask({ do: 'put', number, file });
      return text(200, `kept as image ${number}`);
    } catch (error) {
      return text(400, error instanceof Error ? error.message : 'no picture');
    }
  }

  async #get(client: ClientProcess, what: string): Promise<Reply> {
    const number = this.#number(what);
    if (number === undefined) return text(404, `images have the numbers 0 to ${this.#images - 1}`);
    const jpeg = await client.ask<Uint8Array | undefined>({ do: 'get', number });
    if (jpeg === undefined) return text(404, `image ${number} was not compressed yet`);
    return { status: 200, type: 'image/jpeg', body: jpeg };
  }

  #number(what: string): number | undefined {
    const number = Number(what);
    return /^\d+$/.test(what) && number < this.#images ? number : undefined;
  }

  #page(name: string): Reply {
    const images = Array.from(
      { length: this.#images },
      (_, i) => `<img src="/${name}/${i}" alt="${i}">`,
    );
    const body = `<!doctype html><title>${name}</title><h1>${name}</h1>${images.join('\n')}`;
    return { status: 200, type: 'text/html; charset=utf-8', body };
  }
}

/** Undefined where it is longer than a picture may be. */
async function bodyOf(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}
