/**
 * The HTTP API of the controller: `createHttpApp(...).fetch` takes a request and gives a response.
 * It knows no sockets; who has some hands requests to it.
 */
import { type Context, Hono } from 'hono';
import type { z } from 'zod';
import type { ControllerApi } from '../../controller/api.js';
import { badRequest, HttpRefusal, httpRefusal, STARTING, type ErrorBody } from './errors.js';
import { EXPOSITION_CONTENT_TYPE } from '../../base/exposition.js';
import { refuseForeign, refuseUndeclared } from './guards.js';
import { openApiDocument } from './openapi.js';
import { ROUTES, type Answer, type Route } from './routes.js';
import { noQuerySchema } from './schemas.js';

/** The largest body is a space's name with a few words around it. */
const BODY_BYTES_MAX = 64 * 1024;
const DOCUMENT_PATH = '/v1/openapi.json';

export interface HttpAppOptions {
  /** Undefined until the controller has started. */
  readonly api: () => ControllerApi | undefined;
  /** The host that the controller was told to listen on. */
  readonly listenHost: string;
  /** Told of a bug of ours: an exception that is no refusal. */
  readonly failed: (error: unknown) => void;
}

export function createHttpApp(options: HttpAppOptions): Hono {
  const app = new Hono();
  app.use('*', async (c, next) => {
    const refusal = refuseForeign(c.req.raw, options.listenHost);
    if (refusal !== undefined) throw refusal;
    await next();
  });
  const document = openApiDocument(ROUTES);
  app.get(DOCUMENT_PATH, () => respond({ status: 200, body: document }));
  for (const route of ROUTES) {
    app.on(route.method, route.path, (c) => answer(c, route, options));
  }
  refuseOtherMethods(app);
  app.notFound((c) => send(notFound(c.req.path)));
  app.onError((error) => {
    if (error instanceof HttpRefusal) return send(error);
    options.failed(error);
    return send(internal());
  });
  return app;
}

async function answer(c: Context, route: Route, { api }: HttpAppOptions): Promise<Response> {
  const undeclared = refuseUndeclared(c.req.raw);
  if (undeclared !== undefined) throw undeclared;
  const controller = api();
  if (controller === undefined) throw httpRefusal(STARTING);
  const query = parsed('query', route.query ?? noQuerySchema, c.req.query());
  const body =
    route.body === undefined ? undefined : parsed('body', route.body, await json(c.req.raw));
  const name = c.req.param('name') ?? '';
  return respond(await route.run(controller, { name, query, body }));
}

const HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };

function respond(
  { status, body }: Answer,
  headers: Readonly<Record<string, string>> = {},
): Response {
  if (body === undefined) return new Response(null, { status, headers: HEADERS });
  if (body instanceof Uint8Array) {
    const type = { 'content-type': 'application/octet-stream' };
    return new Response(new Uint8Array(body), { status, headers: { ...HEADERS, ...type } });
  }
  const isText = typeof body === 'string';
  const type = isText ? EXPOSITION_CONTENT_TYPE : 'application/json';
  return new Response(isText ? body : JSON.stringify(body), {
    status,
    headers: { ...HEADERS, 'content-type': type, ...headers },
  });
}

function send({ status, body, headers }: HttpRefusal): Response {
  return respond({ status, body }, headers);
}

function parsed(where: 'query' | 'body', schema: z.ZodType, value: unknown): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  );
  throw badRequest(
    `the ${where} is wrong: ${problems.join('; ').slice(0, 500)}`,
    `see ${DOCUMENT_PATH} for what is allowed`,
  );
}

async function json(request: Request): Promise<unknown> {
  const text = await bodyText(request);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw badRequest('the body is not JSON', `see ${DOCUMENT_PATH} for what is expected`);
  }
}

/** No more is read than is allowed, whatever the length that was announced. */
async function bodyText(request: Request): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function refuseOtherMethods(app: Hono): void {
  const methods = new Map<string, string[]>([[DOCUMENT_PATH, ['GET']]]);
  for (const { path, method } of ROUTES) {
    methods.set(path, [...(methods.get(path) ?? []), method]);
  }
  for (const [path, allowed] of methods) {
    app.all(path, (c) => {
      const allow = allowed.includes('GET') ? ['HEAD', ...allowed] : allowed;
      const message = `${c.req.method} is not possible on ${c.req.path}`;
      const remedy = `use ${allowed.join(' or ')}`;
      const body = { code: 'Unsupported', message, remedy } as const;
      return send(new HttpRefusal(405, body, { allow: allow.join(', ') }));
    });
  }
}

function tooLarge(): HttpRefusal {
  const message = `the body is larger than ${BODY_BYTES_MAX} bytes`;
  const remedy = 'send less; contents of files go over the protocol, not over HTTP';
  return new HttpRefusal(413, { code: 'Invalid', message, remedy }, { connection: 'close' });
}

function notFound(path: string): HttpRefusal {
  const message = `there is nothing at ${path.slice(0, 100)}`;
  const remedy = `see ${DOCUMENT_PATH} for all paths`;
  return new HttpRefusal(404, { code: 'NotFound', message, remedy });
}

function internal(): HttpRefusal {
  const body: ErrorBody = {
    code: 'Internal',
    message: 'the controller has a bug here',
    remedy: "report it with the controller's log",
  };
  return new HttpRefusal(500, body);
}
