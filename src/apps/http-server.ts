/**
 * An HTTP server for the controller's API without a port of its own: the network hands it every
 * connection to the controller that does not speak our protocol.
 */
import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';

/** Requests are small and answered at once: who takes longer is not asking but holding on. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 30_000;
const IDLE_MS = 15_000;
const HEADER_BYTES_MAX = 16 * 1024;
const HEADERS_MAX = 100;
const CONNECTION_REQUESTS_MAX = 10_000;

export function httpServer(app: Hono): Server {
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const server = createServer({ maxHeaderSize: HEADER_BYTES_MAX }, (request, response) => {
    void listener(request, response);
  });
  server.headersTimeout = HEADERS_MS;
  server.requestTimeout = REQUEST_MS;
  server.keepAliveTimeout = IDLE_MS;
  server.maxHeadersCount = HEADERS_MAX;
  server.maxRequestsPerSocket = CONNECTION_REQUESTS_MAX;
  server.on('clientError', (_error, socket) => {
    if (!socket.writable) socket.destroy();
    else socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
  });
  return server;
}
