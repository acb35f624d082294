/**
 * Encrypted streams: TLS within a stream that is there already, because protocols of others switch
 * to it in the middle (`STARTTLS`). In the simulator a transform that hides bytes and proves
 * nobody; the suite in `conformance.ts` holds both to what `Stream` promises.
 */

import type { Stream, StreamHandler } from './network.js';

/**
 * A stream within a stream. `below` is told what happens to the one that is there, `stream` is what
 * is used instead, and what happens to that is told to the handler that was passed in. When one is
 * closed, so is the other.
 */
export interface SecuredStream {
  readonly stream: Stream;
  readonly below: StreamHandler;
}

/** Takes over a stream of which nothing was read yet. Nothing is received before the handshake. */
export type SecureStream = (plain: Stream, above: StreamHandler) => SecuredStream;

/** Who the other side is known by. All certificates and keys are PEM. */
export type TlsServerSecrets =
  | {
      readonly kind: 'certificate';
      /** The server's own, and those between it and its authority. */
      readonly certificate: string;
      readonly key: string;
      /** Clients show a certificate of one of these authorities; undefined: any client will do. */
      readonly clientCa?: string | undefined;
    }
  | { readonly kind: 'psk'; readonly keys: ReadonlyMap<string, Uint8Array> };

export type TlsClientSecrets =
  | {
      readonly kind: 'certificate';
      /** The authorities of servers. */
      readonly ca: string;
      /** The name that the server's certificate is for. */
      readonly server: string;
      readonly own?: { readonly certificate: string; readonly key: string };
    }
  | { readonly kind: 'psk'; readonly identity: string; readonly key: Uint8Array };

/** Certificates or keys that cannot be used. */
export class TlsError extends Error {
  override readonly name = 'TlsError';
  readonly about: 'certificate' | 'key' | 'clientCa';

  constructor(about: TlsError['about'], message: string) {
    super(message);
    this.about = about;
  }
}

export interface Tls {
  /** The side that is connected to. Throws a `TlsError`. */
  server(secrets: TlsServerSecrets): SecureStream;
  /** The other side: for checks of a server. Throws a `TlsError`. */
  client(secrets: TlsClientSecrets): SecureStream;
}
