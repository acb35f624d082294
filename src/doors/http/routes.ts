/**
 * The routes of the API: path, schemas, and what each does. The application, its check of methods
 * and the OpenAPI document are made from this list. A `run` is a plain function over the
 * controller's interface; what it gives back is sent as it is.
 */
import type { z } from 'zod';
import type { ControllerApi } from '../../controller/api.js';
import { isRefusal, type Result } from '../../controller/refusal.js';
import { httpRefusal } from './errors.js';
import { exposition } from '../../base/exposition.js';
import * as schemas from './schemas.js';

export interface Answer {
  readonly status: number;
  /** Sent as JSON; a string as plain text in the format of Prometheus; bytes as they are. */
  readonly body: unknown;
}

export interface Asked {
  /** From the path, decoded. */
  readonly name: string;
  /** Parsed by the route's schema. */
  readonly query: unknown;
  readonly body: unknown;
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly summary: string;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  /** What each successful status carries; undefined: text. */
  readonly answers: Readonly<Record<number, z.ZodType | undefined>>;
  readonly run: (api: ControllerApi, asked: Asked) => Answer | Promise<Answer>;
}

function found(body: unknown): Answer {
  return { status: 200, body };
}

/** What was done, or found; a refusal becomes the answer. */
function granted<T>(result: Result<T>): T {
  if (isRefusal(result)) throw httpRefusal(result);
  return result;
}

const healthz: Route = {
  method: 'GET',
  path: '/healthz',
  summary: '200 once the rack serves, else 503.',
  answers: { 200: schemas.healthSchema, 503: schemas.healthSchema },
  run: (api) => {
    const { state } = api.status();
    return { status: state === 'down' ? 503 : 200, body: { state } };
  },
};

const metrics: Route = {
  method: 'GET',
  path: '/metrics',
  summary: 'Numbers for Prometheus.',
  answers: { 200: undefined },
  run: async (api) => found(exposition(await api.metrics())),
};

const status: Route = {
  method: 'GET',
  path: '/v1/status',
  summary: 'Health, with findings and what to do about each.',
  answers: { 200: schemas.statusSchema },
  run: (api) => found(api.status()),
};

const nodes: Route = {
  method: 'GET',
  path: '/v1/nodes',
  summary: 'Memory nodes and hosts, by id.',
  answers: { 200: schemas.nodeSchema.array() },
  run: (api) => found(api.members()),
};

const removeNode: Route = {
  method: 'DELETE',
  path: '/v1/nodes/:name',
  summary: 'Lets a memory node go that holds nothing, or whose memory is gone.',
  query: schemas.removedNodeQuerySchema,
  answers: { 200: schemas.removedNodeSchema },
  run: async (api, { name, query }) => {
    const { lost } = query as z.infer<typeof schemas.removedNodeQuerySchema>;
    const result = granted(await api.removeNode(name, lost === 'true'));
    return found({ id: name, regionsLost: result.regionsLost });
  },
};

const backup: Route = {
  method: 'GET',
  path: '/v1/backup',
  summary: 'A copy of all metadata, as `memrack backup` keeps it.',
  answers: { 200: undefined },
  run: async (api) => found(await api.backup()),
};

const spaces: Route = {
  method: 'GET',
  path: '/v1/spaces',
  summary: 'Address spaces, by name.',
  answers: { 200: schemas.spaceSchema.array() },
  run: (api) => found(api.spaces()),
};

const createSpace: Route = {
  method: 'POST',
  path: '/v1/spaces',
  summary: 'Creates an address space: 201, or 200 if there is one of that name.',
  body: schemas.newSpaceSchema,
  answers: { 200: schemas.spaceSchema, 201: schemas.spaceSchema },
  run: async (api, { body }) => {
    const { name, kind, pageBytes } = body as z.infer<typeof schemas.newSpaceSchema>;
    const result = granted(await api.createSpace(name, kind, pageBytes));
    return { status: result.created ? 201 : 200, body: result.space };
  },
};

const removeSpace: Route = {
  method: 'DELETE',
  path: '/v1/spaces/:name',
  summary: 'Removes an address space and everything in it.',
  answers: { 204: undefined },
  run: async (api, { name }) => {
    granted(await api.removeSpace(name));
    return { status: 204, body: undefined };
  },
};

const adoptSpace: Route = {
  method: 'POST',
  path: '/v1/adopted-spaces',
  summary: 'Takes back a space that nodes hold and the metadata does not know (SPACE_UNKNOWN).',
  body: schemas.adoptedSpaceSchema,
  answers: { 201: schemas.spaceSchema },
  run: async (api, { body }) => {
    const { id, name } = body as z.infer<typeof schemas.adoptedSpaceSchema>;
    return { status: 201, body: granted(await api.adoptSpace(id, name)).space };
  },
};

const regions: Route = {
  method: 'GET',
  path: '/v1/regions',
  summary: 'The regions of a space, and who holds each.',
  query: schemas.regionsQuerySchema,
  answers: { 200: schemas.regionSchema.array() },
  run: (api, { query }) => {
    const { space } = query as z.infer<typeof schemas.regionsQuerySchema>;
    return found(granted(api.regions(space)).regions);
  },
};

const moveRegion: Route = {
  method: 'POST',
  path: '/v1/moves',
  summary: 'Moves a region to another memory node; answered when it is there.',
  body: schemas.newMoveSchema,
  answers: { 200: schemas.newMoveSchema },
  run: async (api, { body }) => {
    const { space, region, to } = body as z.infer<typeof schemas.newMoveSchema>;
    granted(await api.moveRegion(space, region, to));
    return found({ space, region, to });
  },
};

const drains: Route = {
  method: 'GET',
  path: '/v1/drains',
  summary: 'Memory nodes that are to be emptied, or have been.',
  answers: { 200: schemas.drainSchema.array() },
  run: (api) => found(api.drains()),
};

const drainOf: Route = {
  method: 'GET',
  path: '/v1/drains/:name',
  summary: 'How far the emptying of a memory node has come, and what it waits for.',
  answers: { 200: schemas.drainSchema },
  run: (api, { name }) => {
    return found(granted(api.drainOf(name)).drain);
  },
};

const drain: Route = {
  method: 'POST',
  path: '/v1/drains',
  summary: 'Empties a memory node; answered when it has begun.',
  body: schemas.newDrainSchema,
  answers: { 200: schemas.drainSchema },
  run: async (api, { body }) => {
    const { node, force } = body as z.infer<typeof schemas.newDrainSchema>;
    return found(granted(await api.drain(node, force)).drain);
  },
};

const cancelDrain: Route = {
  method: 'DELETE',
  path: '/v1/drains/:name',
  summary: 'Uses a memory node again that was to be emptied.',
  answers: { 204: undefined },
  run: async (api, { name }) => {
    granted(await api.cancelDrain(name));
    return { status: 204, body: undefined };
  },
};

const files: Route = {
  method: 'GET',
  path: '/v1/files',
  summary: 'The directory of files, by key, page by page.',
  query: schemas.filesQuerySchema,
  answers: { 200: schemas.filesSchema },
  run: (api, { query }) => {
    const { prefix, after, limit } = query as z.infer<typeof schemas.filesQuerySchema>;
    return found(api.files(prefix, after, limit));
  },
};

const events: Route = {
  method: 'GET',
  path: '/v1/events',
  summary: 'What happened to the rack: who owned what when; by sequence, page by page.',
  query: schemas.eventsQuerySchema,
  answers: { 200: schemas.eventsSchema },
  run: (api, { query }) => found(api.events(query as z.infer<typeof schemas.eventsQuerySchema>)),
};

export const ROUTES: readonly Route[] = [
  healthz,
  metrics,
  status,
  nodes,
  removeNode,
  backup,
  spaces,
  createSpace,
  removeSpace,
  adoptSpace,
  regions,
  moveRegion,
  drains,
  drainOf,
  drain,
  cancelDrain,
  files,
  events,
];
