/**
 * TLS by node:tls, within one of our streams:
 *
 *   user <-> NodeStream <-> TLSSocket <-> Wire <-> the plain stream
 *            (buffers)      (OpenSSL)     (a Duplex of node:stream)
 *
 * The stream that the user has is the same `NodeStream` as over a socket, driven by the documented
 * interface of node:net, since a TLSSocket has no descriptor to be read beside it. Back-pressure
 * goes through all of them: who pauses ends up pausing the plain stream, and a plain stream whose
 * output is full keeps the call back of a write until it has room.
 *
 * With certificates TLS 1.2 and 1.3. With keys that both sides know TLS 1.2 only, because Node
 * speaks no others; and only ciphers with which whoever learns a key later can read nothing.
 */

import { X509Certificate } from 'node:crypto';
import tls, { type SecureContext, type SecureContextOptions, TLSSocket } from 'node:tls';
import type { Stream, StreamHandler } from '../network.js';
import {
  type SecureStream,
  type SecuredStream,
  type Tls,
  type TlsClientSecrets,
  TlsError,
  type TlsServerSecrets,
} from '../tls.js';
import { NodeStream, type StreamWorld } from './node-stream.js';
import { StreamDuplex } from './stream-duplex.js';

const PSK_CIPHERS = [
  'ECDHE-PSK-CHACHA20-POLY1305',
  'DHE-PSK-AES256-GCM-SHA384',
  'DHE-PSK-CHACHA20-POLY1305',
  'DHE-PSK-AES128-GCM-SHA256',
].join(':');

const CERTIFICATE_VERSIONS = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' } as const;
const PSK_VERSIONS = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
const PSK_CONTEXT = { ...PSK_VERSIONS, ciphers: PSK_CIPHERS, dhparam: 'auto' };

/** What is used of a socket's handle. Not documented, so the use is checked. */
interface Handle {
  verifyError?(): { readonly code?: string } | null;
}

export class NodeTls implements Tls {
  readonly #world: StreamWorld;

  constructor(world: StreamWorld) {
    this.#world = world;
  }

  server(secrets: TlsServerSecrets): SecureStream {
    const options = { ...serverOptions(secrets), isServer: true };
    const asksForProof = secrets.kind === 'certificate' && secrets.clientCa !== undefined;
    return (plain, above) => {
      const wire = new StreamDuplex(plain);
      const socket = new TLSSocket(wire, options);
      // Or a client could prove itself as somebody else later, and nobody would look.
      socket.disableRenegotiation();
      return this.#secured({ plain, wire, socket, above }, 'secure', asksForProof);
    };
  }

  client(secrets: TlsClientSecrets): SecureStream {
    const options = clientOptions(secrets);
    return (plain, above) => {
      const wire = new StreamDuplex(plain);
      const socket = tls.connect({ ...options, socket: wire });
      // By then the server's certificate was looked at.
      return this.#secured({ plain, wire, socket, above }, 'secureConnect', false);
    };
  }

  /** Nothing is read from the socket before it is `ready`, and the other side proven. */
  #secured(parts: Parts, ready: 'secure' | 'secureConnect', asksForProof: boolean): SecuredStream {
    const { plain, wire, socket, above } = parts;
    const stream = new NodeStream(socket, plain.remote, this.#world, plain);
    let isOpen = false;
    const open = (): void => {
      if (isOpen) return;
      isOpen = true;
      stream.open(above);
    };
    socket.once(ready, () => {
      const wrong = asksForProof ? wrongProof(socket) : undefined;
      if (wrong === undefined) open();
      else socket.destroy(new Error(`the client's certificate is not accepted: ${wrong}`));
    });
    // A handshake that failed is told like any other end.
    socket.once('close', open);
    return { stream, below: wire.handler };
  }
}

interface Parts {
  readonly plain: Stream;
  readonly wire: StreamDuplex;
  readonly socket: TLSSocket;
  readonly above: StreamHandler;
}

/**
 * What is wrong with the client's certificate. node:tls looks at it by itself only for sockets that
 * its own server has accepted; who shows none is refused by OpenSSL.
 */
function wrongProof(socket: TLSSocket): string | undefined {
  const handle = (socket as unknown as { _handle?: Handle | null })._handle;
  if (typeof handle?.verifyError !== 'function') return 'this Node cannot look at it';
  const error = handle.verifyError();
  return error === null || error === undefined ? undefined : (error.code ?? 'unknown');
}

function serverOptions(secrets: TlsServerSecrets) {
  if (secrets.kind === 'psk') {
    const { keys } = secrets;
    return {
      secureContext: tls.createSecureContext(PSK_CONTEXT),
      pskCallback: (_socket: TLSSocket, identity: string) => keys.get(identity) ?? null,
    };
  }
  const { certificate, key, clientCa } = secrets;
  const secureContext = certificateContext(certificate, key, clientCa, 'clientCa');
  const hasCa = clientCa !== undefined;
  return { secureContext, requestCert: hasCa, rejectUnauthorized: hasCa };
}

function clientOptions(secrets: TlsClientSecrets) {
  if (secrets.kind === 'psk') {
    const { identity, key: psk } = secrets;
    return {
      secureContext: tls.createSecureContext(PSK_CONTEXT),
      pskCallback: () => ({ identity, psk }),
      checkServerIdentity: () => undefined,
    };
  }
  const { ca, server, own } = secrets;
  const secureContext = certificateContext(own?.certificate, own?.key, ca, 'certificate');
  return { secureContext, servername: server, rejectUnauthorized: true };
}

/** One thing after the other, so that it can be told which cannot be used. */
function certificateContext(
  certificate: string | undefined,
  key: string | undefined,
  ca: string | undefined,
  caIs: TlsError['about'],
): SecureContext {
  const parts: [TlsError['about'], SecureContextOptions][] = [];
  if (ca !== undefined) {
    checkAuthorities(ca, caIs);
    parts.push([caIs, { ca }]);
  }
  if (certificate !== undefined) parts.push(['certificate', { cert: certificate }]);
  if (key !== undefined) parts.push(['key', { key }]);
  let options: SecureContextOptions = CERTIFICATE_VERSIONS;
  let context = tls.createSecureContext(options);
  for (const [about, part] of parts) {
    options = { ...options, ...part };
    try {
      context = tls.createSecureContext(options);
    } catch (error) {
      throw new TlsError(about, (error as Error).message);
    }
  }
  return context;
}

/** node:tls leaves out what it does not understand, and trusts authorities of the web instead. */
function checkAuthorities(pem: string, about: TlsError['about']): void {
  const found = pem.match(/-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/gs) ?? [];
  if (found.length === 0) throw new TlsError(about, 'there is no certificate in it');
  for (const one of found) {
    try {
      new X509Certificate(one);
    } catch (error) {
      throw new TlsError(about, (error as Error).message);
    }
  }
}
