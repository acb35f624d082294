/**
 * Who may ask at all. There is no password yet, so a web page that a user of this machine happens
 * to open must not be able to ask in their name:
 *
 * - The Host header must name this machine as it was told to listen. A foreign name that resolves
 *   to us (DNS rebinding) is refused. A bare IP address cannot be rebound.
 * - A request with an Origin comes from a page; only our own pages may ask. No CORS header is ever
 *   sent.
 * - A browser says whether a request comes from a page of another site; such a one changes nothing.
 * - What changes something must say that it is JSON, with a body or without one: a form of a
 *   foreign page cannot, and a script there would have to ask first and is not answered.
 */
import { badRequest, HttpRefusal } from './errors.js';

/** Undefined when the request may go on. */
export function refuseForeign(request: Request, listenHost: string): HttpRefusal | undefined {
  const { headers } = request;
  const host = headers.get('host') ?? '';
  if (host === '') {
    return badRequest(
      'the Host header is missing',
      'name the address that you ask, as browsers do',
    );
  }
  if (!isOurHost(host, listenHost)) {
    return denied(
      `the Host header ${shown(host)} does not name this controller`,
      'use the address that the controller listens on, or localhost on its own machine',
    );
  }
  const origin = headers.get('origin');
  if (origin !== null && originHost(origin) !== host.toLowerCase()) {
    return denied(
      `a page of the origin ${shown(origin)} may not use this API`,
      'ask from a program, or from the pages that the controller itself serves',
    );
  }
  const site = headers.get('sec-fetch-site');
  if (!isReading(request.method) && site !== null && !OWN_SITES.includes(site)) {
    return denied(
      `a page of another site (${shown(site)}) may not change anything here`,
      'ask from a program, or from the pages that the controller itself serves',
    );
  }
  return undefined;
}

/** Undefined when the request reads, or says that it is JSON. */
export function refuseUndeclared({ method, headers }: Request): HttpRefusal | undefined {
  const type = (headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase();
  if (isReading(method) || type === 'application/json') return undefined;
  return new HttpRefusal(415, {
    code: 'Invalid',
    message: `a ${method} must be declared to be JSON, with a body or without one`,
    remedy: 'send the header content-type: application/json',
  });
}

/** `none`: a person typed the address. */
const OWN_SITES: readonly string[] = ['same-origin', 'none'];

function isReading(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}

function denied(message: string, remedy: string): HttpRefusal {
  return new HttpRefusal(403, { code: 'Denied', message, remedy });
}

function shown(header: string): string {
  return JSON.stringify(header.slice(0, 100));
}

function isOurHost(host: string, listenHost: string): boolean {
  const name = hostName(host);
  if (name === undefined) return false;
  if (name === 'localhost' || isLoopback(name)) return true;
  const own = stripBrackets(listenHost.toLowerCase());
  if (own === '0.0.0.0' || own === '::' || own === '*') return isIp(name);
  return name === own;
}

/** Without the port, lower case, an IPv6 address without its brackets. */
function hostName(host: string): string | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?$/i.exec(host);
  const name = match?.[1];
  return name === undefined ? undefined : stripBrackets(name.toLowerCase());
}

function stripBrackets(name: string): string {
  return name.startsWith('[') ? name.slice(1, -1) : name;
}

function isLoopback(name: string): boolean {
  return name === '::1' || /^127(\.\d{1,3}){3}$/.test(name);
}

function isIp(name: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(name) || name.includes(':');
}

function originHost(origin: string): string | undefined {
  return /^https?:\/\/([^/]+)$/i.exec(origin)?.[1]?.toLowerCase();
}
