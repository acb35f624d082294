/** The OpenAPI document of the routes, for programs that make clients of it. */
import { z } from 'zod';
import type { Route } from './routes.js';
import { errorSchema } from './schemas.js';

/** Of the API, not of the program: raised when an answer changes its meaning. */
const API_VERSION = '1.0.0';

interface Json {
  readonly [key: string]: unknown;
}

export function openApiDocument(routes: readonly Route[]): Json {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Memrack controller', version: API_VERSION },
    paths,
    components: { schemas: { Error: jsonSchema(errorSchema, 'output') } },
  };
}

const DECLARED = 'Needs the header content-type: application/json, also without a body.';

function operation(route: Route): Json {
  const parameters = [...pathParameters(route.path), ...queryParameters(route.query)];
  const responses: Record<string, unknown> = {
    default: {
      description: 'Refused; nothing was changed.',
      content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
    },
  };
  for (const [status, schema] of Object.entries(route.answers)) {
    responses[status] = { description: route.summary, ...content(status, schema) };
  }
  const body = route.body === undefined ? {} : { requestBody: requestBody(route.body) };
  return {
    summary: route.summary,
    ...(route.method === 'GET' ? {} : { description: DECLARED }),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...body,
    responses,
  };
}

function content(status: string, schema: z.ZodType | undefined): Json {
  if (status === '204') return {};
  if (schema === undefined) return { content: { 'text/plain': { schema: { type: 'string' } } } };
  return { content: { 'application/json': { schema: jsonSchema(schema, 'output') } } };
}

function requestBody(schema: z.ZodType): Json {
  return {
    required: true,
    content: { 'application/json': { schema: jsonSchema(schema, 'input') } },
  };
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
}

function queryParameters(query: z.ZodType | undefined): Json[] {
  if (query === undefined) return [];
  const { properties } = jsonSchema(query, 'input');
  return Object.entries((properties ?? {}) as Json).map(([name, schema]) => ({
    name,
    in: 'query',
    required: false,
    schema,
  }));
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io });
  return rest;
}
