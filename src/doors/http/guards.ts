/**
 * Who may ask at all. There is no password yet, so a web page that a user of this machine happens
 * to open must not be able to ask in their name:
 *
 * - The Host header must name this machine as it was told to listen. A foreign name that resolves
 *   to us (DNS rebinding) is refused. A bare IP address cannot be rebound.
 * - A request with an Origin comes from a page; only our own pages may ask. No CORS header is ever
 *   sent.
 * - A body must say that it is JSON, which a form of a foreign page cannot.
 */
import { HttpRefusal } from './errors.js';

/** Undefined when the request may go on. */
export function refuseForeign(headers: Headers, listenHost: string): HttpRefusal | undefined {
  const host = headers.get('host') ?? '';
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
  return undefined;
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
